"""Integers to bytes under contexts: subbands of planes, or whole planes of residuals, by the adaptive range coder.

Source: as in `context_models`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import range_coder as rc
from pipeline.codec.context import BUCKETS, MOST, TERMS, boxes_of, bucket, products, shift_of
from pipeline.codec.context_models import FIRST_LOW, MODELS, PLAIN, RUN, after, fresh, low_bits, sign_context, word_of
from pipeline.codec.context_side import mean_codes, put_side, side_bytes
from pipeline.codec.context_sums import LANES, expect_inside, expect_outside, rows_of
from pipeline.codec.context_weights import fit_weights
from pipeline.jit import jit

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

# No value takes more bytes than this; so many values are encoded at a time.
MOST_BYTES = 48
STRIP = 1 << 14


def encode_integers(values: I32, levels: int) -> bytes:
    """Payload of values (plane, y, x) int32 in the subbands of so many `levels`; planes lean on the two before."""
    coder = PlaneCoder(values, levels)
    coder.encode(0, count=len(values))
    return coder.payload()


class PlaneCoder:
    """Values (plane, y, x) to bytes, plane by plane from the first, in the subbands of `levels`, under `states`.

    A plane may change before it is encoded, `magnitudes` (plane, y, x) with it, where a subband is not all zeros; its
    `means` (plane, subband) and the `weights` (KINDS, TERMS) stay. `models` are as the planes before have left them.
    `outside`: room for the sums of a plane, of all but what stands in the subband itself.
    """

    def __init__(self, values: I32, levels: int, states: I64 = PLAIN) -> None:
        planes, height, width = values.shape
        self._values, self._states = values, word_of(states)
        self.boxes = boxes_of(height, width, levels)
        self.means = mean_codes(values, self.boxes)
        self.magnitudes = shifted(values, self.boxes, self.means)
        self.weights = fit_weights(self.magnitudes, self.boxes, self.means)
        self.models, self._signs = fresh(len(states))
        self.outside, self._buckets = np.empty((2, height * width + LANES), np.int32)
        self._room = MOST_BYTES * max(STRIP, width) + rc.TAIL
        self._out = np.empty(self._room + side_bytes(planes, len(self.boxes)), np.uint8)
        self._state = put_side((0, rc.TOP - 1, 0), self._out, self.means, self.weights)

    def encode(self, c: int, told: bool = False, count: int = 1) -> None:
        """The next plane, or so many; `told` where the sums of the one stand in `outside`."""
        place, end = (0, 0, 0), c + count
        while c < end:
            at = self._state[2]
            if len(self._out) < at + self._room:
                self._out = np.concatenate([self._out[:at], np.empty(self._room + at, np.uint8)])
            self._state, place, c = _encode_planes(
                self._state,
                place,
                self._out,
                self._values,
                self.magnitudes,
                self.boxes,
                self.means,
                self.weights,
                self.models.reshape(-1),
                self._signs,
                self._states,
                c,
                end,
                self.outside,
                told,
                self._buckets,
            )

    def mark(self) -> None:
        """Keep what it takes to go back to before the next plane."""
        self._marked = self._state, self._out[: self._state[2]].copy(), self.models.copy(), self._signs.copy()

    def release(self) -> None:
        """Give up the memory of values and magnitudes until `back` brings others."""
        self._values = self.magnitudes = np.empty((0, 0, 0), np.int32)

    def back(self, values: I32) -> None:
        """To what was marked: `values` are as they were up to there; from there on they may be others."""
        self._state, bytes_, models, signs = self._marked
        self._out[: len(bytes_)], self.models[:], self._signs[:] = bytes_, models, signs
        self._values, self.magnitudes = values, shifted(values, self.boxes, self.means)

    def payload(self) -> bytes:
        """All bytes, once the last plane is encoded."""
        low, _, at = self._state
        return self._out[: rc.flush(low, at, self._out)].tobytes()


def shifted(values: I32, boxes: I64, means: I64) -> I32:
    """Magnitudes of values (plane, y, x) as contexts see them: without plain bits, MOST at the most."""
    magnitudes = np.empty(values.shape, np.int32)
    _shift(values, boxes, means, magnitudes)
    return magnitudes


@jit
def _shift(values: I32, boxes: I64, means: I64, magnitudes: I32) -> None:
    most = np.uint32(MOST)
    for c in range(values.shape[0]):
        for k in range(boxes.shape[0]):
            shift = np.uint32(shift_of(means[c, k]))
            for y in range(boxes[k, 0], boxes[k, 1]):
                row, out = values[c, y, boxes[k, 2] : boxes[k, 3]], magnitudes[c, y, boxes[k, 2] : boxes[k, 3]]
                for x in range(row.shape[0]):
                    # As it is without a sign, the lowest number has a magnitude, too.
                    m = np.uint32(row[x])
                    m = np.uint32(-row[x]) if row[x] < 0 else m
                    out[x] = np.int32(min(np.uint32(m >> shift), most))


@jit
def _encode_planes(
    state: rc.State,
    place: tuple[int, int, int],
    out: U8,
    values: I32,
    A: I32,
    boxes: I64,
    means: I64,
    weights: I64,
    models: I32,
    signs: I32,
    states: np.uint64,
    c: int,
    end: int,
    outside: I32,
    told: bool,
    buckets: I32,
) -> tuple[rc.State, tuple[int, int, int], int]:
    """`_encode_plane` for planes c to end, as far as `out` has room: a call from Python takes as long as some dozens of
    values. The place in the plane that is next."""
    while c < end:
        state, place = _encode_plane(
            state, place, out, values, A, boxes, means, weights, models, signs, states, c, outside, told, buckets
        )
        if place[0] < boxes.shape[0]:
            break
        c, place = c + 1, (0, 0, 0)
    return state, place, c


@jit
def _encode_plane(
    state: rc.State,
    place: tuple[int, int, int],
    out: U8,
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
    told: bool,
    buckets: I32,
) -> tuple[rc.State, tuple[int, int, int]]:
    """Encode plane c from a place on, a subband, a row of it and the state before that, to where `out` is too full for
    another row, or to its end, where no such subband is.

    outside: of `expect_outside`, where `told`, else room for it. buckets: as much, as the last place has left it.
    """
    w, rows, flat = np.empty(TERMS, np.int64), rows_of(values.shape[2]), values.reshape(-1)
    first, row, now = place
    for k in range(first, boxes.shape[0]):
        if means[c, k]:
            height, n, at = boxes[k, 1] - boxes[k, 0], boxes[k, 3] - boxes[k, 2], boxes[k, 9]
            own = buckets[at : at + height * n]
            if row == 0:
                products(means, boxes, c, k, weights, w)
                if not told:
                    expect_outside(A, boxes, c, k, w, rows, outside)
                expect_inside(A, boxes, c, k, w, outside, buckets)
                _find_buckets(own)
            corner = (c * values.shape[1] + boxes[k, 0]) * values.shape[2] + boxes[k, 2]
            state, row, now = _encode_rows(
                state,
                row,
                now,
                out,
                flat,
                corner,
                values.shape[2],
                own,
                n,
                boxes[k, 7],
                shift_of(means[c, k]),
                models,
                signs,
                states,
            )
            if row * n < len(own):
                return state, (k, row, now)
        row, now = 0, 0
    return state, (boxes.shape[0], 0, 0)


@jit
def _find_buckets(sums: I32) -> None:
    """Sums become their contexts."""
    for i in range(sums.shape[0]):
        sums[i] = bucket(sums[i])


@jit
def _encode_rows(
    state: rc.State,
    row: int,
    now: int,
    out: U8,
    flat: I32,
    corner: int,
    pitch: int,
    buckets: I32,
    n: int,
    orientation: int,
    shift: int,
    models: I32,
    signs: I32,
    states: np.uint64,
) -> tuple[rc.State, int, int]:
    """Encode a subband from a row on, as far as `out` has room, n values in each row, the first of all at `corner` of
    `flat`, rows `pitch` apart; the state of the coder, the row that is next, the state before it.

    Magnitudes are not left to a function of their own: to call it would take as long as they do.
    """
    low, width, at = state
    while row * n < len(buckets) and len(out) - at >= MOST_BYTES * n + rc.TAIL:
        left = 0
        for x in range(n):
            here = corner + row * pitch + x
            value, b = int(np.int64(flat[np.uint64(here)])), int(np.int64(buckets[np.uint64(row * n + x)]))
            m = abs(value)
            high = m >> shift
            o = MODELS * (BUCKETS * (now & 1) + b)
            low, width, at = rc.put_learnt(low, width, at, out, models, o, 1 if high else 0)
            if high:
                k = low_bits(b)
                run, i, bit = (high - 1) >> k, 0, 1
                while bit and i < RUN:
                    bit = 1 if i < run else 0
                    i += 1
                    low, width, at = rc.put_learnt(low, width, at, out, models, o + i, bit)
                if bit:
                    low, width, at = _put_gamma(low, width, at, out, run - RUN + 1)
                for i in range(min(k, 2)):
                    bit = ((high - 1) >> (k - 1 - i)) & 1
                    low, width, at = rc.put_learnt(low, width, at, out, models, o + FIRST_LOW + i, bit)
                if k > 2:
                    low, width, at = rc.put_raw(low, width, at, out, high - 1, k - 2)
            if shift:
                low, width, at = rc.put_raw(low, width, at, out, m, shift)
            if m:
                above = int(np.int64(flat[np.uint64(here - pitch)])) if row else 0
                s = sign_context(left, above, orientation)
                low, width, at = rc.put_learnt(low, width, at, out, signs, s, 1 if value < 0 else 0)
            now, left = after(states, now, m), value
        row += 1
    return (low, width, at), row, now


@jit
def _put_gamma(low: int, width: int, at: int, out: U8, number: int) -> rc.State:
    """Encode a number >= 1 by Elias's gamma."""
    length = 0
    while number >> (length + 1):
        length += 1
    low, width, at = rc.put_raw(low, width, at, out, (1 << (length + 1)) - 2, length + 1)
    return rc.put_raw(low, width, at, out, number, length)
