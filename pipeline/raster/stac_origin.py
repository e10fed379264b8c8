"""What an item of ours takes over from the STAC item it was made of: what is as true of the result as of the source.

Sources: STAC 1.1.0 common metadata; extensions eo, view, sat, grid and mgrs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pystac

from pipeline.raster.stac_assets import read_item
from pipeline.raster.stac_json import is_stac, is_url, split_reference
from pipeline.storage import Place

_COMMON = ("platform", "instruments", "constellation", "mission", "gsd")
_EXTENSIONS = ("eo", "view", "sat", "grid", "mgrs")
_OF_ASSETS = ("eo:bands",)


@dataclass(frozen=True)
class Origin:
    """The item that a scene was read from."""

    id: str
    href: str
    """Its own address where it has one, else its file."""
    acquired: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    extensions: tuple[str, ...] = ()
    """The schemas of the extensions that the properties are of."""


def origin_of(paths: list[str], bands: Sequence[str] = (), coarser: float = 1.0) -> Origin | None:
    """The item that a scene's input names; None where it is no STAC item.

    Args:
        paths: the scene's inputs.
        bands: those of the scene: of several resolutions, `gsd` is that of the finest of them.
        coarser: how many times as large as that its pixels are.

    Raises:
        SourceError: it can no longer be read.
    """
    if len(paths) != 1 or not is_stac(paths[0]):
        return None
    item = read_item(paths[0])
    kept = {
        key: value
        for key, value in item.properties.items()
        if (key in _COMMON or key.partition(":")[0] in _EXTENSIONS) and key not in _OF_ASSETS and value is not None
    }
    gsd = _gsd(item, bands)
    if gsd is not None:
        kept["gsd"] = scaled_gsd(gsd, coarser)
    prefixes = {key.partition(":")[0] for key in kept if ":" in key}
    common = item.common_metadata
    return Origin(
        item.id,
        _own_address(item) or paths[0],
        item.datetime,
        common.start_datetime,
        common.end_datetime,
        kept,
        tuple(uri for uri in item.stac_extensions if any(f"/{prefix}/" in uri for prefix in prefixes)),
    )


def scaled_gsd(gsd: float, times: float) -> float:
    """The distance of pixels so many times as large; to six digits, as the sizes are quotients."""
    return gsd if times == 1 else float(f"{gsd * times:.6g}")


def _gsd(item: pystac.Item, bands: Sequence[str]) -> float | None:
    """The least that the item, or its assets and their bands, say of bands by these names."""
    found = []
    for key, asset in item.assets.items():
        facts = asset.extra_fields
        inside = [band for band in facts.get("bands") or () if isinstance(band, dict)]
        named = [band for band in inside if key in bands or band.get("name") in bands]
        found += [band.get("gsd", facts.get("gsd")) for band in named] or [facts.get("gsd")] * (key in bands)
    known = [value for value in found if isinstance(value, int | float)]
    of_item = item.properties.get("gsd")
    if len(known) < len(found) or not known:  # the item speaks for those that say nothing
        known += [of_item] if isinstance(of_item, int | float) else []
    return min(known, default=None)


def href_from(origin: Origin, folder: Place) -> str:
    """The item's address as an item in `folder` says it: relative to it on this machine."""
    file, name = split_reference(origin.href)
    if is_url(file) or "://" in file:
        return origin.href
    if not isinstance(folder, Path):  # no path leads from an object store to this machine
        return Path(file).name if name is None else f"{Path(file).name}#{name}"
    href = Path(os.path.relpath(Path(file).absolute(), folder.absolute())).as_posix()
    return href if name is None else f"{href}#{name}"


def _own_address(item: pystac.Item) -> str | None:
    href = item.get_self_href()
    return href if href is not None and is_url(href) else None
