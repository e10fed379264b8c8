"""Suspect pixels of single bands, and how far each is from what its surroundings and the other bands foretell.

Source: docs/algorithms.md, "Stripes and impulses".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]

# How many of its neighbours may be as bad as a suspect.
PEERS = 1
RADIUS = 2
# Of the noise: a small sample may look calm.
LEAST_SPREAD = 0.8
# Real pixels near a place without which it is not judged.
LEAST_NEAR = 6
# Spreads by which a suspect misses what is foretold that make it likely.
LIKELY = 3.0
# Share of a departure that the other bands foretell by which they may be wrong.
DOUBT = 0.8
MAD = 1.4826  # unit gaussian: σ over the median of |x|


@jit
def suspects(band: F32, valid: Valid, margin: float, stride: int, flag: Valid) -> None:
    """Set flag (y, x) where band (y, x) is above, or below, all real neighbours but PEERS by margin.

    All of a row are first held against three of their neighbours, without a branch: few pass.
    """
    height, width = band.shape
    maybe = np.ones(width, np.bool_)
    for y in range(0, height, stride):
        if y > 0:
            _beside(band[y - 1], band[y], valid[y - 1], valid[y], np.float32(margin), maybe)
        for x in range(width):
            if not maybe[x] or not valid[y, x]:
                continue
            v = band[y, x]
            high, low = v - margin, v + margin
            near = above = below = 0
            for i in range(max(0, y - 1), min(height, y + 2)):
                for j in range(max(0, x - 1), min(width, x + 2)):
                    if valid[i, j]:
                        near += 1
                        above += int(high > band[i, j])
                        below += int(low < band[i, j])
            # The pixel itself is near, and neither above nor below itself.
            flag[y, x] = near > 3 and max(above, below) >= near - 1 - PEERS


@jit
def _beside(before: F32, row: F32, real_before: Valid, real: Valid, margin: np.float32, maybe: Valid) -> None:
    """Clear maybe (x,) where a row (x,) cannot be suspect, by its pixels to the left, to the right and above."""
    # Differences are rounded by less than that.
    margin *= np.float32(1 - 1e-6)
    for n in range(np.uintp(max(len(row) - 2, 0))):
        v = row[n + 1]
        left, right, up = v - row[n], v - row[n + 2], v - before[n + 1]
        above = np.uint8(left > margin) + np.uint8(right > margin) + np.uint8(up > margin)
        below = np.uint8(left < -margin) + np.uint8(right < -margin) + np.uint8(up < -margin)
        seen = real[n] & real[n + 2] & real_before[n + 1]
        maybe[n + 1] = (above >= 3 - PEERS) | (below >= 3 - PEERS) | (not seen)


@jit
def _median(values: F64, count: int) -> float:
    """Median of the first `count` values, which are few: each is asked how many are less, without a branch."""
    low, high = (count - 1) // 2, count // 2
    below = above = values[0]
    for i in range(count):
        v = values[i]
        less = same = 0
        for j in range(np.uintp(count)):
            less += int(values[j] < v)
            same += int(values[j] == v)
        if less <= low < less + same:
            below = v
        if less <= high < less + same:
            above = v
    return float(0.5 * (below + above))


@jit
def _departure(block: F32, valid: Valid, y: int, x: int, helpers: Index, weights: F64) -> float:
    """The departure that helpers (helper,) foretell: theirs from the medians of their real neighbours, weighted."""
    total, around = 0.0, np.empty(8)
    for h, b in enumerate(helpers):
        count = 0
        for i in range(max(0, y - 1), min(valid.shape[0], y + 2)):
            for j in range(max(0, x - 1), min(valid.shape[1], x + 2)):
                if valid[i, j] and not (i == y and j == x):
                    around[count] = block[b, i, j]
                    count += 1
        if count:
            total += weights[h] * (block[b, y, x] - _median(around, count))
    return total


@jit
def _real_near(valid: Valid, bad: Valid, y: int, x: int, radius: int, ys: Index, xs: Index) -> int:
    """How many pixels within a radius of y, x are valid (y, x) and not bad (y, x); where they are: ys, xs."""
    count = 0
    for i in range(max(0, y - radius), min(valid.shape[0], y + radius + 1)):
        for j in range(max(0, x - radius), min(valid.shape[1], x + radius + 1)):
            ys[count], xs[count] = i, j
            count += int(valid[i, j] and not bad[i, j])
    return count


@jit
def _foretell(
    block: F32, bad: Valid, place: Index, helpers: Index, weights: F64, ys: Index, xs: Index, left: F64
) -> float:
    """What helpers (helper,) foretell of a place (band, y, x); what they do not of the pixels ys, xs of its band: left.

    A helper that is bad at the place itself is not heard.
    """
    k, y, x = place
    foretold = 0.0
    for n in range(len(ys)):
        left[n] = block[k, ys[n], xs[n]]
    for h, b in enumerate(helpers):
        if bad[b, y, x]:
            continue
        share, plane = weights[h], block[b]
        foretold += share * plane[y, x]
        for n in range(len(ys)):
            left[n] -= share * plane[np.uintp(ys[n]), np.uintp(xs[n])]
    return foretold


@jit
def judge(
    block: F32,
    valid: Valid,
    bad: Valid,
    helpers: Index,
    weights: F64,
    sigma: F64,
    places: Index,
    doubt: float,
    least: float,
    score: F64,
    value: F64,
) -> None:
    """For each place (band, y, x): how far it is from what is foretold, in spreads, and what is foretold.

    Spread is that of what the other bands leave of the surroundings, not below the noise, plus `doubt` of the departure
    that they foretell, where it is LIKELY without. Pixels that are bad do not testify. The middle is that of the 8 next
    to it, if 3 are real. Places with too few real neighbours are left unjudged, and those whose score cannot be above
    `least`: what stands next to them tells, at a third of the work.
    """
    room = (2 * RADIUS + 1) ** 2 + 1
    left, ys, xs = np.empty(room), np.empty(room, np.intp), np.empty(room, np.intp)
    for n in range(len(places)):
        k, y, x = places[n]
        floor = LEAST_SPREAD * sigma[k]
        close = _real_near(valid, bad[k], y, x, 1, ys, xs)
        guess = _foretell(block, bad, places[n], helpers[k], weights[k], ys[:close], xs[:close], left)
        if close >= 3:
            guess += left[:close].sum() / close
            if abs(block[k, y, x] - guess) <= least * floor:
                continue
        count = _real_near(valid, bad[k], y, x, RADIUS, ys, xs)
        if count < LEAST_NEAR:
            continue
        _foretell(block, bad, places[n], helpers[k], weights[k], ys[:count], xs[:count], left)
        middle = _median(left, count)
        for i in range(count):
            left[i] = abs(left[i] - middle)
        guess += 0.0 if close >= 3 else middle
        missed, spread, departure = block[k, y, x] - guess, max(MAD * _median(left, count), floor), 0.0
        # One that is not likely without doubt is not with it.
        if doubt > 0 and abs(missed) > LIKELY * spread:
            departure = _departure(block, valid, y, x, helpers[k], weights[k])
        score[n] = missed / (spread + doubt * abs(departure))
        value[n] = guess
