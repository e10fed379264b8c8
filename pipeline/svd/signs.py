"""One rule for the signs of singular vectors, so that equal matrices give equal factors.

Source: Bro, Acar, Kolda (2008) state the problem; the rule here is the plain one:
the largest entry is positive.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]


def row_signs(Vt: Matrix) -> Matrix:
    """Signs (k,), 1 or -1 in Vt's dtype, that make the first largest |entry| of each row positive."""
    if Vt.size == 0:
        return np.ones(Vt.shape[0], Vt.dtype)
    peak = Vt[np.arange(len(Vt)), np.argmax(np.abs(Vt), axis=1)]
    return np.where(peak < 0, -1.0, 1.0).astype(Vt.dtype)
