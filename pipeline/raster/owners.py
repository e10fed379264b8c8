"""One label for each cell, of all the places that claim it.

A cell has a label where a point lies in it, a polygon holds its centre, or a line or a polygon that holds no centre at
all touches it. Points come before all else. Otherwise the label is that of the class with the largest share of the
cell; of two with the same share that of the polygon that holds the centre, half-open as GDAL rasterises: a centre on a
border that two share is held by one of them. Of numbers it is the mean, weighted by the shares.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.raster.places import Places

F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Bool = NDArray[np.bool_]

HALF_OPEN = (0.5 - 2.0**-20, 0.5 + 2.0**-21)
"""A centre for `Places`, a hair to the left and below: of a border that two share it is on one side."""
SAME = 1e-6
"""Shares that differ by less, relatively, are the same: shapes are rounded on their way to cells."""
NOTHING = 1e-9
"""A share of a cell that is but a border, and rounding."""
_POINT, _CENTRE, _TOUCH, _PART = range(4)


@dataclass(frozen=True)
class Owned:
    """Cells of a tile that have a label."""

    rows: Index
    columns: Index
    """(n,) within the tile."""
    place: Index
    """(n,) the place that has the largest share of each, among those of its label."""
    labels: F64
    """(n,)"""
    heard: Index
    """The places that have a part in these labels."""
    claiming: Index
    """The places that claim any cell."""
    tied: int
    """Cells that have none, since classes have the same right to them."""


@dataclass(frozen=True)
class _Claims:
    """n claims on cells of a tile, sorted by cell."""

    cell: Index
    place: Index
    right: Index
    """What they rest on: a point, a centre, nothing but touching; or a part of a cell, of which others have more."""
    share: F64
    """Of the cell's area, or of its length or number for lines or points; a guess where none differs in label."""

    def of(self, chosen: Any) -> _Claims:
        """Some of them."""
        return _Claims(self.cell[chosen], self.place[chosen], self.right[chosen], self.share[chosen])

    def cells(self) -> tuple[Index, Index]:
        """The first claim on each cell, and which cell (n,) each claim is on."""
        _, first, which = np.unique(self.cell, return_index=True, return_inverse=True)
        return first, which.reshape(-1)


def owned(places: Places, number: int, labels: F64, classes: bool) -> Owned:
    """The cells of a tile and their labels. labels: (places,), positions of classes or numbers."""
    width = places.grid[number].window.shape[1]
    claims = _rightful(_claims(places, number, width))
    claiming = np.unique(claims.place[claims.right != _PART])
    first, which = claims.cells()
    differ = np.zeros(len(first), bool)
    np.logical_or.at(differ, which, labels[claims.place] != labels[claims.place[first]][which])
    share = _weighed(places, number, width, claims, differ[which])
    # The largest share first in each cell, of those with the same the first place.
    order = np.lexsort([claims.place, -share, claims.cell])
    claims = _Claims(claims.cell, claims.place, claims.right, share).of(order[share[order] > 0])
    tied = 0
    if classes:
        kept, tied = _elected(claims, labels[claims.place].astype(np.intp))
        claims = claims.of(kept)
    first, which = claims.cells()
    found = labels[claims.place[first]]
    if not classes:
        weight = np.bincount(which, claims.share, len(first))
        mean = np.bincount(which, claims.share * labels[claims.place], len(first)) / np.where(differ, weight, 1.0)
        found = np.where(differ, mean, found)
    rows, columns = np.divmod(claims.cell[first], width)
    return Owned(rows, columns, claims.place[first], found, np.unique(claims.place), claiming, tied)


