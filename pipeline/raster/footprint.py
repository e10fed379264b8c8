"""Where a scene lies on the globe: its outline in longitude and latitude, as GeoJSON (RFC 7946) has it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import from_gcps
from rasterio.warp import transform_geom

from pipeline.raster.gdal import GDAL_ERRORS, gdal_env
from pipeline.raster.scene import Affine6, SceneInfo

_SIDE = 8  # straight edges of a projected scene bend on the globe
Point = Sequence[float]


def footprint(info: SceneInfo) -> dict[str, Any] | None:
    """The outline as a Polygon, or a MultiPolygon across the antimeridian; None where the scene lies nowhere."""
    geo = info.geo
    if geo.transform is not None and geo.crs_wkt:
        transform, wkt = geo.transform, geo.crs_wkt
    elif len(geo.gcps) >= 3 and geo.gcps_crs_wkt:
        points = [GroundControlPoint(g.row, g.column, g.x, g.y, g.z) for g in geo.gcps]
        transform, wkt = cast(Affine6, tuple(from_gcps(points))[:6]), geo.gcps_crs_wkt
    else:
        return None
    a, b, c, d, e, f = transform
    ring = [(a * x + b * y + c, d * x + e * y + f) for x, y in _outline(info.height, info.width)]
    try:
        with gdal_env():
            outline = transform_geom(
                CRS.from_wkt(wkt), CRS.from_epsg(4326), {"type": "Polygon", "coordinates": [ring]}, precision=7
            )
    except GDAL_ERRORS:  # an engineering CRS, or a scene off the globe
        return None
    polygons = [outline["coordinates"]] if outline["type"] == "Polygon" else outline["coordinates"]
    if not all(math.isfinite(value) for polygon in polygons for part in polygon for point in part for value in point):
        return None
    oriented = [[_anticlockwise(part) for part in polygon[:1]] for polygon in polygons]
    if len(oriented) == 1:
        return {"type": "Polygon", "coordinates": oriented[0]}
    return {"type": "MultiPolygon", "coordinates": oriented}


def bounding_box(geometry: dict[str, Any]) -> list[float]:
    """[west, south, east, north]; west is greater than east across the antimeridian (RFC 7946, section 5.2)."""
    if geometry["type"] == "Polygon":
        parts = [geometry["coordinates"][0]]
    else:
        parts = [polygon[0] for polygon in geometry["coordinates"]]
    souths = [point[1] for part in parts for point in part]
    wests = [min(point[0] for point in part) for part in parts]
    easts = [max(point[0] for point in part) for part in parts]
    if len(parts) > 1 and max(easts) == 180 and min(wests) == -180:
        west = min(west for west in wests if west > 0)
        east = max(east for east in easts if east < 0)
        return [west, min(souths), east, max(souths)]
    return [min(wests), min(souths), max(easts), max(souths)]


def _outline(height: int, width: int) -> list[tuple[float, float]]:
    """(column, row) along the border, down the left side first, closed."""
    steps = [index / _SIDE for index in range(_SIDE)]
    left = [(0.0, height * step) for step in steps]
    bottom = [(width * step, float(height)) for step in steps]
    right = [(float(width), height * (1 - step)) for step in steps]
    top = [(width * (1 - step), 0.0) for step in steps]
    return [*left, *bottom, *right, *top, (0.0, 0.0)]


def _anticlockwise(ring: Sequence[Point]) -> list[list[float]]:
    """The ring with its inside on the left, by its signed area."""
    area = sum(p[0] * q[1] - q[0] * p[1] for p, q in pairwise(ring))
    return [list(point) for point in (ring if area >= 0 else reversed(ring))]
