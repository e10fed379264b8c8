"""Where patches stand, which may vote, how they are lowered; and the filling of holes beneath them.

Source: docs/algorithms.md, "Denoise".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.gemm.im2col import im2col, positions
from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]
Place = tuple[slice, slice]
"""Rows and columns of a block, both ends given."""

# A patch votes on bases and classes where this share of it is real.
VOTING_SHARE = 0.75
# Patches lowered at a time: more leave the cache.
PANEL_ROWS = 2048
# Share of the rows in which steps within pairs of pixels are less than those between, from which the pairs are copies;
# fewest such rows, and fewest pairs of one; times the median at which a step is cut.
PAIRED = 0.95
MIN_PAIRS = 12
# About so many rows are read.
PAIR_ROWS = 64
LARGE_STEP = 3.0
HASH = (73856093, 19349663, 0x2C1B3C6D)


@dataclass(frozen=True)
class Patches:
    """Where the overlapping patches of a (plane, y, x) array stand, row by row."""

    size: int
    """Side of a patch, pixels."""
    ys: Index
    """(patch,)"""
    xs: Index
    """(patch,)"""

    def __len__(self) -> int:
        return len(self.ys)

    def take(self, chosen: NDArray[np.bool_]) -> Patches:
        """Those of them that are chosen (patch,); the very ones where all are."""
        return self if chosen.all() else Patches(self.size, self.ys[chosen], self.xs[chosen])

    def meeting(self, place: Place) -> NDArray[np.bool_]:
        """(patch,) which of them have a pixel at place."""
        rows, columns = place
        down = (self.ys < rows.stop) & (self.ys + self.size > rows.start)
        return np.asarray(down & (self.xs < columns.stop) & (self.xs + self.size > columns.start))

    def panels(self) -> Iterator[slice]:
        """Numbers of consecutive patches, at most PANEL_ROWS at a time."""
        return (slice(start, min(start + PANEL_ROWS, len(self))) for start in range(0, len(self), PANEL_ROWS))

    def room(self, planes: int) -> F32:
        """Memory for one panel (patch, plane·size²), to be used again and again."""
        return np.empty((min(PANEL_ROWS, len(self)), planes * self.size**2), np.float32)

    def lower(self, planes: F32, numbers: slice, room: F32) -> F32:
        """The panel (patch, plane·size²) of those patches, in the first rows of room."""
        return im2col(planes, self.ys[numbers], self.xs[numbers], self.size, room)


def patches_over(
    shape: tuple[int, ...], size: int, stride: tuple[int, int], origin: tuple[int, int], shift: int = 0
) -> Patches:
    """Patches that cover a (y, x) shape every `stride` pixels, on the grid of the scene's origin.

    Each row of patches stands `shift` pixels to the right of the row before: all pixels are then covered alike often.
    """
    rows = starts(shape[0], size, stride[0], origin[0])
    phases = stride[1] if shift else 1
    across = [starts(shape[1], size, stride[1], origin[1] - shift * phase) for phase in range(phases)]
    xs = [across[phase] for phase in (origin[0] + rows) // stride[0] % phases]
    return Patches(size, np.repeat(rows, [len(one) for one in xs]), np.concatenate(xs))


def patches_among(
    shape: tuple[int, ...], size: int, stride: tuple[int, int], origin: tuple[int, int], scattered: bool = True
) -> Patches:
    """One patch in each cell of `stride` pixels of the scene's grid, those within a (y, x) shape at the origin.

    `scattered`: anywhere in its cell, by a hash of the cell's numbers (Teschner et al. 2003): rows of trees and fields
    whose distance is a multiple of the stride are seen at every place of the patch, not at one.
    """
    if not scattered or stride == (1, 1):
        return patches_over(shape, size, stride, origin)
    down, across = stride
    row = np.arange(origin[0] // down - 1, (origin[0] + shape[0]) // down + 1)[:, None]
    column = np.arange(origin[1] // across - 1, (origin[1] + shape[1]) // across + 1)
    mixed = (row * HASH[0] ^ column * HASH[1]) & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 15) * HASH[2] & 0xFFFFFFFF
    mixed ^= mixed >> 13
    ys, xs = row * down + mixed % down - origin[0], column * across + mixed // down % across - origin[1]
    inside = (ys >= 0) & (ys <= shape[0] - size) & (xs >= 0) & (xs <= shape[1] - size)
    if not inside.any():
        return patches_over(shape, size, stride, origin)
    return Patches(size, ys[inside].astype(np.intp), xs[inside].astype(np.intp))


def starts(length: int, size: int, stride: int, origin: int) -> Index:
    """Starts of patches that cover `length`, on the scene's grid: origin + start is a multiple of stride.

    Two tiles that overlap thus cut the same patches; the first and the last pixel are covered all the same.
    """
    offset = min(-origin % stride, length - size)
    grid = offset + positions(length - offset, size, stride)
    return grid if offset == 0 else np.insert(grid, 0, 0)


def box_sums(plane: NDArray[Any], patches: Patches) -> F64:
    """(patch,) sum of plane (y, x) over each patch, float64."""
    sums = np.zeros((plane.shape[0] + 1, plane.shape[1] + 1))
    np.cumsum(np.cumsum(plane, axis=0, dtype=np.float64), axis=1, out=sums[1:, 1:])
    ys, xs, size = patches.ys, patches.xs, patches.size
    return np.asarray(sums[ys + size, xs + size] - sums[ys, xs + size] - sums[ys + size, xs] + sums[ys, xs])


def voters(valid: Valid, patches: Patches, learn: Valid | None = None) -> NDArray[np.bool_]:
    """(patch,) which patches are real enough to vote; none with a valid pixel that is not to be learnt from."""
    votes = np.ones(len(patches), np.bool_)
    if not valid.all():
        votes = np.asarray(box_sums(valid, patches) >= VOTING_SHARE * patches.size**2)
    return votes if learn is None or learn is valid else votes & spared(valid & ~learn, patches)


def spared(masked: Valid, patches: Patches) -> NDArray[np.bool_]:
    """(patch,) which patches have no masked pixel."""
    return np.asarray(box_sums(masked, patches) == 0)


def replication(block: NDArray[Any], valid: Valid, origin: tuple[int, int]) -> bool:
    """Whether some band of block (band, y, x) was made by doubling pixels on the even grid of the scene.

    Then steps between pairs are larger than steps within, in nearly every row; in a scene, in about half of them. Some
    rows are read, every fourth of a small block, and large steps are cut: an edge at an even column, a straight coast,
    must not speak for its row.
    """
    top, left = origin[0] % 2, origin[1] % 2
    stop = left + (valid.shape[1] - left) // 2 * 2
    step = 4 * max(1, valid.shape[0] // (4 * PAIR_ROWS))
    real = valid[top::step, left:stop]
    both = real[:, 1:] & real[:, :-1]
    within = both[:, ::2].sum(axis=1)
    told = np.minimum(within, both.sum(axis=1) - within) >= MIN_PAIRS
    if np.count_nonzero(told) < MIN_PAIRS:
        return False
    both, whole = both[told], bool(real[told].all())
    for band in block[:, top::step, left:stop]:
        lines = (band[told] if whole else np.where(real[told], band[told], 0)).astype(np.float32)
        steps = np.abs(lines[:, 1:] - lines[:, :-1])
        real_steps = steps.ravel() if whole else steps[both]
        middle = np.partition(real_steps, real_steps.size // 2)[real_steps.size // 2]
        if paired_rows(steps, both, np.float32(LARGE_STEP) * middle) > PAIRED * len(steps):
            return True
    return False


@jit
def paired_rows(steps: F32, both: Valid, large: np.float32) -> int:
    """In how many rows of steps (y, x), cut at large, those of even x have a lower mean than the others.

    Where both (y, x) pixels of a step are real; every row has steps of either kind.
    """
    found = 0
    for y in range(len(steps)):
        total, count = np.zeros(2), np.zeros(2)
        for x in range(steps.shape[1]):
            if both[y, x]:
                total[x % 2] += min(steps[y, x], large)
                count[x % 2] += 1
        found += int(total[0] * count[1] < total[1] * count[0])
    return found


def fill_holes(planes: F32, valid: Valid, radius: int) -> None:
    """Fill invalid pixels of planes (plane, y, x), 0 there, with the mean of valid ones near by, in place."""
    if valid.all():
        return
    size = 2 * radius + 1
    weight = ndimage.uniform_filter(valid.astype(np.float64), size, mode="constant")
    # The running sums leave rounding, not zero, where nothing is near.
    weight = np.where(weight > 0.5 / size**2, weight, np.inf)
    holes = ~valid
    for plane in planes:
        mean = ndimage.uniform_filter(plane.astype(np.float64), size, mode="constant") / weight
        plane[holes] = mean[holes]
