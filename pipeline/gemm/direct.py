"""Direct convolution: every tap of every filter met where it lies in a panel, nothing lowered, nothing in memory twice.

Loop order, from outside: panels of output pixels, filters by FILTERS, rows, vectors of pixels. A panel stays in the
second cache while all filters pass over it, the weights of FILTERS filters in the first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from pipeline.gemm.microkernel import (
    ADDRESS,
    FILTERS,
    FLOAT,
    LANES,
    VECTORS,
    clamped,
    const,
    convolving,
    fence,
    first_lanes,
    read_some,
    write_some,
)
from pipeline.gemm.panel import Axis, Image, Panel, fill
from pipeline.jit import jit
from pipeline.vectors import broadcast, counted, emitted, variable, zero_vector

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

_full, _two, _one = (convolving(FILTERS, vectors) for vectors in (VECTORS, 2, 1))
_lone, _lone_one = convolving(1, 4), convolving(1, 1)
LONE = 2
"""Filters in a group up to which each goes by itself: depthwise convolution."""


class Weights(NamedTuple):
    """Where packed filters lie: (group, blocks of FILTERS, K, FILTERS), with their bias, and how many there are."""

    address: int
    bias: int
    groups: int
    channels: int
    """Of the input, in one group."""
    filters: int
    """In one group."""
    block: int
    """Filters in a block: FILTERS, or 1."""


class Epilogue(NamedTuple):
    """What happens to a sum before it is stored."""

    low: np.float32
    high: np.float32
    past: int
    """1: write past the caches; lines of the output are whole, aligned vectors."""


@jit
def respond(  # type: ignore[no-untyped-def]
    panel, step, block, rows, columns, w, table, count, out, bias, add, ends, kept
) -> None:
    """One block of filters over one panel: rows x columns outputs, written to the Image `out`; addresses in bytes."""
    most = VECTORS if block > 1 else 4
    vectors = -(-columns // LANES)
    same = (w, table, count, out.plane, add.plane, bias, ends.low, ends.high, kept, ends.past)
    for row in range(rows):
        x, to, plus = panel + row * step, out.address + row * out.line, add.address
        if plus:
            plus += row * add.line
        done = 0
        while done < vectors:
            # Even shares; a lone filter takes four vectors or one.
            here = -(-(vectors - done) // -(-(vectors - done) // most))
            if block == 1 and here < most:
                here = 4 if vectors - done >= most else 1
            lanes = min(LANES, columns - (done + here - 1) * LANES)
            at = 4 * done * LANES
            more = plus + at if plus else 0
            if block == 1 and here == 4:
                _lone(x + at, to + at, more, lanes, *same)
            elif block == 1:
                _lone_one(x + at, to + at, more, lanes, *same)
            elif here == 1:
                _one(x + at, to + at, more, lanes, *same)
            elif here == 2:
                _two(x + at, to + at, more, lanes, *same)
            else:
                _full(x + at, to + at, more, lanes, *same)
            done += here


@emitted
def _finish(typing: Any, sums: Any, add: Any, out: Any, columns: Any, low: Any, high: Any) -> Any:
    """out = clamp(sums + add) along a row of `columns`; add 0: nothing to add."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums, add, out, columns, low, high = args
        low, high = (broadcast(builder, bound, LANES) for bound in (low, high))
        some = builder.icmp_signed("!=", add, const(0))
        with counted(builder, builder.udiv(builder.add(columns, const(LANES - 1)), const(LANES))) as loop:
            at = builder.mul(loop.index, const(4 * LANES))
            mask = first_lanes(builder, builder.sub(columns, builder.mul(loop.index, const(LANES))))
            total = variable(builder, zero_vector(FLOAT, LANES))
            builder.store(read_some(builder, builder.add(sums, at), mask), total)
            with builder.if_then(some):
                more = read_some(builder, builder.add(add, at), mask)
                builder.store(builder.fadd(builder.load(total), more), total)
            write_some(builder, clamped(builder, builder.load(total), low, high), builder.add(out, at), mask)
        return context.get_dummy_value()

    return types.void(*[ADDRESS] * 4, types.float32, types.float32), codegen


@jit
def respond_flat(  # type: ignore[no-untyped-def]
    panel, cut, sums, rows, columns, w, table, count, out, bias, add, ends, kept
) -> None:
    """The same over a flat panel: all rows as one, by way of `sums` (address of FILTERS lines)."""
    line = 4 * (-(-cut.rows * cut.pitch // LANES) * LANES + LANES * VECTORS)
    vectors = -(-((rows - 1) * cut.pitch + columns) // LANES)
    infinite = np.float32(np.inf)
    same = (w, table, count, line, 0, bias, -infinite, infinite, kept, 0)
    done = 0
    while done < vectors:
        here = -(-(vectors - done) // -(-(vectors - done) // VECTORS))
        at = 4 * done * LANES
        if here == 1:
            _one(panel + at, sums + at, 0, LANES, *same)
        elif here == 2:
            _two(panel + at, sums + at, 0, LANES, *same)
        else:
            _full(panel + at, sums + at, 0, LANES, *same)
        done += here
    for f in range(kept):
        for row in range(rows):
            more = add.address + f * add.plane + row * add.line if add.address else 0
            to = out.address + f * out.plane + row * out.line
            _finish(sums + f * line + 4 * row * cut.pitch, more, to, columns, ends.low, ends.high)


@jit
def _at(where: Image, f: int, row: int, column: int) -> Image:
    """The image from one pixel of map f on; no image where there is none."""
    if not where.address:
        return where
    return Image(where.address + f * where.plane + row * where.line + 4 * column, where.plane, where.line, 4)


@jit
def convolve(
    x: Image,
    weights: Weights,
    y_axis: Axis,
    x_axis: Axis,
    cut: Panel,
    table: I64,
    out: Image,
    add: Image,
    ends: Epilogue,
    first: int,
    last: int,
    panel: F32,
    sums: F32,
) -> None:
    """Panels [first, last), counted row by row, of all groups."""
    across = -(-x_axis.out // cut.columns)
    count = table.size
    step = 4 * y_axis.stride * x_axis.stride * cut.pitch
    blocks = -(-weights.filters // weights.block)
    for number in range(first, last):
        row, column = number // across * cut.rows, number % across * cut.columns
        rows, columns = min(cut.rows, y_axis.out - row), min(cut.columns, x_axis.out - column)
        for group in range(weights.groups):
            own = Image(x.address + group * weights.channels * x.plane, x.plane, x.line, x.step)
            fill(own, weights.channels, y_axis, x_axis, cut, row, column, rows, panel)
            for block in range(blocks):
                f = group * weights.filters + block * weights.block
                to, plus = _at(out, f, row, column), _at(add, f, row, column)
                packed = weights.block * (group * blocks + block)
                w, bias = weights.address + 4 * packed * count, weights.bias + 4 * packed
                kept = min(weights.block, weights.filters - block * weights.block)
                what = (w, table.ctypes.data, count, to, bias, plus, ends, kept)
                if cut.flat:
                    respond_flat(panel.ctypes.data, cut, sums.ctypes.data, rows, columns, *what)
                else:
                    respond(panel.ctypes.data, step, weights.block, rows, columns, *what)
    fence()
