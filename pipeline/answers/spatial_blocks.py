"""Folds that lie apart: cross-validation whose test cells are no neighbours of the training cells.

Source: Roberts et al. 2017, "Cross-validation strategies for data with temporal, spatial, hierarchical, or phylogenetic
structure": blocks of the map are dealt to folds; h-block cross-validation (Burman, Chow, Nolan 1994): a gap between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.errors import ConfigError

Index = NDArray[np.intp]
Bool = NDArray[np.bool_]


def dealt(
    rows: Index, columns: Index, side: int, folds: int, rng: np.random.Generator, groups: Sequence[Index] = ()
) -> Index:
    """The fold (n,) of each cell: blocks of side x side cells that hold any are dealt, shuffled, to the folds by turns.

    groups: (n,) what cells belong together, polygons and then what is made of them. One no wider or higher than a block
    is of the block that holds most of it; a larger one is cut by the blocks.

    Raises:
        ConfigError: there are fewer blocks with cells than folds.
    """
    if side < 1 or folds < 2:
        raise ConfigError(f"spatial folds want blocks of at least one cell and two folds, got {side} and {folds}")
    keys = np.stack([rows // side, columns // side], axis=1)
    block = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    own = block
    for group in groups:
        small, home = _homes(rows, columns, side, block, group)
        own = np.where(small, home, own)
    blocks, own = np.unique(own, return_inverse=True)
    if len(blocks) < folds:
        raise ConfigError(
            f"the labels lie in {len(blocks)} blocks of {side} x {side} cells, too few for {folds} folds; give a "
            f"smaller --block or --gap, or fewer --folds"
        )
    turns: Index = rng.permutation(len(blocks)) % folds
    return turns[own.reshape(-1)]


def _homes(rows: Index, columns: Index, side: int, block: Index, group: Index) -> tuple[Bool, Index]:
    """Which cells (n,) are of a group no larger than a block, and the block (n,) that has most of each cell's group."""
    which = np.unique(group, return_inverse=True)[1].reshape(-1)
    count = 1 + int(which.max(initial=-1))
    small = np.ones(count, bool)
    for axis in (rows, columns):
        low, high = np.full(count, axis.max(initial=0)), np.full(count, axis.min(initial=0))
        np.minimum.at(low, which, axis)
        np.maximum.at(high, which, axis)
        small &= high - low < side
    (own, blocks), cells = np.unique(np.stack([which, block]), axis=1, return_counts=True)
    order = np.lexsort([-blocks, cells, own])  # the last of each is the first block that has most
    home = np.empty(count, np.intp)
    home[own[order]] = blocks[order]
    return small[which], home[which]


def apart(rows: Index, columns: Index, test: Bool, gap: int) -> Bool:
    """Which cells (n,) lie more than `gap` cells, along rows or along columns, from every test cell."""
    places = np.stack([rows, columns], axis=1).astype(np.float64)
    distance, _ = cKDTree(places[test]).query(places, p=np.inf)
    return np.asarray(distance > gap, bool)


def splits(rows: Index, columns: Index, fold: Index, gap: int) -> Iterator[tuple[Bool, Bool]]:
    """For each fold, which cells (n,) to train on and which to test on.

    Training cells are of other folds, and further than `gap` from the test cells.
    """
    for number in range(int(fold.max()) + 1):
        test = fold == number
        if test.any():
            yield ~test & apart(rows, columns, test, gap), test


def judgeable(labels: Index, train: Bool, test: Bool) -> Bool:
    """Those of the test cells (n,) that tell anything: their class is trained on, beside another.

    labels: (n,) positions of classes. A class that no training cell is of is missed whatever the model is worth.
    """
    known = np.unique(labels[train])
    return test & np.isin(labels, known) if len(known) > 1 else np.zeros_like(test)
