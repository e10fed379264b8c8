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
    ys, xs = np.nonzero(inner)
    every = max(1, len(ys) * bands // (SAMPLES + 400 * bands))
    ys, xs = ys[::every] + 1, xs[::every] + 1
    pixels, width = block.reshape(bands, -1), block.shape[2]
    middle = ys * width + xs
    up, down, left, right = (pixels.take(middle + step, axis=1) for step in (-width, width, -1, 1))
    Z = pixels.take(middle, axis=1).astype(np.float64) - (up + down + left + right) / 4
    scale = np.maximum(MAD * np.median(np.abs(Z), axis=1), np.where(live, sigma, 1)) if len(ys) else np.ones(bands)
    Z = np.clip(Z / scale[:, None], -CLIP, CLIP)
    R = Z @ Z.T / max(1, len(ys))
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
    """Set flag (y, x) where band (y, x) is above, or below, all real neighbours but PEERS by margin."""
    height, width = band.shape
    for y in range(0, height, stride):
        for x in range(width):
            v = band[y, x]
            high, low = v - margin, v + margin
            if 0 < x < width - 1 and y > 0:
                left, right, up = band[y, x - 1], band[y, x + 1], band[y - 1, x]
                above = int(high > left) + int(high > right) + int(high > up)
                below = int(low < left) + int(low < right) + int(low < up)
                if max(above, below) < 3 - PEERS and valid[y, x - 1] and valid[y, x + 1] and valid[y - 1, x]:
                    continue
            if not valid[y, x]:
                continue
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
def _median(values: F64, count: int) -> float:
    """Median of the first `count` values, which are few and end up sorted."""
    for i in range(1, count):
        v, j = values[i], i
        while j > 0 and values[j - 1] > v:
            values[j] = values[j - 1]
            j -= 1
        values[j] = v
    return float(0.5 * (values[(count - 1) // 2] + values[count // 2]))


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
def _surroundings(
    block: F32, valid: Valid, bad: Valid, place: Index, helpers: Index, weights: F64, left: F64
) -> tuple[float, float]:
    """Middle and spread around a place of what helpers do not foretell; the middle of the 8 next to it, if 3 are real.

    A helper that is bad at the place itself is not heard. Spread −1: fewer than 6 real pixels near.
    """
    k, y, x = place
    count, close, total = 0, 0, 0.0
    for i in range(max(0, y - RADIUS), min(block.shape[1], y + RADIUS + 1)):
        for j in range(max(0, x - RADIUS), min(block.shape[2], x + RADIUS + 1)):
            if not valid[i, j] or bad[k, i, j]:
                continue
            e = float(block[k, i, j])
            for h, b in enumerate(helpers):
                if not bad[b, y, x]:
                    e -= weights[h] * block[b, i, j]
            left[count] = e
            count += 1
            if abs(i - y) <= 1 and abs(j - x) <= 1:
                total += e
                close += 1
    if count < LEAST_NEAR:
        return 0.0, -1.0
    middle = _median(left, count)
    for i in range(count):
        left[i] = abs(left[i] - middle)
    return total / close if close >= 3 else middle, MAD * _median(left, count)


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
    that they foretell, where it is LIKELY without. Pixels that are bad do not testify. Places with too few real
    neighbours are left unjudged.
    """
    left = np.empty((2 * RADIUS + 1) ** 2)
    around = np.empty(8)
    for n in range(len(places)):
        k, y, x = places[n]
        guess, spread = _surroundings(block, valid, bad, places[n], helpers[k], weights[k], left)
        if spread < 0:
            continue
        for h, b in enumerate(helpers[k]):
            if not bad[b, y, x]:
                guess += weights[k, h] * block[b, y, x]
        missed, spread, departure = block[k, y, x] - guess, max(spread, LEAST_SPREAD * sigma[k]), 0.0
        # One that is not likely without doubt is not with it.
        if doubt > 0 and abs(missed) > LIKELY * spread:
            for h, b in enumerate(helpers[k]):
                departure += weights[k, h] * _departure(block[b], valid, y, x, around)
        score[n] = missed / (spread + doubt * abs(departure))
        value[n] = guess
