"""The weights of a context: by least squares on the magnitudes themselves, where there are enough; else the usual ones.

Floats choose the weights; what is written, and all that decodes, are integers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codec.context import (
    ABOVE,
    CORNERS,
    KINDS,
    LEFT,
    MEAN,
    MOST_WEIGHT,
    SECOND,
    TERMS,
    UNIT,
    products,
)
from pipeline.codec.context_sums import LANES, rows_of, separate_row
from pipeline.jit import jit
from pipeline.svd.lanes import LINE, NARROW, add_gram

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]

# In 256ths, for each kind of subband: the mean of what least squares found on scenes of all sorts.
DEFAULT = np.array(
    [
        [21, 22, 1, 0, 0, 0, 33, 0, 33, 0, 0, 0, 148],
        [35, 28, 16, 13, 19, 7, 27, 6, 7, 0, 0, 0, 35],
        [26, 30, 14, 11, 16, 5, 23, 6, 4, 9, 8, 0, 28],
        [29, 29, 16, 10, 11, 5, 24, 4, 21, 8, 7, 8, 19],
        [29, 27, 14, 9, 32, 11, 31, 4, 28, 0, 0, 0, 21],
        [25, 25, 11, 7, 26, 8, 27, 3, 24, 12, 9, 0, 12],
        [20, 17, 12, 7, 16, 7, 28, 2, 17, 21, 12, 24, 5],
        [22, 20, 9, 7, 38, 10, 36, 4, 27, 0, 0, 0, 38],
        [18, 16, 10, 7, 24, 6, 40, 2, 31, 15, 9, 0, 24],
        [19, 17, 12, 7, 16, 4, 27, 1, 22, 22, 13, 26, 13],
        [20, 18, 10, 7, 23, 0, 38, 4, 37, 0, 0, 0, 92],
        [18, 18, 9, 5, 7, 0, 37, 2, 32, 17, 11, 0, 63],
        [9, 7, 5, 1, 8, 0, 35, 3, 23, 31, 13, 34, 50],
    ],
    np.int64,
)
# Magnitudes of a kind from which its own weights are worth their bytes.
ENOUGH = 4096
# Rows that are read: about so many magnitudes in all.
READ = 1 << 18
# Magnitudes that stand in one matrix: shorter ones cost more to begin and to end than to multiply.
TOGETHER = 512


def fit_weights(A: I32, boxes: I64, means: I64) -> I64:
    """Weights (KINDS, TERMS), 256ths, under which the terms foretell magnitudes A (plane, y, x) best."""
    every = max(1, A.size // READ)
    sums, counts = np.zeros((KINDS, NARROW * LINE)), np.zeros(KINDS, np.int64)
    _moments(A, boxes, means, every, sums, counts)
    weights = DEFAULT.copy()
    for kind in np.flatnonzero(counts * every >= ENOUGH):
        M = sums[kind].reshape(NARROW, LINE)
        found = _solve(M[:TERMS, :TERMS], M[:TERMS, TERMS], DEFAULT[kind] / 256)
        weights[kind] = np.clip(np.rint(256 * found), 0, MOST_WEIGHT)
    return weights


def _solve(M: F64, v: F64, usual: F64) -> F64:
    """Weights >= 0 that minimise the weighted squares, drawn a little to the usual ones."""
    R = np.diag(0.002 * np.diag(M) + 1e-6 * np.trace(M) + 20.0)
    left, right = M + R, v + R @ usual
    used, w = np.arange(TERMS), np.zeros(TERMS)
    for _ in range(TERMS):
        w[:] = 0
        w[used] = np.linalg.solve(left[np.ix_(used, used)], right[used])
        if (w >= 0).all():
            break
        used = np.flatnonzero(w > 0)
    return np.maximum(w, 0)


@jit
def _moments(A: I32, boxes: I64, means: I64, every: int, sums: F64, counts: I64) -> None:
    """Grams (KINDS, NARROW·LINE) of the weighed terms with the magnitude that they foretell, on every n-th row."""
    ones, w, n = np.full((KINDS, TERMS), 256, np.int64), np.empty(TERMS, np.int64), A.shape[2]
    separate, rows, pitch = np.empty(TERMS * (n + LANES), np.int32), rows_of(n), n + LANES
    flat = np.empty(max(n, TOGETHER) * (TERMS + 1), np.float32)
    for c in range(A.shape[0]):
        for k in range(boxes.shape[0]):
            y0, x0, x1, kind = boxes[k, 0], boxes[k, 2], boxes[k, 3], boxes[k, 8]
            if means[c, k] == 0 or x1 - x0 < 3:
                continue
            products(means, boxes, c, k, ones, w)
            least, used, more = np.float32(0.3 * w[MEAN] / UNIT + 0.2), 0, (x1 - x0 - 2) * (TERMS + 1)
            for y in range(y0 + (c % every), boxes[k, 1], every):
                if used + more > flat.shape[0]:
                    add_gram(flat[:used], TERMS + 1, flat, sums[kind])
                    used = 0
                separate_row(A, boxes, c, k, y, w, rows, separate, pitch)
                _weigh(separate.reshape(TERMS, pitch), A[c, y, x0:x1], least, flat[used : used + more])
                used += more
                counts[kind] += x1 - x0 - 2
            add_gram(flat[:used], TERMS + 1, flat, sums[kind])


@jit
def _weigh(rows: I32, magnitudes: I32, least: np.float32, out: F32) -> None:
    """out, TERMS + 1 for each magnitude but the first two: the terms and it, divided by about its spread."""
    for x in range(2, magnitudes.shape[0]):
        left, second = np.float32(magnitudes[x - 1]), np.float32(magnitudes[x - 2])
        size = left + (np.float32(rows[ABOVE, x]) + np.float32(0.5) * np.float32(rows[CORNERS, x])) / UNIT
        scale = np.float32(1.0) / (np.float32(0.15) * size + least)
        line = out[(x - 2) * (TERMS + 1) : (x - 1) * (TERMS + 1)]
        for i in range(TERMS):
            line[i] = np.float32(rows[i, x]) * (scale / UNIT)
        line[LEFT], line[TERMS] = left * scale, np.float32(magnitudes[x]) * scale
        line[SECOND] += second * scale
