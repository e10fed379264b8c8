"""Bytes to integers under contexts: what `context_coder` wrote. Integers alone decide, the same on every CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import range_coder as rc
from pipeline.codec.container import Buffer
from pipeline.codec.context import BUCKETS, LEFT, MOST, SECOND, TERMS, boxes_of, bucket, products, shift_of
from pipeline.codec.context_models import FIRST_LOW, MODELS, PLAIN, RUN, fresh, low_bits, sign_context
from pipeline.codec.context_side import get_side
from pipeline.codec.context_sums import LANES, expect_outside, expect_row, rows_of
from pipeline.codec.context_weights import DEFAULT
from pipeline.errors import FormatError
from pipeline.jit import jit

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]


def decode_integers(payload: Buffer, values: I32, levels: int, states: I64 = PLAIN) -> None:
    """Undo `encode_integers` into values (plane, y, x), all of which are written. Allocates 8 bytes an element.

    Under STATES the values are those that the quantisers stand for: ± (2 m − 1 where the state is odd).
    Raises FormatError for a payload that is longer or shorter than these values.
    """
    planes, height, width = values.shape
    boxes = boxes_of(height, width, levels)
    data = np.frombuffer(payload, np.uint8)
    means = np.zeros((planes, len(boxes)), np.int64)
    weights = DEFAULT.copy()
    state = get_side(rc.start(data), data, means, weights)
    magnitudes = np.zeros(values.shape, np.int32)
    models, signs = fresh(len(states))
    for c in range(planes):
        state = _decode_plane(
            state, data, values, magnitudes, boxes, means, weights, models.reshape(-1), signs, states, c
        )
        if state[2] > len(data):
            break
    if state[2] != len(data):
        raise FormatError(f"integer section of {len(data)} bytes does not end with its values; it is damaged")


@jit
def _decode_plane(
    state: rc.State,
    data: U8,
    values: I32,
    A: I32,
    boxes: I64,
    means: I64,
    weights: I64,
    models: I32,
    signs: I32,
    states: I64,
    c: int,
) -> rc.State:
    code, width, at = state
    w = np.empty(TERMS, np.int64)
    rows = rows_of(values.shape[2])
    base, outside = rows.base, np.empty(values.shape[1] * values.shape[2] + LANES, np.int32)
    steps = min(len(states), 2)  # of the step of one quantiser, in those of both together
    for k in range(boxes.shape[0]):
        y0, y1, x0, x1, orientation = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3], boxes[k, 7]
        if means[c, k] == 0 or x0 == x1:
            values[c, y0:y1, x0:x1] = 0
            continue
        shift, now = shift_of(means[c, k]), 0
        products(means, boxes, c, k, weights, w)
        expect_outside(A, boxes, c, k, w, rows, outside)
        for y in range(y0, y1):
            if at > data.shape[0]:
                return code, width, at
            expect_row(A, boxes, c, k, y, w, rows, outside, False)
            left, second = 0, 0
            for x in range(x0, x1):
                b = bucket(base[x - x0] + w[LEFT] * left + w[SECOND] * second)
                o = MODELS * (BUCKETS * (now & 1) + b)
                second, negative = left, 0
                code, width, at, m = rc.get(code, width, at, data, models[o])
                models[o] = rc.learnt(models[o], m)
                if m:
                    code, width, at, m = _get_magnitude(code, width, at, data, models, o, low_bits(b))
                    m += 1
                left = min(m, MOST)
                if shift:
                    code, width, at, low = rc.get_raw(code, width, at, data, shift)
                    m = (m << shift) | low
                if m:
                    s = sign_context(values, c, y, x, y0, x0, orientation)
                    code, width, at, negative = rc.get(code, width, at, data, signs[s])
                    signs[s] = rc.learnt(signs[s], negative)
                A[c, y, x] = left
                value = steps * m - (now & 1 if m else 0)
                values[c, y, x] = -value if negative else value
                now = states[now, m & 1]
    return code, width, at


@jit
def _get_magnitude(code: int, width: int, at: int, data: U8, models: I32, o: int, k: int) -> tuple[int, int, int, int]:
    """Undo `_put_magnitude`."""
    run, bit = 0, 1
    while bit and run < RUN:
        code, width, at, bit = rc.get(code, width, at, data, models[o + 1 + run])
        models[o + 1 + run] = rc.learnt(models[o + 1 + run], bit)
        run += bit
    if bit:
        length = 0
        while bit and length < 32:
            code, width, at, bit = rc.get_raw(code, width, at, data, 1)
            length += bit
        code, width, at, rest = rc.get_raw(code, width, at, data, length)
        run = RUN - 1 + ((1 << length) | rest)
    more = run
    for i in range(min(k, 2)):
        code, width, at, bit = rc.get(code, width, at, data, models[o + FIRST_LOW + i])
        models[o + FIRST_LOW + i] = rc.learnt(models[o + FIRST_LOW + i], bit)
        more = (more << 1) | bit
    if k > 2:
        code, width, at, rest = rc.get_raw(code, width, at, data, k - 2)
        more = (more << (k - 2)) | rest
    return code, width, at, more
