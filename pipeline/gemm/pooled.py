"""Responses of filters, rectified and averaged over windows: convolution, ReLU of both signs and mean pool as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BlockError
from pipeline.gemm import cells as kernels
from pipeline.gemm.axes import axes_of, real
from pipeline.gemm.convolution import Convolution, readable, share_out
from pipeline.gemm.direct import Weights
from pipeline.gemm.memory import aligned, image
from pipeline.gemm.microkernel import FILTERS, LANES
from pipeline.gemm.panel import PANEL_BYTES, Axis, Panel
from pipeline.gemm.pool import pool_into
from pipeline.gemm.windows import Cells
from pipeline.gemm.winograd import BLOCK, COMMON_FILTERS, COMMON_LANES, Unit, apart
from pipeline.gemm.winograd_tiles import SPECTRUM, TILE

F32 = NDArray[np.float32]
ROOM = PANEL_BYTES * 3 // 2
LARGEST = 64
"""Windows up to this are averaged while their responses are in the cache."""
MAP_BYTES = 16 << 20


@dataclass(frozen=True)
class Cut:
    """A way to cut the cells: cells of a unit, the buffers it needs in bytes, what it computes for what it keeps."""

    rows: int
    columns: int
    size: int
    waste: float


def pooled_responses(
    x: NDArray[Any],
    convolution: Convolution,
    pool: int,
    stride: int,
    out: F32,
    *,
    both: bool = False,
    threads: int | None = None,
) -> F32:
    """Mean of relu(z), z = x ⋆ filters + bias, over pool x pool windows every `stride`; with `both`, of relu(−z) too.

    x (C, H, W) real; the convolution has stride 1 and one group. out (N or 2N, Ho, Wo) float32, C-contiguous, is
    filled: Ho = (H' − pool) // stride + 1 of the H' rows of z. Sums in float32, each window's in an order of its own.
    Memory: for each thread about 2 · PANEL_BYTES; MAP_BYTES or FILTERS maps of two windows above LARGEST.
    Raises BlockError.
    """
    n = convolution.filters.shape[0]
    x = readable(real(x, "x", 3), out)
    y_axis, x_axis = axes_of(x.shape, convolution.filters.shape, 1, 0, convolution.dilation, 1)
    high, wide = ((axis.out - pool) // max(1, stride) + 1 for axis in (y_axis, x_axis))
    wanted = ((2 if both else 1) * n, high, wide)
    if min(pool, stride, high, wide) < 1 or out.shape != wanted or out.dtype != np.float32:
        raise BlockError(f"windows of {pool} every {stride} of these responses make {wanted}, out is {out.shape}")
    if any((convolution.groups > 1, convolution.stride != 1, convolution.padding)):
        raise BlockError("responses are pooled of convolutions with one group, stride 1 and no padding")
    if (convolution.floor, convolution.ceiling) != (-inf, inf) or not out.flags.writeable:
        raise BlockError("responses are pooled of convolutions without a clamp, into an array that can be written")
    cells = Cells(pool, stride, 0, 0, high, wide, both)
    if pool > LARGEST:
        _by_maps(x, convolution, y_axis, cells, out, threads)
    elif convolution.pays(y_axis, x_axis):
        _by_winograd(x, convolution, y_axis, x_axis, cells, out, threads)
    else:
        _directly(x, convolution, y_axis, x_axis, cells, out, threads)
    return out


def responses_at_once(convolution: Convolution, shape: tuple[int, ...], pool: int, stride: int) -> int:
    """Responses of one filter that are computed and pooled before the next, for an x of this shape."""
    y_axis, x_axis = axes_of(shape, convolution.filters.shape, 1, 0, convolution.dilation, 1)
    if pool > LARGEST:
        return y_axis.out * x_axis.out
    high, wide = ((axis.out - pool) // stride + 1 for axis in (y_axis, x_axis))
    cut = _cut_for_winograd if convolution.pays(y_axis, x_axis) else _cut_directly
    cells = cut(shape[0], y_axis, x_axis, Cells(pool, stride, 0, 0, high, wide, False), ROOM)
    return _responses(cells.rows, cells) * _responses(cells.columns, cells)


def _by_maps(x: F32, convolution: Convolution, y_axis: Axis, cells: Cells, out: F32, threads: int | None) -> None:
    """Windows that the cache cannot hold: maps of some filters over two windows, averaged in turn."""
    n, more = convolution.filters.shape[0], y_axis.extent - 1
    pool, stride, width = cells.pool, cells.stride, x.shape[2]
    rows = min(cells.high, pool // stride + 1)
    step = max(FILTERS, MAP_BYTES // (8 * pool * width))
    for first in range(0, n, step):
        part = slice(first, min(first + step, n))
        own = Convolution(
            convolution.filters[part], convolution.bias[part], dilation=convolution.dilation, exact=convolution.exact
        )
        for row in range(0, cells.high, rows):
            count = min(rows, cells.high - row)
            z = own(x[:, row * stride : (row + count - 1) * stride + pool + more], threads=threads)
            pool_into(z, pool, stride, 1.0, 0.0, out[part], row, count)
            if cells.both:
                pool_into(z, pool, stride, -1.0, 0.0, out[n:][part], row, count)


def _directly(
    x: F32, convolution: Convolution, y_axis: Axis, x_axis: Axis, cells: Cells, out: F32, threads: int | None
) -> None:
    channels = x.shape[0]
    cells = _cut_directly(channels, y_axis, x_axis, cells, ROOM)
    high, wide = _responses(cells.rows, cells), _responses(cells.columns, cells)
    pitch = -(-wide // LANES) * LANES + x_axis.extent - 1 + LANES
    panel_cut = Panel(high, wide, high + y_axis.extent - 1, pitch)
    table = panel_cut.offsets(channels, y_axis, x_axis)
    filters, bias = convolution.packed("direct", FILTERS)
    weights = Weights(filters.ctypes.data, bias.ctypes.data, 1, channels, convolution.filters.shape[0], FILTERS)
    where = image(x)

    def work(first: int, last: int) -> None:
        panel, (scratch, room) = aligned((panel_cut.floats(channels, 1),)), _scratch(high, wide)
        kernels.directly(
            where, weights, y_axis, x_axis, panel_cut, table, cells, out, first, last, panel, scratch, room
        )

    share_out(work, _units(cells), threads)


def _by_winograd(
    x: F32, convolution: Convolution, y_axis: Axis, x_axis: Axis, cells: Cells, out: F32, threads: int | None
) -> None:
    channels = x.shape[0]
    cells = _cut_for_winograd(channels, y_axis, x_axis, cells, ROOM)
    unit = _unit(cells.rows, cells.columns, cells, y_axis, x_axis, LANES)
    filters, bias = convolution.packed("winograd", FILTERS)
    weights = Weights(filters.ctypes.data, bias.ctypes.data, 1, channels, convolution.filters.shape[0], FILTERS)
    where = image(x)
    across = -(-cells.wide // cells.columns)

    def work(first: int, last: int) -> None:
        lines, V, M = (aligned((size,)) for size in unit.floats(channels))
        scratch, room = _scratch(_responses(cells.rows, cells), _responses(cells.columns, cells))
        while first < last:
            first = kernels.by_winograd(
                where, weights, y_axis, x_axis, unit, cells, out, first, last, lines, V, M, scratch, room
            )
            if first < last:
                y, z = first // across * cells.rows, first % across * cells.columns
                _one_directly(x, convolution, y_axis, x_axis, cells, out, y, z)
                first += 1

    share_out(work, _units(cells), threads)


def _one_directly(
    x: F32, convolution: Convolution, y_axis: Axis, x_axis: Axis, cells: Cells, out: F32, row: int, column: int
) -> None:
    """One unit, by direct convolution, where a pixel is not finite."""
    rows, columns = min(cells.rows, cells.high - row), min(cells.columns, cells.wide - column)
    part = np.empty((out.shape[0], rows, columns), np.float32)
    y_axis = y_axis._replace(before=y_axis.before - row * cells.stride, out=_responses(rows, cells))
    x_axis = x_axis._replace(before=x_axis.before - column * cells.stride, out=_responses(columns, cells))
    _directly(x, convolution, y_axis, x_axis, cells._replace(high=rows, wide=columns), part, 1)
    out[:, row : row + rows, column : column + columns] = part


def _responses(count: int, cells: Cells) -> int:
    """Responses along one side of `count` cells."""
    return (count - 1) * cells.stride + cells.pool


def _units(cells: Cells) -> int:
    return -(-cells.high // cells.rows) * -(-cells.wide // cells.columns)


def _scratch(high: int, wide: int) -> tuple[F32, F32]:
    """Responses of one block of filters (FILTERS, y, x), and room to sum them up in; zeros, so that nothing is odd."""
    vectors = -(-wide // LANES)
    shapes = (FILTERS, high, vectors * LANES), (3, high + 1, vectors * LANES)
    responses, room = (aligned(shape) for shape in shapes)
    responses[...] = room[...] = 0.0
    return responses, room


def _unit(rows: int, columns: int, cells: Cells, y_axis: Axis, x_axis: Axis, lanes: int) -> Unit:
    """Winograd's unit of the responses of rows x columns cells."""
    high, wide = (-(-_responses(count, cells) // TILE) for count in (rows, columns))
    return Unit.of(high, wide, y_axis, x_axis, lanes=lanes)


@lru_cache  # the same for most tiles of a scene, and found by trial
def _cut_directly(channels: int, y_axis: Axis, x_axis: Axis, cells: Cells, room: int) -> Cells:
    """Cells in units whose panel and responses fit in so many bytes of cache."""

    def cut(rows: int, columns: int) -> Cut:
        high, wide = _responses(rows, cells), _responses(columns, cells)
        lanes = -(-wide // LANES) * LANES
        size = 4 * channels * (high + y_axis.extent - 1) * (lanes + x_axis.extent) + 4 * FILTERS * high * lanes
        return Cut(rows, columns, size, high * lanes / (rows * columns * cells.stride**2))

    return _best(cut, cells, room)


@lru_cache
def _cut_for_winograd(channels: int, y_axis: Axis, x_axis: Axis, cells: Cells, room: int) -> Cells:
    """Cells in units whose V, M and responses fit in so many bytes of cache, the same on every processor."""
    spread = channels * -(-y_axis.taps // BLOCK) * -(-x_axis.taps // BLOCK)

    def cut(rows: int, columns: int) -> Cut:
        unit = _unit(rows, columns, cells, y_axis, x_axis, COMMON_LANES)
        size = 4 * SPECTRUM * (apart(spread, unit.pitch) + apart(COMMON_FILTERS, unit.pitch))
        size += 4 * COMMON_FILTERS * TILE * unit.rows * TILE * unit.columns
        computed = unit.rows * (unit.phase - COMMON_LANES) * TILE**2
        return Cut(rows, columns, size, computed / (rows * columns * cells.stride**2))

    return _best(cut, cells, room)


def _best(cut: Callable[[int, int], Cut], cells: Cells, room: int) -> Cells:
    """The cells in units: of those whose buffers fit the room, those that compute least beyond; else the smallest."""
    sides = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96, 120, 160, 240)
    tried = []
    for rows in dict.fromkeys(min(side, cells.high) for side in sides):
        for columns in dict.fromkeys(min(side, cells.wide) for side in sides):
            tried.append(cut(-(-cells.high // -(-cells.high // rows)), -(-cells.wide // -(-cells.wide // columns))))
    fitting = [one for one in tried if one.size <= room] or [min(tried, key=lambda one: one.size)]
    best = min(fitting, key=lambda one: (one.waste, one.size))
    return cells._replace(rows=best.rows, columns=best.columns)
