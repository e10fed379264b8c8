"""Ships that were not there: implanted in the sea of a scene, to see whether they are found.

A ship is 2 x 2 pixels large and lies anywhere between pixels: it covers 3 x 3 of them, by shares of 1 in the middle to
0 at the corners. A pixel covered by the share a becomes, at contrast .6,

    brighter    w·(1 + .6·a)                 w the water's spectrum there: .6 brighter in every band, nothing else
    mixed       w·(1 − .6·a) + .6·a·l        l the mean spectrum of the scene's land: .6 of it is not water

Pixels covered by half or more are the ship; those covered by less count neither as ship nor as sea.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
F64 = NDArray[np.float64]

GREEN, INFRARED, SHORTWAVE = 1, 6, 8
"""Positions of B03, B08 and B11 among the sample's bands."""
DARK = 150
"""B11 of water, in the scene's units."""
SHIPS, APART, MARGIN = 60, 12, 14
CONTRAST = 0.6


def open_sea(scene: NDArray[np.generic]) -> Bool:
    """Where the sample scene (band, y, x) is water: dark in B11, as marsh and beach are not."""
    return np.asarray(scene[SHORTWAVE] < DARK, bool)


def implanted(
    scene: NDArray[np.generic], sea: Bool, kind: str, seed: int, contrast: float = CONTRAST, count: int = SHIPS
) -> tuple[NDArray[np.generic], F64]:
    """The scene with `count` ships, in its dtype, and the share of each pixel (y, x) that they cover."""
    rng = np.random.default_rng(seed)
    ys, xs = np.nonzero(sea)
    height, width = sea.shape
    covered, taken, placed = np.zeros(sea.shape), np.zeros(sea.shape, bool), 0
    while placed < count:
        index = rng.integers(len(ys))
        y, x = int(ys[index]), int(xs[index])
        if not (APART <= y < height - MARGIN and APART <= x < width - MARGIN):
            continue
        near = taken[y - APART : y + APART + 1, x - APART : x + APART + 1]
        if near.any() or not sea[y - 1 : y + 4, x - 1 : x + 4].all():
            continue
        taken[y, x] = True
        down, right = rng.random(2)
        covered[y : y + 3, x : x + 3] = np.outer([1 - down, 1, down], [1 - right, 1, right])
        placed += 1
    share = contrast * covered
    water = scene.astype(np.float64)
    if kind == "brighter":
        changed = water * (1 + share)
    else:
        land = water[:, water[GREEN] <= water[INFRARED]].mean(axis=1)
        changed = water * (1 - share) + land[:, None, None] * share
    return np.rint(changed).astype(scene.dtype), covered


def area_under_curve(scores: NDArray[np.floating], covered: F64, sea: Bool) -> float:
    """The chance that a ship's pixel scores above one of the sea (Mann, Whitney 1947); no score is the lowest."""
    ship, water = scores[covered >= 0.5], scores[sea & (covered == 0)]
    values = np.nan_to_num(np.concatenate([ship, water]), nan=-np.inf)
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[: len(ship)].sum() - len(ship) * (len(ship) + 1) / 2) / (len(ship) * len(water)))
