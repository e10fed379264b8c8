"""Average pooling, separable, each window summed on its own in float64.

Running sums would be cheaper for large windows, but carry the rounding of everything they have left behind: here a
window's mean depends on its own pixels alone, bit for bit, wherever the block was cut out of the scene.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BlockError
from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def average_pool(x: F32, size: int, stride: int = 1) -> F32:
    """Mean over size x size windows every `stride` pixels: x (C, H, W) float32 -> (C, Ho, Wo) float32.

    Ho = (H - size) // stride + 1. Raises BlockError where a window does not fit.
    """
    if x.ndim != 3 or size < 1 or stride < 1 or size > min(x.shape[1:]):
        raise BlockError(f"cannot pool {x.shape} over {size} x {size} every {stride}: (C, H, W) of at least the window")
    height, width = ((length - size) // stride + 1 for length in x.shape[1:])
    means = np.empty((x.shape[0], height, width), np.float32)
    pool_into(np.ascontiguousarray(x, np.float32), size, stride, 1.0, -np.inf, means, 0, height)
    return means


@jit
def pool_into(x: F32, size: int, stride: int, sign: float, floor: float, means: F32, row: int, count: int) -> None:
    """Write the mean of max(sign·x, floor) over each window to rows [row, row + count) of means (C, Ho, Wo).

    The first row of windows starts at row 0 of x (C, H, W). floor -inf: a plain mean; floor 0: of the rectified x.
    """
    columns = np.empty(x.shape[2], np.float64)
    sums = np.empty(means.shape[2], np.float64)
    scale = 1.0 / (size * size)
    for c in range(x.shape[0]):
        for i in range(count):
            columns[:] = 0.0
            for t in range(size):
                _add_rectified(x[c, i * stride + t], np.float32(sign), np.float32(floor), columns)
            _sum_runs(columns, size, stride, sums)
            mean = means[c, row + i]
            for j in range(sums.size):
                mean[j] = sums[j] * scale


@jit
def _add_rectified(values: F32, sign: np.float32, floor: np.float32, sums: F64) -> None:
    for j in range(sums.size):
        value = sign * values[j]
        sums[j] += floor if value < floor else value


@jit
def _sum_runs(values: F64, size: int, stride: int, sums: F64) -> None:
    """sums[j] = values[j·stride] + ... + values[j·stride + size − 1], in the same order for every stride."""
    if stride > 1:
        for j in range(sums.size):
            total = 0.0
            for t in range(size):
                total += values[j * stride + t]
            sums[j] = total
        return
    sums[:] = 0.0
    for t in range(size):
        shifted = values[t:]
        for j in range(sums.size):
            sums[j] += shifted[j]
