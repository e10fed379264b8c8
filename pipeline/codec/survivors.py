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
from pipeline.vectors import counted, element, emitted, load, store, variable

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U16 = NDArray[np.uint16]

# Magnitudes with bits of their own in the table; above, they grow by the same each.
LISTED = 18
COUNT = len(STATES)
# The two ways into each state: where from, and by which parity.
WAYS = np.array([[(s, p) for s in range(COUNT) for p in (0, 1) if STATES[s, p] == t] for t in range(COUNT)], np.int64)
# The same in one word, state by state: what was before by the first and by the second way, parity as a fourth bit.
FROM = np.uint64(sum(int(s + COUNT * p) << (4 * i) for i, (s, p) in enumerate(WAYS.reshape(-1, 2))))
STRIP = 256  # coefficients at once
PRICES = 4  # of a coefficient: the even and the odd value of the first quantiser, then of the second


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
    errors, magnitudes = np.empty((PRICES, STRIP), np.float32), np.empty((PRICES, STRIP), np.int32)
    prices = np.empty(PRICES * STRIP, np.float32)
    for start in range(0, z.shape[0], STRIP):
        part, total = z[start : start + STRIP], base[start : start + STRIP]
        for q in range(2):
            _neighbours(part, q, errors[2 * q], errors[2 * q + 1], magnitudes[2 * q], magnitudes[2 * q + 1])
        _price(part, total, bits, shift, errors, magnitudes, prices, path[start : start + STRIP])
        _cheapest(prices, cost, path[start : start + STRIP])
        least = cost.min()
        for s in range(COUNT):
            cost[s] -= least


@jit
def _neighbours(z: F32, q: int, even: F32, odd: F32, evens: I32, odds: I32) -> None:
    """Of the two values of quantiser q around each |z|, the even and the odd: squared errors and magnitudes."""
    half, offset = np.float32(0.5), np.float32(q)
    for x in range(z.shape[0]):
        a = np.abs(z[x])
        floor = np.int32(half * (a + offset))
        low = a - np.float32(np.int32(2) * floor - (np.int32(q) if floor else np.int32(0)))
        high = a - np.float32(np.int32(2) * floor + np.int32(2 - q))
        low, high, up = low * low, high * high, floor & np.int32(1)
        even[x], odd[x] = (high if up else low), (low if up else high)
        evens[x], odds[x] = floor + up, floor + np.int32(1) - up


@jit
def _price(z: F32, base: I32, bits: F32, shift: int, errors: F32, magnitudes: I32, prices: F32, path: U16) -> None:
    """What the values around each coefficient cost, error and bits, and whether 0 costs less than the even ones."""
    low = np.int32(shift)
    for x in range(z.shape[0]):
        nothing, word = z[x] * z[x], np.int64(0)
        b = bucket(base[x])
        for q in range(2):
            o = (LISTED + 1) * (BUCKETS * q + b)
            m, n = magnitudes[2 * q, x], magnitudes[2 * q + 1, x]
            even = errors[2 * q, x] + _bits(bits, o, m >> low)
            zero = nothing + bits[np.uint64(o)]
            less = np.int64(m == 2) & np.int64(zero < even)
            prices[PRICES * x + 2 * q] = zero if less else even
            prices[PRICES * x + 2 * q + 1] = errors[2 * q + 1, x] + _bits(bits, o, n >> low)
            word |= less << (8 + q)
        path[x] = word


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
