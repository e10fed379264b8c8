"""Where pixels lie: from pixel coordinates to those of the CRS, and back.

Pixel coordinates count from the scene's upper left corner, x to the right, y down: pixel (row, column) covers
[column, column + 1) x [row, row + 1). A scene without any georeference lies where GDAL puts it: in pixel coordinates.

Longitudes come round: those of a scene go on step by step, beyond 180 where it lies across, and places are sought a
turn of the globe on where the scene counts them so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from rasterio.control import GroundControlPoint
from rasterio.transform import GCPTransformer

from pipeline.errors import SourceError
from pipeline.raster.gdal import GDAL_ERRORS, reason
from pipeline.raster.scene import Georeference

F64 = NDArray[np.float64]

_SIDE = 32  # edges between ground control points bend
_MOST_TURNS = 3
"""That a geometry is sought in: a grid that counts longitudes further is none of this globe."""


@dataclass(frozen=True)
class Placement:
    """A georeference that can place points: a transform, rotated or not, ground control points, or nothing."""

    geo: Georeference

    @classmethod
    def of(cls, geo: Georeference, name: str) -> Placement:
        """Raise SourceError, naming the scene `name`, where points cannot be placed: by RPCs alone, without heights."""
        if geo.transform is None and not geo.gcps and geo.rpcs is not None:
            raise SourceError(
                f"{name} is georeferenced by RPCs alone, which need heights; warp it first (gdalwarp -rpc), "
                f"or write .zarr or .tif"
            )
        return cls(geo)

    @property
    def by_points(self) -> bool:
        """Whether ground control points place the pixels: edges may bend."""
        return self.geo.transform is None and bool(self.geo.gcps)

    @property
    def crs_wkt(self) -> str | None:
        """CRS of the coordinates."""
        return self.geo.gcps_crs_wkt if self.by_points else self.geo.crs_wkt

    @cached_property
    def turn(self) -> float:
        """A turn of the globe in units of x, 360 of degrees; infinite where x is no longitude."""
        try:
            crs = pyproj.CRS.from_wkt(self.crs_wkt) if self.crs_wkt else None
        except pyproj.exceptions.CRSError:
            return math.inf
        if crs is None or not crs.is_geographic:
            return math.inf
        return round(2 * math.pi / crs.axis_info[0].unit_conversion_factor, 9)

    def to_world(self, x: ArrayLike, y: ArrayLike) -> tuple[F64, F64]:
        """Coordinates in the CRS of points (x, y) in pixels; longitudes go on beyond 180 where the scene does."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self.by_points:
            return self._polynomial(x, y, back=False)
        a, b, c, d, e, f = self.geo.transform or Affine.identity()[:6]
        return a * x + b * y + c, d * x + e * y + f

    def to_pixels(self, x: ArrayLike, y: ArrayLike) -> tuple[F64, F64]:
        """Points (x, y) in the CRS as pixel coordinates; longitudes as `to_world` has them (see `sought`)."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self.by_points:
            return self._polynomial(x, y, back=True)
        a, b, c, d, e, f = (~Affine(*(self.geo.transform or Affine.identity()[:6])))[:6]
        return a * x + b * y + c, d * x + e * y + f

    def bounds(self, height: int, width: int) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of height x width pixels in units of the CRS; longitudes as `to_world`'s."""
        if not self.by_points:
            return self.geo.bounds(height, width) or (0.0, 0.0, float(width), float(height))
        along = np.linspace(0, 1, _SIDE + 1)
        near, far = np.zeros_like(along), np.ones_like(along)
        x, y = self.to_world(
            width * np.concatenate([near, far, along, along]), height * np.concatenate([along, along, near, far])
        )
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())

    def resolution(self, height: int, width: int) -> tuple[float, float]:
        """(x, y) size of one of height x width pixels in units of the CRS; between points the median of some pixels."""
        if not self.by_points:
            return self.geo.resolution or (1.0, 1.0)
        x, y = np.meshgrid(*(np.linspace(0, length - 1, min(length, _SIDE)) for length in (width, height)))
        here, *others = (np.stack(self.to_world(x + dx, y + dy)) for dx, dy in ((0, 0), (1, 0), (0, 1)))
        across, down = (float(np.median(np.hypot(*(other - here)))) for other in others)
        return across, down

    def sought(self, shapes: NDArray[Any], height: int, width: int) -> NDArray[Any]:
        """Geometries (n,) in the CRS where the longitudes of height x width pixels are: whole turns of the globe on.

        What reaches the pixels in several turns becomes a collection of them all, but a point has one place. None
        stays None.
        """
        if not math.isfinite(self.turn):
            return shapes
        first, last = self._turns(shapes, height, width)
        out = np.array(shapes, dtype=object)
        one = (first == last) & (first != 0)
        out[one] = moved(out[one], self.turn * first[one])
        for number in np.flatnonzero(last > first):
            turns = np.arange(first[number], last[number] + 1)
            copies = moved(np.array([shapes[number]] * len(turns), dtype=object), self.turn * turns)
            out[number] = shapely.GeometryCollection(list(copies))
        return out

    def _turns(self, shapes: NDArray[Any], height: int, width: int) -> tuple[F64, F64]:
        """The first and the last turn (n,) in which geometries reach the pixels; last < first or NaN where none is."""
        west, _, east, _ = self.bounds(height, width)
        low, _, high, _ = shapely.bounds(shapes).T
        with np.errstate(over="ignore", invalid="ignore"):
            first, last = np.ceil((west - high) / self.turn), np.floor((east - low) / self.turn)
            before = np.ceil((east - low) / self.turn) - 1  # the last pixel ends before the scene's edge
        several = last > first
        single = several & (shapely.get_type_id(shapes) == shapely.GeometryType.POINT)
        absurd = several & (last - first >= _MOST_TURNS)
        nearest = np.clip(0, first, np.maximum(before, first))
        around = np.maximum(first, np.minimum(-1, last - _MOST_TURNS + 1))
        first, last = np.where(absurd, around, first), np.where(absurd, around + _MOST_TURNS - 1, last)
        return np.where(single, nearest, first), np.where(single, nearest, last)

    def homeward(self, west: F64, east: F64) -> F64:
        """What to add to x of geometries (n,) that reach from west to east, as `to_world` has them: whole turns that
        bring their middle within half a turn of 0 where ground control points have longitudes of two turns.
        """
        if not self._unwrapped:
            return np.zeros_like(west)
        return -self.turn * np.floor((west + east) / (2 * self.turn) + 0.5)

    @cached_property
    def _longitudes(self) -> F64:
        """x of the ground control points, in one turn: those that lie on both sides of 180 degrees are not 360 apart.

        That is so where all of them lie in less than half a turn once those west of the widest gap go on beyond it. The
        edges of a world would lie upon each other then: they stay.
        """
        x = np.array([point.x for point in self.geo.gcps])
        ordered = np.sort(x)
        gaps = np.diff(ordered)
        if not len(gaps) or not gaps.max() > self.turn / 2:
            return x
        widest = int(np.argmax(gaps))
        found: F64 = np.where(x > ordered[widest], x, x + self.turn)
        return found if 0 < np.ptp(found) < self.turn / 2 else x

    @property
    def _unwrapped(self) -> bool:
        return self.by_points and any(point.x != x for point, x in zip(self.geo.gcps, self._longitudes, strict=True))

    def _polynomial(self, x: F64, y: F64, back: bool) -> tuple[F64, F64]:
        """GDAL's polynomial through the ground control points, one way or the other."""
        lons = self._longitudes.tolist()
        points = [
            GroundControlPoint(g.row, g.column, lon, g.y, g.z) for g, lon in zip(self.geo.gcps, lons, strict=True)
        ]
        try:
            with GCPTransformer(points) as transformer:
                if back:
                    rows, columns = transformer.rowcol(x.ravel(), y.ravel(), op=np.positive)
                    found = columns, rows
                else:
                    found = transformer.xy(y.ravel(), x.ravel(), offset="ul")
        except GDAL_ERRORS as error:
            raise SourceError(f"the ground control points give no place to every point: {reason(error)}") from error
        xs, ys = (np.asarray(values, np.float64).reshape(x.shape) for values in found)
        return xs, ys


def moved(shapes: NDArray[Any], by: F64) -> NDArray[Any]:
    """Geometries (n,) of two dimensions, each further along x by its own of (n,) numbers."""
    xy = shapely.get_coordinates(shapes)
    xy[:, 0] += np.repeat(by, shapely.get_num_coordinates(shapes))
    out: NDArray[Any] = shapely.set_coordinates(np.array(shapes, dtype=object), xy)
    return out
