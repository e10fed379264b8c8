"""A scene as the pieces it is stored in: tiles as factors (or as pixels where they have none), and regions of cells.

A region is a rectangle of cells whose receptive fields lie in the same tiles: all but those along the seams in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.gemm import average_pool
from pipeline.grid import Grid, Window
from pipeline.network.halo import Stage, mirrored, needed

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
Index = NDArray[np.intp]
Span = tuple[int, int]
"""First and last, both inclusive."""


@dataclass(frozen=True, eq=False)
class Piece:
    """One tile of a scene: block = mean + basis · scores, and single elements besides; or its pixels."""

    valid: Bool
    """(y, x), True = real"""
    pixels: NDArray[Any] | None = None
    """(band, y, x) any real dtype, where there are no factors"""
    mean: F64 = field(default_factory=lambda: np.empty(0))
    """(band,) data units"""
    basis: F64 = field(default_factory=lambda: np.empty((0, 0)))
    """(band, rank) data units for each unit of a score"""
    scores: F32 = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))
    """(rank, y, x)"""
    places: I64 = field(default_factory=lambda: np.empty((3, 0), np.int64))
    """(3, n) band, row and column of elements to be mended"""
    amounts: F64 = field(default_factory=lambda: np.empty(0))
    """(n,) what is to be added there, data units"""

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        arrays = (self.valid, self.pixels, self.mean, self.basis, self.scores, self.places, self.amounts)
        return sum(array.nbytes for array in arrays if array is not None)


class Part(NamedTuple):
    """A rectangle of some rows and columns of the scene that lies in one piece."""

    number: int
    piece: Piece
    at: tuple[slice, slice]
    """Which of the rows and columns they are."""
    own: tuple[Index, Index]
    """The piece's own rows and columns there."""

    def take(self, planes: NDArray[Any]) -> NDArray[Any]:
        """What planes (plane, y, x) of the piece hold there; a view where nothing is reflected."""
        for axis, own in enumerate(self.own, 1):
            if (np.diff(own) == 1).all():
                planes = planes[(slice(None),) * axis + (slice(int(own[0]), int(own[-1]) + 1),)]
            else:
                planes = planes.take(own, axis=axis)
        return planes


