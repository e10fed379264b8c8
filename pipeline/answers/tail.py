"""How high a score must be to be false once in so many pixels: a heavy tail fitted to the bulk of the scores.

Source: Manolakis, Marden, Kerekes, Shaw 2001, "On the statistics of hyperspectral imaging data": backgrounds follow an
elliptically contoured t distribution, under which a Mahalanobis distance over its dimension follows Fisher's F.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

F64 = NDArray[np.float64]
Counts = NDArray[np.int64]

LOW, HIGH, PER_OCTAVE = -20, 40, 64
"""Octaves that scores are counted over, and bins in each."""
BULK, SHOULDER = 0.5, 0.99
"""The quantiles that the tail is fitted to: what few targets there are lies beyond."""
FEWEST_DEGREES, MOST_DEGREES, STEPS = 0.5, 1e4, 60


def histogram(scores: NDArray[np.floating]) -> Counts:
    """How many scores fall into each bin of a logarithmic scale; histograms add up. NaN are left out."""
    known = scores[np.isfinite(scores)].astype(np.float64)
    octaves = np.log2(np.maximum(known, 2.0**LOW))
    bins = np.clip(((octaves - LOW) * PER_OCTAVE).astype(np.intp), 0, (HIGH - LOW) * PER_OCTAVE - 1)
    return np.bincount(bins, minlength=(HIGH - LOW) * PER_OCTAVE)


def quantile(counts: Counts, share: float) -> float:
    """The score that this share of a histogram's scores lies below, to a bin's width (1 %)."""
    below = np.cumsum(counts)
    place = int(np.searchsorted(below, share * below[-1]))
    before = below[place - 1] if place else 0
    within = (share * below[-1] - before) / max(1, counts[place])
    return float(2.0 ** (LOW + (place + within) / PER_OCTAVE))


def threshold(counts: Counts, dimensions: int, rate: float) -> float:
    """The score that background exceeds at this rate.

    Scores are taken for s·F(dimensions, ν); s and ν follow from the median and the 99 % quantile of the histogram.
    """
    middle, shoulder = quantile(counts, BULK), quantile(counts, SHOULDER)
    low, high = np.log(FEWEST_DEGREES), np.log(MOST_DEGREES)
    for _ in range(STEPS):
        degrees = np.exp((low + high) / 2)
        ratio = fdtri(dimensions, degrees, SHOULDER) / fdtri(dimensions, degrees, BULK)
        low, high = (np.log(degrees), high) if ratio > shoulder / middle else (low, np.log(degrees))
    scale = middle / fdtri(dimensions, degrees, BULK)
    return float(scale * fdtri(dimensions, degrees, 1.0 - rate))
