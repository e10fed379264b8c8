"""Windows of each plane by itself: the largest value, and the sum.

A band of a plane is copied, with its padding, into one buffer for each place modulo the stride. There each tap of all
windows is one run of memory, gaps between rows included, so that a window costs a few long vector operations.
Inner loops index by unsigned numbers: Numba wraps an index that may be negative, and LLVM does not vectorise that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit
from pipeline.network.operators.window import Axis
from pipeline.network.sizes import checked

F32 = NDArray[np.float32]
Windows = tuple[int, int, int, int]
"""Taps, stride, padding before and dilation along one axis."""
At = tuple[int, int]
"""A plane, and a row of its windows."""
Shape = tuple[int, int, int]
"""Height and width of a plane, and the elements from one row of windows to the next."""

BAND_PIXELS = 2048


def numbers(axis: Axis) -> Windows:
    """What kernels need to know of an axis."""
    return axis.taps, axis.stride, axis.before, axis.dilation


class Room(NamedTuple):
    """What a kernel works in: one band of windows at a time."""

    places: F32
    """(stride y · stride x · rows · pitch,): the inputs, by their place modulo the stride."""
    taps: NDArray[np.int64]
    """(taps,): from which of the places on each tap of the windows lies."""
    band: F32
    """(rows · pitch,): the windows; what lies beyond the last of a row means nothing."""
    rows: int


def room(y_axis: Axis, x_axis: Axis) -> Room:
    """Room for about BAND_PIXELS windows, or for one row of them; bands are as even as can be."""
    pitch = x_axis.out + (x_axis.taps - 1) * x_axis.dilation // x_axis.stride
    rows = min(y_axis.out, max(1, BAND_PIXELS // pitch))
    rows = -(-y_axis.out // -(-y_axis.out // rows))
    own = (rows + (y_axis.taps - 1) * y_axis.dilation // y_axis.stride) * pitch
    places = checked([y_axis.stride * x_axis.stride * own], np.float32)
    checked((8, y_axis.taps, x_axis.taps), np.int64)
    at_y, at_x = (np.arange(axis.taps) * axis.dilation for axis in (y_axis, x_axis))
    rest = (at_y % y_axis.stride)[:, None] * x_axis.stride + at_x % x_axis.stride
    start = (at_y // y_axis.stride)[:, None] * pitch + at_x // x_axis.stride
    taps = (rest * own + start).ravel().astype(np.int64)
    return Room(np.empty(places, np.float32), taps, np.empty(rows * pitch, np.float32), rows)


def plain(array: NDArray[Any]) -> F32:
    """The array as float32 in one piece and writeable: kernels are compiled for one type of array alone."""
    array = np.ascontiguousarray(array, np.float32)
    return array if array.flags.writeable else array.copy()


@jit
def _reach(outs: int, stride: int, first: int, length: int) -> tuple[int, int]:
    """Outputs [low, high) whose input first + out·stride lies in [0, length)."""
    low = min(outs, max(0, -(first // stride)))
    return low, max(low, min(outs, -((first - length) // stride)))


@jit
def _fill(line: F32, at: int, count: int, value: np.float32) -> None:
    start = np.uint64(at)
    for k in range(np.uint64(count)):
        line[start + k] = value


@jit
def _copy(line: F32, at: int, source: F32, place: int, step: int, count: int) -> None:
    """count elements of the source, `step` apart."""
    start, first, stride = np.uint64(at), np.uint64(place), np.uint64(step)
    if step == 1:
        for k in range(np.uint64(count)):
            line[start + k] = source[first + k]
    elif step == 2:
        for k in range(np.uint64(count)):
            line[start + k] = source[first + np.uint64(2) * k]
    else:
        for k in range(np.uint64(count)):
            line[start + k] = source[first + stride * k]


@jit
def _raise(line: F32, source: F32, place: int, count: int) -> None:
    first = np.uint64(place)
    for k in range(np.uint64(count)):
        value = source[first + k]
        line[k] = value if value > line[k] or value != value else line[k]


@jit
def _add(line: F32, source: F32, place: int, count: int) -> None:
    first = np.uint64(place)
    for k in range(np.uint64(count)):
        line[k] += source[first + k]


@jit
def _spread(
    x: F32, at: At, shape: Shape, places: F32, y_axis: Windows, x_axis: Windows, fill: np.float32, padded: bool
) -> None:
    """Fill places for a plane's windows from an output row on: input (y, x) goes where its remainder says.

    `padded`: the padding is there already, from another plane's same band.
    """
    (_, step_y, before_y, _), (_, step_x, before_x, _), (plane, row) = y_axis, x_axis, at
    height, width, pitch = shape
    rows = places.size // (pitch * step_y * step_x)
    for rest_x in range(step_x):
        first = rest_x - before_x
        low, high = _reach(pitch, step_x, first, width)
        for rest_y in range(step_y):
            own = (rest_y * step_x + rest_x) * rows
            for r in range(rows):
                y = (row + r) * step_y + rest_y - before_y
                line = (own + r) * pitch
                if low < high and 0 <= y < height:
                    start = (plane * height + y) * width + first + low * step_x
                    _copy(places, line + low, x, start, step_x, high - low)
                    if not padded:
                        _fill(places, line, low, fill)
                        _fill(places, line + high, pitch - high, fill)
                elif not padded:
                    _fill(places, line, pitch, fill)


@jit
def largest(x: F32, out: F32, y_axis: Windows, x_axis: Windows, room: Room) -> None:
    """Fill out (planes, rows, columns) with the largest of each window of x (planes, y, x); NaN where one holds it."""
    places, taps, band, rows = room
    pitch, fill = band.size // rows, np.float32(-np.inf)
    planes, height, width = out.shape
    shape = (x.shape[1], x.shape[2], pitch)
    pixels, results = x.reshape(x.size), out.reshape(out.size)
    for plane in range(planes):
        for row in range(0, height, rows):
            count = min(rows, height - row)
            length = (count - 1) * pitch + width
            padded = plane > 0 and rows == height
            _spread(pixels, (plane, row), shape, places, y_axis, x_axis, fill, padded)
            _fill(band, 0, length, fill)
            for t in range(taps.size):
                _raise(band, places, taps[t], length)
            for r in range(count):
                _copy(results, (plane * height + row + r) * width, band, r * pitch, 1, width)


@jit
def summed(x: F32, out: F32, y_axis: Windows, x_axis: Windows, room: Room) -> None:
    """Fill out (planes, rows, columns) with the sum of each window of x (planes, y, x); padding counts as 0."""
    places, taps, band, rows = room
    pitch, zero = band.size // rows, np.float32(0.0)
    planes, height, width = out.shape
    shape = (x.shape[1], x.shape[2], pitch)
    pixels, results = x.reshape(x.size), out.reshape(out.size)
    for plane in range(planes):
        for row in range(0, height, rows):
            count = min(rows, height - row)
            length = (count - 1) * pitch + width
            padded = plane > 0 and rows == height
            _spread(pixels, (plane, row), shape, places, y_axis, x_axis, zero, padded)
            _fill(band, 0, length, zero)
            for t in range(taps.size):
                _add(band, places, taps[t], length)
            for r in range(count):
                _copy(results, (plane * height + row + r) * width, band, r * pitch, 1, width)
