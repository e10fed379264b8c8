"""Rings in longitude and latitude across the antimeridian and around the poles, as GeoJSON has them (RFC 7946).

A ring comes as points that a projection gives, each longitude in any turn of the globe: steps of less than half a turn
say how they go on. What leaves -180 ... 180 is cut there and moved back (section 3.1.9); boxes of what lies on both
sides have their west greater than their east (section 5.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from shapely import MultiPolygon, Polygon, box, make_valid, unary_union
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

Point = tuple[float, float]
AT_POLE = 90 - 1e-9
"""Latitude from which on a longitude means nothing."""
_UNTOLD, _DIGITS = 150.0, 7
_TINY = 1e-5
"""Degrees in which rounding may make a ring cross itself."""
_SLIVER = 1e-6
"""Of the area of the whole: what rounding leaves beyond the antimeridian."""


def unwrapped(ring: Sequence[Point], *, poles: bool) -> list[Point]:
    """The closed ring with longitudes that go on step by step, closed around the pole that lies inside.

    Args:
        ring: (longitude, latitude), degrees, closed, its inside on the left as seen from above the globe.
        poles: whether the ring may pass by or through a pole, and have it inside; else all latitudes are alike.
    """
    start = next((index for index, (_, lat) in enumerate(ring) if abs(lat) < AT_POLE), 0) if poles else 0
    (lon, lat), *others = [*ring[start:-1], *ring[:start], ring[start]]
    out, passed = [(lon if abs(lon) <= 180 else (lon + 180) % 360 - 180, lat)], 0.0
    for lon, lat in others:
        if poles and abs(lat) >= AT_POLE:
            passed = math.copysign(90.0, lat)
            continue
        last = out[-1][0]
        turn = (lon - last + 180) % 360 - 180
        if poles and (passed or abs(turn) > _UNTOLD):  # leave the pole outside, at the right hand
            turn = -((last - lon) % 360) if (passed or lat) > 0 else (lon - last) % 360
        if passed:
            out += [(last, passed), (last + turn, passed)]
        out.append((last + turn, lat))
        passed = 0.0
    net = out[-1][0] - out[0][0]
    return _around_pole(out[:-1], net) if poles and abs(net) > 180 else out


def _around_pole(ring: list[Point], turn: float) -> list[Point]:
    """The ring from its point nearest to the pole to the same a turn later, and up to the pole and down again."""
    pole = math.copysign(90.0, turn)
    start = max(range(len(ring)), key=lambda index: ring[index][1] * pole)
    first, *others = ring[start:] + [(lon + turn, lat) for lon, lat in ring[:start]]
    last = first[0] + turn
    return [first, *others, (last, first[1]), (last, pole), (first[0], pole), first]


def on_globe(ring: Sequence[Point]) -> dict[str, Any] | None:
    """A ring of `unwrapped` as a Polygon, or a MultiPolygon where it crosses the antimeridian; None of no area."""
    area = sum(p[0] * q[1] - q[0] * p[1] for p, q in pairwise(ring))
    if not area:
        return None
    ring = [(round(lon, _DIGITS), round(lat, _DIGITS)) for lon, lat in (ring if area > 0 else reversed(ring))]
    lons = [lon for lon, _ in ring]
    whole: BaseGeometry = Polygon(ring)
    small = max(lons) - min(lons) < _TINY
    if min(lons) >= -180 and max(lons) <= 180 and (small or whole.is_valid):
        return _geojson([ring])
    whole = whole if whole.is_valid else make_valid(whole)
    turns = range(math.floor((min(lons) + 180) / 360), math.floor((max(lons) + 180) / 360) + 1)
    parts = [whole & box(360 * turn - 180, -90, 360 * turn + 180, 90) for turn in turns]
    moved = [translate(part, -360 * turn) for turn, part in zip(turns, parts, strict=True)]
    least = _SLIVER * whole.area
    joined = _polygons(
        unary_union([part for one in moved for part in _polygons(one) if part.area > least], grid_size=10.0**-_DIGITS)
    )
    rings = [
        [(round(lon, _DIGITS), round(lat, _DIGITS)) for lon, lat in orient(part).exterior.coords] for part in joined
    ]
    return _geojson(rings) if rings else None


def bounding_box(geometry: dict[str, Any]) -> list[float]:
    """[west, south, east, north] of a Polygon or MultiPolygon; west is greater than east across the antimeridian."""
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    rings = [polygon[0] for polygon in polygons]
    lats = [point[1] for ring in rings for point in ring]
    spans = sorted((min(point[0] for point in ring), max(point[0] for point in ring)) for ring in rings)
    west, east = spans[0][0], max(span[1] for span in spans)
    widest, reached = west + 360 - east, spans[0][1]  # what lies outside of the box
    for start, stop in spans[1:]:
        if start - reached > widest:
            widest, west, east = start - reached, start, reached
        reached = max(reached, stop)
    return [west, min(lats), east, max(lats)]


class Extent:
    """The box around many boxes, gathered one by one in any order."""

    def __init__(self) -> None:
        self._west, self._east = math.inf, -math.inf
        self._south, self._north = math.inf, -math.inf
        self._pacific = math.inf, -math.inf  # the same from 0 to 360 degrees
        self._crosses = False

    def add(self, bounds: Sequence[float]) -> None:
        """Take [west, south, east, north], with west > east across the antimeridian."""
        west, south, east, north = bounds
        self._south, self._north = min(self._south, south), max(self._north, north)
        crosses = west > east
        self._crosses |= crosses
        self._west, self._east = (-180.0, 180.0) if crosses else (min(self._west, west), max(self._east, east))
        at_zero = (west <= 0 <= east) if not crosses else (west <= 0 or east >= 0)
        low, high = (0.0, 360.0) if at_zero else (west % 360, east % 360)
        self._pacific = min(self._pacific[0], low), max(self._pacific[1], high)

    def bounds(self) -> list[float] | None:
        """The least box around them all, across the antimeridian only where one of them is; None of no boxes."""
        if self._west > self._east:
            return None
        west, east = self._pacific
        if self._crosses and east - west < self._east - self._west and west < 180 < east:
            return [west, self._south, east - 360, self._north]
        return [self._west, self._south, self._east, self._north]


def _polygons(geometry: BaseGeometry) -> list[Polygon]:
    """The parts with an area, from west to east."""
    parts: Iterable[BaseGeometry] = getattr(geometry, "geoms", [geometry])
    flat = [one for part in parts for one in (part.geoms if isinstance(part, MultiPolygon) else [part])]
    return sorted((part for part in flat if isinstance(part, Polygon) and part.area), key=lambda part: part.bounds)


def _geojson(rings: Sequence[Sequence[Point]]) -> dict[str, Any]:
    parts = [[[list(point) for point in ring]] for ring in rings]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}
