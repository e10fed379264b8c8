"""A fill value that nobody declared: told, for it counts as data. A bound of --snr takes it for signal, and it drowns
the rest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.raster.scene import SceneInfo
from pipeline.untrusted import one_line

SOME = 16
"""Pixels of one value, at least: less may be a ship."""
FAR, FAR_OF_MOST, FAR_OF_USUAL = 10.0, 1.0, 0.1
"""Widths of all other values that a fill lies away from them; the largest of unsigned integers, which sensors that are
saturated give too, and what is usual may be nearer."""
_USUAL = (-9999.0, -99999.0, -999.0, -99.0, -32768.0, -32767.0)
_NO_DATA_BEYOND = 1e15
_EXACT = 2**53
"""Larger integers are no floats, as nodata is."""


class Ends(NamedTuple):
    """The least and the most of some values, how many are just that, and the values next to them; they add up."""

    seen: int = 0
    least: float = np.inf
    leasts: int = 0
    above: float = np.inf
    """the least value that is not the least"""
    most: float = -np.inf
    mosts: int = 0
    below: float = -np.inf
    """the most of those that are not the most"""

    def joined(self, other: Ends) -> Ends:
        """Of both."""
        least, most = min(self.least, other.least), max(self.most, other.most)
        both = (self, other)
        return Ends(
            self.seen + other.seen,
            least,
            sum(one.leasts for one in both if one.least == least),
            min((end for one in both for end in (one.least, one.above) if end > least), default=np.inf),
            most,
            sum(one.mosts for one in both if one.most == most),
            max((end for one in both for end in (one.most, one.below) if end < most), default=-np.inf),
        )


NO_ENDS = Ends()
"""Of no values."""
Pair = tuple[Ends, Ends]
NO_PAIR = (NO_ENDS, NO_ENDS)


def ends_of(band: NDArray[Any], valid: NDArray[np.bool_]) -> Ends:
    """The ends of a band (y, x), any real dtype, where valid (y, x); what is not finite is left out."""
    values = band[valid]
    if not values.size:
        return NO_ENDS
    least, most = values.min(), values.max()
    if values.dtype.kind == "f" and not (np.isfinite(least) and np.isfinite(most)):
        finite = np.isfinite(band)
        return ends_of(band, valid & finite) if finite.any() else NO_ENDS
    is_least, is_most = values == least, values == most
    rest = values[~(is_least | is_most)]
    above, below = (rest.min(), rest.max()) if rest.size else (most, least)
    # As Python's numbers, which hold every integer.
    within = (above.item(), below.item()) if least < most else (np.inf, -np.inf)
    leasts, mosts = int(np.count_nonzero(is_least)), int(np.count_nonzero(is_most))
    return Ends(values.size, least.item(), leasts, within[0], most.item(), mosts, within[1])


def pair_of(block: NDArray[Any], valid: NDArray[np.bool_]) -> Pair:
    """The ends of the first and of the last band of block (band, y, x): who fills a pixel fills all bands of a date."""
    first = ends_of(block[0], valid)
    return first, first if len(block) == 1 else ends_of(block[-1], valid)


def join(one: Pair, other: Pair) -> Pair:
    """The ends of both, band by band."""
    return one[0].joined(other[0]), one[1].joined(other[1])


def fill_text(info: SceneInfo, pair: Pair) -> str | None:
    """What is to be said of a scene of which these are the ends; None where no value looks like a fill."""
    found = ((band, fill_of(ends, np.dtype(info.dtype))) for band, ends in zip((0, -1), pair, strict=True))
    for band, fill in found:
        if fill is not None:
            value, low, high, share = (str(part).removesuffix(".0") for part in fill)
            remedy = (
                f"say --nodata={value}, or read.nodata in a workflow"
                if info.nodata is None
                else f"write them as {info.nodata:.9g} first: a scene has one nodata"
            )
            return one_line(
                f"{info.name}: {share} of the pixels read of {info.bands[band]} are {value}, all others {low} to "
                f"{high}, and no nodata sets them apart: they count as data; if they are none, {remedy}"
            )
    return None


def fill_of(ends: Ends, dtype: np.dtype[Any]) -> tuple[Any, Any, Any, str] | None:
    """A value that looks like a fill, the least and the most of all others, and its share; None without."""
    ways = (
        (ends.least, ends.leasts, ends.above, ends.most),
        (ends.most, ends.mosts, ends.least, ends.below),
    )
    for value, number, low, high in ways:
        gap, width = max(low - value, value - high), high - low
        if number < SOME or value == 0 or not 0 < width < np.inf or (dtype.kind in "iu" and abs(value) > _EXACT):
            continue
        if gap > _far(value, low, dtype) * width:
            percent = 100 * number / ends.seen
            share = f"{percent:.1f} %" if 0.1 <= percent <= 99.9 else "almost all" if percent > 1 else "less than 0.1 %"
            return dtype.type(value), dtype.type(low), dtype.type(high), share
    return None


def _far(value: float, low: float, dtype: np.dtype[Any]) -> float:
    """How many widths of all others, which begin at `low`, are far away from them for such a value."""
    if value in _USUAL or abs(value) > _NO_DATA_BEYOND or value < 0 <= low:
        return FAR_OF_USUAL
    unsigned = dtype.kind == "u" and value == np.iinfo(dtype).max
    return FAR_OF_MOST if unsigned else FAR
