"""What two scenes say of themselves that makes it doubtful to compare their numbers, in warnings' words."""

from __future__ import annotations

import math

import numpy as np
from rasterio.crs import CRS

from pipeline.raster.scene import Affine6, Georeference, SceneInfo, Source

_SAME_PLACE = 0.01
"""Of a pixel."""
_SAME_UNIT = 1e-9
"""Of a scale or an offset."""


def differences(a: Source, b: Source) -> list[str]:
    """One line for each of place, units and order of bands in which B, of the shape of A, differs from A."""
    found = (apart(a, b), _units(a.info, b.info), _order(a.info, b.info))
    return [line for line in found if line is not None]


def apart(a: Source, b: Source) -> str | None:
    """What differs of where two scenes lie, in a warning's words; None where nothing does, or one does not say.

    Transforms that put no corner of A a hundredth of a pixel elsewhere are the same.
    """
    one, other = a.info.geo, b.info.geo
    if one.transform is None or other.transform is None:
        return None
    found = []
    wkts = one.crs_wkt, other.crs_wkt
    if None not in wkts and wkts[0] != wkts[1] and CRS.from_wkt(wkts[0]) != CRS.from_wkt(wkts[1]):
        found.append(f"its CRS is {_crs(other)}, that of {a.info.name} {_crs(one)}")
    if _shift(one.transform, other.transform, a.info.height, a.info.width) > _SAME_PLACE:
        got, was = (", ".join(f"{number:.10g}" for number in geo) for geo in (other.transform, one.transform))
        found.append(f"its transform is {got}, that of {a.info.name} {was}")
    if not found:
        return None
    words = "; ".join(found)
    return (
        f"{b.info.name} lies elsewhere than {a.info.name}: {words}; pixels are compared by row and column all the same"
    )


def _shift(a: Affine6, b: Affine6, height: int, width: int) -> float:
    """How far B puts the corners of height x width pixels from where A has them, at most, in pixels of A."""
    corners = np.array([(x, y, 1.0) for x in (0, width) for y in (0, height)])
    matrix, other = (np.array(transform, np.float64).reshape(2, 3) for transform in (a, b))
    moved = corners @ (other - matrix).T
    size = min(np.hypot(matrix[0, 0], matrix[1, 0]), np.hypot(matrix[0, 1], matrix[1, 1]))
    return float(np.hypot(*moved.T).max() / size) if size else 0.0


def _crs(geo: Georeference) -> str:
    return f"EPSG:{geo.epsg}" if geo.epsg else CRS.from_wkt(geo.crs_wkt).to_string()[:80]


def _units(a: SceneInfo, b: SceneInfo) -> str | None:
    """Bands whose stored numbers stand for others."""
    for what, was, got in (("scale", a.scales, b.scales), ("offset", a.offsets, b.offsets)):
        for name, one, other in zip(a.bands, was, got, strict=True):
            if one != other and not math.isclose(one, other, rel_tol=_SAME_UNIT):
                return (
                    f"{b.name} has other units than {a.name}: its {what} of {name} is {other:.9g}, that of {a.name} "
                    f"{one:.9g}; numbers are compared as they are stored all the same"
                )
    return None


def _order(a: SceneInfo, b: SceneInfo) -> str | None:
    """A band of A that B has at another place."""
    for place, name in enumerate(b.bands):
        if name in a.bands and a.bands[place] != name:
            return (
                f"{b.name} has its bands in another order than {a.name}: {name} is number {place + 1}, and "
                f"{a.bands.index(name) + 1} in {a.name}; bands are compared by number all the same"
            )
    return None
