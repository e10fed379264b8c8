"""Groups of cells that are alike: k-means on features of one scale.

Source: Sculley 2010, "Web-scale k-means clustering", as scikit-learn's MiniBatchKMeans has it. Groups are numbered
along the first principal axis of their centres, so that neighbours in number are neighbours in kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from pipeline.answers.scaling import Scaling, cells_of, planes_of
from pipeline.errors import BlockError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

MOST_GROUPS = 255
RESTARTS, BATCH = 3, 2048
STEPS, _LARGEST = 1 << 16, 1 << 11
"""Of a z-score, so many to a unit and no larger one: float64 sums the 2**26 cells of the largest tile exactly."""


@dataclass(frozen=True)
class Groups:
    """What cells are sorted by: arrays alone, so that it can lie in a file.

    mean, factor: (F,) float64 of the scaling; centres: (k, F) float32 on that scale.
    """

    mean: F64
    factor: F64
    centres: F32

    @classmethod
    def fit(cls, sample: F32, count: int, seed: int) -> Groups:
        """`count` groups of a sample (n, F) float32.

        Raises:
            BlockError: fewer different cells than groups, or none that vary.
        """
        scaling = Scaling.of(sample)
        rows = scaling.rows(sample)
        different = _different(rows, count)
        if different < count:
            raise BlockError(f"{count} groups of {different} different cells; ask for fewer")
        with threadpool_limits(1):  # sums by several threads differ in their last bits
            fitted = MiniBatchKMeans(count, batch_size=BATCH, n_init=RESTARTS, random_state=seed).fit(rows)
        return cls(scaling.mean, scaling.factor, _in_order(fitted.cluster_centers_.astype(np.float32)))

    def answer(self, block: F32, valid: Bool) -> NDArray[np.uint8]:
        """The number of the nearest centre, (1, y, x) in 1 ... k, 0 where not valid. block: (F, y, x) float32."""
        rows = Scaling(self.mean, self.factor).rows(cells_of(block, valid))
        numbers = nearest(rows, self.centres)
        return planes_of((numbers + 1).astype(np.uint8)[:, None], valid, 0)  # type: ignore[return-value]

    def sums(self, block: F32, valid: Bool, answer: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Of each group, the sums of its cells' z-scores in steps of 1/STEPS, and their number: (k, F + 1).

        Whole numbers, so that sums of many tiles do not depend on the order in which they are done.
        """
        rows = Scaling(self.mean, self.factor).rows(cells_of(block, valid))
        numbers, count = answer[0][valid].astype(np.intp) - 1, len(self.centres)
        total = np.zeros((count, rows.shape[1] + 1), np.int64)
        for feature, scores in enumerate(rows.T):
            steps = np.rint(np.clip(scores.astype(np.float64), -_LARGEST, _LARGEST) * STEPS)
            total[:, feature] = np.bincount(numbers, steps, count)
        total[:, -1] = np.bincount(numbers, minlength=count)
        return total

    @staticmethod
    def traits(sums: NDArray[np.int64], names: tuple[str, ...], count: int = 3) -> list[dict[str, float]]:
        """Of each group, the features that set its cells apart most: their means, in standard deviations of the scene.

        `sums` are those of all tiles; a group without cells has no features.
        """
        means = sums[:, :-1] / (np.maximum(sums[:, -1:], 1) * STEPS)
        order = np.argsort(-np.abs(means), axis=1, kind="stable")[:, :count]
        return [
            {names[index]: round(float(mean[index]), 2) for index in chosen} if cells else {}
            for mean, chosen, cells in zip(means, order.tolist(), sums[:, -1], strict=True)
        ]


def _different(rows: F32, most: int) -> int:
    """How many different rows (n, F) there are; no more than `most` are counted, in most samples among the first."""
    seen: set[bytes] = set()
    for row in rows:
        seen.add((row + 0.0).tobytes())  # -0 is 0
        if len(seen) == most:
            break
    return len(seen)


def nearest(rows: F32, centres: F32) -> NDArray[np.intp]:
    """Which centre (k, F) is nearest to each row (n, F): the largest x·c − |c|²/2; of equals the first."""
    scores = rows @ centres.T
    scores -= 0.5 * (centres * centres).sum(axis=1)
    return np.asarray(scores.argmax(axis=1), np.intp)


def _in_order(centres: F32) -> F32:
    """The centres along their first principal axis, whose largest entry is positive."""
    centred = centres - centres.mean(axis=0)
    _, _, Vt = np.linalg.svd(centred, full_matrices=False)
    axis = Vt[0] * np.sign(Vt[0][np.abs(Vt[0]).argmax()])
    return centres[np.argsort(centred @ axis, kind="stable")]
