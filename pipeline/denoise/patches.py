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

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]

# A patch votes on bases and classes where this share of it is real.
VOTING_SHARE = 0.75
PANEL_ROWS = 4096
# Steps within pairs of pixels over steps between pairs, squared, below which the pairs are copies; fewest pairs.
PAIRED = 0.8
MIN_PAIRS = 32


@dataclass(frozen=True)
class Patches:
    """Where the overlapping patches of a (plane, y, x) array stand."""

    size: int
    """Side of a patch, pixels."""
    ys: Index
    xs: Index
    """Starts of the patches; patch number i·len(xs) + j stands at (ys[i], xs[j])."""

    def __len__(self) -> int:
        return len(self.ys) * len(self.xs)

    def panels(self) -> Iterator[tuple[slice, Index]]:
        """Patch numbers and ys of slabs of about PANEL_ROWS patches, at least one row of them."""
        width = len(self.xs)
        step = max(1, PANEL_ROWS // width)
        for start in range(0, len(self.ys), step):
            ys = self.ys[start : start + step]
            yield slice(start * width, (start + len(ys)) * width), ys

    def lower(self, planes: F32, ys: Index) -> F32:
        """The panel (patch, plane·size²) of the patches that start at ys."""
        return im2col(planes, ys, self.xs, self.size, self.size)


def patches_over(shape: tuple[int, ...], size: int, stride: tuple[int, int], origin: tuple[int, int]) -> Patches:
    """Patches that cover a (y, x) shape every `stride` pixels, on the grid of the scene's origin."""
    ys, xs = (starts(n, size, step, first) for n, step, first in zip(shape, stride, origin, strict=True))
    return Patches(size, ys, xs)


def starts(length: int, size: int, stride: int, origin: int) -> Index:
    """Starts of patches that cover `length`, on the scene's grid: origin + start is a multiple of stride.

    Two tiles that overlap thus cut the same patches; the first and the last pixel are covered all the same.
    """
    offset = min(-origin % stride, length - size)
    grid = offset + positions(length - offset, size, stride)
    return grid if offset == 0 else np.insert(grid, 0, 0)


def box_sums(plane: NDArray[Any], ys: Index, xs: Index, size: int) -> F64:
    """Sum of plane (y, x) over each patch of size² that starts at ys x xs: (len(ys), len(xs)) float64."""
    rows = np.zeros((len(ys), plane.shape[1]))
    for i in range(size):
        rows += plane[ys + i]
    running = np.zeros((len(ys), plane.shape[1] + 1))
    np.cumsum(rows, axis=1, out=running[:, 1:])
    return np.asarray(running[:, xs + size] - running[:, xs])


def voters(valid: Valid, patches: Patches) -> NDArray[np.bool_]:
    """(patch,) which patches are real enough to vote."""
    if valid.all():
        return np.ones(len(patches), np.bool_)
    return np.asarray(box_sums(valid, patches.ys, patches.xs, patches.size).ravel() >= VOTING_SHARE * patches.size**2)


def replication(block: NDArray[Any], valid: Valid, origin: tuple[int, int]) -> bool:
    """Whether some band of block (band, y, x) was made by doubling pixels on the even grid of the scene.

    Then steps across pairs are larger than steps within; noise added later hides no more than half of that.
    """
    h, w = (n - first % 2 for n, first in zip(valid.shape, origin, strict=True))
    top, left = origin[0] % 2, origin[1] % 2
    h, w = h // 2 * 2 - 1, w // 2 * 2 - 1
    if min(h, w) < MIN_PAIRS:
        return False
    pixels, real = block[:, top : top + h : 4, left : left + w + 1], valid[top : top + h : 4, left : left + w + 1]
    both = real[:, 1:] & real[:, :-1]
    within, across = both.copy(), both.copy()
    within[:, 1::2], across[:, ::2] = False, False
    if not (within.any() and across.any()):
        return False
    for band in pixels:
        steps = np.square(np.diff(np.where(real, band, 0).astype(np.float32), axis=1))
        if float(steps[within].mean()) < PAIRED * float(steps[across].mean()):
            return True
    return False


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
