"""Convolutions in which each channel is alone: nothing to multiply as matrices, so planes are summed tap by tap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.network.operators.window import Axis
from pipeline.network.operators.window_kernels import convolve, numbers, plain, room

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
        self.filters = plain(filters.reshape(len(filters), -1))
        self.taps = filters.shape[2:]
        self.bias = np.zeros(len(filters), np.float32) if bias is None else plain(bias)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.bounds = np.float32(floor), np.float32(ceiling)

    def __call__(self, x: F32, add: F32 | None, out: F32) -> F32:
        """Fill out (N, Ho, Wo) float32, whose shape says how many windows there are."""
        y_axis, x_axis = (
            Axis(
                self.taps[i],
                self.stride[i],
                self.padding[i],
                self.padding[2 + i],
                self.dilation[i],
                x.shape[1 + i],
                out.shape[1 + i],
            )
            for i in range(2)
        )
        added = np.empty((0, 0, 0), np.float32) if add is None else plain(add)
        axes = numbers(y_axis), numbers(x_axis)
        convolve(plain(x), self.filters, self.bias, added, out, *axes, self.bounds, room(y_axis, x_axis))
        return out
