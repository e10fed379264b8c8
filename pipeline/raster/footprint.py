"""Where a scene lies on the globe: its outline in longitude and latitude, as GeoJSON (RFC 7946) has it.

The border of the pixels is walked and projected point by point, as densely as its longitudes ask for. Of a scene whose
border leaves the globe (the full disk of a geostationary satellite, a map of the world) it is drawn in to where the
globe ends. `globe` cuts the ring at the antimeridian.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pyproj
from numpy.typing import NDArray
from shapely import LineString
from shapely import Point as GeoPoint
from shapely.geometry import shape

from pipeline.errors import SourceError
from pipeline.raster.gdal import GDAL_ERRORS
from pipeline.raster.globe import AT_POLE, Point, on_globe, unwrapped
from pipeline.raster.placement import Placement
from pipeline.raster.scene import SceneInfo

Array = NDArray[np.float64]
_SIDE = 8  # straight edges of a projected scene bend on the globe
_BENT_SIDE = 32  # those between ground control points before
_STEP, _HALVINGS, _MOST = 20.0, 14, 4096
"""Longitudes of neighbours differ by no more degrees, or by a turn of the globe; halvings to find that; points."""
_INWARD = 14
"""Halvings between the middle and the border of a scene that is partly off the globe: 1/16384 is left."""
_LATTICE = 33
_WORLD = ((-180.0, -90.0), (180.0, -90.0), (180.0, 90.0), (-180.0, 90.0), (-180.0, -90.0))
"""Where the border says nothing: a world about other poles has a seam and no border."""
_BEND = 1e-5
"""Of the outline's extent: bends that are left out where points were put in to follow the longitudes."""


def footprint(info: SceneInfo) -> dict[str, Any] | None:
    """The outline as a Polygon, or a MultiPolygon across the antimeridian; None where the scene lies nowhere, or by
    RPCs alone, which need heights.
    """
    placement = _placed(info)
    if placement is None:
        return None
    try:
        border = _Border(placement, info.height, info.width)
        ring = border.ring()
    except (SourceError, *GDAL_ERRORS):  # points on one line; an engineering CRS, another planet's
        return None
    if ring is None:
        return None
    points = unwrapped(ring, poles=not border.straight)
    extent = max(lon for lon, _ in points) - min(lon for lon, _ in points)
    if len(ring) > 4 * _SIDE + 1:
        points = [(float(lon), float(lat)) for lon, lat in LineString(points).simplify(_BEND * extent).coords]
    geometry = on_globe(points)
    if geometry and extent > 90 and not border.straight and not border.has_middle_in(geometry):
        return {"type": "Polygon", "coordinates": [[list(point) for point in _WORLD]]}
    return geometry


def _placed(info: SceneInfo) -> Placement | None:
    geo = info.geo
    placement = Placement(geo)
    return placement if placement.crs_wkt and (geo.transform is not None or len(geo.gcps) >= 3) else None


