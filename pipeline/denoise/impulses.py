"""Isolated wrong pixels of single bands (hot pixels, salt and pepper), found, and foretold from what stands around.

Sources: extrema among the neighbours, then a test against the local median and its spread (Sun, Neuvo 1994; Crnojević,
Šenk, Trpovski 2004), here made on what the other bands do not foretell (Roger, Arnold 1996). A ship stands in most
bands, and is left alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]

# Other bands that foretell one, at most; samples that teach how; spreads beyond which a sample is clipped.
HELPERS = 8
SAMPLES = 1 << 16
CLIP = 3.0
RIDGE = 1e-3
# Noise deviations by which a suspect exceeds its neighbours, and how many of them may be as bad.
MARGIN = 3.0
PEERS = 1
RADIUS = 2
# Of the noise: a small sample may look calm.
LEAST_SPREAD = 0.8
# Real pixels near a place without which it is not judged.
LEAST_NEAR = 6
MAD = 1.4826  # unit gaussian: σ over the median of |x|
# Spreads by which a suspect misses what is foretold: that of proof, and that which serves once a band is convicted.
SURE = 8.0
LIKELY = 3.0
# Share of sure ones that convicts a band, scenes (but Indian Pines) reach 6e-5, and their least number. One or two
# bands have no witnesses: night lights and speckle look like impulses there.
RATE = 2e-4
LEAST = 4
WITNESSES = 3
# Defects go both ways, or most of a band's, and so many in all bands, are stuck at one value; what flares up by this
# and that, or in a few places, may be fires.
BOTH_WAYS = 0.1
LEAST_STUCK = 16
STUCK = 0.5
NEAR = 0.05
# More bands than MANY have always some that the others do not foretell: this share of them is convicted, or none.
MANY = 16
MANY_SHARE = 1 / 3
# A pixel bad in more than this share of the bands is a target, not an impulse.
FEW_BANDS = 1 / 3
# Pixels of a band, and of all, that are looked at before any is convicted.
JURY = 32768
JURY_ALL = 1 << 20
ROUNDS = 2
# Share of a departure that the other bands foretell by which they may be wrong.
DOUBT = 0.8


class Impulses(NamedTuple):
    """What was found wrong."""

    places: Index
    """(impulse, 3) band, y, x."""
    values: F64
    """(impulse,) what should stand there, data units."""


class Forecast(NamedTuple):
    """How a band's departure from its surroundings follows from those of other bands."""

    helpers: Index
    """(band, helper) numbers of the bands that foretell each."""
    weights: F64
    """(band, helper)."""


def find_impulses(block: F32, valid: Valid, sigma: F64, bands: Index) -> Impulses:
    """Impulses, LIKELY and in few bands, at valid pixels of some bands of block (band, y, x), noise σ (band,)."""
    guide = forecast(block, valid, sigma)
    places, score, values, _ = _judged(block, valid, sigma, guide, bands, 1)
    bad = np.abs(score) > LIKELY
    crowd = np.zeros(valid.shape, np.intp)
    np.add.at(crowd, (places[bad, 1], places[bad, 2]), 1)
    bad &= crowd[places[:, 1], places[:, 2]] <= max(1.0, FEW_BANDS * len(block))
    return Impulses(places[bad], values[bad])


