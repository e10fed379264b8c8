"""Dependent quantisation, the encoder's side: the cheapest path through the states of a subband, in error and bits.

Sources: trellis-coded quantisation: Marcellin, Fischer (1990); with entropy coding: Fischer, Wang (1992); the form
with two quantisers and the parity of the index: Schwarz et al. (2021); the search: Viterbi (1967). Bits are those of
the models as they stand, under contexts of magnitudes quantised one by one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.codec.context import BUCKETS, LEFT, MOST, SECOND, TERMS, bucket, expect_row, products, shift_of
from pipeline.codec.context_coder import Coded, encode_chosen
from pipeline.codec.context_models import RUN, STATES, low_bits
from pipeline.jit import jit

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U16 = NDArray[np.uint16]

# What a bit is worth, in squared steps: about 2 ln 2 times the squared error that the steps leave.
BIT = 0.27
# Magnitudes with bits of their own in the table; above, they grow by the same each.
LISTED = 18
NEVER = np.float32(1e30)
COUNT = len(STATES)
# The two ways into each state: where from, and by which parity.
WAYS = np.array([[(s, p) for s in range(COUNT) for p in (0, 1) if STATES[s, p] == t] for t in range(COUNT)], np.int64)
# Rounding of a magnitude in steps of one quantiser, where it only gives the context.
ROUND = 0.4


def quantise(Z: F32, levels: int, weights: I64 | None = None) -> tuple[I32, Coded]:
    """Scores (plane, y, x) that coefficients Z, in steps, are quantised to, and their payload.

    weights: those of the contexts, where they are known from nearly the same.
    """
    values, scores = np.empty(Z.shape, np.int32), np.empty(Z.shape, np.int32)
    rough(Z, values)

    def choose(c: int, boxes: I64, means: I64, used: I64, A: I32, models: I32) -> None:
        choose_plane(Z, values, scores, A, boxes, means, used, models, c)

    return scores, encode_chosen(values, levels, STATES, choose, weights)


@jit
def rough(Z: F32, values: I32) -> None:
    """values (plane, y, x) = what Z, in steps, is about in steps of one quantiser; |values| < 2³⁰."""
    flat, out = Z.reshape(-1), values.reshape(-1)
    for i in range(flat.shape[0]):
        m = np.int32(np.abs(flat[i]) * np.float32(0.5) + np.float32(ROUND))
        out[i] = -m if flat[i] < 0 else m


@jit
def choose_plane(
    Z: F32, values: I32, scores: I32, A: I32, boxes: I64, means: I64, weights: I64, models: I32, c: int
) -> None:
    """Quantise plane c of Z (plane, y, x), in steps: indices to `values`, magnitudes to A, what they stand for to
    `scores`; A comes with those of `rough`. In subbands without a mean all is zero."""
    w = np.empty(TERMS, np.int64)
    base, half = np.empty(Z.shape[2], np.int32), np.empty(Z.shape[2], np.int32)
    bits = bits_of(models).reshape(-1)
    path = np.empty(Z.shape[1] * Z.shape[2], np.uint16)
    for k in range(boxes.shape[0]):
        y0, y1, x0, x1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
        if means[c, k] == 0:
            scores[c, y0:y1, x0:x1] = 0
            continue
        shift = shift_of(means[c, k])
        products(means, boxes, c, k, weights, w)
        cost = np.full(COUNT, NEVER, np.float32)
        cost[0] = np.float32(0.0)
        for y in range(y0, y1):
            expect_row(A, boxes, c, k, y, w, base, half)
            _expect_left(base, A[c, y, x0:x1], w)
            at = (y - y0) * (x1 - x0)
            _step_row(Z[c, y, x0:x1], base, bits, shift, cost, path[at : at + x1 - x0])
        _trace(Z, values, scores, A, boxes, k, c, shift, path, int(np.argmin(cost)))


@jit
def bits_of(models: I32) -> F32:
    """(quantiser, bucket, LISTED + 1) λ·bits of each magnitude with its sign, and of each one more than listed."""
    bits = np.zeros((2, BUCKETS, LISTED + 1), np.float32)
    for q in range(2):
        for b in range(BUCKETS):
            row, k = models[q, b], low_bits(b)
            some = _probability(row[0])
            bits[q, b, 0] = -BIT * math.log2(1.0 - some)
            spent = 1.0 - math.log2(some) + k
            run = 0
            for m in range(1, LISTED):
                while run < min((m - 1) >> k, RUN - 1):
                    spent -= math.log2(_probability(row[1 + run]))
                    run += 1
                bits[q, b, m] = BIT * (spent - math.log2(1.0 - _probability(row[1 + run])))
            bits[q, b, LISTED] = -BIT * math.log2(_probability(row[1 + run])) / (1 << k)
    return bits


@jit
def _probability(word: int) -> float:
    return min(max((word >> 10) / (1 << 21), 1e-4), 1 - 1e-4)


@jit
def _expect_left(base: I32, row: I32, w: I64) -> None:
    """Add what stands to the left in the row itself."""
    n = row.shape[0]
    for x in range(1, n):
        base[x] += np.int32(w[LEFT]) * row[x - 1]
    for x in range(2, n):
        base[x] += np.int32(w[SECOND]) * row[x - 2]


@jit
def _step_row(row: F32, base: I32, bits: F32, shift: int, cost: F32, path: U16) -> None:
    """Viterbi along a row. path: for each state which of its two ways in was the cheaper (bits 0 to 7), for each
    quantiser whether its even value is 0 rather than 2 (bits 8, 9).

    STATES, spelled out so that the costs stay in registers; the ways in are in the order of WAYS.
    """
    c0, c1, c2, c3, c4, c5, c6, c7 = cost[0], cost[1], cost[2], cost[3], cost[4], cost[5], cost[6], cost[7]
    for x in range(row.shape[0]):
        z, b = np.abs(row[x]), bucket(base[x])
        even, odd, zero = _price(z, 0, bits, (LISTED + 1) * b, shift)
        even2, odd2, zero2 = _price(z, 1, bits, (LISTED + 1) * (BUCKETS + b), shift)
        a0, b0 = c0 + even, c4 + odd
        a1, b1 = c2 + even, c6 + odd
        a2, b2 = c0 + odd, c4 + even
        a3, b3 = c2 + odd, c6 + even
        a4, b4 = c3 + odd2, c5 + even2
        a5, b5 = c1 + even2, c7 + odd2
        a6, b6 = c3 + even2, c5 + odd2
        a7, b7 = c1 + odd2, c7 + even2
        word = np.int64(b0 < a0) | np.int64(b1 < a1) << 1 | np.int64(b2 < a2) << 2 | np.int64(b3 < a3) << 3
        word |= np.int64(b4 < a4) << 4 | np.int64(b5 < a5) << 5 | np.int64(b6 < a6) << 6 | np.int64(b7 < a7) << 7
        path[x] = word | zero << 8 | zero2 << 9
        c0, c1, c2, c3 = min(a0, b0), min(a1, b1), min(a2, b2), min(a3, b3)
        c4, c5, c6, c7 = min(a4, b4), min(a5, b5), min(a6, b6), min(a7, b7)
    least = min(c0, c1, c2, c3, c4, c5, c6, c7)
    cost[0], cost[1], cost[2], cost[3] = c0 - least, c1 - least, c2 - least, c3 - least
    cost[4], cost[5], cost[6], cost[7] = c4 - least, c5 - least, c6 - least, c7 - least


@jit
def _price(z: np.float32, q: int, bits: F32, o: int, shift: int) -> tuple[np.float32, np.float32, int]:
    """What the nearest even and odd values of quantiser q cost, and whether the even one is 0 rather than 2.

    No branches: no guess at the outcome would be better than chance.
    """
    floor = int(np.int64(np.float32(0.5) * (z + np.float32(q))))
    odd = floor & 1
    low = z - np.float32(2 * floor - (q if floor else 0))
    high = z - np.float32(2 * floor + 2 - q)
    below = low * low + _bits(bits, o, floor >> shift)
    above = high * high + _bits(bits, o, (floor + 1) >> shift)
    nothing = z * z + bits[o]
    even = above if odd else below
    zero = int(np.int64(floor + odd == 2) & np.int64(nothing < even))
    return (nothing if zero else even), (below if odd else above), zero


@jit
def _bits(bits: F32, o: int, m: int) -> np.float32:
    listed = min(m, LISTED - 1)
    return np.float32(bits[o + listed] + np.float32(m - listed) * bits[o + LISTED])


@jit
def _trace(
    Z: F32, values: I32, scores: I32, A: I32, boxes: I64, k: int, c: int, shift: int, path: U16, last: int
) -> None:
    """Walk back from the last state and write what was chosen."""
    state = last
    y0, x0, n = boxes[k, 0], boxes[k, 2], boxes[k, 3] - boxes[k, 2]
    for y in range(boxes[k, 1] - 1, y0 - 1, -1):
        for x in range(boxes[k, 3] - 1, x0 - 1, -1):
            word = np.int64(path[(y - y0) * n + x - x0])
            way = (word >> state) & 1
            state, parity = WAYS[state, way, 0], WAYS[state, way, 1]
            q = state & 1
            floor = int(np.float32(0.5) * (np.abs(Z[c, y, x]) + np.float32(q)))
            m = floor + ((floor & 1) ^ parity)
            if parity == 0 and (word >> (8 + q)) & 1:
                m = 0
            level = 2 * m - (q if m else 0)
            negative = Z[c, y, x] < 0
            values[c, y, x] = -m if negative else m
            scores[c, y, x] = -level if negative else level
            A[c, y, x] = min(m >> shift, MOST)
