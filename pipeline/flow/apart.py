"""What two scenes say of themselves that makes it doubtful to compare their numbers, in warnings' words."""

from __future__ import annotations

import math

from pipeline.raster.same_place import crs_words, same_crs, same_transform, transform_words
from pipeline.raster.scene import SceneInfo, Source

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
    if None not in (one.crs_wkt, other.crs_wkt) and not same_crs(one, other):
        found.append(f"its CRS is {crs_words(other)}, that of {a.info.name} {crs_words(one)}")
    if not same_transform(one.transform, other.transform, a.info.height, a.info.width):
        got, was = transform_words(other.transform), transform_words(one.transform)
        found.append(f"its transform is {got}, that of {a.info.name} {was}")
    if not found:
        return None
    words = "; ".join(found)
    return (
        f"{b.info.name} lies elsewhere than {a.info.name}: {words}; pixels are compared by row and column all the same"
    )


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
