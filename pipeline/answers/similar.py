"""Which cells are like these: the cosine between features on one scale.

Source: cosine similarity, Salton, Wong, Yang 1975. Each feature is z-scored first: features of large values would speak
for all the others, and whitening them in full makes noise as loud as signal (docs/algorithms.md has the figures).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from pipeline.answers.scaling import Scaling, cells_of, planes_of

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Similar:
    """What cells are compared with: arrays alone, so that it can lie in a file.

    mean, factor: (F,) float64 of the scaling; queries: (Q, F) float32, unit vectors of the places asked about.
    """

    mean: F64
    factor: F64
    queries: F32

    @classmethod
    def to(cls, places: F32, sample: F32) -> Similar:
        """Places (Q, F) to compare with, on the scale of a sample (n, F) of the scene.

        Raises:
            BlockError: the sample is empty, or flat.
        """
        scaling = Scaling.of(sample)
        return cls(scaling.mean, scaling.factor, unit(scaling.rows(places)))

    def answer(self, block: F32, valid: Bool) -> F32:
        """The largest cosine to any of the queries, (1, y, x) in −1 ... 1, NaN where not valid.

        block: (F, y, x) float32, finite where valid.
        """
        rows = unit(Scaling(self.mean, self.factor).rows(cells_of(block, valid)))
        nearest = np.clip((rows @ self.queries.T).max(axis=1, initial=-1.0), -1.0, 1.0)
        return planes_of(nearest[:, None], valid, np.nan)  # type: ignore[return-value]


def unit(rows: F32) -> F32:
    """Rows (n, F) of length 1; a row of zeros stays as it is."""
    length = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.where(length > 0, length, np.float32(1.0)), np.float32)


def peaks(plane: F32, apart: int) -> Bool:
    """Cells (y, x) that no cell within `apart` of them, along both axes, surpasses, or equals and comes first.

    plane: (y, x) float32, NaN where there is no value. `apart` 0: every cell with a value.
    """
    known = np.isfinite(plane)
    if apart == 0:
        return known
    side = 2 * apart + 1
    values = np.where(known, plane, -np.inf)
    top = known & (values >= maximum_filter(values, side, mode="constant", cval=-np.inf))
    # Peaks near each other are equals: the rule for them is local, so that tiles do not show.
    order = np.where(top, np.arange(plane.size, dtype=np.float64).reshape(plane.shape), np.inf)
    return np.asarray(top & (order <= minimum_filter(order, side, mode="constant", cval=np.inf)), bool)


def best(similarity: F32, rows: Index, columns: Index, count: int) -> Index:
    """Which of some cells are the `count` most similar, best first; equals in raster order."""
    return np.lexsort((columns, rows, -similarity))[:count]
