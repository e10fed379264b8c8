"""Bands that were put on a finer grid by repeating their pixels, on the grid they were measured on.

Such a band (20 m beside 10 m, nearest neighbour) has one value in each cell of k x k pixels: there white noise is not
white, and hardly any is seen in the finest detail. On its own grid it is as it was measured.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]
Place = tuple[slice, slice]

# Longest side of a cell, pixels: 60 m beside 10 m is 6, 500 m beside 30 m no whole number.
LONGEST = 16
# Rows and columns that say of most bands that their pixels are not repeated.
LOOKS = 8
# Share of the borders between cells at which something must change, and how many at the least.
SHARE, LEAST = 0.5, 8


class Grid(NamedTuple):
    """Cells in which a band has one value each; the first border between two is at row `top`, column `left`, or 0."""

    down: int = 1
    """Pixels."""
    across: int = 1
    top: int = 0
    left: int = 0

    @property
    def pixels(self) -> int:
        """Of a cell."""
        return self.down * self.across

    def within(self, other: Grid) -> bool:
        """Whether the cells of this grid are no longer than those of another, and shorter one way."""
        return self != other and self.down <= other.down and self.across <= other.across and self.pixels < other.pixels


PLAIN = Grid()


class Cells:
    """A grid over a block: those at its rims may be cut. `rows` and `columns` (cell,) are the first of each."""

    def __init__(self, grid: Grid, shape: tuple[int, ...]) -> None:
        self._grid, self._shape = grid, shape
        self.rows, self.columns = (
            np.arange(first - side if first else 0, length, side).clip(0)
            for first, side, length in zip((grid.top, grid.left), (grid.down, grid.across), shape, strict=True)
        )

    @property
    def shape(self) -> tuple[int, int]:
        """How many there are, down and across."""
        return len(self.rows), len(self.columns)

    def means(self, block: NDArray[Any], valid: Valid) -> NDArray[Any]:
        """(band, cell, cell) mean of the valid pixels of block (band, y, x), floats that hold its values; 0 where none
        is. Equal values are their mean."""
        count = self._sums(valid.astype(np.float64))
        dtype = np.result_type(block.dtype, np.float32)
        found = np.zeros((len(block), *count.shape), dtype if dtype.kind == "f" else np.float64)
        for b, band in enumerate(block):
            np.divide(self._sums(np.where(valid, band, 0)), count, out=found[b], where=count > 0, casting="same_kind")
        return found

    def values(self, band: NDArray[Any], valid: Valid) -> NDArray[Any]:
        """(cell, cell) the value that the valid pixels (y, x) of a band of these cells have, in its dtype; the lowest
        there is where none is valid."""
        return np.asarray(band[np.ix_(self.rows, self.columns)]) if valid.all() else self._most(band, valid)

    def some(self, pixels: Valid) -> Valid:
        """(cell, cell) those with a pixel (y, x) that is marked."""
        return np.asarray(self._sums(pixels.astype(np.float64)) > 0)

    def pixels(self, cells: NDArray[Any]) -> NDArray[Any]:
        """(y, x) the value of its cell (cell, cell) for every pixel; the very array where these are the cells."""
        if cells.shape == self._shape:
            return cells
        down, across = (
            np.repeat(np.arange(len(starts)), np.diff(starts, append=length))
            for starts, length in zip((self.rows, self.columns), self._shape, strict=True)
        )
        return cells[down[:, None], across]

    def alike(self, band: NDArray[Any], valid: Valid) -> bool:
        """Whether the valid pixels (y, x) of a band have one value in each cell."""
        return bool((band == self.pixels(self._most(band, valid)))[valid].all())

    def _most(self, band: NDArray[Any], valid: Valid) -> NDArray[Any]:
        """(cell, cell) the largest of the valid pixels (y, x) of a band; the lowest number there is where none is."""
        lowest = (np.finfo(band.dtype) if band.dtype.kind == "f" else np.iinfo(band.dtype)).min
        rows = np.maximum.reduceat(np.where(valid, band, lowest), self.rows, axis=0)
        return np.asarray(np.maximum.reduceat(rows, self.columns, axis=1))

    def place(self, place: Place) -> Place:
        """The cells that hold these rows and columns, both ends given."""
        rows, columns = (
            slice(int(np.searchsorted(starts, one.start, "right")) - 1, int(np.searchsorted(starts, one.stop, "left")))
            for starts, one in zip((self.rows, self.columns), place, strict=True)
        )
        return rows, columns

    def origin(self, origin: tuple[int, int]) -> tuple[int, int]:
        """(row, column) of the first cell in the scene, of whose first pixel origin (y, x) says the same; counted from
        one, for the first cell of a scene may be cut."""
        grid = self._grid
        return (
            (origin[0] + grid.top) // grid.down + int(grid.top == 0),
            (origin[1] + grid.left) // grid.across + int(grid.left == 0),
        )

    def _sums(self, plane: NDArray[Any]) -> F64:
        rows = np.add.reduceat(plane, self.rows, axis=0, dtype=np.float64)
        return np.asarray(np.add.reduceat(rows, self.columns, axis=1))


def grids(block: NDArray[Any], valid: Valid) -> dict[Grid, Index]:
    """The grid of each band of block (band, y, x), as its pixels show it where valid (y, x), of all bands or (band, y,
    x), with the numbers of its bands: the finest first."""
    found: dict[Grid, list[int]] = {}
    shown = np.broadcast_to(valid, block.shape)
    for b, band in enumerate(block):
        found.setdefault(_grid(band, shown[b]), []).append(b)
    ordered = sorted(found, key=lambda grid: (grid.pixels, grid))
    return {grid: np.array(found[grid], np.intp) for grid in ordered}


def company(grid: Grid, bands: Index, found: dict[Grid, Index]) -> Index:
    """Numbers of bands of a grid, and then of those that are `found` on grids whose cells lie within its: their means
    tell of the same."""
    return np.concatenate([bands, *(finer for other, finer in found.items() if other.within(grid))])


def _grid(band: NDArray[Any], valid: Valid) -> Grid:
    """That of a band (y, x); cells of one pixel where none is told."""
    ways = ((band.T, valid.T), (band, valid))
    few = (slice(None, None, max(1, len(lines) // LOOKS)) for lines, _ in ways)
    if all(_side(_steps(lines[some], real[some])[0]) == 1 for some, (lines, real) in zip(few, ways, strict=True)):
        return PLAIN
    (down, top), (across, left) = (_cell(*_steps(*way)) for way in ways)
    grid = Grid(down, across, top, left)
    # Where pixels are missing those of one cell need not be neighbours.
    return grid if grid == PLAIN or valid.all() or Cells(grid, band.shape).alike(band, valid) else PLAIN


def _steps(lines: NDArray[Any], valid: Valid) -> tuple[Index, Valid]:
    """Columns that differ from the one before in some line (y, x), of valid pixels; (x,) where any two could differ."""
    both = valid[:, 1:] & valid[:, :-1]
    differ = (lines[:, 1:] != lines[:, :-1]) & both
    return np.flatnonzero(differ.any(axis=0)) + 1, np.append(False, both.any(axis=0))


def _side(changes: Index) -> int:
    """Pixels of the longest cells whose borders all changes are; 0 where there are none, or one."""
    return int(np.gcd.reduce(changes - changes[0])) if changes.size else 0


def _cell(changes: Index, seen: Valid) -> tuple[int, int]:
    """Pixels of a cell along lines, and where the first begins: 1 and 0 where changes, of those seen, tell nothing."""
    side = _side(changes)
    if not 1 < side <= LONGEST:
        return 1, 0
    first = int(changes[0]) % side
    border = np.arange(seen.size) % side == first
    told = len(changes) >= max(LEAST, SHARE * np.count_nonzero(border))
    # Of a strip that is one pixel wide nothing is seen within the cells.
    inside = np.count_nonzero(seen & ~border) >= SHARE * np.count_nonzero(~border)
    return (side, first) if told and inside else (1, 0)
