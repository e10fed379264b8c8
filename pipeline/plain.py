"""Arrays from outside, which are to be NumPy's own: their numbers are taken as they are."""

from __future__ import annotations

import numpy as np

from pipeline.untrusted import kind_of


def no_plain_array(value: object, axes: str) -> str | None:
    """What is wrong with a value that should be a NumPy array of these axes, and what to give; None where it is one.

    A masked array is not: its numbers would be taken without its mask.
    """
    if isinstance(value, np.ma.MaskedArray):
        return f"is a masked array, whose mask would be lost; give its `data` {axes}, `valid` where it is not masked"
    return None if isinstance(value, np.ndarray) else f"is {kind_of(value)}; give a NumPy array {axes}"
