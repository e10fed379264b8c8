"""What comes of a layer: the block it decodes to, single elements mended, and what that misses."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codec.layer_sections import sections
from pipeline.codec.low_rank import F32, Block, Bool, Layer, predict_from
from pipeline.codec.mask import off_nodata
from pipeline.codec.outliers import Outliers, find_outliers, mend, pack_outliers


class Goal(NamedTuple):
    """What a layer is made for."""

    mse: float
    """mean squared error that is allowed, data units squared"""
    nodata: float | int | None
    """what no valid element may decode to"""
    whole: float
    """the same of all that the layer is a part of: elements that are off by far more than its root are listed"""


class Fit(NamedTuple):
    """A layer and what comes of it."""

    layer: Layer
    outliers: Outliers | None
    """what is mended on top of it"""
    error: float
    """Σ (x − decoded)² over the valid elements"""
    mended: float
    """by how much the outliers have lowered it"""


def fit_of(block: Block, real: Bool, layer: Layer, goal: Goal, planes: F32) -> Fit:
    """The layer of block (band, y, x) with what is to be mended of it, and the error that is left.

    real: (1 or band, y, x) bool. planes: (rank, y, x) the scores in steps, from `score_planes`.
    """
    decoded = predict_from(planes, layer, block.dtype)
    outliers, error = find_outliers(block, decoded, real, goal.whole, goal.nodata)
    if outliers is None:
        return Fit(layer, None, error, 0.0)
    wanted, missed = block.reshape(-1)[outliers.indices], decoded.reshape(-1)[outliers.indices]
    mend(decoded, outliers)
    left = _squared(wanted, off_nodata(decoded.reshape(-1)[outliers.indices], goal.nodata))
    return Fit(layer, outliers, error + left, _squared(wanted, missed) - left)


def nbytes(fit: Fit, dtype: np.dtype[Any]) -> int:
    """What a layer and its outliers take, without header and table."""
    listed = 0 if fit.outliers is None else len(pack_outliers(fit.outliers))
    return listed + layer_bytes(fit.layer, dtype)


def layer_bytes(layer: Layer, dtype: np.dtype[Any]) -> int:
    """What a layer alone takes."""
    return sum(len(section.payload) for section in sections(layer, dtype).values())


def _squared(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Squared error of flat arrays."""
    return float(np.square(one.astype(np.float64) - other).sum())
