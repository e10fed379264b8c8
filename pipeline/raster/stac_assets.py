"""The rasters of a STAC item: which of its assets hold the pixels, and what their bands are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pystac

from pipeline.errors import ConfigError, SourceError
from pipeline.raster.references import check_href
from pipeline.untrusted import read_json

_RASTER_TYPES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "application/x-geotiff")
_ENDINGS = (".tif", ".tiff", ".jp2", ".vrt")
_PICTURES = {"thumbnail", "overview", "visual", "metadata"}


@dataclass(frozen=True)
class RasterAsset:
    """One asset, or one band of it."""

    key: str
    href: str
    """Absolute."""
    bidx: tuple[int, ...] | None
    """The file's numbers of the bands, from 1; None for all."""
    names: tuple[str, ...]
    """As many as bands where the item names them, else the key alone."""


def read_item(path: str) -> pystac.Item:
    """Read a STAC item of version 1.0 or 1.1 from a local file.

    Raises:
        SourceError: the file cannot be read, or is no STAC item.
    """
    try:
        facts = read_json(path)
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; give a STAC item on this machine") from error
    except ValueError as error:
        raise SourceError(f"{path} is no JSON ({' '.join(str(error).split())}); give a STAC item") from error
    kind = facts.get("type") if isinstance(facts, dict) else type(facts).__name__
    if kind != "Feature" or "stac_version" not in facts:
        raise SourceError(f"{path} is no STAC item but {kind or 'an object without a type'}; give one item of it")
    try:
        item = pystac.Item.from_dict(facts, href=str(Path(path).resolve()), migrate=True)
        if not isinstance(item.id, str):
            raise TypeError("its id is no text")
        for key, asset in item.assets.items():
            _check_asset(key, asset)
        return item
    except Exception as error:  # whatever pystac makes of facts of other kinds than it expects
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{path} is no valid STAC item: {reason}") from error


def _check_asset(key: str, asset: pystac.Asset) -> None:
    """Raise TypeError where the facts of an asset are of other kinds than STAC's: pystac takes any."""
    kinds = {"href": (asset.href, str), "type": (asset.media_type, str), "roles": (asset.roles, list)}
    kinds |= {name: (asset.extra_fields.get(name), list) for name in ("bands", "eo:bands")}
    for name, (value, kind) in kinds.items():
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{name} of the asset {key} is no {kind.__name__}")
    if asset.href is None or not all(isinstance(role, str) for role in asset.roles or ()):
        raise TypeError(f"the asset {key} has no href, or roles that are no text")


def chosen_assets(item: pystac.Item, bands: Sequence[str] | None, path: str) -> list[RasterAsset]:
    """The raster assets with the role `data`, or what `bands` names: asset keys, band names or common names.

    Raises:
        SourceError: the item has no raster asset.
        ConfigError: nothing in it has a name of `bands`.
    """
    rasters = {key: asset for key, asset in item.assets.items() if _is_raster(asset)}
    if not rasters:
        raise SourceError(f"{path} has no raster among its assets ({', '.join(item.assets) or 'none'})")
    if bands is not None:
        if not bands or len(set(bands)) != len(bands):
            raise ConfigError(f"{path}: choose at least one band, and each once; got {', '.join(bands) or 'none'}")
        return list(_together([_find(rasters, name, path) for name in bands]))
    data = {key: asset for key, asset in rasters.items() if "data" in (asset.roles or ())}
    data = data or {key: asset for key, asset in rasters.items() if not _PICTURES & set(asset.roles or ())}
    return [_whole(key, asset, path) for key, asset in (data or rasters).items()]


def _together(assets: list[RasterAsset]) -> Iterator[RasterAsset]:
    """Neighbouring bands of one file as one."""
    for (key, href, whole), run in groupby(assets, lambda asset: (asset.key, asset.href, asset.bidx is None)):
        parts = list(run)
        bidx = None if whole else tuple(index for part in parts for index in part.bidx or ())
        yield RasterAsset(key, href, bidx, tuple(name for part in parts for name in part.names))


def _find(rasters: dict[str, pystac.Asset], name: str, path: str) -> RasterAsset:
    if name in rasters:
        return _whole(name, rasters[name], path)
    for field in ("name", "eo:common_name", "common_name"):
        for key, asset in rasters.items():
            for number, band in enumerate(_bands(asset), 1):
                if band.get(field) == name:
                    return RasterAsset(key, _href(asset, path), (number,), (name,))
    inside = [str(band["name"]) for asset in rasters.values() for band in _bands(asset) if "name" in band]
    there = ", ".join(dict.fromkeys([*rasters, *inside]))
    raise ConfigError(f"{path}: no asset or band {name}; there are {there}")


def _whole(key: str, asset: pystac.Asset, path: str) -> RasterAsset:
    bands = _bands(asset)
    named = len(bands) > 1 and all("name" in band for band in bands)
    return RasterAsset(key, _href(asset, path), None, tuple(str(band["name"]) for band in bands) if named else (key,))


def _bands(asset: pystac.Asset) -> list[dict[str, Any]]:
    """`bands` of STAC 1.1, `eo:bands` of 1.0."""
    bands = asset.extra_fields.get("bands") or asset.extra_fields.get("eo:bands") or []
    return [band for band in bands if isinstance(band, dict)]


def _href(asset: pystac.Asset, path: str) -> str:
    href = asset.get_absolute_href() or asset.href
    check_href(href, path)
    return href


def _is_raster(asset: pystac.Asset) -> bool:
    if asset.media_type:
        return asset.media_type.lower().startswith(_RASTER_TYPES)
    return asset.href.lower().split("?")[0].endswith(_ENDINGS)