@dataclass(frozen=True)
class Mosaic:
    """Tiles of a scene by their number in its grid; at least all that the cells in question reach into."""

    grid: Grid
    pieces: Mapping[int, Piece]

    def parts(self, ys: Index, xs: Index) -> Iterator[Part]:
        """Where rows ys and columns xs of the scene lie in pieces; a piece may come more than once, by reflection."""
        for row, at_y in _runs(ys // self.grid.tile):
            for column, at_x in _runs(xs // self.grid.tile):
                origin = row * self.grid.tile, column * self.grid.tile
                number = row * self.grid.columns + column
                yield Part(number, self.pieces[number], (at_y, at_x), (ys[at_y] - origin[0], xs[at_x] - origin[1]))

    def mended(self, ys: Index, xs: Index) -> tuple[I64, F64]:
        """The mended elements among these rows and columns: (3, n) band and place in ys and xs; (n,) amounts."""
        places, amounts = [np.empty((3, 0), np.int64)], [np.empty(0)]
        for part in self.parts(ys, xs):
            piece, (rows, columns) = part.piece, part.own
            if not len(piece.amounts):
                continue
            near = np.isin(piece.places[1], rows) & np.isin(piece.places[2], columns)
            band, row, column = piece.places[:, near]
            y, one = _matches(rows, row)
            x, two = _matches(columns, column[one])
            places.append(np.stack([band[one[two]], part.at[0].start + y[two], part.at[1].start + x]))
            amounts.append(piece.amounts[near][one[two]])
        return np.concatenate(places, axis=1), np.concatenate(amounts)

    def usable(self, ys: Index, xs: Index) -> Bool:
        """Which of these rows and columns are valid pixels, (y, x)."""
        usable = np.empty((len(ys), len(xs)), bool)
        for part in self.parts(ys, xs):
            usable[part.at] = part.piece.valid[np.ix_(*part.own)]
        return usable


@dataclass(frozen=True)
class Reach:
    """The cells [first, end) of a region along one axis, and the scene's pixels that they need."""

    first: int
    end: int
    pixels: Index
    """Of the scene, continued by reflection: all that any path needs."""
    parts: tuple[slice, ...]
    """Of these, what each path needs."""
    low: int
    """The first of the pixels, before reflection."""

    @classmethod
    def of(cls, paths: Sequence[Sequence[Stage]], first: int, end: int, length: int) -> Reach:
        """What cells [first, end) need of `length` pixels."""
        spans = [needed(path, first, end - 1) for path in paths]
        low, high = min(span[0] for span in spans), max(span[1] for span in spans)
        parts = tuple(slice(span[0] - low, span[1] - low + 1) for span in spans)
        return cls(first, end, mirrored(low, high, length), parts, low)

    def less(self, outer: Reach) -> Reach:
        """The same with cells and pixels counted from those of `outer`, of which it is a part."""
        start = self.low - outer.low
        pixels = np.arange(start, start + len(self.pixels), dtype=np.intp)
        return Reach(self.first - outer.first, self.end - outer.first, pixels, self.parts, start)


def regions(paths: Sequence[Sequence[Stage]], first: int, end: int, length: int, tile: int) -> list[Reach]:
    """Cells [first, end) of one axis in runs whose receptive fields lie in the same tiles of `tile` pixels."""
    low, high = _field(paths, first)
    stride = _field(paths, first + 1)[0] - low
    tiles = mirrored(low, high + (end - 1 - first) * stride, length) // tile
    fields = sliding_window_view(tiles, high - low + 1)[::stride]
    meets = np.stack([fields.min(axis=1), fields.max(axis=1)])
    starts = [0, *(np.flatnonzero((meets[:, 1:] != meets[:, :-1]).any(axis=0)) + 1), end - first]
    return [Reach.of(paths, first + int(one), first + int(two), length) for one, two in pairwise(starts)]


def _field(paths: Sequence[Sequence[Stage]], cell: int) -> Span:
    """The pixels that any path needs for a cell."""
    spans = [needed(path, cell, cell) for path in paths]
    return min(span[0] for span in spans), max(span[1] for span in spans)


def whole_cells(usable: Bool, paths: Sequence[Sequence[Stage]], y: Reach, x: Reach, stride: int) -> Bool:
    """Cells (y, x) of which every path sees usable pixels alone; usable (y, x) of the pixels of y and x."""
    whole = np.ones((y.end - y.first, x.end - x.first), bool)
    lost = (~usable)[None].astype(np.float32)
    for path, rows, columns in zip(paths, y.parts, x.parts, strict=True):
        low, high = needed(path, 0, 0)
        whole &= average_pool(lost[:, rows, columns], high - low + 1, stride)[0] == 0
    return whole


def boxes(touched: Bool, side: int) -> Iterator[Window]:
    """What is True in (y, x), as the bounding boxes within squares of `side`."""
    height, width = touched.shape
    for square in Grid(height, width, side):
        ys, xs = np.nonzero(touched[square.window.slices])
        if len(ys):
            y0, x0 = square.window.y0, square.window.x0
            yield Window(y0 + int(ys.min()), y0 + int(ys.max()) + 1, x0 + int(xs.min()), x0 + int(xs.max()) + 1)


def _matches(numbers: Index, wanted: I64) -> tuple[I64, I64]:
    """All pairs (i, j) with numbers[i] = wanted[j]; a reflection has a number twice."""
    order = np.argsort(numbers, kind="stable")
    first, end = (np.searchsorted(numbers[order], wanted, side) for side in ("left", "right"))
    count = end - first
    j = np.repeat(np.arange(len(wanted)), count)
    nth = np.arange(len(j)) - np.repeat(np.cumsum(count) - count, count)
    return order[first[j] + nth], j


def _runs(numbers: Index) -> Iterator[tuple[int, slice]]:
    """Equal neighbours in a row, each with its slice."""
    ends = np.append(np.flatnonzero(np.diff(numbers)) + 1, len(numbers))
    start = 0
    for end in ends:
        yield int(numbers[start]), slice(start, int(end))
        start = int(end)
