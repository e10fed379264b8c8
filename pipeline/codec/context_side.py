"""What a decoder of integers under contexts is told first: the mean magnitude of every subband, and the weights.

Numbers go through the range coder: a difference to the plane before as a run of ones, its sign and models for both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import range_coder as rc
from pipeline.codec.context import KINDS, MEAN_ONE, MOST_MEAN, TERMS, WEIGHT_BITS, areas_of
from pipeline.codec.context_weights import DEFAULT
from pipeline.jit import jit

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

# The longest run is the largest difference of two codes.
RUNS = 24


def side_bytes(planes: int, subbands: int) -> int:
    """Room that the side information cannot exceed, bytes."""
    return 64 + 2 * (MOST_MEAN + 2) * planes * subbands + KINDS * (2 * TERMS + 1)


def mean_codes(values: I32, boxes: I64) -> I64:
    """(plane, subband) code of the mean magnitude: 4·log2 + MEAN_ONE, rounded, at least 1; 0 where all are zero."""
    sums = np.zeros((len(values), len(boxes)), np.int64)
    _sums(values, boxes, sums)
    area = np.maximum(areas_of(boxes), 1)
    with np.errstate(divide="ignore"):
        codes = np.rint(4 * np.log2(sums / area)) + MEAN_ONE
    return np.where(sums > 0, np.clip(codes, 1, MOST_MEAN), 0).astype(np.int64)


@jit
def put_side(state: rc.State, out: U8, means: I64, weights: I64) -> rc.State:
    """Encode mean codes (plane, subband) and weights (KINDS, TERMS)."""
    low, width, at = state
    models = np.full((3, RUNS + 2), rc.HALF, np.int32)
    for c in range(means.shape[0]):
        for k in range(means.shape[1]):
            row = models[_row(means, c, k)]
            step = means[c, k] - _guess(means, c, k)
            low, width, at = rc.put_learnt(low, width, at, out, row, 0, 1 if step else 0)
            if step:
                low, width, at = rc.put_learnt(low, width, at, out, row, 1, 1 if step < 0 else 0)
                for i in range(1, abs(step) + 1):
                    more = 1 if i < abs(step) else 0
                    low, width, at = rc.put_learnt(low, width, at, out, row, min(i, RUNS) + 1, more)
    for kind in range(KINDS):
        own = 1 if (weights[kind] != DEFAULT[kind]).any() else 0
        low, width, at = rc.put_raw(low, width, at, out, own, 1)
        if own:
            for i in range(TERMS):
                low, width, at = rc.put_raw(low, width, at, out, weights[kind, i], WEIGHT_BITS)
    return low, width, at


@jit
def get_side(state: rc.State, data: U8, means: I64, weights: I64) -> rc.State:
    """Undo `put_side` into means and weights; damaged bytes give some codes within their range."""
    code, width, at = state
    models = np.full((3, RUNS + 2), rc.HALF, np.int32)
    for c in range(means.shape[0]):
        for k in range(means.shape[1]):
            if at > data.shape[0] + rc.TAIL:
                return code, width, at
            row, step = models[_row(means, c, k)], 0
            code, width, at, more = rc.get_learnt(code, width, at, data, row, 0)
            if more:
                code, width, at, negative = rc.get_learnt(code, width, at, data, row, 1)
                while more and step < MOST_MEAN:
                    step += 1
                    code, width, at, more = rc.get_learnt(code, width, at, data, row, min(step, RUNS) + 1)
                step = -step if negative else step
            means[c, k] = min(max(_guess(means, c, k) + step, 0), MOST_MEAN)
    for kind in range(KINDS):
        code, width, at, own = rc.get_raw(code, width, at, data, 1)
        if own:
            for i in range(TERMS):
                code, width, at, weights[kind, i] = rc.get_raw(code, width, at, data, WEIGHT_BITS)
    return code, width, at


@jit
def _guess(means: I64, c: int, k: int) -> int:
    """What a mean code is expected to be: that of the plane before, else of the subband before."""
    if c > 0:
        return int(means[c - 1, k])
    return int(means[c, k - 1]) if k > 0 else MEAN_ONE


@jit
def _row(means: I64, c: int, k: int) -> int:
    """Which models a mean code goes by: those of the first plane, of zeros before, of others."""
    return 0 if c == 0 else (1 if means[c - 1, k] == 0 else 2)


@jit
def _sums(values: I32, boxes: I64, sums: I64) -> None:
    for c in range(values.shape[0]):
        for k in range(boxes.shape[0]):
            for y in range(boxes[k, 0], boxes[k, 1]):
                for x in range(boxes[k, 2], boxes[k, 3]):
                    sums[c, k] += abs(np.int64(values[c, y, x]))
