"""The coarsest low-rank layer that keeps a promised mean squared error, found on what is really decoded.

Wavelet and basis are nearly orthonormal, so the error is foretold in the coefficient domain, for next to nothing;
each true reconstruction then corrects that estimate by a factor. One or two rounds are the rule.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.codec import kernels
from pipeline.codec.low_rank import (
    F32,
    Analysis,
    Block,
    Bool,
    Layer,
    analyse,
    estimate,
    predict,
    quantise,
    quantise_dependently,
    solve_step,
)
from pipeline.codec.mask import off_nodata
from pipeline.codec.outliers import Outliers, find_outliers, mend

# What share of the mean squared error asked for is good enough, and what is aimed at: 1 % of its root, at most, is
# left unspent. The error of "best" is foretold less exactly, but a round of it costs more.
GOOD = {"fast": 0.98, "best": 0.985}
AIM = {"fast": 0.99, "best": 0.994}
ROUNDS = 14
# The step of dependent quantisation beside that of an ordinary one with the same error.
DEPENDENT_STEP = 0.636


class Fit(NamedTuple):
    """A layer that keeps a promise."""

    layer: Layer
    outliers: Outliers | None
    """what is mended on top of it"""
    error: float
    """Σ (x − decoded)² over the valid elements"""


def fit_layer(block: Block, real: Bool, mse: float, nodata: float | int | None, effort: str = "fast") -> Fit | None:
    """The layer of block (band, y, x), finite, whose error over `real` is at most `mse`, and `GOOD` of it if it can.

    real: (1 or band, y, x) bool. None where no step keeps the promise: values too wide for float32 arithmetic.
    """
    dependent = effort == "best"
    analysis = analyse(block, mse, rotated=dependent)
    if analysis is None:
        return None
    count = np.count_nonzero(real) * (block.shape[0] // real.shape[0])
    rounding = 1 / 12 if block.dtype.kind != "f" else 0.0
    target = max(mse - rounding, mse / 8) / analysis.unit**2
    step = solve_step(analysis, analysis.step, AIM[effort] * target)
    below, above, best, layer = 0.0, np.inf, None, None
    for _ in range(ROUNDS):
        layer = quantise_dependently(analysis, DEPENDENT_STEP * step, layer) if dependent else quantise(analysis, step)
        if layer is None:
            break
        found = _mended(block, real, layer, mse, nodata, analysis.room)
        error = found.error / count
        if error <= mse:
            below, best = step, found
            if error >= GOOD[effort] * mse or not layer.scores.any():
                break
        else:
            above = step
        if not error < np.inf or above <= below * (1 + (1 - GOOD[effort]) / 10):
            break
        step = _next_step(analysis, step, error, AIM[effort] * mse, rounding, below, above)
    return best


def _mended(block: Block, real: Bool, layer: Layer, mse: float, nodata: float | int | None, room: F32) -> Fit:
    """The layer with what is to be mended of it, and the error that is left."""
    decoded = predict(layer, block.dtype, room)
    outliers = find_outliers(block, decoded, real, mse, nodata)
    if outliers is not None:
        mend(decoded, outliers)
    return Fit(layer, outliers, squared_error(block, off_nodata(decoded, nodata), real))


def _next_step(
    analysis: Analysis, step: float, error: float, aim: float, rounding: float, below: float, above: float
) -> float:
    """The step that the estimate, scaled to agree with the true error at `step`, puts on the aim; kept in bracket."""
    square = analysis.unit**2
    told = estimate(analysis, step) + rounding / square
    wanted = aim / error * told - rounding / square if error > 0 else 0.0
    guess = solve_step(analysis, step, wanted) if wanted > 0 else 0.0
    if below < guess < above:
        return guess
    if below > 0 and np.isfinite(above):
        return float(np.sqrt(below * above))
    return step * 2 if below > 0 else step / 2


def squared_error(x: Block, y: Block, real: Bool) -> float:
    """Σ (x − y)² over `real`, (1 or band, y, x)."""
    pixels = x.shape[1] * x.shape[2]
    return float(kernels.squared_error(*(a.reshape(-1, pixels) for a in (x, y, real))))
