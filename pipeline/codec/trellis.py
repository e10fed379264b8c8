"""Dependent quantisation, the encoder's side: the cheapest path through the states of a subband, in error and bits.

Sources: trellis-coded quantisation: Marcellin, Fischer (1990); with entropy coding: Fischer, Wang (1992); the form
with two quantisers and the parity of the index: Schwarz et al. (2021); the search: Viterbi (1967). Bits are those of
the models as they stand, under contexts of magnitudes quantised one by one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import wavelet
from pipeline.codec.budget import BIT, ERROR, Budget, budget_of, gain, spend, worth
from pipeline.codec.context import BUCKETS, MEAN_ONE, MOST, TERMS, products, shift_of
from pipeline.codec.context_coder import PlaneCoder
from pipeline.codec.context_models import RUN, STATES, low_bits
from pipeline.codec.context_sums import LANES, expect_inside, expect_outside, rows_of
from pipeline.codec.survivors import COUNT, LISTED, step, walk_back
from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U16 = NDArray[np.uint16]

NEVER = np.float32(1e30)
# Below this code of a mean magnitude, 2⁻⁵, nearly all is zero, whatever a bit is worth.
QUIET = MEAN_ONE - 20
# The share of the error that planes done anew are to have.
AGAIN = 0.4
# Rounding of a magnitude in steps of one quantiser, where it only gives the context.
ROUND = 0.4


class Trellis:
    """Coefficients Z (plane, y, x), in steps, quantised and coded; the last planes can be had anew for another error.

    errors: (plane, subband) squared error, weighed by norms, about what each is to make and all are to end at. The last
    planes are those from `turn` on. There are `scores` (plane, y, x), and their `payload`.
    """

    def __init__(self, Z: F32, levels: int, errors: F64 | None = None) -> None:
        norms, values = wavelet.norms(levels), np.empty(Z.shape, np.int32)
        rough(Z, values)
        self._coder = PlaneCoder(values, levels, STATES)
        expected = np.zeros((len(Z), len(norms))) if errors is None else errors
        self._budget = budget_of(expected, self._coder.means >= QUIET, norms)
        self.turn = _turn(self._budget.moved)
        self._spent = self._budget.made.copy()
        self.scores = np.empty(Z.shape, np.int32)
        self.payload = self._choose(0, Z, values)

    def reached(self) -> float:
        """What the error is of that asked for."""
        return float((self._budget.made[ERROR] - gain(self._budget.made)) / max(self._budget.asked[0], 1e-30))

    def again(self, Z: F32, share: float) -> None:
        """With the same Z, for this share of the error asked for at first; the scores are a new array."""
        self._budget.asked[0] = share * self._budget.total
        self._budget.made[:] = self._spent
        self.scores = self.scores.copy()
        # What scores ± (2 m − 0 or 1) are coded as, ± m; in place, for memory is short by now.
        values = np.abs(self.scores)
        values += 1
        values >>= 1
        np.negative(values, out=values, where=self.scores < 0)
        rough(Z[self.turn :], values[self.turn :])
        self._coder.back(values)
        self.payload = self._choose(self.turn, Z, values)

    def _choose(self, first: int, Z: F32, values: I32) -> bytes:
        coder = self._coder
        for c in range(first, len(Z)):
            if c == self.turn:
                coder.mark()
                self._spent = self._budget.made.copy()
            choose_plane(
                Z,
                values,
                self.scores,
                coder.magnitudes,
                coder.boxes,
                coder.means,
                coder.weights,
                coder.models,
                c,
                self._budget,
                coder.outside,
            )
            coder.encode(c, told=True)
        coder.release()
        return coder.payload()


def _turn(expected: F64) -> int:
    """The plane from which on enough of the error expected is made to make up for what is wrong with all of it."""
    rest = np.cumsum(expected.sum(axis=1)[::-1])[::-1]
    return max(int(np.count_nonzero(rest >= AGAIN * expected.sum())) - 1, 0) if expected.any() else 0


@jit
def rough(Z: F32, values: I32) -> None:
    """values (plane, y, x) = what Z, in steps, is about in steps of one quantiser; |values| < 2³⁰."""
    flat, out = Z.reshape(-1), values.reshape(-1)
    for i in range(flat.shape[0]):
        m = np.int32(np.abs(flat[i]) * np.float32(0.5) + np.float32(ROUND))
        out[i] = -m if flat[i] < 0 else m


@jit
def choose_plane(
    Z: F32,
    values: I32,
    scores: I32,
    A: I32,
    boxes: I64,
    means: I64,
    weights: I64,
    models: I32,
    c: int,
    budget: Budget,
    outside: I32,
) -> None:
    """Quantise plane c of Z (plane, y, x), in steps: indices to `values`, magnitudes to A, what they stand for to
    `scores`; A comes with those of `rough`. In subbands without a mean all is zero. `budget` is spent. outside: as in
    `PlaneCoder`, which no choice changes."""
    w, rows, pitch = np.empty(TERMS, np.int64), rows_of(Z.shape[2]), Z.shape[2]
    known, flat, chosen, magnitudes = Z.reshape(-1), values.reshape(-1), scores.reshape(-1), A.reshape(-1)
    listed = bits_of(models).reshape(-1)
    bits, sums = np.empty_like(listed), np.empty(5)
    area = Z.shape[1] * Z.shape[2]
    z, path, inside = np.empty(area, np.float32), np.empty(area, np.uint16), np.empty(area + LANES, np.int32)
    for k in range(boxes.shape[0]):
        y0, y1, x0, x1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
        height, n, corner = y1 - y0, x1 - x0, (c * Z.shape[1] + y0) * pitch + x0
        if means[c, k] == 0:
            scores[c, y0:y1, x0:x1] = 0
            _sum_errors(known, chosen, corner, pitch, height, n, sums)
            spend(budget, c, k, 1.0, sums)
            continue
        factor = worth(budget)
        for i in range(bits.shape[0]):
            bits[i] = np.float32(factor) * listed[i]
        shift = shift_of(means[c, k])
        products(means, boxes, c, k, weights, w)
        cost = np.full(COUNT, NEVER, np.float32)
        cost[0] = np.float32(0.0)
        expect_outside(A, boxes, c, k, w, rows, outside)
        expect_inside(A, boxes, c, k, w, outside, inside)
        for row in range(height):
            for x in range(n):
                z[np.uint64(row * n + x)] = known[np.uint64(corner + row * pitch + x)]
        first, area = boxes[k, 9], height * n
        step(z[:area], inside[first : first + area], bits, shift, cost, path[:area])
        walk_back(path[:area], int(np.argmin(cost)))
        _write(z[:area], path[:area], flat, chosen, magnitudes, corner, pitch, n, shift)
        _sum_errors(known, chosen, corner, pitch, height, n, sums)
        spend(budget, c, k, factor, sums)


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
def _write(z: F32, path: U16, flat: I32, scores: I32, A: I32, corner: int, pitch: int, n: int, shift: int) -> None:
    """Write what was chosen for z, a subband with n coefficients to a row, from its `corner` of each flat array on."""
    low, most, none = np.int32(shift), np.int32(MOST), np.int32(0)
    for row in range(len(z) // n):
        at, to = row * n, corner + row * pitch
        for x in range(n):
            i, chosen = np.uint64(at + x), np.int32(path[np.uint64(at + x)])
            floor = np.int32(
                np.float32(0.5) * (np.abs(z[i]) + np.float32(np.int32(chosen >> np.int32(1) & np.int32(1))))
            )
            m = np.int32(floor + ((floor & np.int32(1)) ^ (chosen & np.int32(1))))
            m = none if chosen & np.int32(4) else m
            flat[np.uint64(to + x)] = np.int32(-m) if z[i] < 0 else m
            A[np.uint64(to + x)] = m if m < most else most
        for x in range(n):
            value, q = flat[np.uint64(to + x)], np.int32(path[np.uint64(at + x)] >> 1 & 1)
            sign = np.int32(value > none) - np.int32(value < none)
            scores[np.uint64(to + x)] = np.int32(2) * value - np.int32(sign * q)
        for x in range(n if shift else 0):
            A[np.uint64(to + x)] = min(np.int32(abs(flat[np.uint64(to + x)])) >> low, most)


@jit
def _sum_errors(known: F32, scores: I32, corner: int, pitch: int, height: int, n: int, sums: F64) -> None:
    """sums = [Σ e²; Σ e, count where |score| = 1; Σ e, count where it is more], e = |z| − |score|, over a subband from
    its `corner` of flat arrays on; in lanes, column by column, few of them in one loop, or it does not vectorise."""
    lanes = np.zeros((5, n), np.float32)
    squares, one, ones, more, mores = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4]
    for row in range(height):
        first = corner + row * pitch
        for x in range(n):
            e = np.abs(known[np.uint64(first + x)]) - np.abs(np.float32(scores[np.uint64(first + x)]))
            squares[x] += e * e
        for x in range(n):
            level = np.abs(np.float32(scores[np.uint64(first + x)]))
            is_one = np.float32(level == np.float32(1.0))
            ones[x] += is_one
            one[x] += is_one * (np.abs(known[np.uint64(first + x)]) - level)
        for x in range(n):
            level = np.abs(np.float32(scores[np.uint64(first + x)]))
            is_more = np.float32(level > np.float32(1.0))
            mores[x] += is_more
            more[x] += is_more * (np.abs(known[np.uint64(first + x)]) - level)
    for i in range(5):
        total = 0.0
        for x in range(n):
            total += np.float64(lanes[i, x])
        sums[i] = total
