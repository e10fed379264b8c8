"""Whether two georeferences put the same pixels in the same places, and how a warning names them."""

from __future__ import annotations

import numpy as np
from rasterio.crs import CRS

from pipeline.raster.scene import Affine6, Georeference

SAME_PLACE = 0.01
"""Of a pixel: what writers of the same grid round differently is far less."""


def same_crs(a: Georeference, b: Georeference) -> bool:
    """True where two CRS are one, in whatever words, and where neither has one."""
    one, other = a.crs_wkt, b.crs_wkt
    return one == other or (None not in (one, other) and CRS.from_wkt(one) == CRS.from_wkt(other))


def same_transform(a: Affine6 | None, b: Affine6 | None, height: int, width: int) -> bool:
    """True where B puts no corner of height x width pixels `SAME_PLACE` of a pixel from where A has it."""
    if a is None or b is None:
        return a is b
    corners = np.array([(x, y, 1.0) for x in (0, width) for y in (0, height)])
    matrix, other = (np.array(transform, np.float64).reshape(2, 3) for transform in (a, b))
    moved = corners @ (other - matrix).T
    size = min(np.hypot(matrix[0, 0], matrix[1, 0]), np.hypot(matrix[0, 1], matrix[1, 1]))
    return not size or float(np.hypot(*moved.T).max() / size) <= SAME_PLACE


def transform_words(transform: Affine6 | None) -> str:
    """A transform's six numbers, to ten digits."""
    return "none" if transform is None else ", ".join(f"{number:.10g}" for number in transform)


def crs_words(geo: Georeference) -> str:
    """A CRS in few words."""
    if geo.epsg:
        return f"EPSG:{geo.epsg}"
    return "none" if geo.crs_wkt is None else CRS.from_wkt(geo.crs_wkt).to_string()[:80]
