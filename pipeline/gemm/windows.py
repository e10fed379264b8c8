"""Means of rectified responses over windows, a vector at a time; all in float32, each window in an order of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from pipeline.gemm.microkernel import ADDRESS, FLOAT, LANES, const, read, write
from pipeline.gemm.panel import copy
from pipeline.jit import jit
from pipeline.vectors import counted, emitted, zero_vector

F32 = NDArray[np.float32]

DENSE = 2
"""Steps between cells up to which windows share so much that sums of 1, 2, 4, ... lines are cheaper."""


class Cells(NamedTuple):
    """How the cells are cut: window, step from cell to cell, cells of a unit, all cells, both signs or one."""

    pool: int
    stride: int
    rows: int
    columns: int
    high: int
    wide: int
    both: bool


@emitted
def _rectified(typing: Any, line: Any, negate: Any, add: Any, out: Any, vectors: Any) -> Any:
    """out = relu(line), or with `negate` relu(−line); with `add` that is added. The last two are literals."""
    minus, more = negate.literal_value, add.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line, _, _, out, vectors = args
        zero = zero_vector(FLOAT, LANES)
        with counted(builder, vectors) as loop:
            at = builder.mul(loop.index, const(4 * LANES))
            value, place = read(builder, builder.add(line, at)), builder.add(out, at)
            if minus:
                value = builder.fsub(zero, value)
            value = builder.select(builder.fcmp_unordered(">", value, zero), value, zero)
            write(builder, builder.fadd(value, read(builder, place)) if more else value, place)
        return context.get_dummy_value()

    return types.void(ADDRESS, negate, add, ADDRESS, ADDRESS), codegen


@emitted
def _sum(typing: Any, a: Any, b: Any, out: Any, vectors: Any) -> Any:
    """out = a + b."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, out, vectors = args
        with counted(builder, vectors) as loop:
            at = builder.mul(loop.index, const(4 * LANES))
            pair = [read(builder, builder.add(one, at)) for one in (a, b)]
            write(builder, builder.fadd(*pair), builder.add(out, at))
        return context.get_dummy_value()

    return types.void(*[ADDRESS] * 4), codegen


@jit
def average(
    z: F32, kept: int, rows: int, columns: int, cells: Cells, f: int, row: int, column: int, out: F32, room: F32
) -> None:
    """Means of relu(±z) over the windows of rows x columns cells; z (FILTERS, y, x), out (N or 2N, cells, cells).

    room (3, y + 1, x) is used up; lines of z and room are whole vectors.
    """
    half = out.shape[0] // 2
    for n in range(kept):
        if cells.stride <= DENSE:
            _dense(z[n], False, rows, columns, cells, out[f + n], row, column, room)
            if cells.both:
                _dense(z[n], True, rows, columns, cells, out[half + f + n], row, column, room)
        else:
            _sparse(z[n], False, rows, columns, cells, out[f + n], row, column, room)
            if cells.both:
                _sparse(z[n], True, rows, columns, cells, out[half + f + n], row, column, room)


@jit
def _sparse(
    z: F32, negate: bool, rows: int, columns: int, cells: Cells, means: F32, row: int, column: int, room: F32
) -> None:
    """Sums of columns, line after line, then of runs of them."""
    sums = room[0, 0]
    vectors, scale = sums.size // LANES, np.float32(1.0 / (cells.pool * cells.pool))
    for i in range(rows):
        first = z[i * cells.stride :]
        if negate:
            _rectified(first.ctypes.data, True, False, sums.ctypes.data, vectors)
        else:
            _rectified(first.ctypes.data, False, False, sums.ctypes.data, vectors)
        for t in range(1, cells.pool):
            at = first.ctypes.data + t * z.strides[0]
            if negate:
                _rectified(at, True, True, sums.ctypes.data, vectors)
            else:
                _rectified(at, False, True, sums.ctypes.data, vectors)
        for j in range(columns):
            total = np.float32(0.0)
            for t in range(cells.pool):
                total += sums[j * cells.stride + t]
            means[row + i, column + j] = total * scale


@jit
def _dense(
    z: F32, negate: bool, rows: int, columns: int, cells: Cells, means: F32, row: int, column: int, room: F32
) -> None:
    """Sums of 1, 2, 4, ... lines, put together to `pool` of them; then the same along the lines."""
    high, pitch = (rows - 1) * cells.stride + cells.pool, z.strides[0]
    vectors, scale = z.shape[1] // LANES, np.float32(1.0 / (cells.pool * cells.pool))
    power, sums, spare = room[0].ctypes.data, room[1].ctypes.data, room[2].ctypes.data
    if negate:
        _rectified(z.ctypes.data, True, False, power, high * vectors)
    else:
        _rectified(z.ctypes.data, False, False, power, high * vectors)
    size, offset, left = 1, 0, high
    while size <= cells.pool:
        if cells.pool & size:
            count = (high - cells.pool + 1) * vectors
            if offset:
                _sum(sums, power + offset * pitch, sums, count)
            else:
                copy(power, sums, 4 * LANES * count)
            offset += size
        if 2 * size <= cells.pool:
            left -= size
            _sum(power, power + size * pitch, power, left * vectors)
        size *= 2
    for i in range(rows):
        run = room[1, i * cells.stride]
        _sum_run(run.ctypes.data, cells.pool, power, spare, vectors)
        line, total = means[row + i, column : column + columns], room[0, 0]
        if cells.stride == 1:
            for j in range(columns):
                line[j] = total[j] * scale
        else:
            for j in range(columns):
                line[j] = total[j * cells.stride] * scale


@jit
def _sum_run(power: int, pool: int, sums: int, spare: int, vectors: int) -> None:
    """sums[x] = power[x] + ... + power[x + pool − 1] along a line; what lies after the line is read, and spoils only
    sums that windows do not reach. `power` and `spare` are used up."""
    size, offset = 1, 0
    while size <= pool:
        if pool & size:
            if offset:
                _sum(sums, power + 4 * offset, sums, vectors)
            else:
                copy(power, sums, 4 * LANES * vectors)
            offset += size
        if 2 * size <= pool:
            _sum(power, power + 4 * size, spare, vectors)
            power, spare = spare, power
        size *= 2
