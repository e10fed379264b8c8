"""Winograd's minimal filtering F(4×4, 3×3), a vector of tiles at a time: the transforms of the input and the output.

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A        d 6×6 pixels, g 3×3 taps, Y 4×4 outputs: 36 products in place of 144

Source: Lavin, Gray (2016), section 4.3 (points 0, ±1, ±2, ∞). One lane is one tile, tiles lie side by side along x, so
pixels are read by their place modulo 4: line, phase (0–3), tile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from pipeline.gemm.microkernel import (
    ADDRESS,
    FLOAT,
    LANES,
    VECTOR,
    clamped,
    const,
    first_lanes,
    fused,
    number_at,
    read,
    read_some,
    write,
    write_past,
    write_some,
)
from pipeline.vectors import broadcast, counted, emitted, variable, zero_vector

TILE, POINTS = 4, 6
SPECTRUM = POINTS * POINTS
LARGE = 1e30
"""What overflows times this is too large."""
G = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
"""(6, 3): taps to points."""


def _scaled(builder: Any, factor: float, value: Any, more: Any) -> Any:
    """factor·value + more."""
    return fused(builder, ir.Constant(VECTOR, [factor] * LANES), value, more)


def _times(builder: Any, factor: float, value: Any) -> Any:
    return builder.fmul(ir.Constant(VECTOR, [factor] * LANES), value)


def _to_points(builder: Any, d: list[Any]) -> list[Any]:
    """Bᵀ d of six pixels."""
    even, odd = _scaled(builder, -4, d[2], d[4]), _scaled(builder, -4, d[1], d[3])
    far, twice = builder.fsub(d[4], d[2]), _times(builder, 2, builder.fsub(d[3], d[1]))
    return [
        _scaled(builder, 4, d[0], _scaled(builder, -5, d[2], d[4])),
        builder.fadd(even, odd),
        builder.fsub(even, odd),
        builder.fadd(far, twice),
        builder.fsub(far, twice),
        _scaled(builder, 4, d[1], _scaled(builder, -5, d[3], d[5])),
    ]


def _from_points(builder: Any, m: list[Any]) -> list[Any]:
    """Aᵀ m: four outputs."""
    near, turned = builder.fadd(m[1], m[2]), builder.fsub(m[1], m[2])
    wide, apart = builder.fadd(m[3], m[4]), builder.fsub(m[3], m[4])
    return [
        builder.fadd(builder.fadd(m[0], near), wide),
        _scaled(builder, 2, apart, turned),
        _scaled(builder, 4, wide, near),
        _scaled(builder, 8, apart, builder.fadd(turned, m[5])),
    ]


def _parted(builder: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """The even lanes of a and then b, and the odd ones."""
    order = ir.VectorType(ir.IntType(32), LANES)
    even = ir.Constant(order, [2 * lane for lane in range(LANES)])
    odd = ir.Constant(order, [2 * lane + 1 for lane in range(LANES)])
    return builder.shuffle_vector(a, b, even), builder.shuffle_vector(a, b, odd)


@emitted
def by_phase(typing: Any, line: Any, count: Any, out: Any, phase: Any) -> Any:
    """Pixels 4·i + p of a line to out[p][i], i < count, a multiple of LANES; 0, or NaN where one is not finite,
    or so large (above 3e8) that the rounding of its tile would drown its neighbours."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line, count, out, phase = args
        zeros = variable(builder, zero_vector(FLOAT, LANES))
        with counted(builder, builder.udiv(count, const(LANES))) as loop:
            here = builder.add(line, builder.mul(loop.index, const(16 * LANES)))
            pixels = [read(builder, builder.add(here, const(4 * LANES * q))) for q in range(TILE)]
            for one in pixels:
                builder.store(_scaled(builder, 0, _times(builder, LARGE, one), builder.load(zeros)), zeros)
            halves = [_parted(builder, *pixels[:2]), _parted(builder, *pixels[2:])]
            evens, odds = ([half[i] for half in halves] for i in (0, 1))
            (first, third), (second, fourth) = _parted(builder, *evens), _parted(builder, *odds)
            to = builder.add(out, builder.mul(loop.index, const(4 * LANES)))
            for p, value in enumerate((first, second, third, fourth)):
                write(builder, value, builder.add(to, builder.mul(phase, const(p))))
        total = ir.Constant(FLOAT, 0.0)
        for lane in range(LANES):
            one = builder.extract_element(builder.load(zeros), ir.Constant(ir.IntType(32), lane))
            total = builder.fadd(total, one)
        return total

    return types.float32(*[ADDRESS] * 4), codegen


