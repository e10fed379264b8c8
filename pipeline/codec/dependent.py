"""Layers whose scores are quantised dependently: what they will miss is foretold, and the last planes make up for it.

Source: as in `trellis`; the error of a rate-distortion quantiser foretold from an ordinary one's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pipeline.codec import kernels, wavelet
from pipeline.codec.budget import beside
from pipeline.codec.context import areas_of, boxes_of
from pipeline.codec.low_rank import F32, F64, Analysis, Layer
from pipeline.codec.trellis import Trellis


class Trial:
    """A layer made with the trellis, two quantisers in turn, their steps twice as wide as `step`, and what it takes to
    make it end at another error.

    errors: (rank, subband) sums of squared errors, weighed by norms: about what each is to make, and in all to end at.
    """

    def __init__(self, analysis: Analysis, step: float, errors: F64) -> None:
        self._analysis, self._step = analysis, step
        scaled = analysis.coefficients * np.float32(1.0 / step)
        self._trellis = Trellis(scaled, analysis.layer.levels, errors / step**2)
        self.layer = self._made(scaled)

    def reached(self) -> float:
        """What the error of the coefficients is of that asked for."""
        return self._trellis.reached()

    def again(self, share: float) -> Layer:
        """With this share of the error asked for at first, the same step."""
        scaled = self._analysis.coefficients * np.float32(1.0 / self._step)
        self._trellis.again(scaled, share)
        self.layer = self._made(scaled)
        return self.layer

    def _made(self, scaled: F32) -> Layer:
        """The layer of the scores that there are, with the centroids that are best for them."""
        first, second = kernels.centroids(scaled.reshape(-1), self._trellis.scores.reshape(-1))
        return replace(
            self._analysis.layer,
            scores=self._trellis.scores,
            step=self._step * self._analysis.unit,
            centroids=(float(np.float32(first)), float(np.float32(second))),
            dependent=self._trellis.payload,
        )


class Foretold(NamedTuple):
    """What the trellis will miss, as an ordinary layer says whose step is 1 / DEPENDENT_STEP times as wide."""

    shares: F64
    """(rank, subband) sum of squared errors for each unit of mean squared error of all; weighed by the norms"""
    more: float
    """how much more it is than that of the ordinary layer"""
    ordinary: float
    """mean squared error of the latter's coefficients, in units squared"""
    elements: int
    """over so many, holes and all"""


def foretell_errors(analysis: Analysis, layer: Layer) -> Foretold:
    """What the trellis will miss, from an ordinary layer of the analysis."""
    levels, step = layer.levels, layer.step / analysis.unit
    _, height, width = analysis.coefficients.shape
    boxes = boxes_of(height, width, levels)
    sums = np.zeros((2, len(analysis.coefficients), len(boxes)))
    first, second = (np.float32(offset) for offset in layer.centroids)
    kernels.add_errors(analysis.coefficients, layer.scores, boxes, np.float32(1.0 / step), first, second, *sums)
    errors = sums[0] * np.array(wavelet.norms(levels)) * step**2
    means = sums[1] / np.maximum(areas_of(boxes), 1)
    foretold, elements = errors * beside(means), len(layer.mean) * height * width
    if not errors.any():
        return Foretold(errors, 1.0, 0.0, elements)
    whole = float(foretold.sum())
    return Foretold(
        foretold * (elements / whole), whole / float(errors.sum()), float(errors.sum()) / elements, elements
    )
