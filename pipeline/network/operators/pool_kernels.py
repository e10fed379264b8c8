"""Largest value and sum over strided windows: rows of the output first, so that memory is read in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

F32 = NDArray[np.float32]
Windows = tuple[int, int, int, int]
"""Taps, stride, padding before and dilation along one axis."""


@jit
def reach(outs: int, stride: int, first: int, length: int) -> tuple[int, int]:
    """Outputs [low, high) whose input first + out·stride lies in [0, length)."""
    low = max(0, -(first // stride))
    high = min(outs, -((first - length) // stride))
    return low, max(low, high)


@jit
def largest(x: F32, out: F32, y_axis: Windows, x_axis: Windows) -> None:
    """Fill out (planes, rows, columns) with the largest of each window of x (planes, y, x); padding is never it."""
    (taps_y, step_y, before_y, gap_y), (taps_x, step_x, before_x, gap_x) = y_axis, x_axis
    height, width = x.shape[1:]
    for plane in range(x.shape[0]):
        for row in range(out.shape[1]):
            line = out[plane, row]
            line[:] = -np.inf
            for i in range(taps_y):
                y = row * step_y - before_y + i * gap_y
                if not 0 <= y < height:
                    continue
                source = x[plane, y]
                for j in range(taps_x):
                    first = j * gap_x - before_x
                    low, high = reach(line.shape[0], step_x, first, width)
                    for column in range(low, high):
                        value = source[first + column * step_x]
                        line[column] = value if value > line[column] else line[column]


@jit
def total(x: F32, out: F32, y_axis: Windows, x_axis: Windows) -> None:
    """Fill out (planes, rows, columns) with the sum of each window of x (planes, y, x); padding counts as 0."""
    (taps_y, step_y, before_y, gap_y), (taps_x, step_x, before_x, gap_x) = y_axis, x_axis
    height, width = x.shape[1:]
    for plane in range(x.shape[0]):
        for row in range(out.shape[1]):
            line = out[plane, row]
            line[:] = 0.0
            for i in range(taps_y):
                y = row * step_y - before_y + i * gap_y
                if not 0 <= y < height:
                    continue
                source = x[plane, y]
                for j in range(taps_x):
                    first = j * gap_x - before_x
                    low, high = reach(line.shape[0], step_x, first, width)
                    for column in range(low, high):
                        line[column] += source[first + column * step_x]
