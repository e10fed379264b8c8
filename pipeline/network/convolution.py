"""A convolution with all that may follow it, its weights prepared once: bias, sum with another map, both bounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm import conv2d

F32 = NDArray[np.float32]
Sides = tuple[int, int, int, int]


class Convolution:
    """min(max(conv(x) + bias + add, floor), ceiling) for x (C, H, W) float32, one image at a time."""

    def __init__(
        self,
        filters: F32,
        bias: F32 | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: Sides = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        floor: float = -np.inf,
        ceiling: float = np.inf,
    ) -> None:
        """filters (N, C/groups, kh, kw) float32, bias (N,); padding (top, left, bottom, right), by zeros."""
        self.filters, self.bias = filters, bias
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.floor, self.ceiling = floor, ceiling

    def __call__(self, x: F32, add: F32 | None = None, out: F32 | None = None) -> F32:
        """(N, Ho, Wo) float32, `out` where it is given. Raises BlockError for shapes that do not fit."""
        relu = add is None and self.floor == 0
        out = conv2d(
            x,
            self.filters,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            relu=relu,
            out=out,
        )
        if add is not None:
            np.add(out, add, out=out)
        if self.floor > -np.inf and not relu:
            np.maximum(out, np.float32(self.floor), out=out)
        if self.ceiling < np.inf:
            np.minimum(out, np.float32(self.ceiling), out=out)
        return out
