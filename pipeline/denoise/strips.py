"""Moments of the patches of whole rows from pairs of their pixels: what two pixels share hangs on how they stand apart.

Source: block Toeplitz covariances of stationary fields (Jain 1989, ch. 2). Along a row alone: down, the rows of a patch
are told apart, so that few rows of the block have to be read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.moments import Moments

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]

# Floats of the rows that are read at a time: they stay in the cache.
ROOM = 1 << 18
# Fewest pairs, for each column of the patch matrix, behind every entry.
LEAST_PAIRS = 2


def spread_rows(height: int, size: int, count: int, period: int, first: int) -> Index:
    """At most `count` first rows of patches of this size, evenly over a height, on a grid of period and first."""
    rows = np.arange(first, height - size + 1, period)
    count = min(count, len(rows))
    return rows[(2 * np.arange(count) + 1) * len(rows) // max(1, 2 * count)]


def strip_moments(
    planes: F32, size: int, rows: Index, trusted: Valid, period: int = 1, left: int = 0
) -> Moments | None:
    """Moments of the patches (d = plane·size²) of planes (plane, y, x) that begin in these rows (row,).

    Every pair of trusted (y, x) pixels of a row of patches teaches all entries of the covariance that have such a pair,
    about the mean of each plane. Patches begin at left + a multiple of period. They are counted as so many places,
    overlapping ones too. None where some entry has few pairs.
    """
    bands = len(planes)
    lags = _pairs(planes[:, :, left:], size, rows, trusted[:, left:], period)
    if lags is None:
        return None
    mean, by_lag, places = lags
    covariance = np.empty((bands, size, size, bands, size, size))
    for j in range(size):
        for k in range(j, size):
            part = by_lag[j % period, k - j].reshape(bands, size, bands, size)
            covariance[:, :, j, :, :, k] = part
            covariance[:, :, k, :, :, j] = part.transpose(2, 3, 0, 1)
    d = bands * size**2
    return Moments(places, np.repeat(mean, size**2), covariance.reshape(d, d) * places)


def _pairs(planes: F32, size: int, rows: Index, trusted: Valid, period: int) -> tuple[F64, F64, float] | None:
    """Mean (plane,); mean products (period, lag, plane·size, plane·size) of pixels so far apart along a row of patches,
    the first in each phase of the period; places of patches."""
    bands, _, width = planes.shape
    whole = bool(trusted.all())
    # Columns past the last, 0: no pair reaches into the next row.
    stride = -(-(width + size - 1) // period) * period
    step = max(1, ROOM // (bands * size * stride))
    seen = np.zeros((bands * size + size, len(rows[:step]), stride), np.float32)
    mean = _mean(planes, rows, trusted)
    total = np.zeros((period, size, bands * size, bands * size))
    pairs = np.zeros((period, size, size, size))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        room = seen[:, : len(some)]
        for i in range(size):
            real = trusted[some + i]
            room[bands * size + i, :, :width] = real
            lines = room[i : bands * size : size, :, :width]
            np.subtract(planes[:, some + i], mean[:, None, None].astype(np.float32), out=lines)
            if not whole:
                lines *= real
        flat = room.reshape(len(room), -1)
        for phase in range(period):
            for lag in range(size):
                here = flat[:, phase : flat.shape[1] - lag : period]
                there = flat[:, phase + lag :: period]
                here, there = here[:, : there.shape[1]], there[:, : here.shape[1]]
                total[phase, lag] += here[: bands * size] @ there[: bands * size].T
                pairs[phase, lag] += here[bands * size :] @ there[bands * size :].T
    if pairs.min() < LEAST_PAIRS * bands * size**2:
        return None
    total /= np.tile(pairs, (1, 1, bands, bands))
    return mean, total, float(pairs[0, size - 1].min())


def _mean(planes: F32, rows: Index, trusted: Valid) -> F64:
    """Mean (plane,) of the trusted pixels of these rows."""
    real = trusted[rows]
    count = max(1, int(np.count_nonzero(real)))
    return np.asarray(np.sum(planes[:, rows], axis=(1, 2), where=real, dtype=np.float64) / count)
