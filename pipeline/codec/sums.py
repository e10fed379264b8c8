"""Weighted sums of planes in float32, each in the order of the planes, never contracted, whatever the processor.

Source: the register blocking of Goto, van de Geijn (2008), with a product and a sum where it has them fused: a decoder
without fused arithmetic must find the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from pipeline.jit import jit
from pipeline.vectors import broadcast, counted, element, emitted, load, store, variable, zero_vector

F32 = NDArray[np.float32]

STRIP = 512  # pixels at once
TILE = 16  # of them in registers, a vector
TOGETHER = 5  # sums in registers, a tile each: with a row and a weight that fills the 16 of AVX2


@emitted
def _tile(typing: Any, weights: Any, row: Any, planes: Any, at: Any, k: Any, out: Any, to: Any, count: Any) -> Any:
    """out[to + i·STRIP :] = Σ_j weights[row + i·k + j] · planes[at + j·TILE :], a tile each, i < count, a literal."""
    scalar, bands = ir.FloatType(), count.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        factors, source, target = (context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 2, 5))
        first, begin, number, place = args[1], args[3], args[4], args[6]
        totals = [variable(builder, zero_vector(scalar, TILE)) for _ in range(bands)]
        with counted(builder, number) as loop:
            here = builder.add(begin, builder.mul(loop.index, ir.Constant(begin.type, TILE)))
            line = load(builder, element(builder, source, here), scalar, TILE)
            there = builder.add(first, loop.index)
            for total in totals:
                spread = broadcast(builder, builder.load(element(builder, factors, there)), TILE)
                builder.store(builder.fadd(builder.load(total), builder.fmul(spread, line)), total)
                there = builder.add(there, number)
        for i, total in enumerate(totals):
            store(builder, builder.load(total), element(builder, target, place, i * STRIP), scalar, TILE)
        return context.get_dummy_value()

    integers = types.intp
    return types.void(weights, integers, planes, integers, integers, out, integers, count), codegen


@jit
def pack_strip(planes: F32, start: int, n: int, packed: F32) -> None:
    """planes[:, start : start + n] tile by tile, each tile plane by plane; zeros up to a whole tile."""
    k = planes.shape[0]
    for tile in range((n + TILE - 1) // TILE):
        first, size = start + tile * TILE, min(TILE, n - tile * TILE)
        for j in range(k):
            at = (tile * k + j) * TILE
            target, source = packed[at : at + TILE], planes[j, first : first + size]
            if size < TILE:
                target[:] = np.float32(0.0)
            for i in range(size):
                target[i] = source[i]


@jit
def sum_strip(weights: F32, first: int, count: int, k: int, packed: F32, n: int, totals: F32) -> None:
    """totals[i·STRIP : i·STRIP + n] = Σ_j weights[(first + i)·k + j] · plane j, packed as above, i < count <= TOGETHER.

    All arrays flat; totals are written up to a whole tile.
    """
    for tile in range((n + TILE - 1) // TILE):
        at, to = tile * k * TILE, tile * TILE
        if count == TOGETHER:
            _tile(weights, first * k, packed, at, k, totals, to, TOGETHER)
        else:
            for i in range(count):
                _tile(weights, (first + i) * k, packed, at, k, totals, to + i * STRIP, 1)
