"""The coarsest low-rank layer that keeps a promised mean squared error, found on what is really decoded.

Wavelet and basis are nearly orthonormal, so the error is foretold in the coefficient domain, for next to nothing;
each true reconstruction then corrects that estimate by a factor. One or two rounds are the rule.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from pipeline.codec import kernels
from pipeline.codec.budget import DEPENDENT_STEP
from pipeline.codec.dependent import Trial, foretell_errors
from pipeline.codec.low_rank import (
    F32,
    Analysis,
    Block,
    Bool,
    Layer,
    analyse,
    estimate,
    fits,
    predict,
    quantise,
    solve_step,
)
from pipeline.codec.mask import off_nodata
from pipeline.codec.outliers import Outliers, find_outliers, mend

# What share of the mean squared error asked for is good enough, and what is aimed at: 1 % of its root, at most, is
# left unspent. The error of "best" is foretold less exactly, but a round of it costs more.
GOOD = {"fast": 0.98, "best": 0.9805}
AIM = {"fast": 0.99, "best": 0.994}
ROUNDS = 14
TRELLISES = 4
# As far as this from the error of a trial its last planes alone are made anew, where it has met what was asked so well.
NEAR = 0.05
MET = 0.007
# What outliers mend of a dependent layer beyond what they mend of an ordinary one of the same error, for each that they
# do, and by how much less the more of the error is what the basis has lost, which is the same in both.
MORE_MENDED = 1.5
SAME_LOST = 2.6
# The wavelet is not quite orthonormal: errors that are alike side by side, as those of zeros are, count for more than
# their squares. Of that a dependent layer has so much more.
MORE_KIN = 0.1
# By this power of the error what outliers mend grows, about.
GROWTH = 3.0


class Fit(NamedTuple):
    """A layer and what comes of it."""

    layer: Layer
    outliers: Outliers | None
    """what is mended on top of it"""
    error: float
    """Σ (x − decoded)² over the valid elements"""
    mended: float
    """by how much the outliers have lowered it"""


class Search(NamedTuple):
    """A number that grows with the error of the layers made with it."""

    rounds: int
    first: float
    made: Callable[[float], Layer | None]
    following: Callable[[float, float, float], float]
    """from the number, its error and what outliers have mended of it (mean squared) to the number to try next; what is
    <= 0 is no number"""


def fit_layer(block: Block, real: Bool, mse: float, nodata: float | int | None, effort: str = "fast") -> Fit | None:
    """The layer of block (band, y, x), finite, whose error over `real` is at most `mse`, and `GOOD` of it if it can.

    real: (1 or band, y, x) bool. None where no step keeps the promise: values too wide for float32 arithmetic.
    """
    analysis = analyse(block, mse, rotated=effort == "best")
    if analysis is None:
        return None
    count = np.count_nonzero(real) * (block.shape[0] // real.shape[0])
    rounding = 1 / 12 if block.dtype.kind != "f" else 0.0
    target = max(mse - rounding, mse / 8) / analysis.unit**2
    step, aim = solve_step(analysis, analysis.step, AIM[effort] * target), AIM[effort] * mse
    mended = partial(_mended, block, real, mse=mse, nodata=nodata, room=analysis.room)
    search = _by_error(analysis, mended, count, step, aim) if effort == "best" else None
    search = search or _by_step(analysis, step, aim, rounding)
    number, below, above, best = search.first, 0.0, np.inf, None
    for _ in range(search.rounds):
        layer = search.made(number)
        if layer is None:
            break
        found = mended(layer)
        error = found.error / count
        if error <= mse:
            below, best = number, found
            if error >= GOOD[effort] * mse or not layer.scores.any():
                break
        else:
            above = number
        if not error < np.inf or above <= below * (1 + (1 - GOOD[effort]) / 10):
            break
        number = _between(search.following(number, error, found.mended / count), number, below, above)
    return best


def _by_step(analysis: Analysis, step: float, aim: float, rounding: float) -> Search:
    """Ordinary layers by their step; the estimate is scaled to agree with the error found."""
    square = analysis.unit**2

    def following(step: float, error: float, _: float) -> float:
        told = estimate(analysis, step) + rounding / square
        wanted = aim / error * told - rounding / square if error > 0 else 0.0
        return solve_step(analysis, step, wanted) if wanted > 0 else 0.0

    return Search(ROUNDS, step, partial(quantise, analysis), following)


def _by_error(analysis: Analysis, mended: Callable[[Layer], Fit], count: int, step: float, aim: float) -> Search | None:
    """Dependent layers by the error that their coefficients are to have, mean squared, in units of the analysis.

    A trial of the trellis costs as much as the coding; an ordinary layer, which costs a tenth, says what each subband
    will miss and how far that is from the true error: what the basis lost, rounding, less what outliers mend.
    """
    layer = quantise(analysis, step)
    if layer is None:
        return None
    foretold, ordinary = foretell_errors(analysis, layer), mended(layer)
    # What is missed under holes is little: nearly all of it counts among the valid elements.
    slope = analysis.unit**2 * foretold.elements / count
    apart = (ordinary.error + ordinary.mended) / count - foretold.ordinary * slope
    lost = analysis.lost * slope
    more = 1 + MORE_MENDED * max(1 - SAME_LOST * lost / aim, 0.0)
    apart += MORE_KIN * max(apart - lost, 0.0) - more * ordinary.mended / count
    # Where rounding alone makes most of the error, something is left to begin with.
    first = max((aim - apart) / slope, foretold.ordinary / 8)
    seen: list[tuple[float, float]] = []
    kept: tuple[float, Trial] | None = None

    def made(told: float) -> Layer | None:
        nonlocal kept
        if kept is not None and abs(told / kept[0] - 1) <= NEAR and abs(kept[1].reached() - 1) <= MET:
            return kept[1].again(told / kept[0])
        kept = None  # its memory is needed
        beside = DEPENDENT_STEP * solve_step(analysis, step, told / foretold.more + analysis.lost)
        if not fits(analysis, beside):
            return None
        kept = told, Trial(analysis, beside, foretold.shares * told)
        return kept[1].layer

    def following(told: float, error: float, mended: float) -> float:
        rise = slope * max(1 - GROWTH * mended / aim, 0.25)
        if seen and told != seen[-1][0]:
            rise = float(np.clip((error - seen[-1][1]) / (told - seen[-1][0]), slope / 4, slope * 4))
        seen.append((told, error))
        return told - (error - aim) / rise

    return Search(TRELLISES, first, made, following)


def _between(guess: float, number: float, below: float, above: float) -> float:
    """The guess where it lies between what is too low and what is too high, or something that does."""
    if max(below, 0.0) < guess < above:
        return guess
    if below > 0 and np.isfinite(above):
        return float(np.sqrt(below * above))
    return number * 2 if below > 0 else number / 2


def _mended(block: Block, real: Bool, layer: Layer, mse: float, nodata: float | int | None, room: F32) -> Fit:
    """The layer with what is to be mended of it, and the error that is left."""
    decoded = predict(layer, block.dtype, room)
    outliers = find_outliers(block, decoded, real, mse, nodata)
    mended = 0.0
    if outliers is not None:
        mended = _missed(block, decoded, outliers)
        mend(decoded, outliers)
        mended -= _missed(block, decoded, outliers)
    return Fit(layer, outliers, squared_error(block, off_nodata(decoded, nodata), real), mended)


def _missed(block: Block, decoded: Block, outliers: Outliers) -> float:
    """Squared error of the elements that are listed."""
    one, other = (a.reshape(-1)[outliers.indices].astype(np.float64) for a in (block, decoded))
    return float(np.square(one - other).sum())


def squared_error(x: Block, y: Block, real: Bool) -> float:
    """Σ (x − y)² over `real`, (1 or band, y, x)."""
    pixels = x.shape[1] * x.shape[2]
    return float(kernels.squared_error(*(a.reshape(-1, pixels) for a in (x, y, real))))