def impulsive(block: F32, valid: Valid, sigma: F64) -> Index:
    """Numbers of the bands of block (band, y, x) that have more lone, sure impulses than scenes have; σ (band,)."""
    if len(block) < WITNESSES:
        return np.empty(0, np.intp)
    guide = forecast(block, valid, sigma)
    stride = max(1, valid.size // JURY, block.size // JURY_ALL)
    places, score, _, bad = _judged(block, valid, sigma, guide, np.flatnonzero(sigma > 0), stride)
    k, y, x = places.T
    seconded = np.zeros(bad.shape, bool)
    seconded[tuple(places[np.abs(score) > LIKELY].T)] = True
    lone = (np.abs(score) > SURE) & ~seconded[guide.helpers[k], y[:, None], x[:, None]].any(axis=1)
    count = np.bincount(k[lone], minlength=len(block))
    looked = np.count_nonzero(valid[::stride])
    suspected = np.flatnonzero(count >= max(LEAST / stride, RATE * looked))
    many = bool(np.count_nonzero(lone) * stride >= LEAST_STUCK)
    own = {b: lone & (k == b) for b in suspected}
    hit = np.array([b for b in suspected if _faulty(block[b], valid, places[own[b]], score[own[b]], many)], np.intp)
    return hit if len(block) <= MANY or len(hit) >= MANY_SHARE * len(block) else hit[:0]


def _faulty(band: F32, valid: Valid, places: Index, score: F64, many: bool) -> bool:
    """Whether the lone ones at places (impulse, 3) of a band (y, x) look like faults of a sensor that has many."""
    up = float(np.mean(score > 0))
    if min(up, 1 - up) >= BOTH_WAYS:
        return True
    if not many:
        return False
    pixels, values = band[valid], band[places[:, 1], places[:, 2]]
    near = NEAR * float(pixels.max() - pixels.min())
    return bool(np.mean(np.abs(values - np.median(values)) <= near) >= STUCK)


def _judged(
    block: F32, valid: Valid, sigma: F64, guide: Forecast, bands: Index, stride: int
) -> tuple[Index, F64, F64, Valid]:
    """Suspects of every stride-th row: places, scores, values, and where they are (band, y, x)."""
    bad = np.zeros(block.shape, np.bool_)
    for k in bands:
        suspects(block[k], valid, MARGIN * sigma[k], stride, bad[k])
    places = np.stack(np.unravel_index(np.flatnonzero(bad), bad.shape), axis=1)
    score, values = np.zeros(len(places)), np.zeros(len(places))
    judge(block, valid, bad, guide.helpers, guide.weights, sigma, places, DOUBT, score, values)
    return places, score, values, bad


def forecast(block: F32, valid: Valid, sigma: F64) -> Forecast:
    """Least squares on clipped departures of sampled pixels from the mean of their 4 neighbours."""
    bands = len(block)
    live = sigma > 0
    inner = valid[1:-1, 1:-1] & valid[:-2, 1:-1] & valid[2:, 1:-1] & valid[1:-1, :-2] & valid[1:-1, 2:]
    pixels, width = block.reshape(bands, -1), block.shape[2]
    places = np.flatnonzero(inner)
    places = places[:: max(1, len(places) * bands // (SAMPLES + 400 * bands))]
    middle = places + 2 * (places // max(1, width - 2)) + width + 1
    up, down, left, right = (pixels.take(middle + step, axis=1) for step in (-width, width, -1, 1))
    Z = pixels.take(middle, axis=1).astype(np.float64) - (up + down + left + right) / 4
    scale = np.maximum(MAD * np.median(np.abs(Z), axis=1), np.where(live, sigma, 1)) if len(places) else np.ones(bands)
    Z = np.clip(Z / scale[:, None], -CLIP, CLIP)
    R = Z @ Z.T / max(1, len(places))
    R[~live] = R[:, ~live] = 0
    count = min(HELPERS, bands - 1)
    strength = np.abs(R) / np.sqrt(np.outer(np.diag(R), np.diag(R)) + 1e-30)
    np.fill_diagonal(strength, -1)
    helpers = np.sort(np.argsort(-strength, axis=1, kind="stable")[:, :count], axis=1)
    weights = np.zeros((bands, count))
    for k in np.flatnonzero(live):
        h = helpers[k]
        weights[k] = np.linalg.solve(R[np.ix_(h, h)] + RIDGE * np.eye(count), R[h, k]) * scale[k] / scale[h]
    return Forecast(helpers, weights)


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
    for n in range(np.uintp(len(row) - 2)):
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
def _departure(band: F32, valid: Valid, y: int, x: int, around: F64) -> float:
    """How far a pixel of a band (y, x) is from the median of its real neighbours; 0 without any."""
    count = 0
    for i in range(max(0, y - 1), min(band.shape[0], y + 2)):
        for j in range(max(0, x - 1), min(band.shape[1], x + 2)):
            if valid[i, j] and not (i == y and j == x):
                around[count] = band[i, j]
                count += 1
    return float(band[y, x]) - _median(around, count) if count else 0.0


@jit
def _real_near(valid: Valid, bad: Valid, y: int, x: int, ys: Index, xs: Index) -> int:
    """How many pixels within RADIUS of y, x are valid (y, x) and not bad (y, x); where they are: ys, xs."""
    count = 0
    for i in range(max(0, y - RADIUS), min(valid.shape[0], y + RADIUS + 1)):
        for j in range(max(0, x - RADIUS), min(valid.shape[1], x + RADIUS + 1)):
            ys[count], xs[count] = i, j
            count += int(valid[i, j] and not bad[i, j])
    return count


@jit
def _foretell(
    block: F32, bad: Valid, place: Index, helpers: Index, weights: F64, ys: Index, xs: Index, left: F64
) -> float:
    """Take from left (pixel,) what helpers (helper,) foretell of the pixels ys, xs; what they foretell of the place.

    A helper that is bad at the place itself is not heard.
    """
    foretold, y, x = 0.0, place[1], place[2]
    for h, b in enumerate(helpers):
        if bad[b, y, x]:
            continue
        share, plane = weights[h], block[b]
        foretold += share * plane[y, x]
        for n in range(len(left)):
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
    score: F64,
    value: F64,
) -> None:
    """For each place (band, y, x): how far it is from what is foretold, in spreads, and what is foretold.

    Spread is that of what the other bands leave of the surroundings, not below the noise, plus `doubt` of the departure
    that they foretell, where it is LIKELY without. Pixels that are bad do not testify. The middle is that of the 8 next
    to it, if 3 are real. Places with too few real neighbours are left unjudged.
    """
    room = (2 * RADIUS + 1) ** 2 + 1
    left, around, ys, xs = np.empty(room), np.empty(8), np.empty(room, np.intp), np.empty(room, np.intp)
    for n in range(len(places)):
        k, y, x = places[n]
        count = _real_near(valid, bad[k], y, x, ys, xs)
        if count < LEAST_NEAR:
            continue
        for i in range(count):
            left[i] = block[k, ys[i], xs[i]]
        guess = _foretell(block, bad, places[n], helpers[k], weights[k], ys, xs, left[:count])
        close, total = 0, 0.0
        for i in range(count):
            if abs(ys[i] - y) <= 1 and abs(xs[i] - x) <= 1:
                total += left[i]
                close += 1
        middle = _median(left, count)
        for i in range(count):
            left[i] = abs(left[i] - middle)
        guess += total / close if close >= 3 else middle
        missed, spread, departure = block[k, y, x] - guess, max(MAD * _median(left, count), LEAST_SPREAD * sigma[k]), 0.0
        # One that is not likely without doubt is not with it.
        if doubt > 0 and abs(missed) > LIKELY * spread:
            for h, b in enumerate(helpers[k]):
                departure += weights[k, h] * _departure(block[b], valid, y, x, around)
        score[n] = missed / (spread + doubt * abs(departure))
        value[n] = guess
