"""Which places are one as far as leakage goes: neighbours of one label, such as plots of one field."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Index = NDArray[np.intp]

NEAR = 0.5
"""Cells between neighbours: digitised borders do not meet."""


def stands(shapes: NDArray[Any], place: Index, labels: NDArray[Any]) -> Index:
    """The stand (n,) of each cell: a place, or places of one label that lie next to each other.

    shapes: places, in cells. place: (n,) the place of each cell. labels: (n,) of the cells.
    """
    leads, first, which = np.unique(place, return_index=True, return_inverse=True)
    own, kind = shapes[leads], labels[first]
    boxes = shapely.box(*(shapely.bounds(own) + np.array([-NEAR, -NEAR, NEAR, NEAR])).T)
    one, other = shapely.STRtree(own).query(boxes)  # by their boxes
    alike = (one < other) & (kind[one] == kind[other])
    one, other = one[alike], other[alike]
    shapely.prepare(own)
    near = shapely.dwithin(own[one], own[other], NEAR)
    graph = coo_array((np.ones(int(near.sum())), (one[near], other[near])), shape=(len(own), len(own)))
    return np.asarray(connected_components(graph, directed=False)[1][which.reshape(-1)], np.intp)
