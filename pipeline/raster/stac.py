"""A STAC 1.1 item of a scene and what was made of it, with the projection, raster and processing extensions.

Sources: STAC 1.1.0; projection v2.0.0, raster v2.0.0, processing v1.2.0, render v2.0.0; GeoJSON (RFC 7946) for
the footprint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath
from typing import Any

import pystac

from pipeline.bands import common_names
from pipeline.raster.footprint import footprint
from pipeline.raster.globe import bounding_box
from pipeline.raster.look import Look
from pipeline.raster.scene import Georeference, SceneInfo
from pipeline.raster.spectrum import spectrum
from pipeline.raster.stac_assets import EO_TAGS
from pipeline.raster.stac_origin import Origin, scaled_gsd
from pipeline.raster.times import EARLIEST, file_time, taken

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
RENDER = "https://stac-extensions.github.io/render/v2.0.0/schema.json"
EO = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
_UNKNOWN = "The time of acquisition is not known; it was before {} was made."


@dataclass(frozen=True)
class Asset:
    """A file or store beside the item."""

    href: str
    """Relative to the item."""
    media_type: str
    roles: tuple[str, ...] = ("data",)
    title: str = ""
    info: SceneInfo | None = None
    """What its pixels are, where it has pixels."""
    look: Look | None = None
    """How they are best shown, where that is known."""


def make_item(
    info: SceneInfo,
    assets: Mapping[str, Asset],
    processing: Mapping[str, Any],
    *,
    acquired: datetime | None = None,
    span: tuple[datetime, datetime] | None = None,
    now: datetime | None = None,
    name: str | None = None,
    origin: Origin | None = None,
    derived_from: str | None = None,
    named: datetime | None = None,
) -> dict[str, Any]:
    """A valid STAC item as JSON's types.

    Args:
        info: the scene.
        assets: by key.
        processing: what was done, a word or number for each step; None for steps left out.
        acquired: when the scene was taken; by default from its tags. Where nothing tells, the item says that it was
            some time before `now`, or before its file was made.
        span: when the first and the last date of a stack were taken.
        now: the time of processing; the present by default.
        name: the item's id; the origin's, or the scene's name, by default.
        origin: the item that the scene was read from: its time, and what it says of the sensor, stay true.
        derived_from: the origin's address, as the item is to link to it.
        named: when it was taken by the names of its files, where neither origin nor tags tell; no time to come.
    """
    now = (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
    start, end = span or ((origin.start, origin.end) if origin else (None, None))
    acquired = acquired or (origin.acquired if origin else None) or taken(info.tags, info.name)
    acquired = None if span else acquired or (None if start and end else _past(named, now))
    geometry = footprint(info)
    properties = {
        **(origin.properties if origin else {}),
        "created": _text(now),
        **_projection(info),
        "processing:software": {"terrasketch": _version()},
        "processing:datetime": _text(now),
        **_renders(assets),
        "processing:lineage": "; ".join(f"{step}: {how}" for step, how in processing.items() if how is not None),
    }
    if acquired is None and (start is None or end is None):
        start, end = EARLIEST, _latest(info, now)
        properties["description"] = _UNKNOWN.format("this item" if end == now else "its file (TIFF's DateTime)")
    item = pystac.Item(
        id=name or (origin.id if origin else info.name),
        geometry=geometry,
        bbox=bounding_box(geometry) if geometry else None,
        datetime=acquired and acquired.astimezone(UTC),
        start_datetime=start,
        end_datetime=end,
        properties=properties,
        stac_extensions=_extensions(assets, origin),
    )
    if derived_from:
        item.add_link(pystac.Link("derived_from", derived_from, "application/geo+json"))
    for key, asset in assets.items():
        item.add_asset(key, _stac_asset(asset, properties))
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def is_undated(item: Mapping[str, Any]) -> bool:
    """Whether an item of ours does not tell when its scene was taken."""
    properties = item["properties"]
    return properties["datetime"] is None and properties["start_datetime"] == _text(EARLIEST)


def _past(time: datetime | None, now: datetime) -> datetime | None:
    """A time that a name has; what has not been yet is something else."""
    return time if time and time <= now else None


def _latest(info: SceneInfo, now: datetime) -> datetime:
    """When a scene of no known time was taken at the latest."""
    made = file_time(info.tags)
    return made if made and EARLIEST < made < now else now


def _stac_asset(asset: Asset, of_item: Mapping[str, Any]) -> pystac.Asset:
    path = PurePosixPath(asset.href)
    assert not ({"/", ".."} & set(path.parts)), asset.href
    return pystac.Asset(
        href=f"./{path}",
        title=asset.title or None,
        media_type=asset.media_type,
        roles=list(asset.roles),
        extra_fields={} if asset.info is None else _pixels(asset.info, of_item, asset.look),
    )


def _extensions(assets: Mapping[str, Asset], origin: Origin | None) -> list[str]:
    infos = [asset.info for asset in assets.values() if asset.info]
    found = [PROJECTION, RASTER, PROCESSING] if infos else [PROJECTION, PROCESSING]
    if any(any(_spectra(info)) for info in infos):
        found.append(EO)
    if _renders(assets):
        found.append(RENDER)
    found += (EO if "/eo/" in uri else uri for uri in (origin.extensions if origin else ()))
    return list(dict.fromkeys(found))


def _projection(info: SceneInfo) -> dict[str, Any]:
    geo = info.geo
    fields: dict[str, Any] = {"proj:code": None, "proj:shape": [info.height, info.width]}
    wkt = geo.crs_wkt if geo.transform is not None else geo.gcps_crs_wkt
    if wkt:
        crs = Georeference(crs_wkt=wkt)
        fields |= {"proj:code": f"EPSG:{crs.epsg}"} if crs.epsg else {"proj:wkt2": crs.wkt2}
    bounds = geo.bounds(info.height, info.width)
    if geo.transform is not None and bounds is not None:
        fields["proj:transform"] = list(geo.transform)
        fields["proj:bbox"] = list(bounds)
    return fields


def _pixels(info: SceneInfo, of_item: Mapping[str, Any], look: Look | None) -> dict[str, Any]:
    """The fields of an asset with pixels; where it lies only if that is not where the item lies."""
    fields = {key: value for key, value in _projection(info).items() if of_item.get(key) != value}
    fields |= _gsd(info, of_item)
    fields["data_type"] = info.dtype
    if info.nodata is not None:
        fields["nodata"] = _number(info.nodata)
    fields["raster:sampling"] = "point" if info.tags.get("AREA_OR_POINT") == "Point" else "area"
    bands = []
    facts = zip(info.bands, info.units, info.scales, info.offsets, _spectra(info), strict=True)
    counted = look.statistics if look else ({},) * len(info.bands)
    for (name, unit, scale, offset, spectral), statistics in zip(facts, counted, strict=True):
        band: dict[str, Any] = {"name": name} | spectral
        if statistics:
            band["statistics"] = dict(statistics)
        if unit:
            band["unit"] = unit
        if (scale, offset) != (1.0, 0.0) and math.isfinite(scale) and math.isfinite(offset):
            band |= {"raster:scale": scale, "raster:offset": offset}
        bands.append(band)
    fields["bands"] = bands
    return fields


def _gsd(info: SceneInfo, of_item: Mapping[str, Any]) -> dict[str, Any]:
    """The distance of cells that are larger than the item's pixels, where it says one."""
    scene, own = of_item.get("proj:transform"), info.geo.resolution
    if "gsd" not in of_item or scene is None or own is None:
        return {}
    size = Georeference(transform=tuple(scene)).resolution
    assert size is not None
    times = math.sqrt(math.prod(own) / math.prod(size))
    return {"gsd": scaled_gsd(of_item["gsd"], times)} if times != 1 else {}


