"""Count, mean and scatter of rows, which add up: over panels, over tiles, over a scene.

Source: Chan, Golub, LeVeque (1983), pairwise merge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit
from pipeline.svd.gram import panels

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

PANEL_ROWS = 2048


@dataclass
class Moments:
    """Count, mean (d,) and scatter Σ(x − mean)(x − mean)ᵀ (d, d) of some rows."""

    count: float
    mean: F64
    scatter: F64

    @staticmethod
    def empty(d: int) -> Moments:
        """No rows yet, of d columns."""
        return Moments(0.0, np.zeros(d), np.zeros((d, d)))

    def add(self, rows: F32, chosen: NDArray[np.intp] | None = None, room: F32 | None = None) -> None:
        """Add rows (row, d), all or those chosen, panel by panel, each about its own mean: small numbers lose nothing.

        room (…, d): memory to work in, of a panel's rows.
        """
        numbers = np.arange(len(rows)) if chosen is None else chosen
        room = np.empty((min(PANEL_ROWS, len(numbers)), rows.shape[1]), np.float32) if room is None else room
        shift, offset = np.empty((2, rows.shape[1]), np.float32)
        for some in panels(numbers, len(room)) if len(numbers) else ():
            centred = room[: len(some)]
            _centre(rows, some, shift, centred, offset)
            self._pool(len(some), shift.astype(np.float64) + offset.astype(np.float64), centred.T @ centred, offset)

    def merge(self, other: Moments) -> None:
        """Add what another has seen."""
        self._pool(other.count, other.mean, other.scatter, np.zeros(len(self.mean)))

    def _pool(
        self, more: float, mean: F64, products: NDArray[np.floating[Any]], offset: NDArray[np.floating[Any]]
    ) -> None:
        """Add `more` rows of this mean (d,), and of these products (d, d) about it less an offset (d,)."""
        count = self.count + more
        if count == 0:
            return
        apart = mean - self.mean if self.count else np.zeros(len(mean))
        _add_scatter(self.scatter, products, offset, more, apart, self.count * more / count)
        self.mean = self.mean + (more / count) * apart if self.count else mean.copy()
        self.count = count

    def of(self, columns: NDArray[np.intp]) -> Moments:
        """Those of some of the columns."""
        return Moments(self.count, self.mean[columns], self.scatter[np.ix_(columns, columns)])

    def scaled(self, count: float) -> Moments:
        """The same mean and covariance, counted as `count` rows."""
        return Moments(count, self.mean, self.scatter * (count / max(self.count, 1.0)))

    def covariance(self) -> F64:
        """scatter / count (d, d); zero without rows."""
        return np.asarray(self.scatter / max(self.count, 1.0))


@jit
def _centre(rows: F32, numbers: NDArray[np.intp], shift: F32, centred: F32, offset: F32) -> None:
    """About the mean (d,) of the rows (row, d) of these numbers goes to shift, what is left of them to centred.

    The mean of what is left, which is rounding, goes to offset (d,).
    """
    shift[:] = 0
    offset[:] = 0
    for n in numbers:
        row = rows[n]
        for k in range(len(shift)):
            shift[k] += row[k]
    for k in range(len(shift)):
        shift[k] /= np.float32(len(numbers))
    for i, n in enumerate(numbers):
        row, out = rows[n], centred[i]
        for k in range(len(shift)):
            left = row[k] - shift[k]
            out[k] = left
            offset[k] += left
    for k in range(len(shift)):
        offset[k] /= np.float32(len(numbers))


@jit
def _add_scatter(
    scatter: F64,
    products: NDArray[np.floating[Any]],
    offset: NDArray[np.floating[Any]],
    rows: float,
    apart: F64,
    weight: float,
) -> None:
    """Add products (d, d) of some rows, about what is an offset (d,) off their mean, and what means apart (d,) add."""
    for i in range(len(scatter)):
        total, line = scatter[i], products[i]
        less, more = rows * np.float64(offset[i]), weight * apart[i]
        for k in range(len(total)):
            total[k] += np.float64(line[k]) - less * np.float64(offset[k]) + more * apart[k]
