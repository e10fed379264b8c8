"""Where patches stand, which may vote, how lively each is; and the filling of holes beneath them.

Source: docs/algorithms.md, "Denoise".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.gemm.im2col import positions

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]

# A patch votes on the mean and the SVD of its class where this share of it is real.
VOTING_SHARE = 0.75


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


def voters(valid: Valid, ys: Index, xs: Index, size: int) -> NDArray[np.bool_]:
    """(patch,) which patches are real enough to vote."""
    return np.asarray(box_sums(valid, ys, xs, size).ravel() >= VOTING_SHARE * size**2)


def energies(planes: F32, ys: Index, xs: Index, size: int) -> F64:
    """(patch,) squares of each patch about its own mean in each plane, summed over the planes."""
    squares = np.einsum("pyx,pyx->yx", planes, planes, dtype=np.float64)
    total = box_sums(squares, ys, xs, size)
    for plane in planes:
        total -= np.square(box_sums(plane, ys, xs, size) / size)
    return total.ravel()


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
