"""The inner loop of the trellis: what the values of coefficients cost, and the cheaper of two ways into each state.

Sources: Viterbi (1967); the states are those of `context_models`. All eight stand in one vector, so the comparison of
their costs is one instruction, its outcome eight bits. Sums in float32, never contracted: the same path on every CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from pipeline.codec.context import BUCKETS, bucket
from pipeline.codec.context_models import STATES
from pipeline.jit import jit
from pipeline.vectors import VECTOR_BYTES, counted, element, emitted, gather, load, store, variable

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U16 = NDArray[np.uint16]

# Magnitudes with bits of their own in the table; above, they grow by the same each.
LISTED = 18
COUNT = len(STATES)
# The two ways into each state: where from, and by which parity.
WAYS = np.array([[(s, p) for s in range(COUNT) for p in (0, 1) if STATES[s, p] == t] for t in range(COUNT)], np.int64)
# The same in one word, state by state: what was before by the first and by the second way, parity as a fourth bit.
FROM = np.uint64(sum(int(s + COUNT * p) << (4 * i) for i, (s, p) in enumerate(WAYS.reshape(-1, 2))))
LANES = VECTOR_BYTES // 4
STRIP = 256  # coefficients at once, whole vectors of LANES
PRICES = 4  # of a coefficient: the even and the odd value of the first quantiser, then of the second
NOTHING = PRICES  # where errors and prices of zeros stand behind them


@emitted
def _cheapest(typing: Any, prices: Any, cost: Any, path: Any) -> Any:
    """For each word of path: cost (COUNT,) by the cheaper way into each state at the next four prices; the word's bits
    0 to 7 say where that was the second. The first way stands where both cost the same."""
    scalar, lane = ir.FloatType(), ir.IntType(32)

    def order(numbers: list[int]) -> Any:
        return ir.Constant(ir.VectorType(lane, COUNT), [ir.Constant(lane, n) for n in numbers])

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        prices, cost, path = (
            context.make_array(kind)(context, builder, arg) for kind, arg in zip(signature.args, args, strict=True)
        )
        start = ir.Constant(ir.IntType(64), 0)
        costs = variable(builder, load(builder, element(builder, cost, start), scalar, COUNT))
        with counted(builder, builder.extract_value(path.shape, 0)) as loop:
            at = builder.mul(loop.index, ir.Constant(loop.index.type, PRICES))
            four, before = load(builder, element(builder, prices, at), scalar, PRICES), builder.load(costs)
            first, second = (
                builder.fadd(
                    builder.shuffle_vector(before, before, order([int(s) for s, _ in ways])),
                    builder.shuffle_vector(four, four, order([int(2 * (s & 1) + p) for s, p in ways])),
                )
                for ways in WAYS.swapaxes(0, 1)
            )
            less = builder.fcmp_ordered("<", second, first)
            builder.store(builder.select(less, second, first), costs)
            word = element(builder, path, loop.index)
            taken = builder.zext(builder.bitcast(less, ir.IntType(COUNT)), ir.IntType(16))
            builder.store(builder.or_(builder.load(word), taken), word)
        store(builder, builder.load(costs), element(builder, cost, start), scalar, COUNT)
        return context.get_dummy_value()

    return types.void(prices, cost, path), codegen


@jit
def step(z: F32, base: I32, bits: F32, shift: int, cost: F32, path: U16) -> None:
    """Viterbi along coefficients z, in steps: cost (COUNT,) goes from before the first to behind the last.

    base: the contexts' sums; bits: (quantiser, bucket, LISTED + 1) flat. path: for each state which of its two ways in
    was the cheaper (bits 0 to 7), for each quantiser whether its even value is 0 rather than the nearest (bits 8, 9).
    """
    # Whole vectors are read: what stands behind the last coefficient is from a strip before, or zero.
    errors, sums = np.zeros((NOTHING + 1, STRIP), np.float32), np.empty((NOTHING + 1, STRIP), np.float32)
    magnitudes, places = np.zeros((PRICES, STRIP), np.int32), np.zeros((2, STRIP), np.int32)
    prices = np.empty(PRICES * STRIP, np.float32)
    for start in range(0, z.shape[0], STRIP):
        part, total, way = z[start : start + STRIP], base[start : start + STRIP], path[start : start + STRIP]
        way[:] = 0
        _square(part, errors[NOTHING])
        for q in range(2):
            even, odd = 2 * q, 2 * q + 1
            _neighbours(part, q, errors[even], errors[odd], magnitudes[even], magnitudes[odd])
            _find_contexts(total, q, places[1])
            for i in (even, odd):
                _price(errors[i], magnitudes[i], places[1], bits, shift, part.shape[0], places[0], sums[i])
            _add_gathered(errors[NOTHING], places[1], bits, sums[NOTHING], part.shape[0])
            _prefer_zero(sums[even], sums[NOTHING], magnitudes[even], q, way)
        _interleave(sums, prices, part.shape[0])
        _cheapest(prices, cost, way)
        least = cost.min()
        for s in range(COUNT):
            cost[s] -= least


@jit
def _neighbours(z: F32, q: int, even: F32, odd: F32, evens: I32, odds: I32) -> None:
    """Of the two values of quantiser q around each |z|, the even and the odd: squared errors and magnitudes."""
    half, two, offset, none = np.float32(0.5), np.float32(2.0), np.float32(q), np.float32(0.0)
    for x in range(z.shape[0]):
        a = np.abs(z[x])
        floor = np.int32(half * (a + offset))
        twice = two * np.float32(floor)
        low = a - (twice - (offset if floor else none))
        high = a - (twice + (two - offset))
        low, high, up = low * low, high * high, floor & np.int32(1)
        even[x], odd[x] = (high if up else low), (low if up else high)
        evens[x], odds[x] = floor + up, floor + np.int32(1) - up


@jit
def _square(z: F32, out: F32) -> None:
    for x in range(z.shape[0]):
        out[x] = z[x] * z[x]


@jit
def _find_contexts(base: I32, q: int, places: I32) -> None:
    """Where the bits of each coefficient's context begin."""
    for x in range(base.shape[0]):
        places[x] = (LISTED + 1) * (BUCKETS * q + bucket(base[x]))


