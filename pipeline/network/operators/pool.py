"""Pools over (N, C, x) and (N, C, y, x)."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.errors import ModelError
from pipeline.network.operators.call import Array, Call, Operator
from pipeline.network.operators.window import Axis, windows
from pipeline.network.operators.window_kernels import largest, numbers, plain, room, summed
from pipeline.network.sizes import checked

FLAT = Axis(1, 1, 0, 0, 1, 1, 1)


def max_pool(call: Call, x: Array) -> Array | tuple[Array, Array]:
    """The largest value of each window, and where it lies in the whole input if that is asked for."""
    y_axis, x_axis, shape = _plane(call, x)
    planes = _planes(x)
    if call.outputs == 1 and x.dtype == np.float32:
        out = np.empty((len(planes), y_axis.out, x_axis.out), np.float32)
        largest(plain(planes), out, numbers(y_axis), numbers(x_axis), room(y_axis, x_axis))
        return out.reshape(shape)
    parts = _parts(planes, y_axis, x_axis, np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf)
    where = parts.argmax(axis=-1)
    values = np.take_along_axis(parts, where[..., None], axis=-1).reshape(shape)
    if call.outputs == 1:
        return values
    rows = np.arange(y_axis.out)[:, None] * y_axis.stride - y_axis.before + where // x_axis.taps * y_axis.dilation
    columns = np.arange(x_axis.out) * x_axis.stride - x_axis.before + where % x_axis.taps * x_axis.dilation
    by_column = call.attributes.get("storage_order")
    places = columns * y_axis.length + rows if by_column else rows * x_axis.length + columns
    start = np.arange(len(planes))[:, None, None] * (y_axis.length * x_axis.length)
    return values, (start + places).reshape(shape).astype(np.int64)


def average_pool(call: Call, x: Array) -> Array:
    """The mean of each window, of real pixels or, with count_include_pad, of all that padding makes."""
    if x.dtype != np.float32:
        raise ModelError(f"an input of {x.dtype}; float32 is supported")
    y_axis, x_axis, shape = _plane(call, x)
    planes = _planes(x)
    out = np.empty((len(planes), y_axis.out, x_axis.out), np.float32)
    summed(plain(planes), out, numbers(y_axis), numbers(x_axis), room(y_axis, x_axis))
    padded = bool(call.attributes.get("count_include_pad"))
    out /= _counted(y_axis, padded)[:, None] * _counted(x_axis, padded)
    return out.reshape(shape)


def _counted(axis: Axis, padded: bool) -> Array:
    """How many places of each window along an axis count, as float32."""
    places = np.arange(axis.out)[:, None] * axis.stride - axis.before + np.arange(axis.taps) * axis.dilation
    low, high = (-axis.before, axis.length + axis.after) if padded else (0, axis.length)
    return np.asarray(((places >= low) & (places < high)).sum(axis=1), np.float32)


def _plane(call: Call, x: Array) -> tuple[Axis, Axis, tuple[int, ...]]:
    """The windows along y and x, and the shape of the result; a 1-D input is a plane of one row."""
    kernel = call.attributes["kernel_shape"]
    if x.ndim not in (3, 4) or min(kernel, default=0) < 1 or 0 in x.shape:
        raise ModelError(f"a pool of {kernel[:8]} over {x.shape}; 1-D and 2-D ones are supported")
    axes = windows(call, kernel, x.shape[2:])
    shape = checked((*x.shape[:2], *(axis.out for axis in axes)), x.dtype)
    checked((*x.shape[:2], *(axis.before + axis.length + axis.after for axis in axes)), x.dtype)
    y_axis, x_axis = axes if len(axes) == 2 else (FLAT, axes[0])
    return y_axis, x_axis, shape


def _planes(x: Array) -> Array:
    shape = (x.shape[0] * x.shape[1], x.shape[2] if x.ndim == 4 else 1, x.shape[-1])
    return np.ascontiguousarray(x).reshape(shape)


def _parts(planes: Array, y_axis: Axis, x_axis: Axis, fill: float) -> Array:
    """All windows (planes, out y, out x, taps), padded with `fill`."""
    ends = [(axis.out - 1) * axis.stride + (axis.taps - 1) * axis.dilation + 1 for axis in (y_axis, x_axis)]
    after = [max(0, end - axis.before - axis.length) for end, axis in zip(ends, (y_axis, x_axis), strict=True)]
    checked((len(planes), y_axis.out, x_axis.out, y_axis.taps * x_axis.taps), planes.dtype)
    sides = [(0, 0), (y_axis.before, after[0]), (x_axis.before, after[1])]
    padded = np.pad(planes, sides, constant_values=fill)
    spread = ((y_axis.taps - 1) * y_axis.dilation + 1, (x_axis.taps - 1) * x_axis.dilation + 1)
    views = sliding_window_view(padded, spread, axis=(1, 2))
    views = views[:, :: y_axis.stride, :: x_axis.stride, :: y_axis.dilation, :: x_axis.dilation]
    return views[:, : y_axis.out, : x_axis.out].reshape(len(planes), y_axis.out, x_axis.out, -1)


def global_average(call: Call, x: Array) -> Array:
    """The mean over all axes after the channels."""
    return np.asarray(_over_pixels(x).mean(axis=-1)).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))


def global_max(call: Call, x: Array) -> Array:
    """The largest value over all axes after the channels."""
    return np.asarray(_over_pixels(x).max(axis=-1)).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))


def _over_pixels(x: Array) -> Array:
    if x.ndim < 3 or 0 in x.shape:
        raise ModelError(f"an input {x.shape} without pixels")
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


POOL: dict[str, Operator] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_max,
}
