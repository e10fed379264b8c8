"""Integers to bytes under contexts: subbands of planes, or whole planes of residuals, by the adaptive range coder.

Each magnitude is a first bit (is there any), a run of ones in units of 2^k, k from the context, and k low bits; each
bit has a model of its own in each context. Signs go by those to the left and above. docs/format.md has the bytes.

Coefficients may be quantised dependently (Fischer, Wang 1992; Schwarz et al. 2021): of two quantisers, the steps of
one between those of the other, a state says which is next, and the parity of what was coded moves the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import range_coder as rc
from pipeline.codec.container import Buffer
from pipeline.codec.context import (
    BUCKETS,
    LEFT,
    MOST,
    SECOND,
    TERMS,
    boxes_of,
    bucket,
    expect_row,
    products,
    shift_of,
)
from pipeline.codec.context_side import get_side, mean_codes, put_side, side_bytes
from pipeline.codec.context_weights import DEFAULT, fit_weights
from pipeline.errors import FormatError
from pipeline.jit import jit

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]
# Writes plane c of the values and of their magnitudes: (c, boxes, means, weights, magnitudes, models).
Chooser = Callable[[int, I64, I64, I64, I32, I32], None]

CONTEXTS = 2  # the coder of this module, in the section table
DEPENDENT = 3  # the same, for what is quantised dependently
# Ones in a row before a number goes on by Elias's gamma; models of one context: any, the run, two low bits.
RUN = 16
FIRST_LOW = RUN + 1
MODELS = RUN + 3
# Contexts of signs: four orientations, three signs (0, +, −) to the left and three above.
SIGNS = 4 * 9
# How many bits a fresh model counts as seen.
SEEN = 4
# No value takes more bytes than this; so many values are encoded at a time.
MOST_BYTES = 48
STRIP = 1 << 14
# The state after an even and after an odd value; odd states use the quantiser between the steps. One state: no such.
PLAIN = np.zeros((1, 2), np.int64)
STATES = np.array([[0, 2], [5, 7], [1, 3], [6, 4], [2, 0], [4, 6], [3, 1], [7, 5]], np.int64)


def encode_integers(values: I32, levels: int) -> bytes:
    """Payload of values (plane, y, x) int32 in the subbands of so many `levels`; planes lean on the two before."""
    return encode_chosen(values, levels, PLAIN, None).payload


class Coded(NamedTuple):
    """What came of a coding."""

    payload: bytes
    weights: I64
    """of the contexts; they may serve a coding of nearly the same"""


def encode_chosen(values: I32, levels: int, states: I64, choose: Chooser | None, weights: I64 | None = None) -> Coded:
    """As `encode_integers`, under a table of states; `choose` may change a plane before it is coded.

    It then sees the models as the planes before have left them. Subbands that were all zeros must stay so.
    """
    planes, height, width = values.shape
    boxes = boxes_of(height, width, levels)
    means = mean_codes(values, boxes)
    magnitudes = shifted(values, boxes, means)
    weights = fit_weights(magnitudes, boxes, means) if weights is None else weights
    rows = max(1, STRIP // max(width, 1))
    room = MOST_BYTES * rows * width + rc.TAIL
    out = np.empty(room + side_bytes(planes, len(boxes)), np.uint8)
    models, signs = fresh(len(states))
    state = put_side((0, rc.TOP - 1, 0), out, means, weights)
    for c in range(planes):
        if choose is not None:
            choose(c, boxes, means, weights, magnitudes, models)
        for k in np.flatnonzero(means[c]):
            now = 0
            for y in range(boxes[k, 0], boxes[k, 1], rows):
                if len(out) < state[2] + room:
                    out = np.concatenate([out[: state[2]], np.empty(room + state[2], np.uint8)])
                lines = np.array([c, k, y, min(y + rows, boxes[k, 1])])
                state, now = _encode_rows(
                    state, now, out, values, magnitudes, boxes, means, weights, models.reshape(-1), signs, states, lines
                )
    return Coded(out[: rc.flush(state[0], state[2], out)].tobytes(), weights)


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
        state = _decode_plane(state, data, values, magnitudes, boxes, means, weights, models.reshape(-1), signs, states, c)
        if state[2] > len(data):
            break
    if state[2] != len(data):
        raise FormatError(f"integer section of {len(data)} bytes does not end with its values; it is damaged")


def fresh(states: int) -> tuple[I32, I32]:
    """Models (quantiser, bucket, MODELS) as they start, and those of the signs.

    In a bucket of mean magnitude e there is something with probability e / (1 + e), and the run goes on with the
    same; where k > 0, with a half.
    """
    models = np.full((BUCKETS, MODELS), rc.HALF, np.int32)
    for b in range(BUCKETS):
        # (centre of the bucket − 1) / 16 = e; the centre is (9 + 2 (b mod 4)) / 8 octaves.
        centre = (9 + 2 * (b & 3)) << (b >> 2)
        some = rc.model(centre - 8, centre + 120)
        models[b, 0] = some
        if low_bits(b) == 0:
            models[b, 1:FIRST_LOW] = some
    return np.stack([models + SEEN] * min(states, 2)), np.full(SIGNS, rc.HALF, np.int32)


def shifted(values: I32, boxes: I64, means: I64) -> I32:
    """Magnitudes of values (plane, y, x) as contexts see them: without plain bits, MOST at the most."""
    magnitudes = np.empty(values.shape, np.int32)
    _shift(values, boxes, means, magnitudes)
    return magnitudes


@jit
def low_bits(b: int) -> int:
    """k of bucket b."""
    return max(0, (b - 18) >> 2)


@jit
def sign_context(values: I32, c: int, y: int, x: int, y0: int, x0: int, orientation: int) -> int:
    """The context of a sign: those of its neighbours to the left and above, in its subband."""
    left = values[c, y, x - 1] if x > x0 else 0
    above = values[c, y - 1, x] if y > y0 else 0
    return 9 * orientation + 3 * _trit(left) + _trit(above)


@jit
def _trit(value: int) -> int:
    return (1 if value > 0 else 0) + (2 if value < 0 else 0)


@jit
def _shift(values: I32, boxes: I64, means: I64, magnitudes: I32) -> None:
    for c in range(values.shape[0]):
        for k in range(boxes.shape[0]):
            shift = shift_of(means[c, k])
            for y in range(boxes[k, 0], boxes[k, 1]):
                for x in range(boxes[k, 2], boxes[k, 3]):
                    magnitudes[c, y, x] = min(int(abs(np.int64(values[c, y, x]))) >> shift, MOST)


@jit
def _encode_rows(
    state: rc.State,
    now: int,
    out: U8,
    values: I32,
    A: I32,
    boxes: I64,
    means: I64,
    weights: I64,
    models: I32,
    signs: I32,
    states: I64,
    lines: I64,
) -> tuple[rc.State, int]:
    """Encode rows lines[2] to lines[3] of subband lines[1] of plane lines[0], and the state `now` after them."""
    low, width, at = state
    c, k = lines[0], lines[1]
    w = np.empty(TERMS, np.int64)
    base, half = np.empty(values.shape[2], np.int32), np.empty(values.shape[2], np.int32)
    y0, x0, x1, orientation = boxes[k, 0], boxes[k, 2], boxes[k, 3], boxes[k, 7]
    shift = shift_of(means[c, k])
    products(means, boxes, c, k, weights, w)
    for y in range(lines[2], lines[3]):
        expect_row(A, boxes, c, k, y, w, base, half)
        left, second = 0, 0
        for x in range(x0, x1):
            b = bucket(base[x - x0] + w[LEFT] * left + w[SECOND] * second)
            value = int(np.int64(values[c, y, x]))
            m = abs(value)
            high = m >> shift
            bit = 1 if high else 0
            o = MODELS * (BUCKETS * (now & 1) + b)
            low, width, at = rc.put(low, width, at, out, models[o], bit)
            models[o] = rc.learnt(models[o], bit)
            if high:
                low, width, at = _put_magnitude(low, width, at, out, models, o, low_bits(b), high - 1)
            if shift:
                low, width, at = rc.put_raw(low, width, at, out, m, shift)
            if m:
                s, bit = sign_context(values, c, y, x, y0, x0, orientation), 1 if value < 0 else 0
                low, width, at = rc.put(low, width, at, out, signs[s], bit)
                signs[s] = rc.learnt(signs[s], bit)
            now = states[now, m & 1]
            second = left
            left = int(np.int64(A[c, y, x]))
    return (low, width, at), now


@jit
def _put_magnitude(low: int, width: int, at: int, out: U8, models: I32, o: int, k: int, more: int) -> rc.State:
    """Encode a magnitude less one under the models of its bucket, in units of 2^k."""
    run = more >> k
    for i in range(min(run, RUN)):
        low, width, at = rc.put(low, width, at, out, models[o + 1 + i], 1)
        models[o + 1 + i] = rc.learnt(models[o + 1 + i], 1)
    if run < RUN:
        low, width, at = rc.put(low, width, at, out, models[o + 1 + run], 0)
        models[o + 1 + run] = rc.learnt(models[o + 1 + run], 0)
    else:
        rest, length = run - RUN + 1, 0
        while rest >> (length + 1):
            length += 1
        low, width, at = rc.put_raw(low, width, at, out, (1 << (length + 1)) - 2, length + 1)
        low, width, at = rc.put_raw(low, width, at, out, rest, length)
    for i in range(min(k, 2)):
        bit = (more >> (k - 1 - i)) & 1
        low, width, at = rc.put(low, width, at, out, models[o + FIRST_LOW + i], bit)
        models[o + FIRST_LOW + i] = rc.learnt(models[o + FIRST_LOW + i], bit)
    if k > 2:
        low, width, at = rc.put_raw(low, width, at, out, more, k - 2)
    return low, width, at


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
    base, half = np.empty(values.shape[2], np.int32), np.empty(values.shape[2], np.int32)
    steps = min(len(states), 2)  # of the step of one quantiser, in those of both together
    for k in range(boxes.shape[0]):
        y0, y1, x0, x1, orientation = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3], boxes[k, 7]
        if means[c, k] == 0:
            values[c, y0:y1, x0:x1] = 0
            continue
        shift, now = shift_of(means[c, k]), 0
        products(means, boxes, c, k, weights, w)
        for y in range(y0, y1):
            if at > data.shape[0]:
                return code, width, at
            expect_row(A, boxes, c, k, y, w, base, half)
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
