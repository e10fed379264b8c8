"""The rasters of a STAC item: which of its assets hold the pixels, and what their bands are called."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pystac

from pipeline.errors import ConfigError, SourceError
from pipeline.raster.references import check_href
from pipeline.raster.stac_json import absolute_href, is_url, local_path, read_document, read_feature, split_reference

_RASTER_TYPES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "application/x-geotiff")
_ENDINGS = (".tif", ".tiff", ".jp2", ".vrt")
EO_TAGS = {name: f"eo:{name}" for name in ("common_name", "center_wavelength", "full_width_half_max")}
"""Tags of our bands that STAC's eo extension has fields for; lengths in micrometres."""
STORE = "scene.zarr"
"""The store of ours that our items name."""
Look = Callable[[str], Sequence[str]]
FEATURES = "features"
"""The role of maps of features in our items: made of the scene, and none of its bands."""
_PICTURES = {"thumbnail", "overview", "visual", "metadata"}


class StoreItem(SourceError):
    """An item of ours whose scene is a store alone."""

    def __init__(self, message: str, href: str) -> None:
        super().__init__(message)
        self.href = href

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.href)


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
    tags: tuple[Mapping[str, str], ...] = ()
    """What the item says of the spectrum of each band, by the keys of EO_TAGS."""


def read_item(path: str) -> pystac.Item:
    """Read a STAC item of version 1.0 or 1.1: a file, an address, or one item (`#ID`) of an item collection.

    The hrefs of its assets are absolute.

    Raises:
        SourceError: it cannot be read, or is no STAC item.
    """
    file, name = split_reference(path)
    facts = read_document(file) if name is None else read_feature(file, name)
    kind = facts.get("type")
    if kind != "Feature" or "stac_version" not in facts:
        raise SourceError(f"{path} is no STAC item but {kind or 'an object without a type'}; {_remedy(kind, file)}")
    try:
        # What lies relative to an item of a search lies relative to where it was found, if it says where.
        home = next((link["href"] for link in facts.get("links", []) if link.get("rel") == "self"), file)
        home = file if name is None else home
        home = home if is_url(home) else str(Path(local_path(home)).resolve())
        item = pystac.Item.from_dict(facts, href=home, migrate=True)
        if not isinstance(item.id, str):
            raise TypeError("its id is no text")
        for key, asset in item.assets.items():
            _check_asset(key, asset)
            of_this_machine = not is_url(file) and os.path.isabs(asset.href)  # wherever the item was found
            asset.href = absolute_href(asset.href, file if of_this_machine else home)
            asset.owner = None
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


def _remedy(kind: object, file: str) -> str:
    if kind == "FeatureCollection":
        return f"give one item of it as {file}#ID"
    return "`run` takes all of its items" if kind in ("Collection", "Catalog") else "give one item of it"


def chosen_assets(item: pystac.Item, bands: Sequence[str] | None, path: str, look: Look) -> list[RasterAsset]:
    """The raster assets with the role `data`, or what `bands` names: asset keys, band names or common names.

    What the item does not know is looked for in the files of its data: `look` gives the names of the bands of one.
    ASSET_NAME says of which asset it is.

    Raises:
        SourceError: the item has no raster asset, or one of features alone; a StoreItem where it has a store of ours.
        ConfigError: nothing in it has a name of `bands`, or files of two assets have it.
    """
    rasters = {key: asset for key, asset in item.assets.items() if _is_raster(asset)}
    if not rasters:
        raise _refusal(item, path, f"has no raster among its assets ({', '.join(item.assets) or 'none'})")
    scene = _data(rasters)
    alone = f"has no raster of the scene, but of features alone ({', '.join(rasters)})"
    if bands is not None:
        if not scene and _store(item) is not None and not rasters.keys() >= {*bands}:
            raise _refusal(item, path, alone)
        if not bands or len(set(bands)) != len(bands):
            raise ConfigError(f"{path}: choose at least one band, and each once; got {', '.join(bands) or 'none'}")
        return list(_together([_find(rasters, name, path, look) for name in bands]))
    if not scene:
        raise _refusal(item, path, alone)
    return [_whole(key, asset, path) for key, asset in scene.items()]


def _store(item: pystac.Item) -> pystac.Asset | None:
    """The store of an item of ours."""
    asset = item.assets.get("scene")
    return asset if asset is not None and asset.href.endswith(STORE) else None


def _refusal(item: pystac.Item, path: str, why: str) -> SourceError:
    """What to say of an item without a raster of its scene."""
    asset = _store(item)
    if asset is None:
        return SourceError(f"{path} {why}")
    return StoreItem(f"{path} {why}; give its {asset.href}", _href(asset, path))


