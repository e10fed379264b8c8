"""One file on a coarser grid of the same CRS: each pixel is the mean of the valid pixels under it, weighted by area.

As gdalwarp's `average`, but in a fixed order of additions, so that no last bit depends on the window; and each band by
itself, whatever its nodata. A pixel has a value where any valid pixel lies under a part of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Window
from pipeline.raster.geotiff import RasterSource
from pipeline.raster.nodata import convert, nudge, real_elements, sentinel
from pipeline.raster.scene import Affine6, SceneInfo

TIE = 1e-6  # of a source pixel: coordinates of millions of metres carry rounding errors far below it
FINER = 1.01
"""Pixels that differ by less are of one size, which writers have rounded differently: there is nothing to average."""
_VALUES = 1 << 19
"""Of the file, that are averaged at a time, in float64."""


class Axis(NamedTuple):
    """Along one axis: which source pixels lie under each grid pixel, and how much of each."""

    first: NDArray[np.intp]
    """The first source pixel under each grid pixel."""
    weights: NDArray[np.float64]
    """(offset, grid pixel): the part, 0 to 1, of the source pixel at `first` + offset that lies there."""

    @property
    def reach(self) -> slice:
        """The run of grid pixels with anything of the source under them."""
        there = np.flatnonzero(self.weights.any(axis=0))
        return slice(int(there[0]), int(there[-1]) + 1) if there.size else slice(0, 0)

    def cut(self, part: slice) -> Axis:
        """Of some of the grid pixels."""
        return Axis(self.first[part], self.weights[:, part])

    def span(self, extent: int) -> tuple[int, int]:
        """First source pixel and one behind the last, of `extent`."""
        return int(self.first.min()), min(extent, int(self.first.max()) + len(self.weights))

    def sums(self, values: NDArray[np.float64], start: int, axis: int) -> NDArray[np.float64]:
        """Weighted sums along an axis of values that begin at source pixel `start`; one offset after the other."""
        shape = [1] * values.ndim
        shape[axis] = -1
        total: NDArray[np.float64] | float = 0.0
        for offset, weights in enumerate(self.weights):
            there = np.minimum(self.first - start + offset, values.shape[axis] - 1)  # beyond it the weight is 0
            total = total + np.take(values, there, axis) * weights.reshape(shape)
        return np.asarray(total)


def axes(source: SceneInfo, grid: SceneInfo, window: Window) -> tuple[Axis, Axis]:
    """Rows and columns of a window of the grid over the source's."""
    target, own = grid.geo.transform, source.geo.transform
    assert target is not None, grid.name
    assert own is not None, source.name
    rows = _axis(window.y0, window.y1, (target[5], target[4]), (own[5], own[4]), source.height)
    return rows, _axis(window.x0, window.x1, (target[2], target[0]), (own[2], own[0]), source.width)


def _axis(start: int, stop: int, grid: tuple[float, float], own: tuple[float, float], extent: int) -> Axis:
    """`grid` and `own` are an origin and the signed size of a pixel."""
    edges = (grid[0] + np.arange(start, stop + 1) * grid[1] - own[0]) / own[1]
    whole = np.rint(edges)
    edges = np.clip(np.where(np.abs(edges - whole) < TIE, whole, edges), 0, extent)
    low, high = np.minimum(edges[:-1], edges[1:]), np.maximum(edges[:-1], edges[1:])
    first = np.minimum(np.floor(low), extent - 1)
    count = max(1, int((np.ceil(high) - first).max()))
    places = first + np.arange(count)[:, None]
    weights = np.maximum(np.minimum(high, places + 1) - np.maximum(low, places), 0.0)
    return Axis(np.asarray(first, np.intp), weights)


def _parts(axis: Axis, others: int) -> Iterator[slice]:
    """Runs of the grid pixels that have something under them, as many as are averaged at a time.

    `others` is how many values there are, at least, for each source pixel along the axis.
    """
    step = max(1, _VALUES // (others * len(axis.weights)))
    reach = axis.reach
    for start in range(reach.start, reach.stop, step):
        yield slice(start, min(reach.stop, start + step))


def is_finer(own: Affine6, step: tuple[float, float]) -> bool:
    """True where grid pixels of this (x, y) size hold more than one pixel of a file along an axis."""
    return abs(step[0] / own[0]) > FINER or abs(step[1] / own[4]) > FINER


@dataclass(frozen=True)
class AveragedSource:
    """One file on the coarser grid of `info`."""

    source: RasterSource
    info: SceneInfo

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window of the grid: block (band, y, x), valid (y, x); invalid where no valid pixel lies under it.

        Raises:
            SourceError: the pixels cannot be read.
        """
        own = [self.info.nodata if self.info.nodata is not None else value for value in self.source.nodata]
        floats = np.dtype(self.info.dtype).kind == "f"
        fills = [sentinel(math.nan if value is None and floats else value, self.info.dtype) or 0 for value in own]
        block = np.empty((len(self.info.bands), *window.shape), self.info.dtype)
        for band, fill in zip(block, fills, strict=True):
            band[...] = fill
        real = np.zeros(block.shape, bool)
        rows, columns = axes(self.source.info, self.info, window)
        for strip in _parts(rows, len(block) * len(columns.weights) * window.shape[1]):
            high = strip.stop - strip.start
            for part in _parts(columns, len(block) * len(rows.weights) * high):
                means, there = self._means(rows.cut(strip), columns.cut(part))
                block[:, strip, part][there] = convert(means, block.dtype)[there]
                real[:, strip, part] = there
        for number, value in enumerate(own):
            nudge(block[number : number + 1], real[number], value)
        return block, np.asarray(real.all(axis=0))

    def _means(self, rows: Axis, columns: Axis) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        (y0, y1), (x0, x1) = rows.span(self.source.info.height), columns.span(self.source.info.width)
        block, valid = self.source.read(Window(y0, y1, x0, x1))
        real = real_elements(block, valid, self.source.info.nodata)
        values = np.where(real, block, 0).astype(np.float64)
        real = real[:1] if real.all() else real
        sums = columns.sums(rows.sums(values, y0, 1), x0, 2)
        shares = columns.sums(rows.sums(real.astype(np.float64), y0, 1), x0, 2)
        there = np.broadcast_to(shares > 0, sums.shape)
        return np.divide(sums, shares, out=np.zeros_like(sums), where=there), there
