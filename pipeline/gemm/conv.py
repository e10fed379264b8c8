"""conv2d: convolution as a GEMM on panels of patch rows (Chellapilla, Puri, Simard 2006, made blockwise).

    out (n, m) = [filters | bias] (n, k + 1) · [panel ; 1] (k + 1, m)

A panel holds the patches of some output pixels, one patch in each column, so that one tap (dy, dx) of all channels is
a run of the input: lowering is a few strided copies. BLAS writes the product where it belongs, and the bias rides
along as one more column of the filters. The last panel steps back instead of being shorter, so that all the GEMMs of
a call have one shape.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BlockError
from pipeline.gemm.im2col import positions
from pipeline.gemm.partition import partition

F32 = NDArray[np.float32]
Pair = int | tuple[int, int]
Sides = int | tuple[int, int] | tuple[int, int, int, int]


class Axis(NamedTuple):
    """A convolution along one axis: taps, stride, padding before, dilation, lengths of input and output."""

    taps: int
    stride: int
    before: int
    dilation: int
    length: int
    out: int

    def reach(self, tap: int, first: int, count: int) -> tuple[slice, slice]:
        """The part of outputs [first, first + count) whose tap `tap` is a real pixel, and those pixels."""
        start = first * self.stride + tap * self.dilation - self.before
        low = min(count, max(0, -(start // self.stride)))
        high = max(low, min(count, -((start - self.length) // self.stride)))
        origin = start + low * self.stride
        return slice(low, high), slice(origin, origin + (high - low) * self.stride, self.stride)


def conv2d(
    x: NDArray[Any],
    filters: NDArray[Any],
    bias: NDArray[Any] | None = None,
    *,
    stride: Pair = 1,
    padding: Sides = 0,
    dilation: Pair = 1,
    groups: int = 1,
    relu: bool = False,
    out: F32 | None = None,
) -> F32:
    """Cross-correlate one array with a set of filters, as torch.nn.functional.conv2d does with one image.

    x (C, H, W) and filters (N, C/groups, kh, kw) are real and computed in float32; bias (N,). stride and dilation
    are an int or (y, x); padding, by zeros, an int, (y, x) or (top, left, bottom, right). Returns (N, Ho, Wo) float32:
    a new array, or `out` where it is given (each feature's rows one after the other). Memory: output + one panel.
    Raises BlockError for shapes that do not fit, groups that do not divide, filters larger than the padded input.
    """
    x, filters = _real(x, "x", 3), _real(filters, "filters", 4)
    _check_groups(x, filters, groups)
    y_axis, x_axis = _axes(x, filters, stride, padding, dilation)
    if bias is not None:
        bias = _real(bias, "bias", 1)
        if bias.shape != filters.shape[:1]:
            raise BlockError(f"bias must be ({filters.shape[0]},), one for each filter, got {bias.shape}")
    shape = (filters.shape[0], y_axis.out, x_axis.out)
    out = np.empty(shape, np.float32) if out is None else out
    flat = out.reshape(shape[0], -1) if out.shape == shape and out.dtype == np.float32 else None
    if flat is None or not np.may_share_memory(flat, out):
        raise BlockError(f"out must be {shape} float32 with contiguous rows, got {out.shape} {out.dtype}")
    convolve = _pointwise if _is_pointwise(y_axis) and _is_pointwise(x_axis) else _convolve
    n, c = shape[0] // groups, x.shape[0] // groups
    for g in range(groups):
        own = slice(g * n, (g + 1) * n)
        part = None if bias is None else bias[own]
        convolve(x[g * c : (g + 1) * c], filters[own], part, y_axis, x_axis, relu, flat[own])
    return out


def _convolve(x: F32, filters: F32, bias: F32 | None, y_axis: Axis, x_axis: Axis, relu: bool, flat: F32) -> None:
    """One group, panel by panel: lower, multiply into flat (n, Ho·Wo), rectify."""
    n, *cube = filters.shape
    weights = filters.reshape(n, -1)
    k = weights.shape[1]
    if bias is not None:
        weights = np.concatenate([weights, bias[:, None]], axis=1)
    cut = partition(y_axis.out * x_axis.out, n, k, taps=y_axis.taps * x_axis.taps).panel_rows
    rows, columns = _panel_shape(cut, y_axis.out, x_axis.out)
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


def _pointwise(x: F32, filters: F32, bias: F32 | None, y_axis: Axis, x_axis: Axis, relu: bool, flat: F32) -> None:
    """One group of 1 x 1 filters: the input is its own panel matrix, nothing is lowered."""
    n, k = filters.shape[:2]
    pixels, weights = x.reshape(k, -1), filters.reshape(n, k)
    rows = partition(pixels.shape[1], n, k).panel_rows
    for first in range(0, pixels.shape[1], rows):
        here = flat[:, first : first + rows]
        np.matmul(weights, pixels[:, first : first + rows], out=here)
        if bias is not None:
            np.add(here, bias[:, None], out=here)
        if relu:
            np.maximum(here, 0.0, out=here)


def _lower(x: F32, patches: F32, row: int, column: int, y_axis: Axis, x_axis: Axis) -> None:
    """Fill patches (C, kh, kw, rows, columns) for the outputs from (row, column) on; zeros where padding is."""
    rows, columns = patches.shape[3:]
    for i in range(y_axis.taps):
        to_y, from_y = y_axis.reach(i, row, rows)
        for j in range(x_axis.taps):
            to_x, from_x = x_axis.reach(j, column, columns)
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


def _is_pointwise(axis: Axis) -> bool:
    return axis.taps == axis.stride == 1 and axis.length == axis.out


def _axes(x: F32, filters: F32, stride: Pair, padding: Sides, dilation: Pair) -> tuple[Axis, Axis]:
    """The two axes of a convolution, checked."""
    sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
    top, left, bottom, right = sides * 2 if len(sides) == 2 else sides
    axes = []
    for place, name, before, after in ((0, "rows", top, bottom), (1, "columns", left, right)):
        step = stride if isinstance(stride, int) else stride[place]
        spread = dilation if isinstance(dilation, int) else dilation[place]
        length, taps = x.shape[1 + place], filters.shape[2 + place]
        if step < 1 or spread < 1 or before < 0 or after < 0:
            raise BlockError(
                f"stride and dilation must be at least 1 and padding at least 0, "
                f"got stride {step}, dilation {spread}, padding {before} and {after}"
            )
        room, extent = before + length + after, (taps - 1) * spread + 1
        if extent > room:
            raise BlockError(
                f"filters of {extent} {name} do not fit the input of {room} {name}, padding included; "
                f"pad more or take smaller filters"
            )
        axes.append(Axis(taps, step, before, spread, length, (room - extent) // step + 1))
    return axes[0], axes[1]


def _check_groups(x: F32, filters: F32, groups: int) -> None:
    n, c = filters.shape[:2]
    if groups < 1 or x.shape[0] % groups or n % groups:
        raise BlockError(f"groups={groups} does not divide {x.shape[0]} channels and {n} filters")
    if c * groups != x.shape[0]:
        raise BlockError(f"filters {filters.shape} with groups={groups} need {c * groups} channels, x has {x.shape[0]}")


def _real(array: NDArray[Any], name: str, ndim: int) -> F32:
    """Any real array of `ndim` axes, none empty, as float32."""
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" or array.ndim != ndim or 0 in array.shape:
        raise BlockError(f"{name} must be real, with {ndim} axes, none of them empty, got {array.dtype} {array.shape}")
    return array.astype(np.float32, copy=False)
