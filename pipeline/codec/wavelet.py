"""The CDF 9/7 wavelet by lifting: Daubechies and Sweldens (1998), section 7.7; symmetric borders as in JPEG 2000.

Plain IEEE float32 in a fixed order, never contracted: the inverse gives the same bits on every CPU. Low and high
bands are scaled by √2/K and K/√2, which makes the basis nearly orthonormal, so one step suits every subband.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.codec.kernels import dequantise
from pipeline.codec.lifting import (
    ALPHA,
    BETA,
    DELTA,
    GAMMA,
    HIGH,
    LOW,
    UNHIGH,
    UNLOW,
    add_rows,
    forward_narrow,
    invert_narrow,
    is_narrow,
    join_row,
    scale_row,
    split_row,
)
from pipeline.jit import jit

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

MAX_LEVELS = 5

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
        if is_narrow(height, width):
            forward_narrow(planes[plane], scratch.reshape(width, height), levels)
            continue
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
    if is_narrow(plane.shape[0], plane.shape[1]):
        invert_narrow(plane, scratch.reshape(plane.shape[1], plane.shape[0]), levels)
        return
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
        split_row(plane, 0, scratch, 0, width)
        plane[0, :width] = scratch[0, :width]
        return
    split_row(plane, 0, scratch, 0, width)
    for i in range(lows + 1):  # four steps chase each other down the rows, so a row is lifted while it is in L1
        if i < highs:
            split_row(plane, 2 * i + 1, scratch, lows + i, width)
            if 2 * i + 2 < height:
                split_row(plane, 2 * i + 2, scratch, i + 1, width)
            add_rows(scratch, lows + i, ALPHA, i, min(i + 1, lows - 1), width)
        if i < lows:
            add_rows(scratch, i, BETA, lows + max(i - 1, 0), lows + min(i, highs - 1), width)
        if 0 < i <= highs:
            add_rows(scratch, lows + i - 1, GAMMA, i - 1, min(i, lows - 1), width)
        if i > 0:
            add_rows(scratch, i - 1, DELTA, lows + max(i - 2, 0), lows + min(i - 1, highs - 1), width)
    for y in range(height):
        scale_row(scratch, y, LOW if y < lows else HIGH, plane, y, width)


@jit
def _synthesise(plane: F32, scratch: F32, height: int, width: int) -> None:
    """Undo one `_analyse`: columns, then rows."""
    lows, highs = (height + 1) // 2, height // 2
    if height == 1:
        scratch[0, :width] = plane[0, :width]
    else:
        for i in range(lows + 1):
            if i < lows:
                scale_row(plane, i, UNLOW, scratch, i, width)
            if i < highs:
                scale_row(plane, lows + i, UNHIGH, scratch, lows + i, width)
            if i < lows:
                add_rows(scratch, i, -DELTA, lows + max(i - 1, 0), lows + min(i, highs - 1), width)
            if 0 < i <= highs:
                add_rows(scratch, lows + i - 1, -GAMMA, i - 1, min(i, lows - 1), width)
            if i > 0:
                add_rows(scratch, i - 1, -BETA, lows + max(i - 2, 0), lows + min(i - 1, highs - 1), width)
            if 1 < i <= highs + 1:
                add_rows(scratch, lows + i - 2, -ALPHA, i - 2, min(i - 1, lows - 1), width)
        if highs == lows:
            add_rows(scratch, lows + highs - 1, -ALPHA, lows - 1, lows - 1, width)
    for y in range(height):
        join_row(scratch, lows + y // 2 if y % 2 else y // 2, plane, y, width)
