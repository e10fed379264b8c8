"""The ends of what is read: the least and the most, how many they are, and the values next to them; they add up."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.flow.far import NO_FAR, Far


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


class Pair(NamedTuple):
    """The ends of the first and of the last band, how many pixels are 0 in both, and those of any band that outweigh
    all others of their tile; they add up."""

    first: Ends = NO_ENDS
    last: Ends = NO_ENDS
    zeros: int = 0
    far: Far = NO_FAR


NO_PAIR = Pair()


def ends_of(band: NDArray[Any], valid: NDArray[np.bool_]) -> Ends:
    """The ends of a band (y, x), any real dtype, where valid (y, x); what is not finite is left out."""
    values = band[valid]
    if not values.size:
        return NO_ENDS
    least, most = values.min(), values.max()
    if values.dtype.kind == "f" and not (np.isfinite(least) and np.isfinite(most)):
        return ends_of(band, valid & np.isfinite(band))
    is_least, is_most = values == least, values == most
    rest = values[~(is_least | is_most)]
    above, below = (rest.min(), rest.max()) if rest.size else (most, least)
    leasts, mosts = int(np.count_nonzero(is_least)), int(np.count_nonzero(is_most))
    # As Python's numbers, which hold every integer.
    if least == most:
        return Ends(values.size, least.item(), leasts, most=most.item(), mosts=mosts)
    return Ends(values.size, least.item(), leasts, above.item(), most.item(), mosts, below.item())


def pair_of(block: NDArray[Any], valid: NDArray[np.bool_], far: Far = NO_FAR) -> Pair:
    """Those of the first and of the last band of block (band, y, x): who fills a pixel fills all bands of a date.

    far: the pixels that outweigh all others, where an SNR is a bound.
    """
    first = ends_of(block[0], valid)
    if len(block) == 1:
        return Pair(first, first, far=far)
    zeros = np.count_nonzero((block[0] == 0) & (block[-1] == 0) & valid)
    return Pair(first, ends_of(block[-1], valid), int(zeros), far)


def join(one: Pair, other: Pair) -> Pair:
    """Those of both, band by band."""
    ends = one.first.joined(other.first), one.last.joined(other.last)
    return Pair(*ends, one.zeros + other.zeros, one.far.joined(other.far))
