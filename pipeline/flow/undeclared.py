"""A fill value that nobody declared: told, for it counts as data. A bound of --snr takes it for signal, and it drowns
the rest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.raster.scene import SceneInfo

SOME = 16
"""Pixels of one value, at least: less may be a ship."""
FAR, FAR_OF_KNOWN = 10.0, 0.1
"""Widths of all other values that a fill lies away from them; what is a usual one may be nearer."""
_USUAL = (-9999.0, -99999.0, -999.0, 255.0, 65535.0, -32768.0, 32767.0)
_NO_DATA_BEYOND = 1e15


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


def ends_of(block: NDArray[Any], valid: NDArray[np.bool_]) -> Ends:
    """The ends of the first band of block (band, y, x) where valid (y, x): who fills a pixel fills all of its bands."""
    values = block[0][valid]
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not values.size:
        return NO_ENDS
    least, most = values.min(), values.max()
    is_least, is_most = values == least, values == most
    rest = values[~(is_least | is_most)]
    within = (float(rest.min()), float(rest.max())) if rest.size else (float(most), float(least))
    above, below = within if least < most else (np.inf, -np.inf)
    return Ends(values.size, float(least), int(is_least.sum()), above, float(most), int(is_most.sum()), below)


def fill_text(info: SceneInfo, ends: Ends) -> str | None:
    """What is to be said of a scene of which these are the ends; None where no value looks like a fill."""
    spread = {ends.least: (ends.above, ends.most), ends.most: (ends.least, ends.below)}
    for value, number in ((ends.least, ends.leasts), (ends.most, ends.mosts)):
        low, high = spread[value]
        gap, width = max(low - value, value - high), high - low
        known = value in _USUAL or abs(value) > _NO_DATA_BEYOND
        if number >= SOME and 0 < width < np.inf and gap > (FAR_OF_KNOWN if known else FAR) * width:
            text = str(np.dtype(info.dtype).type(value)).removesuffix(".0")
            nodata = "no nodata is declared" if info.nodata is None else f"nodata is {info.nodata:.9g}"
            return (
                f"{info.name}: {100 * number / ends.seen:.2g} % of the pixels of {info.bands[0]} are {text}, all "
                f"others {low:.4g} to {high:.4g}, and {nodata}: they count as data; if they are none, say "
                f"--nodata={text}, or read.nodata in a workflow"
            )
    return None
