"""Convolutions in which each channel is alone: nothing to multiply as matrices, so rows are summed tap by tap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit
from pipeline.network.operators.pool_kernels import reach

F32 = NDArray[np.float32]
Sides = tuple[int, int, int, int]


class Depthwise:
    """min(max(conv(x) + bias + add, floor), ceiling) with groups = C, for x (C, H, W) float32."""

    def __init__(
        self,
        filters: F32,
        bias: F32 | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: Sides = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        floor: float = -np.inf,
        ceiling: float = np.inf,
    ) -> None:
        """filters (N, 1, kh, kw) float32, N a multiple of C; padding (top, left, bottom, right), by zeros."""
        self.filters = np.ascontiguousarray(filters[:, 0])
        self.bias = np.zeros(len(filters), np.float32) if bias is None else np.asarray(bias, np.float32)
        self.y_axis, self.x_axis = ((stride[i], padding[i], dilation[i]) for i in range(2))
        self.bounds = np.float32(floor), np.float32(ceiling)

    def __call__(self, x: F32, add: F32 | None, out: F32) -> F32:
        """Fill out (N, Ho, Wo) float32, whose shape says how many windows there are."""
        none = np.empty((0, 0, 0), np.float32)
        added = none if add is None else np.ascontiguousarray(add)
        convolve(np.ascontiguousarray(x), self.filters, self.bias, added, out, self.y_axis, self.x_axis, self.bounds)
        return out


@jit
def convolve(
    x: F32,
    filters: F32,
    bias: F32,
    add: F32,
    out: F32,
    y_axis: tuple[int, int, int],
    x_axis: tuple[int, int, int],
    bounds: tuple[np.float32, np.float32],
) -> None:
    """A row of the output at a time, from filters (N, kh, kw); an empty `add` adds nothing."""
    (step_y, before_y, gap_y), (step_x, before_x, gap_x), (floor, ceiling) = y_axis, x_axis, bounds
    height, width = x.shape[1:]
    several = filters.shape[0] // x.shape[0]
    for n in range(filters.shape[0]):
        plane = x[n // several]
        for row in range(out.shape[1]):
            line = out[n, row]
            line[:] = bias[n]
            for i in range(filters.shape[1]):
                y = row * step_y - before_y + i * gap_y
                if not 0 <= y < height:
                    continue
                source = plane[y]
                for j in range(filters.shape[2]):
                    factor, first = filters[n, i, j], j * gap_x - before_x
                    low, high = reach(line.shape[0], step_x, first, width)
                    if step_x == 1:
                        for column in range(low, high):
                            line[column] += factor * source[first + column]
                    else:
                        for column in range(low, high):
                            line[column] += factor * source[first + column * step_x]
            if add.shape[0]:
                for column in range(line.shape[0]):
                    line[column] += add[n, row, column]
            for column in range(line.shape[0]):
                value = line[column]
                value = floor if value < floor else value
                line[column] = ceiling if value > ceiling else value
