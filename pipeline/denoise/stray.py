"""Valid pixels so far from all others that one alone would decide what a block is: hot pixels, fills nobody declared.

A mean, a covariance and the span of float32 are decided by the largest value there is. Such pixels teach nothing, and
come back as they were; what is around them is denoised as if they were missing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.intp]
Valid = NDArray[np.bool_]

# Distances of nearly all others from their median beyond which a pixel is astray: real scenes, clouds and ships in
# them, reach 9; eight bits cannot reach it, sixteen hardly. And beyond which more of them are: sixteen bits cannot.
FAR, FARTHER = 3000.0, 3e4
# Share of a band's pixels that may be astray, and that may be farther; those that are left are nearly all others. Of
# fewest pixels nobody knows.
SHARE, MORE = 0.002, 0.02
FEWEST = 64
# Pixels of a band for a first look, and the share of these whose distance must make no other suspicious.
SAMPLE = 1024
SAMPLE_SHARE = 0.9


def without_stray(block: NDArray[Any], valid: Valid) -> Valid:
    """The valid (y, x) pixels of block (band, y, x) that are not astray in any band; the very array where none is."""
    astray = stray(block, valid)
    return valid if astray is None else valid & ~astray


def stray(block: NDArray[Any], valid: Valid, far: float = FAR) -> Valid | None:
    """(y, x) which valid pixels of block (band, y, x), any real dtype, are astray in some band; None where none is.

    far: in how many distances of nearly all others. What is not finite is not looked at.
    """
    found = None
    for b in _suspected(block, valid, far):
        astray = _astray(block[b], valid, far)
        if astray is not None:
            found = astray if found is None else found | astray
    return found


def _suspected(block: NDArray[Any], valid: Valid, far: float) -> Index:
    """Numbers of bands to be looked at closely: a quick look at some pixels, and at the least and the most of all."""
    step = max(1, math.isqrt(valid.size // SAMPLE))
    some = block[:, ::step, ::step][:, valid[::step, ::step]].astype(np.float64)
    count = some.shape[1]
    if count < FEWEST:
        return np.arange(len(block))
    with np.errstate(over="ignore", invalid="ignore"):
        middle = np.partition(some, count // 2, axis=1)[:, count // 2]
        usual = np.partition(np.abs(some - middle[:, None]), int(SAMPLE_SHARE * count), axis=1)
        near = far * usual[:, int(SAMPLE_SHARE * count)]
        # Fills beneath holes are no matter, and mostly near: those that are not are looked at again without.
        suspects = [b for b, band in enumerate(block) if not _within(band, middle[b], near[b])]
        if suspects and not valid.all():
            suspects = [b for b in suspects if not _within(block[b][valid], middle[b], near[b])]
    return np.array(suspects, np.intp)


def _within(values: NDArray[Any], middle: float, near: float) -> bool:
    """Whether all values, but for NaN, are as near to the middle as that."""
    least, most = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
    return max(most - middle, middle - least) <= near


def _astray(band: NDArray[Any], valid: Valid, far: float) -> Valid | None:
    """(y, x) which valid pixels of a band are astray; None where none is."""
    real = valid & np.isfinite(band)
    values = band[real].astype(np.float64)
    if values.size < FEWEST:
        return None
    beyond = np.zeros(values.size, np.bool_)
    with np.errstate(over="ignore"):
        away = np.abs(values - np.partition(values, values.size // 2)[values.size // 2])
        for times, share in ((far, SHARE), (FARTHER, MORE)):
            last = values.size - 1 - max(1, int(share * values.size))
            usual = np.partition(away, last)[last]
            if usual > 0:
                beyond |= away > times * usual
    if not beyond.any():
        return None
    astray = np.zeros_like(valid)
    astray[real] = beyond
    return astray
