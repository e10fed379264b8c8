"""Convolution with stride 1 by Winograd's F(4×4, 3×3): a quarter of the products, for an error of about 2e-5.

Larger filters are sums of 3×3 blocks of their taps, each with the input moved along: the blocks are added where their
products are, before the one transform back. Work is cut into units of tiles whose transformed input stays in the
second cache:

    for each unit:  V[36, C·blocks, tiles];  for FILTERS filters:  M[36, f, tiles] = U[36, f, C·blocks] V,  outputs of M
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm.direct import Epilogue, Weights
from pipeline.gemm.microkernel import FILTERS, LANES, VECTORS, fence, multiplying
from pipeline.gemm.panel import PANEL_BYTES, Axis, Image, clear, gather
from pipeline.gemm.winograd_tiles import SPECTRUM, TILE, G, by_phase, to_pixels, to_spectrum
from pipeline.jit import jit

F32 = NDArray[np.float32]
BLOCK = 3
MOST_TAPS = 9
COMMON_LANES, COMMON_FILTERS = 16, 8
"""What costs are counted with, whatever the registers: the same way, and the same bytes, on every processor."""
LINE_FLOATS = 16

_full, _two, _one = (multiplying(FILTERS, vectors) for vectors in (VECTORS, 2, 1))


class Unit(NamedTuple):
    """How tiles are cut: rows and columns of tiles in a unit, floats between rows of V and M, of a phase of a line."""

    rows: int
    columns: int
    pitch: int
    phase: int
    rows_of_blocks: int
    columns_of_blocks: int

    @staticmethod
    def fitting(channels: int, y: Axis, x: Axis, room: int = PANEL_BYTES, *, lanes: int = LANES) -> Unit:
        """The unit of about as many tiles as keep V within `room` bytes."""
        high, wide = -(-y.out // TILE), -(-x.out // TILE)
        blocks = -(-y.taps // BLOCK) * -(-x.taps // BLOCK)
        across = -(-wide // lanes)
        most = max(1, min(3 * VECTORS, room // (4 * SPECTRUM * channels * blocks * lanes)))
        columns = min(wide, lanes * -(-across // -(-across // most)))
        return Unit.of(max(1, min(high, lanes * most // columns)), columns, y, x, lanes=lanes)

    @staticmethod
    def of(rows: int, columns: int, y: Axis, x: Axis, *, lanes: int = LANES) -> Unit:
        """The unit of rows x columns tiles."""
        pitch = -(-rows * columns // lanes) * lanes
        return Unit(rows, columns, pitch, (-(-columns // lanes) + 1) * lanes, -(-y.taps // BLOCK), -(-x.taps // BLOCK))

    def floats(self, channels: int) -> tuple[int, int, int]:
        """Sizes of the buffers: lines of one channel by phase with one line more, V, M."""
        lines = TILE * self.rows + 2 + BLOCK * (self.rows_of_blocks - 1)
        spread = channels * self.rows_of_blocks * self.columns_of_blocks
        V, M = (SPECTRUM * apart(rows, self.pitch) for rows in (spread, FILTERS))
        return (lines + 1) * TILE * self.phase, V, M


@jit
def apart(rows: int, pitch: int) -> int:
    """Floats between the 36 parts of `rows` rows: an odd number of cache lines, so that no set is shared.

    The last vector of a row of tiles reaches into the next row, which is written later; the last of all needs room.
    """
    return LINE_FLOATS * (-(-(rows * pitch + LANES) // LINE_FLOATS) | 1)


def transformed(filters: F32) -> F32:
    """U = G g Gᵀ of filters (N, C, kh, kw) in blocks: (N / FILTERS, 36, C·blocks, FILTERS), the last ones zeros."""
    n, c, *taps = filters.shape
    down, right = (-(-size // BLOCK) for size in taps)
    whole = np.zeros((-(-n // FILTERS) * FILTERS, c, down * BLOCK, right * BLOCK))
    whole[:n, :, : taps[0], : taps[1]] = filters
    cubes = whole.reshape(-1, c, down, BLOCK, right, BLOCK).transpose(0, 1, 2, 4, 3, 5)
    U = np.einsum("ai,ncdrij,bj->abncdr", G, cubes, G, optimize=True)
    U = U.reshape(SPECTRUM, -1, FILTERS, c * down * right).transpose(1, 0, 3, 2)
    return np.ascontiguousarray(U, np.float32)


@jit
def spectra(x: Image, channels: int, y: Axis, z: Axis, unit: Unit, row: int, column: int, lines: F32, V: F32) -> bool:
    """V of one unit from tile (row, column) on; False where a pixel is not finite: it would spread over its tiles."""
    blocks = unit.rows_of_blocks * unit.columns_of_blocks
    step = apart(channels * blocks, unit.pitch)
    high = TILE * unit.rows + 2 + BLOCK * (unit.rows_of_blocks - 1)
    wide = unit.phase
    top, left = TILE * row - y.before, TILE * column - z.before
    check = np.float32(0.0)
    whole = lines.ctypes.data + 4 * high * TILE * wide
    for c in range(channels):
        for number in range(high):
            inside = 0 <= top + number < y.length
            line = x.address + c * x.plane + (top + number) * x.line
            parts = lines.ctypes.data + 4 * number * TILE * wide
            if inside:
                if left >= 0 and left + TILE * wide <= z.length and x.step == 4:
                    check += by_phase(line + 4 * left, wide, parts, 4 * wide)
                else:
                    gather(line, x.step, z.length, left, 1, TILE * wide, whole)
                    check += by_phase(whole, wide, parts, 4 * wide)
            else:
                clear(parts, 4 * TILE * wide)
        for down in range(unit.rows_of_blocks):
            for right in range(unit.columns_of_blocks):
                channel = c * blocks + down * unit.columns_of_blocks + right
                for i in range(unit.rows):
                    start = lines.ctypes.data + 4 * wide * TILE * (TILE * i + BLOCK * down)
                    to = V.ctypes.data + 4 * (channel * unit.pitch + i * unit.columns)
                    for tile in range(0, unit.columns, LANES):
                        to_spectrum(start + 4 * tile, 4 * wide * TILE, 4 * wide, BLOCK * right, to + 4 * tile, 4 * step)
    return bool(check == 0.0)


@jit
def products(V: int, v_step: int, U: int, M: int, m_step: int, unit: Unit, channels: int) -> None:
    """M = U V for FILTERS filters, one of the 36 after the other."""
    vectors = unit.pitch // LANES
    blocks = -(-vectors // VECTORS)
    for part in range(SPECTRUM):
        v, m, u = V + 4 * part * v_step, M + 4 * part * m_step, U + 4 * part * channels * FILTERS
        done = 0
        for number in range(blocks):
            share = -(-(vectors - done) // (blocks - number))
            at = 4 * LANES * done
            if share == 1:
                _one(v + at, 4 * unit.pitch, u, channels, m + at, 4 * unit.pitch)
            elif share == 2:
                _two(v + at, 4 * unit.pitch, u, channels, m + at, 4 * unit.pitch)
            else:
                _full(v + at, 4 * unit.pitch, u, channels, m + at, 4 * unit.pitch)
            done += share


@jit
def pixels(
    M: int, step: int, unit: Unit, rows: int, columns: int, bias: int, out: Image, add: Image, ends: Epilogue, kept: int
) -> None:
    """Outputs of `kept` filters: rows x columns pixels of the unit from M."""
    for f in range(kept):
        for i in range(unit.rows):
            left = rows - TILE * i
            if left <= 0:
                break
            to = out.address + f * out.plane + TILE * i * out.line
            plus = add.address + f * add.plane + TILE * i * add.line if add.address else 0
            at = M + 4 * (f * unit.pitch + i * unit.columns)
            for tile in range(0, unit.columns, LANES):
                wide = min(columns, TILE * unit.columns) - TILE * tile
                if wide <= 0:
                    break
                far = 4 * TILE * tile
                to_pixels(
                    at + 4 * tile,
                    4 * step,
                    to + far,
                    out.line,
                    bias + 4 * f,
                    plus + far if plus else 0,
                    add.line,
                    ends.low,
                    ends.high,
                    left,
                    wide,
                    ends.past,
                )


@jit
def convolve(
    x: Image,
    weights: Weights,
    y_axis: Axis,
    x_axis: Axis,
    unit: Unit,
    out: Image,
    add: Image,
    ends: Epilogue,
    first: int,
    last: int,
    lines: F32,
    V: F32,
    M: F32,
) -> int:
    """Units [first, last), counted row by row; returns the first one with a pixel that is not finite, or `last`."""
    across = -(-x_axis.out // (TILE * unit.columns))
    channels = weights.channels * unit.rows_of_blocks * unit.columns_of_blocks
    v_step, m_step = apart(channels, unit.pitch), apart(FILTERS, unit.pitch)
    for number in range(first, last):
        row, column = number // across * unit.rows, number % across * unit.columns
        if not spectra(x, weights.channels, y_axis, x_axis, unit, row, column, lines, V):
            return number
        rows, columns = y_axis.out - TILE * row, x_axis.out - TILE * column
        for block in range(-(-weights.filters // FILTERS)):
            f = block * FILTERS
            U = weights.address + 4 * block * SPECTRUM * channels * FILTERS
            products(V.ctypes.data, v_step, U, M.ctypes.data, m_step, unit, channels)
            to = Image(out.address + f * out.plane + TILE * (row * out.line + 4 * column), out.plane, out.line, 4)
            plus = add
            if add.address:
                place = f * add.plane + TILE * (row * add.line + 4 * column)
                plus = Image(add.address + place, add.plane, add.line, 4)
            kept = min(FILTERS, weights.filters - f)
            pixels(M.ctypes.data, m_step, unit, rows, columns, weights.bias + 4 * f, to, plus, ends, kept)
    fence()
    return last
