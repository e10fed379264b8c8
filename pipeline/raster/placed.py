"""One file on another grid of the same CRS by nearest neighbour.

A pixel has the value of the source pixel that contains its centre; the one to the right and below on a tie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Window
from pipeline.raster.averaged import TIE
from pipeline.raster.geotiff import RasterSource
from pipeline.raster.scene import Affine6, SceneInfo


@dataclass(frozen=True)
class PlacedSource:
    """One file on the grid of `info`, by nearest neighbour."""

    source: RasterSource
    info: SceneInfo

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window of the grid: block (band, y, x), valid (y, x); invalid where the file has no pixel.

        Raises:
            SourceError: the pixels cannot be read.
        """
        target, own = transform_of(self.info), transform_of(self.source.info)
        rows = nearest(window.y0, window.y1, target[5], target[4], own[5], own[4])
        columns = nearest(window.x0, window.x1, target[2], target[0], own[2], own[0])
        ys, xs = inside(rows, self.source.info.height), inside(columns, self.source.info.width)
        fill = 0 if self.info.nodata is None else self.info.nodata
        block = np.full((len(self.info.bands), *window.shape), fill, self.info.dtype)
        valid = np.zeros(window.shape, bool)
        rows, columns = rows[ys], columns[xs]
        if rows.size and columns.size:
            y0, x0 = int(rows.min()), int(columns.min())
            part, real = self.source.read(Window(y0, int(rows.max()) + 1, x0, int(columns.max()) + 1))
            block[:, ys, xs] = part[:, rows - y0][:, :, columns - x0]
            valid[ys, xs] = real[rows - y0][:, columns - x0]
        return block, valid


def transform_of(info: SceneInfo) -> Affine6:
    assert info.geo.transform is not None, info.name
    return info.geo.transform


def nearest(start: int, stop: int, origin: float, step: float, own_origin: float, own_step: float) -> NDArray[np.intp]:
    """Along one axis: the source pixel that contains the centre of each grid pixel, wherever that is."""
    centres = origin + (np.arange(start, stop) + 0.5) * step
    return np.asarray(np.floor((centres - own_origin) / own_step + TIE), np.intp)


def inside(pixels: NDArray[np.intp], extent: int) -> slice:
    """The run of grid pixels whose source pixel exists."""
    there = np.flatnonzero((pixels >= 0) & (pixels < extent))
    return slice(int(there[0]), int(there[-1]) + 1) if there.size else slice(0, 0)


def reach(source: SceneInfo, grid: SceneInfo) -> tuple[slice, slice]:
    """Rows and columns of a grid that have a pixel of the source."""
    target, own = transform_of(grid), transform_of(source)
    rows = nearest(0, grid.height, target[5], target[4], own[5], own[4])
    columns = nearest(0, grid.width, target[2], target[0], own[2], own[0])
    return inside(rows, source.height), inside(columns, source.width)