@emitted
def to_spectrum(typing: Any, x: Any, line: Any, phase: Any, shift: Any, out: Any, step: Any) -> Any:
    """The 36 products' first factors for LANES tiles: x the address of their first pixel's line, `line` and `phase` the
    bytes between lines and phases, `shift` how many pixels further right the taps begin; out in steps of `step`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, line, phase, shift, out, step = args
        columns = []
        for j in range(POINTS):
            place = builder.add(shift, const(j))
            column = builder.mul(phase, builder.and_(place, const(3)))
            column = builder.add(builder.add(x, column), builder.shl(builder.ashr(place, const(2)), const(2)))
            pixels = [read(builder, builder.add(column, builder.mul(line, const(i)))) for i in range(POINTS)]
            columns.append(_to_points(builder, pixels))
        for i in range(POINTS):
            for j, value in enumerate(_to_points(builder, [column[i] for column in columns])):
                write(builder, value, builder.add(out, builder.mul(step, const(i * POINTS + j))))
        return context.get_dummy_value()

    return types.void(*[ADDRESS] * 6), codegen


def _side_by_side(builder: Any, phases: list[Any]) -> list[Any]:
    """Four vectors, one pixel of each tile, to the same pixels in the order of the line."""
    half = LANES // 2

    def mixed(a: Any, b: Any, first: int, run: int) -> Any:
        """Runs of a and b by turns, from lane `first` on."""
        places = [first + lane // (2 * run) * run + lane % run + LANES * (lane // run % 2) for lane in range(LANES)]
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), LANES), places))

    low = [mixed(phases[i], phases[i + 1], 0, 1) for i in (0, 2)]
    high = [mixed(phases[i], phases[i + 1], half, 1) for i in (0, 2)]
    return [mixed(pair[0], pair[1], first, 2) for pair in (low, high) for first in (0, half)]


@emitted
def to_pixels(
    typing: Any,
    m: Any,
    step: Any,
    out: Any,
    line: Any,
    bias: Any,
    add: Any,
    add_line: Any,
    low: Any,
    high: Any,
    rows: Any,
    columns: Any,
    past: Any,
) -> Any:
    """Outputs of LANES tiles from their 36 products: `rows` of 4, `columns` of 4·LANES are written, past the caches
    where `past` is 1 (then lines and columns are whole vectors)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        m, step, out, line, bias, add, add_line, low, high, rows, columns, past = args
        low, high = (broadcast(builder, bound, LANES) for bound in (low, high))
        one = broadcast(builder, number_at(builder, bias), LANES)
        masks = [first_lanes(builder, builder.sub(columns, const(LANES * q))) for q in range(TILE)]
        some, streams = (builder.icmp_signed("!=", flag, const(0)) for flag in (add, past))
        spectrum = [
            [read(builder, builder.add(m, builder.mul(step, const(i * POINTS + j)))) for i in range(POINTS)]
            for j in range(POINTS)
        ]
        columns_done = [_from_points(builder, column) for column in spectrum]
        for i in range(TILE):
            phases = _from_points(builder, [column[i] for column in columns_done])
            values = [builder.fadd(value, one) for value in _side_by_side(builder, phases)]
            with builder.if_then(builder.icmp_signed("<", const(i), rows)):
                place = builder.add(out, builder.mul(line, const(i)))
                more = builder.add(add, builder.mul(add_line, const(i)))
                for q, value in enumerate(values):
                    total = variable(builder, value)
                    with builder.if_then(some):
                        plus = read_some(builder, builder.add(more, const(4 * LANES * q)), masks[q])
                        builder.store(builder.fadd(value, plus), total)
                    done = clamped(builder, builder.load(total), low, high)
                    here = builder.add(place, const(4 * LANES * q))
                    with builder.if_else(streams) as (stream, keep):
                        with stream, builder.if_then(builder.icmp_signed("<", const(LANES * q), columns)):
                            write_past(builder, done, here)
                        with keep:
                            write_some(builder, done, here, masks[q])
        return context.get_dummy_value()

    kinds = [ADDRESS] * 7 + [types.float32] * 2 + [ADDRESS] * 3
    return types.void(*kinds), codegen
