"""Pixels that stand out, put together where they touch: components of an image known by a list of its pixels alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Index = NDArray[np.intp]

_LATER = ((0, 1), (1, -1), (1, 0), (1, 1))
"""The neighbours of a pixel that come after it."""


def grouped(rows: Index, columns: Index) -> Index:
    """The component (n,) of each of some different pixels; pixels that touch, by a corner too, are of one component."""
    if len(rows) == 0:
        return np.empty(0, np.intp)
    width = int(columns.max()) + 3
    keys = rows * width + columns + 1
    order = np.argsort(keys)
    ordered = keys[order]
    first, second = [], []
    for dy, dx in _LATER:
        wanted = keys + dy * width + dx
        place = np.minimum(np.searchsorted(ordered, wanted), len(keys) - 1)
        found = np.flatnonzero(ordered[place] == wanted)
        first.append(found)
        second.append(order[place[found]])
    pairs = np.concatenate(first), np.concatenate(second)
    graph = coo_array((np.ones(len(pairs[0]), bool), pairs), shape=(len(keys), len(keys)))
    return np.asarray(connected_components(graph, directed=False)[1], np.intp)


def strongest(component: Index, scores: NDArray[np.floating], rows: Index, columns: Index) -> list[Index]:
    """The pixels of each component, its highest score first; components by these scores; equals in raster order."""
    order = np.lexsort((columns, rows, -scores, component))
    members = np.split(order, np.flatnonzero(np.diff(component[order])) + 1) if len(order) else []
    heads = np.array([own[0] for own in members], np.intp)
    ranked = np.lexsort((columns[heads], rows[heads], -scores[heads]))
    return [members[number] for number in ranked]


def outlines(members: list[Index], rows: Index, columns: Index) -> Iterator[shapely.Geometry]:
    """The outline of each component's pixels, in pixel coordinates (x, y)."""
    for own in members:
        y, x = rows[own], columns[own]
        yield shapely.union_all(shapely.box(x, y, x + 1, y + 1))
