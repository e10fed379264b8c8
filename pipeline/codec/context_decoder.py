"""Bytes to integers under contexts: what `context_coder` wrote. Integers alone decide, the same on every CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import range_coder as rc
from pipeline.codec.container import Buffer
from pipeline.codec.context import BUCKETS, LEFT, MOST, SECOND, TERMS, boxes_of, bucket, products, shift_of
from pipeline.codec.context_models import FIRST_LOW, MODELS, PLAIN, RUN, after, fresh, low_bits, sign_context, word_of
from pipeline.codec.context_side import get_side
from pipeline.codec.context_sums import LANES, add_above, expect_outside, rows_of
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
    outside, word = np.empty(height * width + LANES, np.int32), word_of(states)
    for c in range(planes):
        state = _decode_plane(
            state, data, values, magnitudes, boxes, means, weights, models.reshape(-1), signs, word, c, outside
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
    states: np.uint64,
    c: int,
    outside: I32,
) -> rc.State:
    """Decode plane c; outside: room for `expect_outside`."""
    w, rows, flat, known = np.empty(TERMS, np.int64), rows_of(values.shape[2]), values.reshape(-1), A.reshape(-1)
    for k in range(boxes.shape[0]):
        y0, y1, x0, x1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
        if means[c, k] == 0 or x0 == x1:
            values[c, y0:y1, x0:x1] = 0
            continue
        shift = shift_of(means[c, k])
        products(means, boxes, c, k, weights, w)
        expect_outside(A, boxes, c, k, w, rows, outside)
        corner = (c * values.shape[1] + y0) * values.shape[2] + x0
        own = outside[boxes[k, 9] : boxes[k, 9] + (y1 - y0) * (x1 - x0)]
        state = _decode_rows(
            state, data, flat, known, corner, values.shape[2], own, w, boxes[k], shift, models, signs, states
        )
    return state


@jit
def _decode_rows(
    state: rc.State,
    data: U8,
    flat: I32,
    known: I32,
    corner: int,
    pitch: int,
    outside: I32,
    w: I64,
    box: I64,
    shift: int,
    models: I32,
    signs: I32,
    states: np.uint64,
) -> rc.State:
    """Decode a subband of n values a row, to where the first of all is `corner` of `flat` and rows are `pitch` apart,
    their magnitudes to `known`, as far as there are data."""
    code, width, at = state
    steps = 2 if states else 1  # of the step of one quantiser, in those of both together
    n, now, base = box[3] - box[2], 0, np.empty(box[3] - box[2], np.int32)
    of_left, of_second, orientation = w[LEFT], w[SECOND], box[7]
    for row in range(box[1] - box[0]):
        if at > data.shape[0]:
            break
        first, left, second, before = corner + row * pitch, 0, 0, 0
        add_above(known, first, pitch, row, n, w, outside, row * n, base, 0)
        for x in range(n):
            here, told = first + x, int(np.int64(base[np.uint64(x)]))
            b = bucket(told + of_left * left + of_second * second)
            o = MODELS * (BUCKETS * (now & 1) + b)
            second, value = left, 0
            code, width, at, m = rc.get_learnt(code, width, at, data, models, o)
            if m:
                k, run, i, bit = low_bits(b), 0, 0, 1
                while bit and i < RUN:
                    i += 1
                    code, width, at, bit = rc.get_learnt(code, width, at, data, models, o + i)
                    run += bit
                if bit:
                    code, width, at, run = _get_gamma(code, width, at, data)
                    run += RUN - 1
                for i in range(min(k, 2)):
                    code, width, at, bit = rc.get_learnt(code, width, at, data, models, o + FIRST_LOW + i)
                    run = (run << 1) | bit
                if k > 2:
                    code, width, at, bit = rc.get_raw(code, width, at, data, k - 2)
                    run = (run << (k - 2)) | bit
                m = run + 1
            left = min(m, MOST)
            if shift:
                code, width, at, bit = rc.get_raw(code, width, at, data, shift)
                m = (m << shift) | bit
            if m:
                above = int(np.int64(flat[np.uint64(here - pitch)])) if row else 0
                s = sign_context(before, above, orientation)
                code, width, at, bit = rc.get_learnt(code, width, at, data, signs, s)
                value = (steps * m - (now & 1)) * (1 - 2 * bit)
            known[np.uint64(here)], flat[np.uint64(here)] = left, value
            before, now = value, after(states, now, m)
    return code, width, at


@jit
def _get_gamma(code: int, width: int, at: int, data: U8) -> tuple[int, int, int, int]:
    """Undo `_put_gamma`; no number has more than 33 bits."""
    length, bit = 0, 1
    while bit and length < 32:
        code, width, at, bit = rc.get_raw(code, width, at, data, 1)
        length += bit
    code, width, at, rest = rc.get_raw(code, width, at, data, length)
    return code, width, at, (1 << length) | rest
