"""The blocks in which a file is stored, each decoded once for all threads of a process and all tiles that touch it.

GDAL keeps blocks by dataset, and a dataset serves one thread: two threads on neighbouring tiles would decode most
blocks twice, and push each other's out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Window
from pipeline.raster import cache

LEAST_SIDE, LEAST_ROWS = 256, 64
"""Small blocks are taken together up to this side; strips, which are as wide as the scene, up to so many rows."""
MOST_CELL_BYTES = cache.CACHE_BYTES // 5
"""A window touches four cells where it touches a corner; if they do not fit, GDAL is asked for windows."""
PLENTY = 12
"""Cells that must find room where one is decoded before it is asked for."""


class DamagedCell(Exception):
    """GDAL cannot read a cell, which may hold more blocks than the window that was asked for."""


class Pixels(NamedTuple):
    """A block (band, y, x) and which of its pixels are valid (y, x) bool."""

    block: NDArray[Any]
    valid: NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return self.block.nbytes + self.valid.nbytes


def cell_shape(block: tuple[int, int], height: int, width: int) -> tuple[int, int]:
    """(y, x) side in pixels of what is decoded together: whole blocks of the file, clipped at the scene's edge."""
    strips = block[1] >= width
    rows = _multiple(block[0], LEAST_ROWS if strips else LEAST_SIDE)
    return min(rows, height), min(_multiple(block[1], LEAST_SIDE), width)


def _multiple(step: int, least: int) -> int:
    return step * max(1, -(-least // step))


def read_cells(
    key: object,
    cell: tuple[int, int],
    extent: tuple[int, int],
    window: Window,
    load: Callable[[Window], Pixels],
    size: int = 0,
) -> Pixels:
    """A window put together from cells, new arrays that are the caller's own.

    Args:
        key: what tells this file, as it is now, and its bands from all others.
        cell: (y, x) side of the cells.
        extent: (y, x) side of the scene.
        window: inside the scene.
        load: decodes one cell.
        size: bytes of a cell, so that none is decoded ahead where few can be kept.

    Raises:
        DamagedCell: whoever loads them says so.
    """
    found: Pixels | None = None
    busy = []
    for row, column, place in _cells(cell, extent, window):
        pixels = cache.shared.take((key, row, column), partial(load, place))
        if pixels is None:  # another thread is at it
            busy.append((row, column, place))
        else:
            found = _put(found, window, pixels, place)
    if busy and cache.shared.room >= PLENTY * size:  # rather than wait, decode what will be read next in this row
        row, column, place = busy[-1]
        following = replace(place, x0=place.x1, x1=min(place.x1 + cell[1], extent[1]))
        if following.x0 < following.x1:
            with suppress(DamagedCell, MemoryError):  # it is no cell of this window
                cache.shared.take((key, row, column + 1), partial(load, following))
    for row, column, place in busy:
        found = _put(found, window, cache.shared.get((key, row, column), partial(load, place)), place)
    assert found is not None
    return found


def _put(found: Pixels | None, window: Window, pixels: Pixels, place: Window) -> Pixels:
    """Copy of a cell what lies in a window."""
    if found is None:
        bands, dtype = len(pixels.block), pixels.block.dtype
        found = Pixels(np.empty((bands, *window.shape), dtype), np.empty(window.shape, bool))
    both = window.overlap(place)
    target, inside = both.within(window), both.within(place)
    found.block[:, *target] = pixels.block[:, *inside]
    found.valid[target] = pixels.valid[inside]
    return found


def _cells(cell: tuple[int, int], extent: tuple[int, int], window: Window) -> Iterator[tuple[int, int, Window]]:
    """Row, column and window of every cell that a window touches."""
    (high, wide), (height, width) = cell, extent
    for row in range(window.y0 // high, -(-window.y1 // high)):
        for column in range(window.x0 // wide, -(-window.x1 // wide)):
            y0, x0 = row * high, column * wide
            yield row, column, Window(y0, min(y0 + high, height), x0, min(x0 + wide, width))
