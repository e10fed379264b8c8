"""How many pixels of a tile a mask takes out, and of a stack the mask of each date, where that is too many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Window
from pipeline.raster.dates import MaskedDates
from pipeline.raster.scene import Source

Bool = NDArray[np.bool_]


def masked_pixels(
    source: Source, window: Window, valid: Bool, clear: Bool | None, clouded: bool
) -> tuple[int, dict[int, int]]:
    """Valid pixels (y, x) of a window that are not clear; and, of clouded dates, how many of them each date takes out.

    Raises:
        SourceError: the mask of a date cannot be read.
    """
    masked = 0 if clear is None else int(np.count_nonzero(valid & ~clear))
    if not clouded or not isinstance(source, MaskedDates):
        return masked, {}
    each = (np.count_nonzero(valid & ~member.clear(window)) for member in source.members)
    return masked, {number: int(pixels) for number, pixels in enumerate(each)}