def _renders(assets: Mapping[str, Asset]) -> dict[str, Any]:
    found = {key: render for key, asset in assets.items() if (render := _render(key, asset))}
    return {"renders": found} if found else {}


def _render(key: str, asset: Asset) -> dict[str, Any] | None:
    """How a viewer shows the asset first: three bands as red, green and blue, between percentiles of each."""
    if asset.look is None or not asset.look.rescale:
        return None
    nodata = asset.info.nodata if asset.info else None
    render = {
        "title": asset.title or key,
        "assets": [key],
        "bidx": [band + 1 for band in asset.look.rgb],
        "rescale": [list(pair) for pair in asset.look.rescale],
        "resampling": "average",
    }
    # Viewers read NaN from the COG, and a column of texts and numbers is none for tables (stac-geoparquet).
    return render if nodata is None or not math.isfinite(nodata) else render | {"nodata": nodata}


def _spectra(info: SceneInfo) -> list[dict[str, Any]]:
    """What each band sees; common names by the bands' own, where nothing says any: who named some, named all."""
    common = {} if any("common_name" in tags for tags in info.band_tags) else common_names(info.bands)
    named = [{EO_TAGS["common_name"]: common[band]} if band in common else {} for band in range(len(info.bands))]
    return [one | _spectral(tags) for one, tags in zip(named, info.band_tags, strict=True)]


def _spectral(tags: Mapping[str, str]) -> dict[str, Any]:
    """What a band sees, as the eo extension has it; micrometres."""
    found: dict[str, Any] = {}
    words = {**spectrum(tags), **tags}
    for tag, name in EO_TAGS.items():
        with suppress(ValueError):
            if tag in words:
                found[name] = words[tag] if tag == "common_name" else float(words[tag])
    return found


def _number(value: float) -> float | str:
    """JSON has no such numbers; STAC has words for them."""
    if math.isnan(value):
        return "nan"
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _version() -> str:
    try:
        return version("terrasketch")
    except PackageNotFoundError:
        return "unknown"
