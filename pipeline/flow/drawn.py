"""A seeded sample of labelled cells, however many go by: even over all of them, and some of each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.intp]
F64 = NDArray[np.float64]

MOST_ROWS = 20_000
FEWEST = 100
"""Cells of a class, or all it has, that are learnt from where a sample of all cells has fewer of them."""


class Drawn:
    """The MOST_ROWS cells of the smallest lots, and FEWEST of each class, however many go by; in the order they came.

    classes: whether labels are positions of classes; numbers otherwise.
    """

    def __init__(self, classes: bool) -> None:
        self._classes = classes
        self._lots: list[F64] = []
        self._parts: list[Index] = []
        self._labels: list[F64] = []
        self._count = 0

    def add(self, lots: F64, tile: int, place: Index, rows: Index, columns: Index, labels: F64) -> None:
        """Cells of one tile with their lots, places and labels."""
        self._lots.append(lots)
        self._parts.append(np.stack([np.full(len(rows), tile), place, rows, columns]))
        self._labels.append(labels)
        self._count += len(rows)
        if self._count > 4 * MOST_ROWS:
            self.cells()

    def cells(self) -> tuple[Index, F64, NDArray[np.bool_]]:
        """Tile, place, row and column of each cell that is left, (4, n); its label; and whether it is there for its
        class's sake.

        The smallest lots of a class are a sample of it, and those of all cells one of all: so it matters not that what
        went by before was thinned out already.
        """
        lots = np.concatenate([np.empty(0), *self._lots])
        cells = np.concatenate([np.empty((4, 0), np.intp), *self._parts], axis=1)
        labels = np.concatenate([np.empty(0), *self._labels])
        added = np.zeros(len(lots), bool)
        if len(lots) > MOST_ROWS:
            order = np.argsort(lots, kind="stable")
            added[order[MOST_ROWS:]] = True
            kept = ~added
            if self._classes:
                kept[_first_of_each(labels, order)] = True
            lots, cells, labels, added = lots[kept], cells[:, kept], labels[kept], added[kept]
        self._lots, self._parts, self._labels, self._count = [lots], [cells], [labels], len(lots)
        return cells, labels, added


def _first_of_each(kind: F64, order: Index) -> Index:
    """The first FEWEST of each kind in this order."""
    grouped = order[np.argsort(kind[order], kind="stable")]
    sorted_kind = kind[grouped]
    rank = np.arange(len(kind)) - np.searchsorted(sorted_kind, sorted_kind)
    return grouped[rank < FEWEST]
