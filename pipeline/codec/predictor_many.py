"""The predictor's least squares for blocks of many bands of few pixels each, where calls would cost more than sums.

The same equations as `predictor_fit` for one class, band after band in one loop: normal equations in float64, solved by
a Cholesky factor L D Lᵀ (Golub and Van Loan, 4.1), in which what others repeat has no share.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codec.predictor import BOTTOM, SIDE, TOP
from pipeline.jit import jit

Bool = NDArray[np.bool_]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]

NOTHING = 1e-13  # of a term's square: what rounding leaves of one that others repeat
HALF = 4  # samples to each side that tell how restless a place is


@jit
def fit_bands(
    reference: I32, real: Bool, taps: I64, counts: I64, taken: I64, step: int, repeats: I64
) -> tuple[F64, F64, F64]:
    """Coefficients (band, tap + 1), mean squared residual and summed variance of the terms, for each band.

    reference: `predictor.padded`, edges repeated; real: (1 or band, y, x); taps: `offsets_of`, of which band b has the
    first counts[b]; taken: `references`; repeats: of the model.
    """
    bands, terms = reference.shape[0], taps.shape[0]
    height, width = reference.shape[1] - TOP - BOTTOM, reference.shape[2] - 2 * SIDE
    C, errors, variances = np.zeros((bands, terms + 1)), np.ones(bands), np.zeros(bands)
    B, M = np.empty((height * width, terms + 2)), np.empty((terms + 2, terms + 2))
    known, weight, size, spread = np.empty((4, height * width))
    solution, before = np.empty(terms + 1), -1
    for band in range(bands):
        n = counts[band]
        m = _gather(reference, band, real[band % real.shape[0]], taps[:n], taken, repeats[band], B, known)
        total = known[:m].sum()
        if total == 0:
            spread[:m], before = 1.0, m
            continue
        if before != m:
            _solve(B[:m], known[:m], n, step, M, solution)
            _miss(B[:m], n, solution, size[:m])
            _spread(size[:m], spread[:m])
        floor = 0.3 * spread[:m].mean() + 0.1
        for i in range(m):
            weight[i] = known[i] / (spread[i] + floor) ** 2
        _solve(B[:m], weight[:m], n, step, M, solution)
        _miss(B[:m], n, solution, size[:m])
        _spread(size[:m], spread[:m])
        before, error = m, 0.0
        for i in range(m):
            error += known[i] * size[i] * size[i]
        errors[band], variances[band] = error / total, _variance(B[:m], n, taken)
        C[band, :n], C[band, terms] = solution[:n], solution[n]
        for j in range(n):
            if taken[j] != j:
                C[band, taken[j]] -= solution[j]
    return C, errors, variances


@jit
def _gather(reference: I32, band: int, real: Bool, taps: I64, taken: I64, repeat: I64, B: F64, known: F64) -> int:
    """B[i] = the terms of sample i, those that have one taken off it less that; 1; the sample. How many there are."""
    flat, n, m = reference.reshape(-1), taps.shape[0], 0
    _, rows, stride = reference.shape
    for y in range(real.shape[0]):
        if y and (y + repeat[1]) % repeat[0]:
            continue
        start = (band * rows + TOP + y) * stride + SIDE
        for x in range(real.shape[1]):
            if x and (x + repeat[2]) % repeat[0]:
                continue
            for j in range(n):
                B[m, j] = flat[start + x + taps[j]]
            for j in range(n - 1, -1, -1):
                if taken[j] != j:
                    B[m, j] -= B[m, taken[j]]
            B[m, n], B[m, n + 1], known[m] = 1.0, flat[start + x], real[y, x]
            m += 1
    return m


@jit
def _solve(B: F64, weight: F64, n: int, step: int, M: F64, solution: F64) -> None:
    """Weighted least squares of the last of n + 2 columns by those before, as if each had the noise of its step."""
    scale, total = 1.0 / weight.max(), 0.0
    M[: n + 2, : n + 2] = 0.0
    for i in range(B.shape[0]):
        w = weight[i] * scale
        total += w
        if w > 0.0:
            for j in range(n + 1):
                a = w * B[i, j]
                for k in range(n + 2):
                    M[j, k] += a * B[i, k]
    for j in range(n):
        M[j, j] += total * ((float(step) * float(step) - 1) / 12 + 1e-3)
    M[n, n] += total * 1e-6
    for j in range(n + 1):  # L below the diagonal, D on it, the right side turned along
        whole = M[j, j]
        for k in range(j):
            M[j, j] -= M[j, k] * M[j, k] * M[k, k]
            M[j, n + 1] -= M[j, k] * M[k, n + 1]
        gone = M[j, j] <= NOTHING * whole
        for i in range(j + 1, n + 1):
            value = M[j, i]
            for k in range(j):
                value -= M[i, k] * M[j, k] * M[k, k]
            M[i, j] = 0.0 if gone else value / M[j, j]
        if gone:
            M[j, j], M[j, n + 1] = 1.0, 0.0
    for j in range(n, -1, -1):
        value = M[j, n + 1] / M[j, j]
        for i in range(j + 1, n + 1):
            value -= M[i, j] * solution[i]
        solution[j] = value


@jit
def _miss(B: F64, n: int, solution: F64, size: F64) -> None:
    """size = |residual| of each sample."""
    for i in range(B.shape[0]):
        e = B[i, n + 1]
        for j in range(n + 1):
            e -= solution[j] * B[i, j]
        size[i] = np.abs(e)


@jit
def _spread(size: F64, spread: F64) -> None:
    """Mean over nine samples in a row."""
    m, total, low, high = size.shape[0], 0.0, 0, 0
    for i in range(m):
        while high < min(i + HALF + 1, m):
            total += size[high]
            high += 1
        while low < i - HALF:
            total -= size[low]
            low += 1
        spread[i] = max(total, 0.0) / (high - low)


@jit
def _variance(B: F64, n: int, taken: I64) -> float:
    """Sum of the variances of the terms, from every eighth sample."""
    out = 0.0
    for j in range(n):
        total, squares, count = 0.0, 0.0, 0
        for i in range(0, B.shape[0], 8):
            a = B[i, j] + (B[i, taken[j]] if taken[j] != j else 0.0)
            total, squares, count = total + a, squares + a * a, count + 1
        out += max(squares / count - (total / count) ** 2, 0.0)
    return out
