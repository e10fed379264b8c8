"""Lifting steps of the CDF 9/7 wavelet on rows, and planes of hardly a column, which are turned so that rows are long.

Source: Daubechies and Sweldens (1998), section 7.7. Each value is made by the same operations whichever way a plane
lies in memory, so the bits are the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

F32 = NDArray[np.float32]

# The four lifting steps and the two scales, as float32 (docs/format.md lists them: they are part of the format).
ALPHA = np.float32(-1.586134342059924)
BETA = np.float32(-0.052980118572961)
GAMMA = np.float32(0.882911075530934)
DELTA = np.float32(0.443506852043971)
LOW = np.float32(1.1496043988602418)
HIGH = np.float32(0.8698644516247808)
UNLOW = np.float32(0.8698644516247808)
UNHIGH = np.float32(1.1496043988602418)
# Columns up to which a plane of many rows is turned.
NARROW = 16


# Rows are passed as an array and a number: slices of them would cost as much as what is done to them.


@jit
def add_rows(rows: F32, target: int, factor: np.float32, left: int, right: int, n: int) -> None:
    """rows[target] += factor·(rows[left] + rows[right])."""
    a, b, c = rows[target], rows[left], rows[right]
    for i in range(n):
        a[i] += factor * (b[i] + c[i])


@jit
def scale_row(source: F32, y: int, factor: np.float32, target: F32, to: int, n: int) -> None:
    a, b = source[y], target[to]
    for i in range(n):
        b[i] = factor * a[i]


# Its loops stand in line for the same reason; de-interleaving and scaling are done in passing.


@jit
def split_row(source: F32, y: int, rows: F32, to: int, n: int) -> None:
    """One row, de-interleaved and lifted."""
    row, half = source[y], (n + 1) // 2
    low, high = rows[to, :half], rows[to, half:n]
    if n == 1:
        low[0] = row[0]
        return
    h, m = n - half, min(n - half, half - 1)
    for i in range(m):
        low[i] = row[2 * i]
        high[i] = row[2 * i + 1] + ALPHA * (row[2 * i] + row[2 * i + 2])
    low[half - 1] = row[2 * half - 2]
    if m < h:
        high[m] = row[2 * m + 1] + ALPHA * (row[2 * m] + row[2 * m])
    low[0] += BETA * (high[0] + high[0])
    for i in range(h - 1):
        low[i + 1] += BETA * (high[i] + high[i + 1])
    if h < half:
        low[h] += BETA * (high[h - 1] + high[h - 1])
    for i in range(m):
        high[i] += GAMMA * (low[i] + low[i + 1])
    if m < h:
        high[m] += GAMMA * (low[m] + low[m])
    low[0] = LOW * (low[0] + DELTA * (high[0] + high[0]))
    for i in range(h - 1):
        low[i + 1] = LOW * (low[i + 1] + DELTA * (high[i] + high[i + 1]))
    if h < half:
        low[h] = LOW * (low[h] + DELTA * (high[h - 1] + high[h - 1]))
    for i in range(h):
        high[i] *= HIGH


@jit
def join_row(rows: F32, y: int, target: F32, to: int, n: int) -> None:
    """Undo `split_row`; leaves the row of `rows` half undone."""
    row, half = target[to], (n + 1) // 2
    low, high = rows[y, :half], rows[y, half:n]
    if n == 1:
        row[0] = low[0]
        return
    h, m = n - half, min(n - half, half - 1)
    for i in range(h):
        high[i] *= UNHIGH
    low[0] = UNLOW * low[0] + -DELTA * (high[0] + high[0])
    for i in range(h - 1):
        low[i + 1] = UNLOW * low[i + 1] + -DELTA * (high[i] + high[i + 1])
    if h < half:
        low[h] = UNLOW * low[h] + -DELTA * (high[h - 1] + high[h - 1])
    for i in range(m):
        high[i] += -GAMMA * (low[i] + low[i + 1])
    if m < h:
        high[m] += -GAMMA * (low[m] + low[m])
    low[0] += -BETA * (high[0] + high[0])
    for i in range(h - 1):
        low[i + 1] += -BETA * (high[i] + high[i + 1])
    if h < half:
        low[h] += -BETA * (high[h - 1] + high[h - 1])
    for i in range(m):
        row[2 * i] = low[i]
        row[2 * i + 1] = high[i] + -ALPHA * (low[i] + low[i + 1])
    row[2 * half - 2] = low[half - 1]
    if m < h:
        row[2 * m + 1] = high[m] + -ALPHA * (low[m] + low[m])


@jit
def is_narrow(height: int, width: int) -> bool:
    """Whether rows are so short, and so many, that to begin with each costs more than to turn the plane."""
    return width <= NARROW and height >= 4 * width


@jit
def forward_narrow(plane: F32, turned: F32, levels: int) -> None:
    """`wavelet.forward` of a plane (y, x), through its columns as rows; turned: (x, y) room."""
    h, w = plane.shape
    rows = np.empty((w, h), np.float32)
    for y in range(h):
        for x in range(w):
            turned[x, y] = plane[y, x]
    for _ in range(levels):
        lows, highs = (w + 1) // 2, w // 2
        for x in range(w):
            scale_row(turned, x, np.float32(1.0), rows, lows + x // 2 if x % 2 else x // 2, h)
        if highs:
            _lift(rows, lows, highs, ALPHA, BETA, h)
            _lift(rows, lows, highs, GAMMA, DELTA, h)
            for x in range(w):
                scale_row(rows, x, LOW if x < lows else HIGH, rows, x, h)
        for x in range(w):
            split_row(rows, x, turned, x, h)
        h, w = (h + 1) // 2, lows
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            plane[y, x] = turned[x, y]


@jit
def invert_narrow(plane: F32, turned: F32, levels: int) -> None:
    """Undo `forward_narrow`."""
    rows = np.empty(turned.shape, np.float32)
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            turned[x, y] = plane[y, x]
    for level in range(levels - 1, -1, -1):
        h, w = plane.shape
        for _ in range(level):
            h, w = (h + 1) // 2, (w + 1) // 2
        lows, highs = (w + 1) // 2, w // 2
        for x in range(w):
            join_row(turned, x, rows, x, h)
        if highs:
            for x in range(w):
                scale_row(rows, x, UNLOW if x < lows else UNHIGH, rows, x, h)
            _unlift(rows, lows, highs, -DELTA, -GAMMA, h)
            _unlift(rows, lows, highs, -BETA, -ALPHA, h)
        for x in range(w):
            scale_row(rows, lows + x // 2 if x % 2 else x // 2, np.float32(1.0), turned, x, h)
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            plane[y, x] = turned[x, y]


@jit
def _lift(rows: F32, lows: int, highs: int, high: np.float32, low: np.float32, n: int) -> None:
    """One step of the high rows, which stand behind the low ones, then one of these."""
    for i in range(highs):
        add_rows(rows, lows + i, high, i, min(i + 1, lows - 1), n)
    for i in range(lows):
        add_rows(rows, i, low, lows + max(i - 1, 0), lows + min(i, highs - 1), n)


@jit
def _unlift(rows: F32, lows: int, highs: int, low: np.float32, high: np.float32, n: int) -> None:
    """Undo `_lift`."""
    for i in range(lows):
        add_rows(rows, i, low, lows + max(i - 1, 0), lows + min(i, highs - 1), n)
    for i in range(highs):
        add_rows(rows, lows + i, high, i, min(i + 1, lows - 1), n)
