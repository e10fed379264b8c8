"""How good predictions are: plain figures for numbers and for classes.

Sources: Cohen 1960 (kappa); R² is against the mean of the labels, so that it can be negative.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Index = NDArray[np.intp]


def numbers(labels: F64, found: F64) -> dict[str, float | None]:
    """R², root mean square error, mean error; R² is None where the labels do not vary."""
    error = found - labels
    spread = float(((labels - labels.mean()) ** 2).sum())
    return {
        "r2": 1.0 - float((error**2).sum()) / spread if spread > 0 else None,
        "rmse": float(np.sqrt((error**2).mean())),
        "bias": float(error.mean()),
    }


def classes(labels: Index, found: Index, count: int) -> dict[str, Any]:
    """Overall accuracy, the mean over the classes that occur, kappa, and the confusion: rows true, columns found."""
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (labels, found), 1)
    total, right = confusion.sum(), np.trace(confusion)
    true, told = confusion.sum(axis=1), confusion.sum(axis=0)
    chance = float((true * told).sum()) / float(total) ** 2
    own = np.diag(confusion)[true > 0] / true[true > 0]
    accuracy = float(right) / float(total)
    return {
        "accuracy": accuracy,
        "mean_class_accuracy": float(own.mean()),
        "kappa": (accuracy - chance) / (1 - chance) if chance < 1 else None,
        "confusion": confusion.tolist(),
    }