def _is_features(key: str, asset: pystac.Asset) -> bool:
    """By the role, or, in items of before, by the key and the name that `run` gives."""
    return FEATURES in (asset.roles or ()) or (key == "features_cog" and asset.href.endswith("features.tif"))


def _data(rasters: dict[str, pystac.Asset]) -> dict[str, pystac.Asset]:
    """Those that hold the scene: of the role `data`, else all but pictures of it; none of features."""
    rasters = {key: asset for key, asset in rasters.items() if not _is_features(key, asset)}
    data = {key: asset for key, asset in rasters.items() if "data" in (asset.roles or ())}
    data = data or {key: asset for key, asset in rasters.items() if not _PICTURES & set(asset.roles or ())}
    return data or rasters


def mask_asset(item: pystac.Item, name: str) -> RasterAsset | None:
    """The raster asset of this key, whatever its case; None where there is none."""
    for key, asset in item.assets.items():
        if key.lower() == name.lower() and _is_raster(asset):
            return _whole(key, asset, item.id)
    return None


def _together(assets: list[RasterAsset]) -> Iterator[RasterAsset]:
    """Neighbouring bands of one file as one."""
    for (key, href, whole), run in groupby(assets, lambda asset: (asset.key, asset.href, asset.bidx is None)):
        parts = list(run)
        bidx = None if whole else tuple(index for part in parts for index in part.bidx or ())
        tags = tuple(tag for part in parts for tag in part.tags)
        yield RasterAsset(key, href, bidx, tuple(name for part in parts for name in part.names), tags)


def _find(rasters: dict[str, pystac.Asset], name: str, path: str, look: Look) -> RasterAsset:
    if name in rasters:
        return _whole(name, rasters[name], path)
    for field in ("name", "eo:common_name", "common_name"):
        for key, asset in rasters.items():
            for number, band in enumerate(_bands(asset), 1):
                if band.get(field) == name:
                    return RasterAsset(key, _href(asset, path), (number,), (name,), _spectra([band]))
    inside = {key: _names(asset, path, look) for key, asset in _data(rasters).items()}
    found = [
        (key, number)
        for key, names in inside.items()
        for number, one in enumerate(names, 1)
        if name in (one, f"{key}_{one}")
    ]
    if len(found) > 1:
        ways = ", ".join(f"{key}_{name}" for key, _ in found)
        raise ConfigError(f"{path}: {len(found)} assets have a band {name}; say which: {ways}")
    if not found:
        there = ", ".join(dict.fromkeys([*rasters, *(name for names in inside.values() for name in names)]))
        raise ConfigError(f"{path}: no asset or band {name}; there are {there}")
    ((key, number),) = found
    bands = _bands(rasters[key])
    spectra = _spectra(bands[number - 1 : number]) if len(bands) == len(inside[key]) else ()
    return RasterAsset(key, _href(rasters[key], path), (number,), (name,), spectra)


def _names(asset: pystac.Asset, path: str, look: Look) -> Sequence[str]:
    """Of the bands of an asset, by the item or else by its file; none where neither says."""
    bands = _bands(asset)
    if bands and all("name" in band for band in bands):
        return [str(band["name"]) for band in bands]
    try:
        return look(_href(asset, path))
    except SourceError:  # it is not among those that are read, or else says so when it is
        return ()


def _whole(key: str, asset: pystac.Asset, path: str) -> RasterAsset:
    bands = _bands(asset)
    named = len(bands) > 1 and all("name" in band for band in bands)
    names = tuple(str(band["name"]) for band in bands) if named else (key,)
    return RasterAsset(key, _href(asset, path), None, names, _spectra(bands))


def _spectra(bands: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, str], ...]:
    """Of each band, from STAC 1.1's names or those of 1.0."""
    facts = [{tag: band.get(field, band.get(tag)) for tag, field in EO_TAGS.items()} for band in bands]
    return tuple({tag: str(value) for tag, value in fact.items() if isinstance(value, str | float)} for fact in facts)


def _bands(asset: pystac.Asset) -> list[dict[str, Any]]:
    """`bands` of STAC 1.1, `eo:bands` of 1.0."""
    bands = asset.extra_fields.get("bands") or asset.extra_fields.get("eo:bands") or []
    return [band for band in bands if isinstance(band, dict)]


def _href(asset: pystac.Asset, path: str) -> str:
    check_href(asset.href, path)
    return asset.href


def _is_raster(asset: pystac.Asset) -> bool:
    if asset.media_type:
        return asset.media_type.lower().startswith(_RASTER_TYPES)
    href = asset.href.lower()
    return (href.split("?")[0] if is_url(href) or "://" in href else href).endswith(_ENDINGS)
