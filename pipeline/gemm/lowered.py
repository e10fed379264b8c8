"""The lowering itself: convolution as a GEMM on panels of patch rows (Chellapilla, Puri, Simard 2006, made blockwise).

    out (n, m) = [filters | bias] (n, k + 1) · [panel ; 1] (k + 1, m)

A panel holds the patches of some output pixels, one patch in each column, so that one tap (dy, dx) of all channels is
a run of the input: lowering is a few strided copies, and BLAS does the rest. The last panel steps back instead of
being shorter, so that all the GEMMs of a call have one shape. It is the reference that the kernels are held against.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm.axes import Pair, Sides, axes_of, real
from pipeline.gemm.im2col import positions
from pipeline.gemm.panel import Axis
from pipeline.gemm.partition import FLOAT, L2_BYTES

F32 = NDArray[np.float32]

SHORTEST_PANEL, LONGEST_PANEL = 512, 4096


def conv2d_lowered(
    x: NDArray[Any],
    filters: NDArray[Any],
    bias: NDArray[Any] | None = None,
    *,
    stride: Pair = 1,
    padding: Sides = 0,
    dilation: Pair = 1,
    groups: int = 1,
    relu: bool = False,
) -> F32:
    """What `conv2d` computes, by BLAS on lowered panels: x (C, H, W), filters (N, C/groups, kh, kw) -> (N, Ho, Wo)."""
    x, filters = real(x, "x", 3), real(filters, "filters", 4)
    y_axis, x_axis = axes_of(x.shape, filters.shape, stride, padding, dilation, groups)
    flat = np.empty((filters.shape[0], y_axis.out * x_axis.out), np.float32)
    n, c = filters.shape[0] // groups, filters.shape[1]
    for g in range(groups):
        own = slice(g * n, (g + 1) * n)
        part = None if bias is None else np.asarray(bias, np.float32)[own]
        _convolve(x[g * c : (g + 1) * c], filters[own], part, y_axis, x_axis, relu, flat[own])
    return flat.reshape(-1, y_axis.out, x_axis.out)


def panel_rows(m: int, n: int, k: int, cache_bytes: int = L2_BYTES) -> int:
    """Pixels of a panel: cache / (bytes of one patch and one output), within what BLAS likes, at most m."""
    return min(m, max(SHORTEST_PANEL, min(LONGEST_PANEL, cache_bytes // (FLOAT * (k + n)))))


def reach(axis: Axis, tap: int, first: int, count: int) -> tuple[slice, slice]:
    """The part of outputs [first, first + count) whose tap `tap` is a real pixel, and those pixels."""
    start = first * axis.stride + tap * axis.dilation - axis.before
    low = min(count, max(0, -(start // axis.stride)))
    high = max(low, min(count, -((start - axis.length) // axis.stride)))
    origin = start + low * axis.stride
    return slice(low, high), slice(origin, origin + (high - low) * axis.stride, axis.stride)


def _convolve(x: F32, filters: F32, bias: F32 | None, y_axis: Axis, x_axis: Axis, relu: bool, flat: F32) -> None:
    """One group, panel by panel: lower, multiply into flat (n, Ho·Wo), rectify."""
    n, *cube = filters.shape
    weights = filters.reshape(n, -1)
    k = weights.shape[1]
    if bias is not None:
        weights = np.concatenate([weights, bias[:, None]], axis=1)
    rows, columns = _panel_shape(panel_rows(y_axis.out * x_axis.out, n, k), y_axis.out, x_axis.out)
    panel = np.empty((weights.shape[1], rows * columns), np.float32)
    panel[k:] = 1.0
    patches = panel[:k].reshape(*cube, rows, columns)
    for row in positions(y_axis.out, rows, rows):
        for column in positions(x_axis.out, columns, columns):
            _lower(x, patches, int(row), int(column), y_axis, x_axis)
            first = row * x_axis.out + column
            here = flat[:, first : first + rows * columns]
            np.matmul(weights, panel, out=here)
            if relu:
                np.maximum(here, 0.0, out=here)


def _lower(x: F32, patches: F32, row: int, column: int, y_axis: Axis, x_axis: Axis) -> None:
    """Fill patches (C, kh, kw, rows, columns) for the outputs from (row, column) on; zeros where padding is."""
    rows, columns = patches.shape[3:]
    for i in range(y_axis.taps):
        to_y, from_y = reach(y_axis, i, row, rows)
        for j in range(x_axis.taps):
            to_x, from_x = reach(x_axis, j, column, columns)
            tap = patches[:, i, j]
            if to_y != slice(0, rows) or to_x != slice(0, columns):
                tap[...] = 0.0
            if to_y.start < to_y.stop and to_x.start < to_x.stop:
                tap[:, to_y, to_x] = x[:, from_y, from_x]


def _panel_shape(cut: int, height: int, width: int) -> tuple[int, int]:
    """About `cut` output pixels that lie together in memory: whole rows, or an even part of one row."""
    if cut >= width:
        return min(height, cut // width), width
    return 1, -(-width // -(-width // cut))
