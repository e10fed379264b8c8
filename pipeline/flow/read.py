"""Scenes in: whatever SRC names becomes a Source, and a Source gives windows with halo.

One handle per thread, GDAL's settings and its small cache are the readers' own affair (raster/geotiff.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, SourceError
from pipeline.grid import Grid, Halo, Tile, Window
from pipeline.raster.dates import open_dates
from pipeline.raster.gdal_names import absolute_name
from pipeline.raster.masks import teaching, unmasked
from pipeline.raster.object_stores import METADATA
from pipeline.raster.open import open_source, with_mask_file
from pipeline.raster.scene import Source
from pipeline.raster.stac_assets import StoreItem
from pipeline.raster.store_bands import select_bands, stored
from pipeline.raster.store_source import open_store
from pipeline.storage import ObjectPath, Place, at_home, check_named, place

SAMPLES = 16


def open_scene(source: str | Sequence[str], **options: Any) -> Source:
    """Open a raster, a folder or list of band files, a STAC item, or a store of ours.

    `options` are those of `raster.open.open_source`; of a store its bands and a mask can be chosen, for it has its grid
    and nodata. With `stack` the paths are
    dates of one place, `times` and `name` those of `raster.dates.open_dates`; other scenes have names of their own.

    Raises:
        SourceError: it cannot be opened.
        ConfigError: an option does not fit it.
    """
    paths = [_absolute(path) for path in ([source] if isinstance(source, str) else source)]
    dates, times, name = options.pop("stack", False), options.pop("times", None), options.pop("name", None)
    if dates:
        return open_dates(paths, times=times, name=name, opener=_open_one, **options)
    if times is not None:
        raise ConfigError("--times are those of the dates of a --stack; leave them out, or give --stack too")
    if len(paths) == 1:
        return _open_one(paths[0], **options)
    for one in paths:
        _check_store(one)
    return open_source(paths, **options)


def _open_one(path: str, **options: Any) -> Source:
    """What one path names. An item of ours that has a store alone is that. Raises as `open_scene` does."""
    if is_store(path):
        return _open_store(path, **options)
    _check_store(path)
    try:
        return open_source(path, **options)
    except StoreItem as item:
        return _open_store(item.href, **options)


def _open_store(path: str, **options: Any) -> Source:
    """A store of ours, or some bands of it, with a mask of its own file where one is named."""
    mask = {name: options.pop(name, None) for name in ("mask_band", "mask_values", "mask_bits")}
    chosen = {name: options.pop(name, None) for name in ("bidx", "bands")}
    given = [f"--{name}" for name, value in options.items() if value not in (None, "nearest")]
    if given:
        raise ConfigError(f"{path} is a store, which has its grid and nodata already; leave out {', '.join(given)}")
    return with_mask_file(select_bands(open_store(place(path)), **chosen), **mask)


def _check_store(path: str) -> None:
    """Refuse what is named as a store is, and is nothing at all."""
    where = place(path)
    if (
        path.rstrip("/").endswith(".zarr")
        and (isinstance(where, ObjectPath) or not where.exists())
        and not re.match(r"/vsi|[A-Z]+:", path)
    ):
        raise SourceError(
            f"{path}: there is no such store; `terrasketch compress` or `run` writes one, else give a raster"
        )


def _absolute(path: str) -> str:
    """A local path as workers in another folder find it, in what GDAL opens by other names too.

    Raises:
        ConfigError: it is empty.
    """
    check_named(path)
    return absolute_name(at_home(path))


def is_store(path: str | Place) -> bool:
    """True where the path is a Zarr group; of web addresses and objects those are asked for that look like one.

    Raises:
        SourceError: the object store does not say.
    """
    where = place(path)
    if isinstance(where, ObjectPath) and where.suffix not in ("", ".zarr"):
        return False
    try:
        return (where / METADATA).is_file()
    except OSError as error:
        raise SourceError(f"{where}: cannot be read: {error.strerror}") from error


def read_tile(source: Source, tile: Tile, halo: int) -> tuple[NDArray[Any], NDArray[np.bool_], Window]:
    """A tile with its halo, clipped at the scene's edge: block (band, y, x), valid (y, x), and their window."""
    outer = tile.window.expand(Halo.even(halo), source.info.height, source.info.width)
    block, valid = source.read(outer)
    return block, valid, outer


def sample_windows(source: Source, tile: int, count: int = SAMPLES) -> list[Window]:
    """Windows spread evenly over the scene, the same for the same grid: for noise, banks and pictures."""
    store = stored(unmasked(source))
    return spread(source, tile if store is None else store.tile, count)


def spread(source: Source, tile: int, count: int = SAMPLES) -> list[Window]:
    """At most `count` windows of tile x tile pixels, spread evenly over the scene, whatever its own tiles."""
    grid = Grid(source.info.height, source.info.width, tile)
    return [grid[number].window for number in grid.spread(count)]


def sample(source: Source, tile: int, count: int = SAMPLES) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """The blocks of the sample windows and where to learn from them, one at a time."""
    return (teaching(source, window) for window in sample_windows(source, tile, count))


def central_window(source: Source, side: int) -> Window:
    """The middle of the scene, at most side x side pixels."""
    height, width = source.info.height, source.info.width
    y0, x0 = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return Window(y0, min(height, y0 + side), x0, min(width, x0 + side))
