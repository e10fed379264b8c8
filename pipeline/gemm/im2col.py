"""im2col and col2im: a (channel, y, x) array as a matrix of patch rows, and back.

The lowering of Chellapilla, Puri, Simard (2006), section 2:

    row (i, j), column (c, dy, dx)  =  x[c, ys[i] + dy·dilation, xs[j] + dx·dilation]

Only panels are ever made: the caller chooses which rows of patches (`ys`) one call lowers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

F32 = NDArray[np.float32]
Index = NDArray[np.intp]


def positions(length: int, size: int, stride: int) -> Index:
    """Starts of patches of `size` every `stride`, the last flush with the end: all of `length` is covered."""
    starts = np.arange(0, length - size + 1, stride, dtype=np.intp)
    if starts.size and starts[-1] != length - size:
        starts = np.append(starts, np.intp(length - size))
    return starts


def im2col(x: F32, ys: Index, xs: Index, kh: int, kw: int, dy: int = 1, dx: int = 1) -> F32:
    """Lower the patches that start at ys x xs: x (C, H, W) float32 -> (len(ys)·len(xs), C·kh·kw) float32."""
    panel = np.empty((len(ys) * len(xs), x.shape[0] * kh * kw), np.float32)
    _im2col(x, ys, xs, kh, kw, dy, dx, panel)
    return panel


@jit
def _im2col(x: F32, ys: Index, xs: Index, kh: int, kw: int, dy: int, dx: int, panel: F32) -> None:
    row = 0
    for y in ys:
        for x0 in xs:
            column = 0
            for c in range(x.shape[0]):
                for i in range(kh):
                    for j in range(kw):
                        panel[row, column] = x[c, y + i * dy, x0 + j * dx]
                        column += 1
            row += 1


@jit
def col2im(
    panel: F32, weights: F32, window: F32, ys: Index, xs: Index, kh: int, kw: int, total: F32, weight: F32
) -> None:
    """Add each patch row times its weight and the window to total (C, H, W), and those weights to weight (H, W).

    weights (patch,); window (kh·kw,) weighs the pixels of every patch. In place: the weighted average of overlapping
    patches is then total / weight.
    """
    row = 0
    shares = np.empty(kh * kw, np.float32)
    for y in ys:
        for x0 in xs:
            for i in range(kh * kw):
                shares[i] = weights[row] * window[i]
            column = 0
            for c in range(total.shape[0]):
                for i in range(kh):
                    for j in range(kw):
                        total[c, y + i, x0 + j] += shares[i * kw + j] * panel[row, column]
                        column += 1
            for i in range(kh):
                for j in range(kw):
                    weight[y + i, x0 + j] += shares[i * kw + j]
            row += 1
