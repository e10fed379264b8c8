"""The generalised Anscombe transform and its unbiased inverse, in float64 within.

Source: Mäkitalo, Foi (2013): closed form of the exact unbiased inverse, eq. 10.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

SHIFT = 0.375
LOWEST = 2 * np.sqrt(SHIFT)  # the D of no counts at all
HALF_ROOT = np.sqrt(1.5) / 4
CUBED = 0.625 * np.sqrt(1.5)


@jit
def stabilised(block: NDArray[Any], gain: F64, floor: F64, least: F64, unit: F64, result: F32) -> None:
    """2/a √(a·x + 3/8·a² + c) of block (band, y, x) into result; a straight line where less than `least` (band,) is
    under the root; x·unit where the gain is 0."""
    for b in range(len(block)):
        a = gain[b]
        if a > 0:
            offset, lowest = SHIFT * a * a + floor[b], least[b]
            slope, scale = 0.5 / np.sqrt(lowest), 2 / a
            for y in range(block.shape[1]):
                row, out = block[b, y], result[b, y]
                for x in range(len(row)):
                    under = a * np.float64(row[x]) + offset
                    held = under if under > lowest else lowest
                    out[x] = np.float32(scale * (np.sqrt(held) + slope * (under - held)))
        else:
            for y in range(block.shape[1]):
                row, out = block[b, y], result[b, y]
                for x in range(len(row)):
                    out[x] = np.float32(np.float64(row[x]) * unit[b])


@jit
def destabilised(block: F32, gain: F64, floor: F64, least: F64, unit: F64, result: F32) -> None:
    """The counts whose mean transform is block (band, y, x), into result, data units; the straight line goes straight
    back."""
    for b in range(len(block)):
        a = gain[b]
        if a > 0:
            root, offset = np.sqrt(least[b]), floor[b] / a
            start = 2 / a * root
            lowest = start if start > LOWEST else LOWEST
            for y in range(block.shape[1]):
                row, out = block[b, y], result[b, y]
                for x in range(len(row)):
                    D = np.float64(row[x])
                    below = D - start if start > D else 0.0
                    held = D if lowest < D else lowest
                    r = 1 / held
                    counts = 0.25 * held * held - 0.125 + r * (HALF_ROOT + r * (-1.375 + r * CUBED))
                    out[x] = np.float32(a * counts - offset + root * below)
        else:
            for y in range(block.shape[1]):
                row, out = block[b, y], result[b, y]
                for x in range(len(row)):
                    out[x] = np.float32(np.float64(row[x]) / unit[b])


@jit
def variance_sum(band: NDArray[Any], valid: Valid, gain: float, floor: float) -> float:
    """Σ max(gain·x + floor, 0) over the valid pixels of band (y, x)."""
    total = np.zeros(band.shape[1])
    for y in range(len(band)):
        row, real = band[y], valid[y]
        for x in range(len(row)):
            variance = gain * np.float64(row[x]) + floor
            total[x] += variance if real[x] and variance > 0 else 0.0
    return float(total.sum())
