"""Features of many sizes on one scale: each less its mean, over its standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BlockError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_FLAT = 1e-6
"""A feature whose deviation is below this share of its mean's size does not vary: what is left is rounding."""


@dataclass(frozen=True)
class Scaling:
    """What is taken off each feature, and what it is multiplied with: (F,) float64. A feature that is flat gets 0."""

    mean: F64
    factor: F64

    @classmethod
    def of(cls, rows: NDArray[np.floating]) -> Scaling:
        """The scaling of a sample (n, F) to mean 0 and standard deviation 1.

        Raises:
            BlockError: there is no row, or no feature that varies.
        """
        if len(rows) == 0:
            raise BlockError("there is no valid cell to learn from; is all of it nodata?")
        mean = rows.mean(axis=0, dtype=np.float64)
        std = np.sqrt(((rows - mean) ** 2).mean(axis=0, dtype=np.float64))
        flat = std <= _FLAT * np.abs(mean)
        if flat.all():
            raise BlockError("no feature varies over the scene; there is nothing to tell places apart by")
        return cls(mean, np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, std)))

    def rows(self, rows: NDArray[np.floating]) -> F32:
        """Rows (n, F) on the one scale, float32."""
        scaled: F32 = ((rows - self.mean.astype(np.float32)) * self.factor.astype(np.float32)).astype(np.float32)
        return scaled


def cells_of(block: F32, valid: NDArray[np.bool_]) -> F32:
    """The valid cells of a block (F, y, x) as rows (n, F), in raster order."""
    return np.ascontiguousarray(block[:, valid].T)


def planes_of(values: NDArray[np.generic], valid: NDArray[np.bool_], fill: float) -> NDArray[np.generic]:
    """Values (n, B) of the valid cells as planes (B, y, x) of their dtype, `fill` elsewhere: `cells_of` undone."""
    planes = np.full((values.shape[1], *valid.shape), fill, values.dtype)
    planes[:, valid] = values.T
    return planes
