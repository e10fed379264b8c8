"""Defects of single bands mended before the noise is: dead lines, stripes, impulses; nothing found, nothing touched.

Source: docs/algorithms.md, "Stripes and impulses".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.impulses import ROUNDS, find_impulses, forecast, impulsive
from pipeline.denoise.judging import judge
from pipeline.denoise.stripes import column_offsets, dead_columns

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]
Repair = Literal["all", "stripes", "none"]
"""What is mended: stripes, dead lines and impulses; the lines alone; or nothing."""


@dataclass(frozen=True)
class Repaired:
    """What came of a block."""

    block: F32
    """(band, y, x), data units; the very array that was given where nothing was found."""
    holes: Valid | None
    """(band, y, x) pixels whose value is foretold, not measured; None where there are none."""
    stripes: Valid
    """(band,) bands that had stripes along columns or rows."""
    impulses: Index
    """(band,) impulses replaced."""


def repair(block: F32, valid: Valid, sigma: F64, learn: Valid | None = None, what: Repair = "all") -> Repaired:
    """Mend block (band, y, x) float32, finite where valid (y, x) bool; noise σ (band,), data units, as estimated.

    learn: those of the valid pixels that tell of stripes, and which bands have impulses; all by default.

    Bands of σ 0 and invalid pixels come back as they are. Pure: the block given is not written to.
    """
    bands = len(block)
    learn = valid if learn is None else learn
    holes = np.zeros(block.shape, np.bool_)
    stripes = np.zeros(bands, np.bool_)
    impulses = np.zeros(bands, np.intp)
    result = block
    dead = dead_columns(block, valid, sigma) | dead_columns(block.swapaxes(1, 2), valid.T, sigma).swapaxes(1, 2)
    if dead.any():
        result = _filled(result, valid, sigma, dead)
        holes |= dead
        stripes |= dead.any(axis=(1, 2))
    for axis in (1, 2):
        turned = result.swapaxes(1, axis)
        offsets = column_offsets(turned, learn.swapaxes(0, axis - 1), sigma)
        found = offsets.any(axis=1)
        if found.any():
            result = result.copy() if result is block else result
            for k in np.flatnonzero(found):
                result[k] -= np.where(valid, np.expand_dims(offsets[k], axis - 1), 0).astype(np.float32)
            stripes |= found
    hit = impulsive(result, learn, sigma) if what == "all" else impulses[:0]
    for _ in range(ROUNDS if hit.size else 0):
        places, values = find_impulses(result, valid, sigma, hit)
        result = result.copy() if result is block else result
        where = tuple(places.T)
        result[where] = values
        holes[where] = True
        impulses += np.bincount(places[:, 0], minlength=bands)
    return Repaired(result, holes if holes.any() else None, stripes, impulses)


def _filled(block: F32, valid: Valid, sigma: F64, holes: Valid) -> F32:
    """A copy of block with holes (band, y, x) foretold from their surroundings and the other bands."""
    guide = forecast(block, valid, sigma)
    places = np.argwhere(holes)
    score, values = np.zeros(len(places)), np.full(len(places), np.nan)
    judge(block, valid, holes, guide.helpers, guide.weights, sigma, places, 0.0, -1.0, score, values)
    result = block.copy()
    result[tuple(places.T)] = np.where(np.isnan(values), block[tuple(places.T)], values)
    return result
