"""A convolution as an operator: filters packed once, applied to any number of arrays.

Two ways lead to the same sums: directly over panels, and by Winograd where that takes fewer operations. What is not
finite would spread over a Winograd tile, so a unit that holds such a pixel goes the direct way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BlockError
from pipeline.gemm import direct, winograd
from pipeline.gemm.axes import Pair, Sides, axes_of, check_groups, real
from pipeline.gemm.direct import LONE, Epilogue, Weights
from pipeline.gemm.memory import aligned, image, nowhere
from pipeline.gemm.microkernel import FILTERS, LANES
from pipeline.gemm.panel import Axis, Image, Panel
from pipeline.gemm.winograd import BLOCK, COMMON_LANES, MOST_TAPS, Unit
from pipeline.gemm.winograd_tiles import SPECTRUM, TILE

F32 = NDArray[np.float32]

MOST_PANEL_BYTES = 256 << 20
PAST_CACHES = 16 << 20
"""Bytes of output from which it is written past the caches: no reader finds the whole of it there any more."""
TRANSFORM_IN, TRANSFORM_OUT = 60, 28
"""What Winograd's transforms cost, in multiply-adds for each input and each output value (measured)."""


class Convolution:
    """Cross-correlation with a set of filters, a bias, and a clamp: min(max(x ⋆ filters + bias + add, floor), ceiling).

    filters (N, C/groups, kh, kw) and bias (N,) are real, computed with in float32; stride, padding, dilation and groups
    as in `conv2d`. exact: never by Winograd; each output is then one sum in a fixed order, the same bits wherever the
    pixels were cut out of a larger array. Raises BlockError for filters that cannot be used.
    """

    def __init__(
        self,
        filters: NDArray[Any],
        bias: NDArray[Any] | None = None,
        *,
        stride: Pair = 1,
        padding: Sides = 0,
        dilation: Pair = 1,
        groups: int = 1,
        floor: float = -inf,
        ceiling: float = inf,
        exact: bool = False,
    ) -> None:
        self.filters = real(filters, "filters", 4)
        n = self.filters.shape[0]
        check_groups(self.filters.shape, groups)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups, self.floor, self.ceiling, self.exact = groups, floor, ceiling, exact
        self.bias = np.zeros(n, np.float32) if bias is None else real(bias, "bias", 1)
        if self.bias.shape != (n,):
            raise BlockError(f"bias must be ({n},), one for each filter, got {self.bias.shape}")
        self._packed: dict[tuple[str, int], tuple[F32, F32]] = {}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(N, Ho, Wo) for an x of this shape. Raises BlockError where it does not fit."""
        y_axis, x_axis = axes_of(shape, self.filters.shape, self.stride, self.padding, self.dilation, self.groups)
        return self.filters.shape[0], y_axis.out, x_axis.out

    def at_once(self, shape: tuple[int, ...]) -> int:
        """Output pixels of one panel, or of one of Winograd's units, for an x of this shape: what is computed before
        more of x is read. Raises BlockError where it does not fit."""
        n, channels = self.filters.shape[0] // self.groups, self.filters.shape[1]
        y_axis, x_axis = axes_of(shape, self.filters.shape, self.stride, self.padding, self.dilation, self.groups)
        if pointwise(y_axis, x_axis):
            y_axis, x_axis = as_line(y_axis, x_axis)
        if self.pays(y_axis, x_axis):
            unit = Unit.fitting(channels, y_axis, x_axis)
            return min(y_axis.out, TILE * unit.rows) * min(x_axis.out, TILE * unit.columns)
        cut = Panel.fitting(channels, y_axis, x_axis, flat=n > LONE)
        return cut.rows * cut.columns

    def __call__(
        self, x: NDArray[Any], *, add: F32 | None = None, out: F32 | None = None, threads: int | None = None
    ) -> F32:
        """x (C, H, W), any real dtype and strides -> (N, Ho, Wo) float32, a new array or `out`.

        add (N, Ho, Wo) float32 is added before the clamp, and may be `out` itself. Memory: output + for each thread a
        panel of about PANEL_BYTES, or Winograd's V. The same bytes for any number of threads; one, unless the caller
        or `parallel` says otherwise.
        Raises BlockError for an x, add or out that does not fit.
        """
        x = real(x, "x", 3)
        y_axis, x_axis = axes_of(x.shape, self.filters.shape, self.stride, self.padding, self.dilation, self.groups)
        shape = self.filters.shape[0], y_axis.out, x_axis.out
        if out is None:
            out = aligned(shape)
        for name, array in (("out", out), ("add", add)):
            if array is not None and not _fits(array, shape):
                raise BlockError(
                    f"{name} must be {shape} float32 with contiguous rows, got {array.shape} {array.dtype}"
                )
        if not out.flags.writeable:
            raise BlockError("out is read-only; give an array that can be written")
        x = readable(x, out)
        if add is not None and np.may_share_memory(add, out) and _place(add) != _place(out):
            add = add.copy()
        past = int(out.nbytes >= PAST_CACHES and _whole_vectors(out))
        ends = Epilogue(np.float32(self.floor), np.float32(self.ceiling), past)
        if pointwise(y_axis, x_axis) and all(_in_one_run(one) for one in (x, out, add) if one is not None):
            y_axis, x_axis = as_line(y_axis, x_axis)
        way = self._winograd if self.pays(y_axis, x_axis) else self._direct
        way(image(x), y_axis, x_axis, image(out), nowhere() if add is None else image(add), ends, threads)
        return out

    def pays(self, y: Axis, x: Axis) -> bool:
        """Whether Winograd takes fewer operations."""
        n, c, *taps = self.filters.shape
        steps = y.stride, x.stride, y.dilation, x.dilation
        if self.exact or self.groups > 1 or steps != (1, 1, 1, 1) or min(taps) < BLOCK or max(taps) > MOST_TAPS:
            return False
        unit = Unit.fitting(c, y, x, lanes=COMMON_LANES)
        blocks = unit.rows_of_blocks * unit.columns_of_blocks
        # What is computed for each output that is kept: tiles hang over the edge, vectors over the tiles.
        tiles = -(-y.out // TILE) * -(-x.out // TILE) * TILE**2 / (y.out * x.out)
        lanes = unit.pitch / (unit.rows * unit.columns)
        vectors = (unit.phase - COMMON_LANES) / unit.columns
        products = SPECTRUM / TILE**2 * c * blocks * n * lanes
        transforms = (TRANSFORM_IN * c * (1 + blocks) / 2 + TRANSFORM_OUT * n) * vectors
        return bool(tiles * (products + transforms) < c * taps[0] * taps[1] * n)

    def _direct(
        self, x: Image, y_axis: Axis, x_axis: Axis, out: Image, add: Image, ends: Epilogue, threads: int | None
    ) -> None:
        n, channels = self.filters.shape[0] // self.groups, self.filters.shape[1]
        block = 1 if n <= LONE else FILTERS
        filters, bias = self.packed("direct", block)
        weights = Weights(filters.ctypes.data, bias.ctypes.data, self.groups, channels, n, block)
        cut = Panel.fitting(channels, y_axis, x_axis, flat=block > 1)
        if 4 * cut.floats(channels, x_axis.stride) > MOST_PANEL_BYTES:
            raise BlockError(
                f"filters {self.filters.shape} that reach over {y_axis.extent} x {x_axis.extent} pixels need a panel "
                f"above {MOST_PANEL_BYTES >> 20} MiB; take a smaller dilation"
            )
        table = cut.offsets(channels, y_axis, x_axis)
        units = -(-y_axis.out // cut.rows) * -(-x_axis.out // cut.columns)

        def work(first: int, last: int) -> None:
            panel, sums = aligned((cut.floats(channels, x_axis.stride),)), aligned((cut.sums(),))
            direct.convolve(x, weights, y_axis, x_axis, cut, table, out, add, ends, first, last, panel, sums)

        share_out(work, units, threads)

    def _winograd(
        self, x: Image, y_axis: Axis, x_axis: Axis, out: Image, add: Image, ends: Epilogue, threads: int | None
    ) -> None:
        n, channels = self.filters.shape[:2]
        filters, bias = self.packed("winograd", FILTERS)
        weights = Weights(filters.ctypes.data, bias.ctypes.data, 1, channels, n, FILTERS)
        unit = Unit.fitting(channels, y_axis, x_axis)
        across = -(-x_axis.out // (TILE * unit.columns))
        units = -(-y_axis.out // (TILE * unit.rows)) * across

        def work(first: int, last: int) -> None:
            lines, V, M = (aligned((size,)) for size in unit.floats(channels))
            while first < last:
                first = winograd.convolve(x, weights, y_axis, x_axis, unit, out, add, ends, first, last, lines, V, M)
                if first < last:
                    row, column = first // across * unit.rows * TILE, first % across * unit.columns * TILE
                    part = part_of(y_axis, row, unit.rows * TILE), part_of(x_axis, column, unit.columns * TILE)
                    self._direct(x, *part, moved(out, row, column), moved(add, row, column), ends._replace(past=0), 1)
                    first += 1

        share_out(work, units, threads)

    def packed(self, way: str, block: int) -> tuple[F32, F32]:
        """Filters and bias as the kernels of this way want them, `block` filters side by side."""
        if (way, block) not in self._packed:
            filters, groups = self.filters, self.groups
            pack = winograd.transformed(filters) if way == "winograd" else pack_filters(filters, groups, block)
            self._packed[way, block] = pack, padded(self.bias.reshape(groups, -1), block)
        return self._packed[way, block]


def pack_filters(filters: F32, groups: int, block: int) -> F32:
    """Filters (N, C, kh, kw) as (groups, blocks, C·kh·kw, block), zeros for those that fill up a block."""
    rows = filters.reshape(groups, filters.shape[0] // groups, -1)
    rows = padded(rows, block)
    blocks = rows.shape[1] // block
    return np.ascontiguousarray(rows.reshape(groups, blocks, block, -1).swapaxes(2, 3))


def padded(rows: F32, block: int) -> F32:
    """Zeros after the second axis, to a multiple of `block`."""
    more = -rows.shape[1] % block
    return np.ascontiguousarray(np.pad(rows, [(0, 0), (0, more)] + [(0, 0)] * (rows.ndim - 2)))


def part_of(axis: Axis, first: int, count: int) -> Axis:
    """The axis of at most `count` outputs from `first` on."""
    return axis._replace(before=axis.before - first * axis.stride, out=min(count, axis.out - first))


def pointwise(y_axis: Axis, x_axis: Axis) -> bool:
    """Whether each output is made of the one input at its place."""
    return all(axis.taps == axis.stride == 1 and axis.length == axis.out for axis in (y_axis, x_axis))


def as_line(y_axis: Axis, x_axis: Axis) -> tuple[Axis, Axis]:
    """The same pixels as one row: rows of a pointwise convolution need no end."""
    count = y_axis.out * x_axis.out
    return y_axis._replace(length=1, out=1), x_axis._replace(length=count, out=count)


def moved(where: Image, row: int, column: int) -> Image:
    """The image from (row, column) on."""
    return where._replace(address=where.address + row * where.line + 4 * column) if where.address else where


class _Settings:
    """How many threads share a call that does not say."""

    threads = 1


@contextmanager
def parallel(threads: int) -> Iterator[None]:
    """Within, `threads` threads of this process share each call that does not say how many. Not for nested use."""
    before, _Settings.threads = _Settings.threads, max(1, threads)
    try:
        yield
    finally:
        _Settings.threads = before


def share_out(work: Callable[[int, int], None], units: int, threads: int | None) -> None:
    """work(first, last) over all units, in as many runs as there are threads."""
    threads = max(1, min(_Settings.threads if threads is None else threads, units))
    cuts = [units * number // threads for number in range(threads + 1)]
    if threads == 1:
        work(0, units)
    else:
        pool = _pool(threads)
        parts = [pool.submit(work, first, last) for first, last in pairwise(cuts)]
        wait(parts)  # all of them, also where one fails: the others still write to what the caller holds
        for part in parts:
            part.result()


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "convolution")


def _fits(array: Any, shape: tuple[int, ...]) -> bool:
    if getattr(array, "dtype", None) != np.float32 or array.shape != shape:
        return False
    return bool((array.strides[2] == 4 or shape[2] == 1) and not any(step % 4 for step in array.strides))


def readable(x: F32, out: F32) -> F32:
    """x where its pixels can be met with whole floats and are not overwritten, else a copy."""
    if any(step % 4 for step in x.strides) or x.ctypes.data % 4 or np.may_share_memory(x, out):
        return np.array(x, order="C")
    return x


def _place(array: F32) -> tuple[int, tuple[int, ...]]:
    return array.ctypes.data, array.strides


def _in_one_run(array: F32) -> bool:
    """Whether rows follow each other without a gap, pixel by pixel."""
    return bool(array.strides[1] == array.shape[2] * array.strides[2] and array.strides[2] == 4)


def _whole_vectors(out: F32) -> bool:
    """Whether every line is a whole number of aligned vectors."""
    steps = out.ctypes.data, out.strides[0], out.strides[1], 4 * out.shape[2]
    return not any(step % (4 * LANES) for step in steps)
