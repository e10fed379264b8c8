"""Kernels of a convolution whose outputs are rectified and averaged over windows at once: no map of them exists.

A unit is a block of cells. Its responses, FILTERS filters at a time, go to a scratch that stays in the second cache;
from there come the means of relu(z) and, where both signs are wanted, of relu(−z).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm.direct import Epilogue, Weights, respond
from pipeline.gemm.microkernel import FILTERS
from pipeline.gemm.panel import Axis, Image, Panel, fill
from pipeline.gemm.windows import Cells, average
from pipeline.gemm.winograd import Unit, apart, pixels, products, spectra
from pipeline.gemm.winograd_tiles import SPECTRUM
from pipeline.jit import jit

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@jit
def directly(
    x: Image,
    weights: Weights,
    y_axis: Axis,
    x_axis: Axis,
    cut: Panel,
    table: I64,
    cells: Cells,
    out: F32,
    first: int,
    last: int,
    panel: F32,
    scratch: F32,
    room: F32,
) -> None:
    """Units [first, last), counted row by row; scratch (FILTERS, y, x)."""
    across = -(-cells.wide // cells.columns)
    count, step = table.size, 4 * y_axis.stride * x_axis.stride * cut.pitch
    ends = Epilogue(np.float32(-np.inf), np.float32(np.inf), 0)
    to = Image(scratch.ctypes.data, scratch.strides[0], scratch.strides[1], 4)
    for number in range(first, last):
        row, column = number // across * cells.rows, number % across * cells.columns
        rows, columns = min(cells.rows, cells.high - row), min(cells.columns, cells.wide - column)
        y, z = row * cells.stride, column * cells.stride
        high, wide = (rows - 1) * cells.stride + cells.pool, (columns - 1) * cells.stride + cells.pool
        fill(x, weights.channels, y_axis, x_axis, cut, y, z, high, panel)
        for block in range(-(-weights.filters // FILTERS)):
            f = block * FILTERS
            kept = min(FILTERS, weights.filters - f)
            w, bias = weights.address + 4 * f * count, weights.bias + 4 * f
            own = (w, table.ctypes.data, count, to, bias, Image(0, 0, 0, 0), ends, kept)
            respond(panel.ctypes.data, step, FILTERS, high, wide, *own)
            average(scratch, kept, rows, columns, cells, f, row, column, out, room)


@jit
def by_winograd(
    x: Image,
    weights: Weights,
    y_axis: Axis,
    x_axis: Axis,
    unit: Unit,
    cells: Cells,
    out: F32,
    first: int,
    last: int,
    lines: F32,
    V: F32,
    M: F32,
    scratch: F32,
    room: F32,
) -> int:
    """Units [first, last); returns the first one with a pixel that is not finite, or `last`."""
    across = -(-cells.wide // cells.columns)
    channels = weights.channels * unit.rows_of_blocks * unit.columns_of_blocks
    v_step, m_step = apart(channels, unit.pitch), apart(FILTERS, unit.pitch)
    ends = Epilogue(np.float32(-np.inf), np.float32(np.inf), 0)
    to = Image(scratch.ctypes.data, scratch.strides[0], scratch.strides[1], 4)
    for number in range(first, last):
        row, column = number // across * cells.rows, number % across * cells.columns
        rows, columns = min(cells.rows, cells.high - row), min(cells.columns, cells.wide - column)
        high, wide = (rows - 1) * cells.stride + cells.pool, (columns - 1) * cells.stride + cells.pool
        own_y = Axis(y_axis.taps, 1, y_axis.before - row * cells.stride, 1, y_axis.length, high)
        own_x = Axis(x_axis.taps, 1, x_axis.before - column * cells.stride, 1, x_axis.length, wide)
        if not spectra(x, weights.channels, own_y, own_x, unit, 0, 0, lines, V):
            return number
        for block in range(-(-weights.filters // FILTERS)):
            f = block * FILTERS
            kept = min(FILTERS, weights.filters - f)
            U = weights.address + 4 * block * SPECTRUM * channels * FILTERS
            products(V.ctypes.data, v_step, U, M.ctypes.data, m_step, unit, channels)
            pixels(M.ctypes.data, m_step, unit, high, wide, weights.bias + 4 * f, to, Image(0, 0, 0, 0), ends, kept)
            average(scratch, kept, rows, columns, cells, f, row, column, out, room)
    return last
