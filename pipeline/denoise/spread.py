"""Spread of details about 0 that edges and the steps of integers do not lead astray.

Source: a clipped variance from the quartiles, Huber (1964).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

QUARTILE = 0.674489750196082  # of a unit gaussian
# Where the squares of a spread are clipped, in its σ; E min(x², TAMED²) of a unit gaussian x; and the variance of the
# log of a variance so found from n cells, times n.
TAMED = 1.5
TAMED_SQUARE = 0.7784652
SPREAD_ERROR = 3.3


def spread(details: F32) -> F64:
    """σ of each row (band, cell), 0 of no cells: one step of a clipped variance (Huber 1964) from the quartiles.

    The quartiles bear edges and the steps of integers; the clipped variance has four fifths of their error.
    """
    if details.shape[1] == 0:
        return np.zeros(len(details))
    quartiles = np.empty(len(details))
    _all_mid_quartiles(np.sort(details, axis=1), quartiles)
    limit = (TAMED**2 * quartiles[:, None] ** 2).astype(np.float32)
    variance = np.minimum(np.square(details), limit).mean(axis=1, dtype=np.float64) / TAMED_SQUARE
    return np.asarray(np.sqrt(variance))


@jit
def _all_mid_quartiles(rows: F32, found: F64) -> None:
    """`_mid_quartiles` of each of rows (row, value), all in order, into found (row,)."""
    for n in range(len(rows)):
        found[n] = _mid_quartiles(rows[n])


@jit
def _mid_quartiles(row: F32) -> float:
    """Half the interquartile range of one row, in order, over that of a unit gaussian; ties share their rank."""
    return (_mid_quantile(row, 0.75) - _mid_quantile(row, 0.25)) / (2 * QUARTILE)


@jit
def _mid_quantile(row: F32, share: float) -> float:
    """Where the mid-ranks of the values of a row, in order, reach this share of it; a line between two of them."""
    rank = share * row.size
    value = row[int(rank)]
    first, end = np.searchsorted(row, value), np.searchsorted(row, value, side="right")
    middle = 0.5 * (first + end)
    if middle > rank and first > 0:
        other = row[first - 1]
        beside = 0.5 * (np.searchsorted(row, other) + first)
    elif middle < rank and end < row.size:
        other = row[end]
        beside = 0.5 * (end + np.searchsorted(row, other, side="right"))
    else:
        return float(value)
    return float(value) + float((rank - middle) / (beside - middle)) * (float(other) - float(value))
