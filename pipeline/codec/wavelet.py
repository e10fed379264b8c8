"""The CDF 9/7 wavelet by lifting: Daubechies and Sweldens (1998), section 7.7; symmetric borders as in JPEG 2000.

Plain IEEE float32 in a fixed order, never contracted: the inverse gives the same bits on every CPU. Low and high
bands are scaled by √2/K and K/√2, which makes the basis nearly orthonormal, so one step suits every subband.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.codec.kernels import dequantise
from pipeline.jit import jit

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

MAX_LEVELS = 5

# The four lifting steps and the two scales, as float32 (docs/format.md lists them: they are part of the format).
ALPHA = np.float32(-1.586134342059924)
BETA = np.float32(-0.052980118572961)
GAMMA = np.float32(0.882911075530934)
DELTA = np.float32(0.443506852043971)
LOW = np.float32(1.1496043988602418)
HIGH = np.float32(0.8698644516247808)
UNLOW = np.float32(0.8698644516247808)
UNHIGH = np.float32(1.1496043988602418)

# Squared norm of one coefficient of the low and the high band after 1 to 5 levels, in one dimension: the error it adds.
LOW_NORMS = (0.9830, 1.0306, 1.0521, 1.0585, 1.0602)
HIGH_NORMS = (1.0404, 0.9672, 1.0396, 1.0751, 1.0858)


def levels_for(height: int, width: int) -> int:
    """Levels worth taking on a height x width plane: 5 from 256 pixels on, 1 at 16, none below."""
    return max(0, min(MAX_LEVELS, max(height, width).bit_length() - 4))


def subbands(height: int, width: int, levels: int) -> Iterator[tuple[slice, slice]]:
    """Index of each subband in a transformed (y, x) plane: the low corner, then coarse to fine, each row-major."""
    sizes = [(height, width)]
    for _ in range(levels):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    low_height, low_width = sizes[-1]
    yield slice(0, low_height), slice(0, low_width)
    for level in range(levels, 0, -1):
        (h, w), (half_h, half_w) = sizes[level - 1], sizes[level]
        yield slice(0, half_h), slice(half_w, w)
        yield slice(half_h, h), slice(0, half_w)
        yield slice(half_h, h), slice(half_w, w)


def norms(levels: int) -> list[float]:
    """Squared norm of the synthesis function of each of the `subbands`, in their order, away from the borders."""
    result = [LOW_NORMS[levels - 1] ** 2 if levels else 1.0]
    for level in range(levels, 0, -1):
        low, high = LOW_NORMS[level - 1], HIGH_NORMS[level - 1]
        result += [low * high, low * high, high * high]
    return result


@jit
def forward(planes: F32, levels: int) -> None:
    """Transform each plane of `planes` (plane, y, x) float32 in place; the low band ends in the top left corner."""
    _, height, width = planes.shape
    scratch = np.empty((height, width), np.float32)
    for plane in range(planes.shape[0]):
        h, w = height, width
        for _ in range(levels):
            _analyse(planes[plane], scratch, h, w)
            h, w = (h + 1) // 2, (w + 1) // 2


@jit
def inverse(planes: F32, levels: int) -> None:
    """Undo `forward` in place."""
    scratch = np.empty(planes.shape[1:], np.float32)
    for plane in range(planes.shape[0]):
        _invert(planes[plane], scratch, levels)


@jit
def inverse_of(scores: I32, first: np.float32, second: np.float32, levels: int, planes: F32) -> None:
    """planes = what `dequantise` makes of the scores, inverted: plane by plane, so each stays in the cache.

    scores, planes: (plane, y, x), which may share their memory.
    """
    scratch = np.empty(planes.shape[1:], np.float32)
    for plane in range(planes.shape[0]):
        dequantise(scores[plane].reshape(-1), first, second, planes[plane].reshape(-1))
        _invert(planes[plane], scratch, levels)


@jit
def _invert(plane: F32, scratch: F32, levels: int) -> None:
    for level in range(levels - 1, -1, -1):
        h, w = plane.shape
        for _ in range(level):
            h, w = (h + 1) // 2, (w + 1) // 2
        _synthesise(plane, scratch, h, w)


@jit
def _analyse(plane: F32, scratch: F32, height: int, width: int) -> None:
    """One level on plane[:height, :width]: rows, then columns; rows land de-interleaved in `scratch`."""
    lows, highs = (height + 1) // 2, height // 2
    if height == 1:
        _split_row(plane, 0, scratch, 0, width)
        plane[0, :width] = scratch[0, :width]
        return
    _split_row(plane, 0, scratch, 0, width)
    for i in range(lows + 1):  # four steps chase each other down the rows, so a row is lifted while it is in L1
        if i < highs:
            _split_row(plane, 2 * i + 1, scratch, lows + i, width)
            if 2 * i + 2 < height:
                _split_row(plane, 2 * i + 2, scratch, i + 1, width)
            _add(scratch, lows + i, ALPHA, i, min(i + 1, lows - 1), width)
        if i < lows:
            _add(scratch, i, BETA, lows + max(i - 1, 0), lows + min(i, highs - 1), width)
        if 0 < i <= highs:
            _add(scratch, lows + i - 1, GAMMA, i - 1, min(i, lows - 1), width)
        if i > 0:
            _add(scratch, i - 1, DELTA, lows + max(i - 2, 0), lows + min(i - 1, highs - 1), width)
    for y in range(height):
        _scale(scratch, y, LOW if y < lows else HIGH, plane, y, width)


@jit
def _synthesise(plane: F32, scratch: F32, height: int, width: int) -> None:
    """Undo one `_analyse`: columns, then rows."""
    lows, highs = (height + 1) // 2, height // 2
    if height == 1:
        scratch[0, :width] = plane[0, :width]
    else:
        for i in range(lows + 1):
            if i < lows:
                _scale(plane, i, UNLOW, scratch, i, width)
            if i < highs:
                _scale(plane, lows + i, UNHIGH, scratch, lows + i, width)
            if i < lows:
                _add(scratch, i, -DELTA, lows + max(i - 1, 0), lows + min(i, highs - 1), width)
            if 0 < i <= highs:
                _add(scratch, lows + i - 1, -GAMMA, i - 1, min(i, lows - 1), width)
            if i > 0:
                _add(scratch, i - 1, -BETA, lows + max(i - 2, 0), lows + min(i - 1, highs - 1), width)
            if 1 < i <= highs + 1:
                _add(scratch, lows + i - 2, -ALPHA, i - 2, min(i - 1, lows - 1), width)
        if highs == lows:
            _add(scratch, lows + highs - 1, -ALPHA, lows - 1, lows - 1, width)
    for y in range(height):
        _join_row(scratch, lows + y // 2 if y % 2 else y // 2, plane, y, width)


# Rows are passed as an array and a number: slices of them would cost as much as what is done to them.


@jit
def _add(rows: F32, target: int, factor: np.float32, left: int, right: int, n: int) -> None:
    """rows[target] += factor·(rows[left] + rows[right])."""
    a, b, c = rows[target], rows[left], rows[right]
    for i in range(n):
        a[i] += factor * (b[i] + c[i])


@jit
def _scale(source: F32, y: int, factor: np.float32, target: F32, to: int, n: int) -> None:
    a, b = source[y], target[to]
    for i in range(n):
        b[i] = factor * a[i]


# Its loops stand in line for the same reason; de-interleaving and scaling are done in passing.


@jit
def _split_row(source: F32, y: int, rows: F32, to: int, n: int) -> None:
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
def _join_row(rows: F32, y: int, target: F32, to: int, n: int) -> None:
    """Undo `_split_row`; leaves the row of `rows` half undone."""
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
