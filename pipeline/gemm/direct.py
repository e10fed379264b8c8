"""Direct convolution: every tap of every filter met where it lies in a panel, nothing lowered, nothing in memory twice.

Loop order, from outside: panels of output pixels, filters by FILTERS, rows, vectors of pixels. A panel stays in the
second cache while all filters pass over it, the weights of FILTERS filters in the first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm.microkernel import FILTERS, LANES, VECTORS, convolving, fence
from pipeline.gemm.panel import Axis, Image, Panel, fill
from pipeline.jit import jit

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
    panel, step, rows, columns, w, table, count, out, bias, add, ends, kept, block
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
                place = f * out.plane + row * out.line + 4 * column
                to = Image(out.address + place, out.plane, out.line, 4)
                plus = add
                if add.address:
                    place = f * add.plane + row * add.line + 4 * column
                    plus = Image(add.address + place, add.plane, add.line, 4)
                packed = group * blocks + block
                respond(
                    panel.ctypes.data,
                    step,
                    rows,
                    columns,
                    weights.address + 4 * packed * count * weights.block,
                    table.ctypes.data,
                    count,
                    to,
                    weights.bias + 4 * packed * weights.block,
                    plus,
                    ends,
                    min(weights.block, weights.filters - block * weights.block),
                    weights.block,
                )
    fence()
