"""The cells of a feature map as geometries: their outlines or centres in the scene's CRS, as WKB, without a loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.raster.placement import Placement

F64 = NDArray[np.float64]
Index = NDArray[np.intp]

_POLYGON = np.dtype([("order", "u1"), ("type", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))])
_POINT = np.dtype([("order", "u1"), ("type", "<u4"), ("xy", "<f8", 2)])
_LITTLE_ENDIAN, _POINT_TYPE, _POLYGON_TYPE = 1, 1, 3


@dataclass(frozen=True)
class Cells:
    """Cells of stride x stride pixels over a scene of height x width; the last ones end at the scene's edge."""

    placement: Placement
    height: int
    width: int
    stride: int
    centres: bool = False
    """Points in the middle of the cells in place of their outlines."""

    @property
    def geometry_type(self) -> str:
        """GeoParquet's name of the geometries."""
        return "Point" if self.centres else "Polygon"

    def geometries(self, rows: Index, columns: Index) -> tuple[pa.Array, F64]:
        """Cells (row, column): n geometries as WKB, and their boxes (n, 4): xmin, ymin, xmax, ymax."""
        top, left = (index.astype(np.float64) * self.stride for index in (rows, columns))
        bottom: F64 = np.minimum(top + self.stride, self.height)
        right: F64 = np.minimum(left + self.stride, self.width)
        if self.centres:
            xy = np.stack(self.placement.to_world((left + right) / 2, (top + bottom) / 2), axis=1)
            xy[:, 0] += self.placement.homeward(xy[:, 0], xy[:, 0])
            return _wkb(_POINT, xy, type=_POINT_TYPE), np.concatenate([xy, xy], axis=1)
        ring = _counterclockwise(*self.placement.to_world(_corners(left, right, left), _corners(top, bottom, top, 1)))
        ring[..., 0] += self.placement.homeward(ring[..., 0].min(axis=1), ring[..., 0].max(axis=1))[:, None]
        boxes = np.concatenate([ring.min(axis=1), ring.max(axis=1)], axis=1)
        return _wkb(_POLYGON, ring, type=_POLYGON_TYPE, rings=1, points=5), boxes


def _corners(first: F64, second: F64, last: F64, shift: int = 0) -> F64:
    """One coordinate of the five corners of n rings: (n, 5); x by shift 0, y by shift 1."""
    x = (first, first, second, second, last)
    y = (first, second, second, first, last)
    return np.stack(y if shift else x, axis=1)


def _counterclockwise(x: F64, y: F64) -> F64:
    """Rings (n, 5, 2) of corners x, y (n, 5), those that run clockwise turned round (RFC 7946, GeoParquet)."""
    twice_area = (x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]).sum(axis=1)
    ring = np.stack([x, y], axis=2)
    return np.where((twice_area < 0)[:, None, None], ring[:, ::-1], ring)


def _wkb(layout: np.dtype[np.void], xy: F64, **head: int) -> pa.Array:
    """n geometries of one size, xy (n, ...), as an Arrow array of WKB: one buffer, offsets at even steps."""
    records = np.empty(len(xy), layout)
    records["order"], records["xy"] = _LITTLE_ENDIAN, xy
    for name, value in head.items():
        records[name] = value
    offsets = np.arange(len(xy) + 1, dtype=np.int32) * np.int32(layout.itemsize)
    return pa.Array.from_buffers(pa.binary(), len(xy), [None, pa.py_buffer(offsets), pa.py_buffer(records.tobytes())])