@jit
def _price(errors: F32, magnitudes: I32, contexts: I32, bits: F32, shift: int, n: int, places: I32, out: F32) -> None:
    """out = error + λ·bits of n magnitudes; places is scratch."""
    low, last, most = np.int32(shift), np.int32(LISTED - 1), np.int32(0)
    for x in range(n):
        m = magnitudes[x] >> low
        places[x] = contexts[x] + (m if m < last else last)
    for x in range(n):
        most = magnitudes[x] if magnitudes[x] > most else most
    _add_gathered(errors, places, bits, out, n)
    if most >> low > last:
        for x in range(n):
            if magnitudes[x] >> low > last:
                out[x] = errors[x] + _bits(bits, contexts[x], magnitudes[x] >> low)


@jit
def _prefer_zero(even: F32, zero: F32, magnitudes: I32, q: int, path: U16) -> None:
    """Where 0 costs less than the even value 2, it is taken, and path says so."""
    for x in range(path.shape[0]):
        less = (magnitudes[x] == np.int32(2)) & (zero[x] < even[x])
        even[x] = zero[x] if less else even[x]
        path[x] |= np.uint16(less) << np.uint16(8 + q)


@jit
def _interleave(sums: F32, prices: F32, n: int) -> None:
    """prices: four for each coefficient."""
    a, b, c, d = sums[0], sums[1], sums[2], sums[3]
    for x in range(n):
        prices[4 * x], prices[4 * x + 1], prices[4 * x + 2], prices[4 * x + 3] = a[x], b[x], c[x], d[x]


@emitted
def _add_gathered(typing: Any, errors: Any, places: Any, bits: Any, out: Any, n: Any) -> Any:
    """out = errors + bits[places], of n and those that fill up the last vector."""
    scalar, lane = ir.FloatType(), ir.IntType(32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        known, where, table, sums = (
            context.make_array(kind)(context, builder, arg) for kind, arg in zip(signature.args, args[:4], strict=False)
        )
        size = ir.Constant(args[4].type, LANES)
        blocks = builder.udiv(builder.add(args[4], ir.Constant(args[4].type, LANES - 1)), size)
        with counted(builder, blocks) as loop:
            at = builder.mul(loop.index, size)
            numbers = load(builder, element(builder, where, at), lane, LANES)
            error = load(builder, element(builder, known, at), scalar, LANES)
            total = builder.fadd(error, gather(builder, table, numbers, scalar))
            store(builder, total, element(builder, sums, at), scalar, LANES)
        return context.get_dummy_value()

    return types.void(errors, places, bits, out, n), codegen


@jit
def _bits(bits: F32, o: int, m: int) -> Any:
    """λ·bits of magnitude m in the context at o."""
    if m < LISTED:
        return bits[np.uint64(o + m)]
    return bits[np.uint64(o + LISTED - 1)] + np.float32(m - (LISTED - 1)) * bits[np.uint64(o + LISTED)]


@jit
def walk_back(path: U16, last: int) -> None:
    """path, words of `step`, becomes what the cheapest path to state `last` chose: parity (bit 0), quantiser (bit
    1), whether its even value is 0 rather than the nearest (bit 2)."""
    state = np.uint64(last)
    one, four, eight = np.uint64(1), np.uint64(4), np.uint64(8)
    for i in range(path.shape[0] - 1, -1, -1):
        word = np.uint64(path[i])
        way = (word >> state) & one
        before = FROM >> (eight * state + four * way)
        state, even = before & np.uint64(COUNT - 1), (before >> np.uint64(3) & one) ^ one
        q = state & one
        path[i] = (even ^ one) | q << one | (even & (word >> (eight + q))) << np.uint64(2)
