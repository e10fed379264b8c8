"""im2col and col2im: a (channel, y, x) array as a matrix of patch rows, and back.

The lowering of Chellapilla, Puri, Simard (2006), section 2:

    row n, column (c, dy, dx)  =  x[c, ys[n] + dy, xs[n] + dx]

Only panels are ever made: the caller chooses which patches one call lowers.
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


def im2col(x: F32, ys: Index, xs: Index, size: int, room: F32 | None = None) -> F32:
    """Lower the patches of size² that start at ys, xs (patch,): x (C, H, W) float32 -> (patch, C·size²) float32.

    They come to stand in the first rows of `room` (…, C·size²), if one is given: fresh memory costs more than the copy.
    """
    panel = np.empty((len(ys), x.shape[0] * size * size), np.float32) if room is None else room[: len(ys)]
    _im2col(x, ys, xs, size, panel)
    return panel


# Indices without a sign: numba tests one with a sign for wrapping around, at every pixel.
@jit
def _im2col(x: F32, ys: Index, xs: Index, size: int, panel: F32) -> None:
    side = np.uintp(size)
    for row in range(len(ys)):
        y, x0, column = np.uintp(ys[row]), np.uintp(xs[row]), np.uintp(0)
        out = panel[row]
        for c in range(x.shape[0]):
            for i in range(side):
                line = x[c, y + i]
                # A loop of so few turns costs more than what it does.
                if side == 5:
                    out[column] = line[x0]
                    out[column + np.uintp(1)] = line[x0 + np.uintp(1)]
                    out[column + np.uintp(2)] = line[x0 + np.uintp(2)]
                    out[column + np.uintp(3)] = line[x0 + np.uintp(3)]
                    out[column + np.uintp(4)] = line[x0 + np.uintp(4)]
                else:
                    for j in range(side):
                        out[column + j] = line[x0 + j]
                column += side


@jit
def col2im(
    panel: F32, place: Index, weights: F32, window: F32, ys: Index, xs: Index, size: int, total: F32, weight: F32
) -> None:
    """Add each patch times its weight and the window to total (C, H, W), and those weights to weight (H, W).

    Patch n, which starts at ys[n], xs[n], is row place[n] of panel (patch, C·size²); weights (patch,); window (size²,)
    weighs the pixels of every patch. In place: the weighted average of overlapping patches is then total / weight.
    """
    side = np.uintp(size)
    shares = np.empty(size * size, np.float32)
    for n in range(len(ys)):
        y, x0, column = np.uintp(ys[n]), np.uintp(xs[n]), np.uintp(0)
        row = panel[place[n]]
        for i in range(size * size):
            shares[i] = weights[n] * window[i]
        for c in range(total.shape[0]):
            cell = np.uintp(0)
            for i in range(side):
                line = total[c, y + i]
                for j in range(side):
                    line[x0 + j] += shares[cell + j] * row[column + j]
                column += side
                cell += side
        cell = np.uintp(0)
        for i in range(side):
            line = weight[y + i]
            for j in range(side):
                line[x0 + j] += shares[cell + j]
            cell += side
