"""The coarsest low-rank layer that keeps a promised mean squared error, found on what is really decoded.

What a layer misses is foretold by its coefficients and by windows of the block, for little; each true reconstruction
then corrects that by a factor. One round is the rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pipeline.codec.budget import DEPENDENT_STEP
from pipeline.codec.dependent import Trial, foretell_errors
from pipeline.codec.fit import Fit, Goal, fit_of, layer_bytes, nbytes
from pipeline.codec.foretold import before_rounding, foretell, missed_by
from pipeline.codec.low_rank import (
    Analysis,
    Block,
    Bool,
    Layer,
    analyse,
    between,
    estimate,
    fits,
    quantise,
    score_planes,
    solve_step,
)
from pipeline.codec.worthwhile import worthwhile

# What share of the mean squared error asked for is good enough, and what is aimed at: 1 % of its root, at most, is
# left unspent.
GOOD = 0.9801
AIM = {"fast": 0.992, "best": 0.9955}
ROUNDS = 14
TRELLISES = 4
# What the last of them aims at, of that, where none before has kept it: an ordinary layer takes a fifth more bytes.
LAST = 0.985
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
# And what windows foretell of it, the more for the coarser step that follows.
SOME_MORE = 1.1

# A layer that keeps the bound and takes so much more than no loss is made coarser, with more of its errors listed, only
# where a list of them all, beside a layer EMPTY times as coarse, is less: of white noise it may be.
COARSER = 1.05
EMPTY = 4096.0

# From the mean squared error of a block to that which it had before it was rounded to whole numbers, if it was.
Unrounded = Callable[[float], float]


class Search(NamedTuple):
    """A number that grows with the error of the layers made with it."""

    rounds: int
    first: float
    made: Callable[[float], Layer | None]
    following: Callable[[float, float, float], float]
    """from the number, its error and what outliers have mended of it (mean squared) to the number to try next; what is
    <= 0 is no number"""


def fit_layer(block: Block, real: Bool, goal: Goal, effort: str = "fast", most: float = math.inf) -> Fit | None:
    """The layer of block (band, y, x), finite, whose error over `real` is at most the goal's, and `GOOD` of it if it
    can.

    real: (1 or band, y, x) bool. most: bytes from which a layer is of no use. None where no step keeps the promise,
    values too wide for float32 arithmetic, or where it would take more than `most`.
    """
    mse, count = goal.mse, np.count_nonzero(real) * (block.shape[0] // real.shape[0])
    analysis = analyse(block, mse, rotated=effort == "best", valid=count / block.size)
    if analysis is None:
        return None
    aim, unrounded = AIM[effort] * mse, float if block.dtype.kind == "f" else before_rounding
    target = unrounded(aim) / analysis.unit**2
    step = solve_step(analysis, analysis.step, target)
    if effort == "best":
        # What is missed under holes is little: planes hold their noise where the block is valid.
        rest = worthwhile(analysis, step, target * count / block.size)
        step = step if rest is analysis else solve_step(rest, step, target)
        analysis = rest

    def fitted(layer: Layer) -> Fit:
        return fit_of(block, real, layer, goal, score_planes(layer, analysis.room))

    if effort == "best":
        judged = partial(missed_by, analysis, block=block, real=real, goal=goal, unrounded=unrounded)
        search = _by_error(analysis, judged, count, step, aim, unrounded)
        if search is None:  # rotated coefficients are for the trellis alone
            return None
    else:
        step = _first(analysis, step, target, block, real, goal)
        search = _by_step(analysis, step, aim, unrounded)
    number, below, above, best = search.first, 0.0, np.inf, None
    for _ in range(search.rounds):
        layer = search.made(number)
        if layer is None:
            break
        found = fitted(layer)
        error = found.error / count
        if most < math.inf and layer_bytes(layer, block.dtype) >= most * (1 if error > mse else COARSER):
            listed = quantise(analysis, step * EMPTY) if error <= mse else None
            if listed is None or nbytes(fitted(listed), block.dtype) >= most:
                break
            most = math.inf
        if error <= mse:
            if best is not None and _no_better(found, best, block.dtype):
                break
            below, best = number, found
            if error >= GOOD * mse or not layer.scores.any():
                break
        else:
            above = number
        if not error < np.inf or above <= below * (1 + (1 - GOOD) / 10):
            break
        number = between(search.following(number, error, found.mended / count), number, below, above)
        del layer, found  # their memory is needed
    return best


def _no_better(found: Fit, best: Fit, dtype: np.dtype[Any]) -> bool:
    """Whether a coarser layer, all of whose errors are listed, as those of integers are under a small bound, takes no
    fewer bytes for it."""
    listed = found.outliers is not None and found.error == 0
    return listed and nbytes(found, dtype) >= nbytes(best, dtype)


def _first(analysis: Analysis, step: float, target: float, block: Block, real: Bool, goal: Goal) -> float:
    """The step to begin with: what it will miss is told by a little of the block; target in units squared."""
    told = foretell(analysis, step, block, real, goal)
    planes = max(target / (1 - SOME_MORE * told.mended) - analysis.lost, 0.05 * target)
    return solve_step(analysis, step, analysis.lost + planes / told.kin)


def _by_step(analysis: Analysis, step: float, aim: float, unrounded: Unrounded) -> Search:
    """Ordinary layers by their step; the estimate is scaled to agree with the error found."""

    def following(step: float, error: float, _: float) -> float:
        if error <= 0:
            return 0.0
        return solve_step(analysis, step, estimate(analysis, step) * unrounded(aim) / unrounded(error))

    return Search(ROUNDS, step, partial(quantise, analysis), following)


def _by_error(
    analysis: Analysis,
    judged: Callable[[Layer], tuple[float, float]],
    count: int,
    step: float,
    aim: float,
    unrounded: Unrounded,
) -> Search | None:
    """Dependent layers by the error that their coefficients are to have, mean squared, in units of the analysis.

    A trial of the trellis costs as much as the coding; an ordinary layer, which costs a little, says what each
    subband will miss and how far that is from the true error: what the basis lost, rounding, less what outliers mend.
    """
    layer = quantise(analysis, step)
    if layer is None:
        return None
    foretold, (ordinary, mended) = foretell_errors(analysis, layer), judged(layer)
    # What is missed under holes is little: nearly all of it counts among the valid elements.
    slope = analysis.unit**2 * foretold.elements / count
    wanted = unrounded(aim)
    apart = ordinary - foretold.ordinary * slope
    lost = analysis.lost * slope
    more = 1 + MORE_MENDED * max(1 - SAME_LOST * lost / wanted, 0.0)
    apart += MORE_KIN * max(apart - lost, 0.0) - more * mended
    # Where rounding alone makes most of the error, something is left to begin with.
    first = max((wanted - apart) / slope, foretold.ordinary / 8)
    seen: list[tuple[float, float]] = []
    kept: tuple[float, Trial] | None = None

    def made(told: float) -> Layer | None:
        nonlocal kept
        if kept is not None and kept[0] > 0 and abs(told / kept[0] - 1) <= NEAR and abs(kept[1].reached() - 1) <= MET:
            return kept[1].again(told / kept[0])
        kept = None  # its memory is needed
        beside = DEPENDENT_STEP * solve_step(analysis, step, told / foretold.more + analysis.lost)
        if not fits(analysis, beside):
            return None
        kept = told, Trial(analysis, beside, foretold.shares * told)
        return kept[1].layer

    def following(told: float, error: float, mended: float) -> float:
        rise, error = slope * max(1 - GROWTH * mended / aim, 0.25), unrounded(error)
        if seen and told != seen[-1][0]:
            rise = float(np.clip((error - seen[-1][1]) / (told - seen[-1][0]), slope / 4, slope * 4))
        seen.append((told, error))
        last = len(seen) == TRELLISES - 1 and min(error for _, error in seen) > wanted
        return told - (error - (LAST if last else 1.0) * wanted) / rise

    return Search(TRELLISES, first, made, following)
