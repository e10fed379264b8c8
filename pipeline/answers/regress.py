"""Numbers and classes from features: ridge regression, judged on blocks of the map that it has not seen.

Sources: Hoerl, Kennard 1970, as scikit-learn's Ridge has it; classes as ±1 for each, the largest wins, as in its
RidgeClassifier. The penalty is chosen by folds within the training blocks, the gap included, so that a fold's accuracy
owes nothing to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from pipeline.answers.scaling import Scaling, cells_of, planes_of
from pipeline.errors import BlockError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
Index = NDArray[np.intp]
Splits = Callable[[Bool], Iterator[tuple[Bool, Bool]]]
"""From cells (n,) that may be used to pairs of training and test cells among them."""

PENALTIES: F64 = np.logspace(-2, 5, 8)


@dataclass(frozen=True)
class Regressor:
    """A linear map of features: arrays alone, so that it can lie in a file.

    mean, factor: (F,) float64 of the scaling; weights: (F, T) and level: (T,) float64 of the T targets; classes: (1,)
    int64, 0 for numbers, else how many classes there are.
    """

    mean: F64
    factor: F64
    weights: F64
    level: F64
    classes: NDArray[np.int64]

    @classmethod
    def fit(cls, rows: F32, targets: F64, penalty: float, classes: int) -> Regressor:
        """Least squares with a penalty: rows (n, F), targets (n, T). Raises BlockError where no feature varies."""
        return next(ridges(rows, targets, [penalty], classes))

    def values(self, rows: F32) -> F64:
        """The targets (n, T) of rows (n, F)."""
        scaled = Scaling(self.mean, self.factor).rows(rows)
        return np.asarray(scaled @ self.weights.astype(np.float32) + self.level, np.float64)

    def predict(self, rows: F32) -> F64 | Index:
        """Numbers (n,) float64, or positions of classes (n,)."""
        values = self.values(rows)
        return values.argmax(axis=1) if self.classes[0] else values[:, 0]

    def answer(self, block: F32, valid: Bool) -> NDArray[np.generic]:
        """The map (1, y, x): float32, NaN where not valid; of classes uint8, 1 ... k, and 0. block: (F, y, x)."""
        found = self.predict(cells_of(block, valid))[:, None]
        if self.classes[0]:
            return planes_of((found + 1).astype(np.uint8), valid, 0)
        return planes_of(found.astype(np.float32), valid, np.nan)


def targets_of(labels: F64 | Index, classes: int) -> F64:
    """What is regressed on: numbers (n,) as they are, positions of classes as ±1 for each class; (n, T)."""
    if not classes:
        return np.asarray(labels, np.float64)[:, None]
    return np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)


def ridges(rows: F32, targets: F64, penalties: list[float] | F64, classes: int) -> Iterator[Regressor]:
    """A regressor for each penalty.

    Rows are reduced to a triangle R with RᵀR = XᵀX first, which has the same solutions, and a penalty costs little.

    Raises:
        BlockError: there is no row, or no feature that varies: one row alone, or all alike.
    """
    scaling = Scaling.of(rows)
    X = scaling.rows(rows).astype(np.float64)
    level = targets.mean(axis=0)
    Y = targets - level
    if len(X) > X.shape[1]:
        Q, R = np.linalg.qr(X)
        X, Y = R, Q.T @ Y
    for penalty in penalties:
        fitted = Ridge(float(penalty), fit_intercept=False, solver="cholesky").fit(X, Y)
        weights = np.asarray(fitted.coef_, np.float64).reshape(targets.shape[1], -1).T
        yield Regressor(scaling.mean, scaling.factor, weights, level, np.array([classes]))


def errors(rows: F32, labels: F64 | Index, train: Bool, test: Bool, classes: int) -> F64:
    """What each of PENALTIES costs on the test cells: squared errors, or wrong classes, summed."""
    targets = targets_of(labels[train], classes)
    found = [model.predict(rows[test]) for model in ridges(rows[train], targets, PENALTIES, classes)]
    return np.array([_cost(one, labels[test], classes) for one in found])


def chosen(rows: F32, labels: F64 | Index, cells: Bool, splits: Splits, classes: int) -> float:
    """The penalty that costs least over the splits of `cells`, the largest of several.

    The middle of all where they all cost the same, as where no split has cells to train and to test on: nothing speaks
    for an extreme then. A split that trains on cells which are all alike, as one alone is, counts as one without any.
    """
    cost = np.zeros(len(PENALTIES))
    for train, test in splits(cells):
        if train.any() and test.any():
            with suppress(BlockError):
                cost += errors(rows, labels, train, test, classes)
    if cost.min() == cost.max():
        return float(PENALTIES[len(cost) // 2])
    return float(PENALTIES[len(cost) - 1 - cost[::-1].argmin()])


def _cost(found: F64 | Index, labels: F64 | Index, classes: int) -> float:
    return float(np.count_nonzero(found != labels) if classes else ((found - labels) ** 2).sum())
