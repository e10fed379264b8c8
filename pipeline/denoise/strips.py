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


def spread_rows(height: int, size: int, count: int) -> Index:
    """At most `count` first rows of patches of this size, evenly over a height."""
    most = height - size + 1
    count = min(count, most)
    return (2 * np.arange(count) + 1) * most // max(1, 2 * count)


def strip_moments(planes: F32, size: int, rows: Index, trusted: Valid) -> Moments | None:
    """Moments of the patches (d = plane·size²) of planes (plane, y, x) that begin in these rows (row,).

    Every pair of trusted (y, x) pixels of a row of patches teaches all entries of the covariance that have such a pair,
    about the mean of each plane. What counts are places of patches. None where some entry has few pairs.
    """
    bands, d = len(planes), len(planes) * size**2
    lags = _pairs(planes, size, rows, trusted)
    if lags is None:
        return None
    mean, by_lag, places = lags
    covariance = np.empty((bands, size, size, bands, size, size))
    for j in range(size):
        for k in range(j, size):
            part = by_lag[k - j].reshape(bands, size, bands, size)
            covariance[:, :, j, :, :, k] = part
            covariance[:, :, k, :, :, j] = part.transpose(2, 3, 0, 1)
    return Moments(places, np.repeat(mean, size**2), covariance.reshape(d, d) * places)


def _pairs(planes: F32, size: int, rows: Index, trusted: Valid) -> tuple[F64, F64, float] | None:
    """Mean (plane,); mean products (lag, plane·size, plane·size) of pixels so far apart along a row of patches; places
    of patches."""
    bands, _, width = planes.shape
    lines, whole = bands * size, bool(trusted.all())
    # Columns past the last, 0: no pair reaches into the next row.
    stride = width + size - 1
    step = max(1, ROOM // (lines * stride))
    seen = np.zeros((lines + size, len(rows[:step]), stride), np.float32)
    mean = _mean(planes, rows, trusted)
    total, pairs = np.zeros((size, lines, lines)), np.zeros((size, size, size))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        room = seen[:, : len(some)]
        for i in range(size):
            real = trusted[some + i]
            room[lines + i, :, :width] = real
            about = room[i:lines:size, :, :width]
            np.subtract(planes[:, some + i], mean[:, None, None].astype(np.float32), out=about)
            if not whole:
                about *= real
        flat = room.reshape(len(room), -1)
        for lag in range(size):
            here, there = flat[:, : flat.shape[1] - lag], flat[:, lag:]
            total[lag] += here[:lines] @ there[:lines].T
            pairs[lag] += here[lines:] @ there[lines:].T
    if pairs.min() < LEAST_PAIRS * bands * size**2:
        return None
    total /= np.tile(pairs, (1, bands, bands))
    return mean, total, float(pairs[size - 1].min())


def _mean(planes: F32, rows: Index, trusted: Valid) -> F64:
    """Mean (plane,) of the trusted pixels of these rows."""
    real = trusted[rows]
    count = max(1, int(np.count_nonzero(real)))
    return np.asarray(np.sum(planes[:, rows], axis=(1, 2), where=real, dtype=np.float64) / count)
