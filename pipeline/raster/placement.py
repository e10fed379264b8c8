"""Where pixels lie: from pixel coordinates to those of the CRS, and back.

Pixel coordinates count from the scene's upper left corner, x to the right, y down: pixel (row, column) covers
[column, column + 1) x [row, row + 1). A scene without any georeference lies where GDAL puts it: in pixel coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from rasterio.control import GroundControlPoint
from rasterio.transform import GCPTransformer

from pipeline.errors import SourceError
from pipeline.raster.gdal import GDAL_ERRORS, reason
from pipeline.raster.scene import Georeference

F64 = NDArray[np.float64]


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
    def crs_wkt(self) -> str | None:
        """CRS of the coordinates."""
        by_points = self.geo.transform is None and self.geo.gcps
        return self.geo.gcps_crs_wkt if by_points else self.geo.crs_wkt

    def to_world(self, x: ArrayLike, y: ArrayLike) -> tuple[F64, F64]:
        """Coordinates in the CRS of points (x, y) in pixels."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self.geo.transform is None and self.geo.gcps:
            return self._by_points(x, y, back=False)
        a, b, c, d, e, f = self.geo.transform or Affine.identity()[:6]
        return a * x + b * y + c, d * x + e * y + f

    def to_pixels(self, x: ArrayLike, y: ArrayLike) -> tuple[F64, F64]:
        """Points (x, y) in the CRS as pixel coordinates; NaN where a point has none."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self.geo.transform is None and self.geo.gcps:
            return self._by_points(x, y, back=True)
        a, b, c, d, e, f = (~Affine(*(self.geo.transform or Affine.identity()[:6])))[:6]
        return a * x + b * y + c, d * x + e * y + f

    def _by_points(self, x: F64, y: F64, back: bool) -> tuple[F64, F64]:
        """GDAL's polynomial through the ground control points, one way or the other."""
        points = [GroundControlPoint(g.row, g.column, g.x, g.y, g.z) for g in self.geo.gcps]
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
