"""Sums over the pixels around a pixel, those next to it left out: a square window less a square guard within.

Source: integral images, Crow 1984; the window and its guard, Reed and Yu 1990. Windows end at the edge of the block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Annulus:
    """The pixels within `window` x `window` around a pixel and not within `guard` x `guard`; both odd."""

    window: int
    guard: int

    def __post_init__(self) -> None:
        if self.guard < 1 or self.window <= self.guard or not self.guard % 2 or not self.window % 2:
            raise ConfigError(
                f"the window around a pixel must be odd and larger than its odd guard, got --window {self.window} "
                f"and --guard {self.guard}"
            )

    @property
    def reach(self) -> int:
        """How many pixels away the furthest is, along an axis."""
        return self.window // 2

    def sums(self, plane: NDArray[np.generic]) -> F64:
        """For each pixel (y, x), the sum of the plane over its annulus."""
        integral = _integral(plane)
        return _boxes(integral, self.window) - _boxes(integral, self.guard)


def box_sums(plane: NDArray[np.generic], side: int) -> F64:
    """For each pixel (y, x), the sum of the plane over the side x side pixels around it, `side` odd."""
    return _boxes(_integral(plane), side)


def _integral(plane: NDArray[np.generic]) -> F64:
    """Sums over all pixels above and to the left, with a row and a column of 0 before them."""
    integral = np.zeros((plane.shape[0] + 1, plane.shape[1] + 1))
    np.cumsum(plane, axis=0, dtype=np.float64, out=integral[1:, 1:])
    np.cumsum(integral[1:, 1:], axis=1, out=integral[1:, 1:])
    return integral


def _boxes(integral: F64, side: int) -> F64:
    """Sums over the side x side pixels around each pixel, of an integral image with a leading row and column of 0."""
    height, width = integral.shape[0] - 1, integral.shape[1] - 1
    (top, bottom), (left, right) = (_ends(length, side) for length in (height, width))
    rows = integral[bottom] - integral[top]
    return np.asarray(rows[:, right] - rows[:, left], np.float64)


def _ends(length: int, side: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the window around each of `length` positions begins and ends."""
    places = np.arange(length)
    return np.maximum(places - side // 2, 0), np.minimum(places + side // 2 + 1, length)