class _Border:
    """The border of a scene on the globe; a place on it is a number of 0 ... 4, by sides, the left one first."""

    def __init__(self, placement: Placement, height: int, width: int) -> None:
        assert placement.crs_wkt is not None
        crs = pyproj.CRS.from_wkt(placement.crs_wkt)
        self._placement, self._size = placement, np.array([width, height], float)
        self._side = _BENT_SIDE if placement.by_points else _SIDE
        self._to_globe = pyproj.Transformer.from_crs(crs, pyproj.CRS.from_epsg(4326), always_xy=True)
        # Through the projection alone: a datum may have several ways to WGS 84, and PROJ may come back by another one.
        flat = crs.source_crs if crs.is_bound and crs.source_crs else crs
        flat = flat.sub_crs_list[0] if flat.is_compound else flat
        self._to_plane = pyproj.Transformer.from_crs(flat.geodetic_crs, flat, always_xy=True)
        with np.errstate(over="ignore", invalid="ignore"):
            (x, right, down), (y, right_y, down_y) = placement.to_world([0, width, 0], [0, 0, height])
            a, b, d, e = (right - x) / width, (down - x) / height, (right_y - y) / width, (down_y - y) / height
            self._mirrored = a * e - b * d > 0
        geographic = crs.is_geographic and not crs.is_derived
        self._highest = np.pi / 2 / crs.axis_info[0].unit_conversion_factor if geographic else np.inf
        self._period = placement.turn
        self._tolerance = max(abs(a) + abs(b) + abs(d) + abs(e), 1e-4 * (abs(a) * width + abs(b) * height))
        self.straight = geographic or self._is_cylinder()
        """Whether x is the longitude: edges are straight, a pole is a line, and x beyond a turn goes on."""
        self._centre: Array | None = None

    def ring(self) -> list[Point] | None:
        """(longitude, latitude), closed, its inside on the left; None where nothing of the scene is on the globe."""
        places = np.linspace(0, 4, 4 * self._side + 1)
        points = self._at(places)
        if points is None:
            return None
        for _ in range(0 if self.straight else _HALVINGS):
            turns, known = np.abs(np.diff(points[:, 0])), np.abs(points[:, 1]) < AT_POLE
            coarse = np.flatnonzero((turns > _STEP) & known[:-1] & known[1:])
            if not coarse.size or len(points) > _MOST:
                break
            between = (places[coarse] + places[coarse + 1]) / 2
            found = self._at(between)
            assert found is not None
            places, points = np.insert(places, coarse + 1, between), np.insert(points, coarse + 1, found, axis=0)
        ordered = points[::-1] if self._mirrored else points
        return [(float(lon), float(lat)) for lon, lat in ordered]

    def _at(self, places: Array) -> Array | None:
        """Longitude and latitude (n, 2) of places on the border, or between it and the middle where the globe ends."""
        side, along = places.astype(int) % 4, places % 1
        near, far = np.zeros_like(along), np.ones_like(along)
        columns = np.choose(side, [near, along, far, 1 - along])
        rows = np.choose(side, [along, far, 1 - along, near])
        pixels = np.stack([columns, rows], axis=1) * self._size
        points = self._project(pixels)
        off = np.isnan(points[:, 0])
        if not off.any():
            return points
        self._centre = self._middle() if self._centre is None else self._centre
        if self._centre is None:
            return None
        points[off] = self._drawn_in(pixels[off], self._centre)
        return points

    def _drawn_in(self, pixels: Array, centre: Array) -> Array:
        """The last points on the globe on the ways from the middle to the border."""
        inner, outer = np.zeros(len(pixels)), np.ones(len(pixels))
        points = np.repeat(self._project(centre[None]), len(pixels), axis=0)
        for _ in range(_INWARD):
            half = (inner + outer) / 2
            found = self._project(centre + half[:, None] * (pixels - centre))
            on = ~np.isnan(found[:, 0])
            points[on] = found[on]
            inner, outer = np.where(on, half, inner), np.where(on, outer, half)
        return points

    def _middle(self) -> Array | None:
        """The pixel amidst all that are on the globe."""
        steps = (np.arange(_LATTICE) + 0.5) / _LATTICE
        lattice = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2) * self._size
        there = lattice[~np.isnan(self._project(lattice)[:, 0])]
        if not there.size:
            return None
        return cast(Array, there[np.argmin(np.square(there - there.mean(axis=0)).sum(axis=1))])

    def has_middle_in(self, geometry: dict[str, Any]) -> bool:
        """Whether the middle of what is on the globe lies in a geometry."""
        middle = self._middle()
        return middle is not None and bool(shape(geometry).intersects(GeoPoint(*self._project(middle[None])[0])))

    def _project(self, pixels: Array) -> Array:
        """Longitude and latitude (n, 2) of (column, row); NaN off the globe, where projections come back elsewhere."""
        with np.errstate(over="ignore", invalid="ignore"):
            x, y = self._placement.to_world(pixels[:, 0], pixels[:, 1])
        lon, lat = self._to_globe.transform(x, np.clip(y, -self._highest, self._highest))
        points = np.stack([lon, np.clip(lat, -90, 90)], axis=1)
        points[~np.isfinite(points).all(axis=1)] = np.nan
        if not self.straight:
            back_x, back_y = self._to_plane.transform(*self._to_plane.transform(x, y, direction="INVERSE"))
            with np.errstate(invalid="ignore"):
                off_x = np.abs(back_x - x)
                off_x = np.minimum(off_x % self._period, -off_x % self._period)
                points[~(np.hypot(off_x, back_y - y) <= self._tolerance)] = np.nan
        return points

    def _is_cylinder(self) -> bool:
        lons = np.arange(-180.0, 180.0, 30.0)
        xs = [self._to_globe.transform(lons, np.full_like(lons, lat), direction="INVERSE")[0] for lat in (0.0, 40.0)]
        return bool(np.isfinite(xs).all() and np.ptp(xs[0]) > 0 and np.abs(xs[0] - xs[1]).max() < 1e-6 * np.ptp(xs[0]))
