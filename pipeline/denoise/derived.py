"""Bands that others tell all but exactly: a mean, a sum, the same band twice. They say nothing of the others' noise.

Source: variance inflation, the diagonal of the inverse of the correlation matrix (Marquardt 1970), which finds the
bands; what is done with them is our own: docs/algorithms.md, "The noise of each band".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]

# Share of a band's own spread that the others leave of a derived one, at most: of a mean in floats nothing, of one
# rounded to whole numbers a little; real scenes without noise added leave .04 and more.
DERIVED = 0.03
# Of so many bands one at most may be derived: where more are, it is a scene of few planes without noise.
FEW = 3
# Bands told as well as the best told but for this share are told as well: the last of them is the derived one.
AS_WELL = 0.99
RIDGE = 1e-6


class Relations(NamedTuple):
    """How bands hang together."""

    correlation: F64
    """(band, band)"""
    scale: F64
    """(band,) root mean square."""


def relations(x: F32, limit: F32) -> Relations:
    """Of details x (band, cell), where none is beyond limit (band, 1): clipped, a sum is none any more."""
    calm = x[:, (np.abs(x) <= limit).all(axis=0)].astype(np.float64)
    scale = np.sqrt(np.mean(np.square(calm), axis=1)) if calm.size else np.zeros(len(x))
    if calm.shape[1] < 4 * len(x) or not (scale > 0).all():  # nothing is told: as if there were no relation
        return Relations(np.eye(len(x)), scale)
    return Relations(calm @ calm.T / calm.shape[1] / np.outer(scale, scale) + RIDGE * np.eye(len(x)), scale)


def independent(told: Relations, alone: F64) -> Index:
    """Bands that remain, in order, once the derived are left out, one by one, that which is told best first; all where
    too many would go. alone: the spread (band,) of each by itself."""
    bands = len(alone)
    kept = np.arange(bands)
    while True:
        inflation = np.diag(np.linalg.inv(told.correlation[np.ix_(kept, kept)]))
        if (told.scale[kept] >= DERIVED * alone[kept] * np.sqrt(inflation)).all():
            return kept
        if bands - kept.size >= bands // FEW:
            return np.arange(bands)
        kept = np.delete(kept, np.flatnonzero(inflation >= AS_WELL * inflation.max())[-1])


def derived_noise(told: Relations, kept: Index, sigma: F64) -> F64:
    """σ (band,) of all bands, from that of the kept ones (kept,): what the linear relations make of their noise, and
    what they leave."""
    R, scale = told
    found = np.zeros(len(scale))
    found[kept] = sigma
    derived = np.setdiff1d(np.arange(len(scale)), kept)
    weights = np.linalg.solve(R[np.ix_(kept, kept)], R[np.ix_(kept, derived)])
    left = np.maximum(1 - np.sum(weights * R[np.ix_(kept, derived)], axis=0), 0)
    found[derived] = scale[derived] * np.sqrt(np.square(weights.T) @ np.square(sigma / scale[kept]) + left)
    return found
