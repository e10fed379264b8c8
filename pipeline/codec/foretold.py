"""What an ordinary layer will miss, tried on a little of the block.

The errors of its coefficients foretell it, but not to a hundredth, which is what is asked; and a round on the whole
block, which would, is a third of all the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import kernels, wavelet
from pipeline.codec.context import boxes_of
from pipeline.codec.fit import Goal, fit_of
from pipeline.codec.low_rank import F32, Analysis, Block, Bool, Layer, quantise, score_planes
from pipeline.codec.rotation import invert
from pipeline.svd.gram import squared_norm

# Near borders the synthesis functions are longer than `wavelet.norms` says: by so much over the side of a square is the
# error of white noise above what they tell. Measured on squares of 32 to 128, on Sentinel-2, Landsat 8, Indian Pines.
BORDER = 1.15
# Variances between which rounding is reckoned in full, and how often their distance is halved.
NARROW, WIDE = 1e-3, 1.0
BISECTIONS = 20
# Narrower subbands of a window, a few coefficients near borders, say nothing of those of the block.
NARROWEST = 12


class Foretold(NamedTuple):
    """How the error of a layer differs from that of its coefficients."""

    kin: float = 1.0
    """what the error of the planes is of what the norms tell: the wavelet is not quite orthonormal, and errors that
    are alike side by side, as those of zeros are, count for more or less than their squares"""
    mended: float = 0.0
    """share of the error of the block that outliers will mend"""


def foretell(analysis: Analysis, step: float, block: Block, real: Bool, goal: Goal) -> Foretold:
    """Of the layer at this step (in the analysis's units), by the windows of the analysis of block (band, y, x).

    real: (1 or band, y, x) bool. Without windows, nothing.
    """
    planes = left = mended = 0.0
    told = np.zeros(2)
    for window in analysis.windows:
        coefficients = window.scores.copy()
        wavelet.forward(coefficients, analysis.layer.levels)
        layer = quantise(replace(analysis, coefficients=coefficients), step)
        if layer is None:
            return Foretold()
        _told(layer, coefficients, step, told)
        scores = score_planes(layer, coefficients)
        missed = scores - window.scores * np.float32(1.0 / step)
        planes += float(np.square(missed, dtype=np.float64).sum())
        part, valid = (np.ascontiguousarray(a[window.place]) for a in (block, real))
        found = fit_of(part, valid, layer, goal, scores)
        left, mended = left + found.error, mended + found.mended
    if told.sum() <= 0:
        return Foretold()
    kin = planes / told.sum() * _border(block.shape[1:]) / _border(analysis.windows[0].scores.shape[1:])
    return Foretold(1 + (kin - 1) * told[1] / told.sum(), mended / (mended + left) if mended > 0 else 0.0)


def missed_by(
    analysis: Analysis, layer: Layer, block: Block, real: Bool, goal: Goal, unrounded: Callable[[float], float]
) -> tuple[float, float]:
    """Mean squared error of an ordinary layer of the analysis of block (band, y, x), `unrounded`, with nothing mended,
    and by how much outliers will lower it; over valid elements, data units squared.

    real: (1 or band, y, x) bool. What the planes miss is known of all; what is lost besides, and the outliers, are told
    by the rows of the analysis. unrounded: `before_rounding`, or nothing, as the errors of the planes are.
    """
    step, ((place, rows),) = layer.step / analysis.unit, analysis.windows
    missed = missed_planes(analysis, layer)
    part, valid = (np.ascontiguousarray(a[place]) for a in (block, real))
    scores = rows * np.float32(1.0 / step)
    scores -= missed[place]
    found = fit_of(part, valid, layer, goal, scores)
    counts = [max(int(np.count_nonzero(a)) * (len(block) // len(real)), 1) for a in (real, valid)]
    planes, seen = (layer.step**2 * _squares(a, b) for a, b in ((missed, real), (missed[place], valid)))
    told = unrounded((found.error + found.mended) / counts[1])
    return max(told - seen / counts[1] + planes / counts[0], 0.0), found.mended / counts[1]


def _squares(planes: F32, real: Bool) -> float:
    """Σ planes² (rank, y, x) over the pixels of which a band is real."""
    seen = real.any(axis=0)
    if seen.all():
        return squared_norm(planes.reshape(-1, planes.shape[-1]))
    return sum(float(np.square(plane[seen], dtype=np.float64).sum()) for plane in planes)


def missed_planes(analysis: Analysis, layer: Layer) -> F32:
    """What a layer of the analysis misses of the planes (rank, y, x), in steps; in the analysis's room."""
    missed, step = analysis.room, layer.step / analysis.unit
    first, second = (np.float32(offset) for offset in layer.centroids)
    inverse, flat = np.float32(1.0 / step), (analysis.coefficients.reshape(-1), layer.scores.reshape(-1))
    kernels.missed(flat[0], inverse, flat[1], first, second, missed.reshape(-1))
    invert(missed, layer.levels, layer.rotations)
    return missed


def _told(layer: Layer, coefficients: F32, step: float, told: NDArray[np.float64]) -> None:
    """Add to told (2,) the squared error of a window's planes, in steps, by that of their coefficients: of narrow
    subbands, and of the others."""
    _, height, width = coefficients.shape
    boxes = boxes_of(height, width, layer.levels)
    sums = np.zeros((2, len(coefficients), len(boxes)))
    first, second = (np.float32(offset) for offset in layer.centroids)
    kernels.add_errors(coefficients, layer.scores, boxes, np.float32(1.0 / step), first, second, *sums)
    errors = sums[0].sum(axis=0) * np.array(wavelet.norms(layer.levels))
    wide = np.minimum(boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]) >= NARROWEST
    told += errors[~wide].sum(), errors[wide].sum()


def _border(shape: tuple[int, ...]) -> float:
    """How far the error of white noise lies above what the norms tell, for planes of (y, x)."""
    return 1 + BORDER * (1 / shape[0] + 1 / shape[1]) / 2


def before_rounding(error: float) -> float:
    """The variance of normal errors that are, once rounded to whole numbers, `error` in the mean square.

    That is 1/12 less while they are wide; of narrow ones few are rounded to anything but 0.
    """
    if error >= WIDE + 1 / 12:
        return error - 1 / 12
    low, high = NARROW, WIDE
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _rounded(middle) < error else (low, middle)
    return high


def _rounded(variance: float) -> float:
    """Mean square of normal numbers of this variance, rounded: Σ (2k + 1)·P(|x| > k + ½)."""
    return sum((2 * k + 1) * math.erfc((k + 0.5) / math.sqrt(2 * variance)) for k in range(8))
