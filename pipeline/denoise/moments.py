"""Count, mean and scatter of rows, which add up: over panels, over tiles, over a scene.

Source: Chan, Golub, LeVeque (1983), pairwise merge.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        shift = np.empty(rows.shape[1], np.float32)
        for some in panels(numbers, len(room)) if len(numbers) else ():
            centred = room[: len(some)]
            _centre(rows, some, shift, centred)
            average = np.full(len(some), np.float32(1.0 / len(some)))
            offset = (average @ centred).astype(np.float64)
            scatter = (centred.T @ centred).astype(np.float64) - len(some) * np.outer(offset, offset)
            self.merge(Moments(len(some), shift + offset, scatter))

    def merge(self, other: Moments) -> None:
        """Add what another has seen."""
        count = self.count + other.count
        if self.count == 0:
            self.count, self.mean, self.scatter = other.count, other.mean.copy(), other.scatter.copy()
            return
        apart = other.mean - self.mean
        self.scatter += other.scatter + (self.count * other.count / count) * np.outer(apart, apart)
        self.mean = self.mean + (other.count / count) * apart
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
def _centre(rows: F32, numbers: NDArray[np.intp], shift: F32, centred: F32) -> None:
    """About the mean (d,) of the rows (row, d) of these numbers goes to shift, what is left of them to centred."""
    total = np.zeros(len(shift), np.float32)
    for n in numbers:
        row = rows[n]
        for k in range(len(shift)):
            total[k] += row[k]
    for k in range(len(shift)):
        shift[k] = total[k] / np.float32(len(numbers))
    for i, n in enumerate(numbers):
        row, out = rows[n], centred[i]
        for k in range(len(shift)):
            out[k] = row[k] - shift[k]