def _claims(places: Places, number: int, width: int) -> _Claims:
    """All claims on cells of a tile; of those that only touch one, none that have no part of it."""
    none = np.empty(0, np.intp)
    parts = [_Claims(none, none, none, np.empty(0))]
    tile = places.grid[number].window

    def claim(place: int, rows: Index, columns: Index, right: int, share: F64) -> None:
        own = share > 0
        cell = (rows * width + columns)[own]
        parts.append(_Claims(cell, np.full(len(cell), place), np.full(len(cell), right), share[own]))

    for place, rows, columns in places.members(number):
        shape = places.shapes[place]
        if shape.geom_type == "Point":
            claim(place, rows, columns, _POINT, np.ones(len(rows)))
        elif places.covering[place]:
            claim(place, rows, columns, _CENTRE, np.ones(len(rows)))
        else:
            claim(place, rows, columns, _TOUCH, shares(shape, rows + tile.y0, columns + tile.x0))
    for place in places.tiles[number].tolist():
        if places.shapes[place].geom_type != "Point" and places.covering[place]:
            rows, columns = places.outlined(place, number)
            claim(place, rows, columns, _PART, np.full(len(rows), 0.5))
    found = _Claims(
        np.concatenate([part.cell for part in parts]),
        np.concatenate([part.place for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.share for part in parts]),
    )
    # Of a place's two claims on a cell the first is the one with more right.
    found = found.of(np.lexsort([found.right, found.place, found.cell]))
    twice = (np.diff(found.cell, prepend=-1) == 0) & (np.diff(found.place, prepend=-1) == 0)
    return found.of(~twice)


def _rightful(claims: _Claims) -> _Claims:
    """Of each cell the points alone where there are any, and nothing where there are but parts."""
    first, which = claims.cells()
    best = np.full(len(first), _PART)
    np.minimum.at(best, which, claims.right)
    return claims.of((best[which] != _PART) & ((best[which] != _POINT) | (claims.right == _POINT)))


def _weighed(places: Places, number: int, width: int, claims: _Claims, asked: Bool) -> F64:
    """The shares of all claims, found where they are asked for: it takes long."""
    tile = places.grid[number].window
    found = claims.share.copy()
    those = np.flatnonzero(asked & ((claims.right == _CENTRE) | (claims.right == _PART)))
    those = those[np.argsort(claims.place[those], kind="stable")]
    for own in _runs(those, claims.place[those]):
        rows, columns = np.divmod(claims.cell[own], width)
        share = shares(places.shapes[claims.place[own[0]]], rows + tile.y0, columns + tile.x0)
        found[own] = np.where(claims.right[own] == _CENTRE, np.maximum(share, NOTHING), share)
    return found


def _elected(claims: _Claims, kind: Index) -> tuple[Bool, int]:
    """Which claims are of the class that has most of its cell; and how many cells have no such class. kind: (n,)."""
    first, which = claims.cells()
    pairs, pair = np.unique(np.stack([which, kind]), axis=1, return_inverse=True)
    cell, pair = pairs[0], pair.reshape(-1)
    total = np.bincount(pair, claims.share, len(cell))
    centred = np.bincount(pair, claims.right == _CENTRE, len(cell)) > 0
    most = np.zeros(len(first))
    np.maximum.at(most, cell, total)
    top = total >= most[cell] * (1 - SAME)
    held = np.bincount(cell[top & centred], minlength=len(first)) == 1
    alone = (np.bincount(cell[top], minlength=len(first)) == 1) | held
    top &= alone[cell] & (centred | ~held[cell])
    return top[pair], int(np.count_nonzero(~alone))


def shares(shape: Any, rows: Index, columns: Index) -> F64:
    """How much of a shape lies in each of the cells (n,): area, of lines length, of what has neither 1."""
    measure = shapely.area if shapely.area(shape) > 0 else shapely.length
    found = np.ones(len(rows))
    if measure(shape) == 0:
        return found
    shapely.prepare(shape)
    boxes = shapely.box(columns, rows, columns + 1, rows + 1)
    edge = np.flatnonzero(~shapely.contains_properly(shape, boxes))
    edge = edge[np.argsort(rows[edge], kind="stable")]
    for own in _runs(edge, rows[edge]):  # a shape may have many corners, and a row of it has few
        row = int(rows[own[0]])
        strip = shapely.clip_by_rect(shape, columns[own].min(), row, columns[own].max() + 1, row + 1)
        cells = [shapely.clip_by_rect(strip, column, row, column + 1, row + 1) for column in columns[own].tolist()]
        found[own] = measure(np.array(cells))
    return np.where(found < NOTHING, 0.0, found)


def _runs(order: Index, key: Index) -> Iterator[Index]:
    """The parts of an order (n,) that have the same key (n,), which is sorted."""
    return (part for part in np.split(order, np.flatnonzero(np.diff(key)) + 1) if len(part))
