"""Isolated wrong pixels of single bands (hot pixels, salt and pepper), found, and foretold from what stands around.

Sources: extrema among the neighbours, then a test against the local median and its spread (Sun, Neuvo 1994; Crnojević,
Šenk, Trpovski 2004), here made on what the other bands do not foretell (Roger, Arnold 1996). A ship stands in most
bands, and is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.judging import DOUBT, LIKELY, MAD, judge, suspects

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]

# Other bands that foretell one, at most; samples that teach how; spreads beyond which a sample is clipped.
HELPERS = 8
SAMPLES = 1 << 16
CLIP = 3.0
RIDGE = 1e-3
# Noise deviations by which a suspect exceeds its neighbours.
MARGIN = 3.0
# Spreads by which a suspect misses what is foretold, for proof; LIKELY serves once a band is convicted.
SURE = 8.0
# Share of sure ones that convicts a band, scenes (but Indian Pines) reach 6e-5, and their least number. One or two
# bands have no witnesses: night lights and speckle look like impulses there.
RATE = 2e-4
LEAST = 4
WITNESSES = 3
# Defects go both ways, or most of a band's, and so many in all bands, are stuck at one value; what flares up by this
# and that, or in a few places, may be fires.
BOTH_WAYS = 0.1
LEAST_STUCK = 16
# Share of lone ones beside which another pixel is as sure: of impulses 0 to .2, of roofs and cars .33 to 1; and how
# much more for each share of a band that is hit, whose impulses touch by chance.
TOUCHING = 0.2
CHANCE = 12.0
STUCK = 0.5
NEAR = 0.05
# More bands than MANY have always some that the others do not foretell: this share of them is convicted, or none.
MANY = 16
MANY_SHARE = 1 / 3
# A pixel bad in more than this share of the bands is a target, not an impulse.
FEW_BANDS = 1 / 3
# Noise of whole numbers: what is below was smoothed or compressed since, and its pixels are no witnesses.
ROUNDING = 0.28
# Share of a band at its least or its greatest value above which it is no witness: σ is that of the rest, and lower.
# False impulses begin at .2, of clipped bands of real scenes.
PLATEAU = 0.1
# Pixels of a band, and of all, that are looked at before any is convicted.
JURY = 32768
JURY_ALL = 1 << 20
ROUNDS = 2


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
    bad = _suspected(block, valid, sigma, bands, 1)
    places = _places(bad)
    score, values = _judged(block, valid, bad, guide, sigma, places, LIKELY)
    least, most = _held(block, valid, places)
    lost = ~_is_held(values, least, most, sigma[places[:, 0]])
    # The other bands do not know this one there; what stands around does.
    deaf = Forecast(guide.helpers, np.zeros_like(guide.weights))
    score[lost], values[lost] = _judged(block, valid, bad, deaf, sigma, places[lost], LIKELY)
    wrong = np.abs(score) > LIKELY
    crowd = np.zeros(valid.shape, np.intp)
    np.add.at(crowd, (places[wrong, 1], places[wrong, 2]), 1)
    wrong &= crowd[places[:, 1], places[:, 2]] <= max(1.0, FEW_BANDS * len(block))
    return Impulses(places[wrong], np.clip(values, least, most)[wrong])


def impulsive(block: F32, valid: Valid, sigma: F64) -> Index:
    """Numbers of the bands of block (band, y, x) that have more lone, sure impulses than scenes have; σ (band,)."""
    none = np.empty(0, np.intp)
    if len(block) < WITNESSES:
        return none
    guide = forecast(block, valid, sigma)
    stride = max(1, valid.size // JURY, block.size // JURY_ALL)
    bad = _suspected(block, valid, sigma, np.flatnonzero(sigma > 0), stride)
    places, score = _lone(block, valid, bad, guide, sigma)
    k = places[:, 0]
    count = np.bincount(k, minlength=len(block))
    looked = int(np.count_nonzero(valid[::stride]))
    suspected = np.flatnonzero(count >= max(LEAST / stride, RATE * looked))
    many = len(places) * stride >= LEAST_STUCK
    suspected = suspected[[_is_witness(block[b], valid, sigma[b]) for b in suspected]]
    hit = [int(b) for b in suspected if _faulty(block[b], valid, places[k == b], score[k == b], many)]
    if hit:
        bad = _suspected(block, valid, sigma, hit, 1)
        share = _touching(block, valid, bad, guide, sigma, places)
        hit = [b for b in hit if share[k == b].mean() <= TOUCHING + CHANCE * count[b] / looked]
    return np.array(hit, np.intp) if len(block) <= MANY or len(hit) >= MANY_SHARE * len(block) else none


def _lone(block: F32, valid: Valid, bad: Valid, guide: Forecast, sigma: F64) -> tuple[Index, F64]:
    """Places (impulse, 3), and scores, of the suspects bad (band, y, x) that are SURE and that no helper seconds."""
    places = _places(bad)
    score, values = _judged(block, valid, bad, guide, sigma, places, SURE)
    sure = np.abs(score) > SURE
    sure[sure] = _is_held(values[sure], *_held(block, valid, places[sure]), sigma[places[sure, 0]])
    places, score = places[sure], score[sure]
    # Seconds are looked for where something is to be seconded alone.
    spots = np.zeros(valid.shape, np.bool_)
    spots[places[:, 1], places[:, 2]] = True
    others = _places(bad & spots) if len(places) else places
    seconded = np.zeros(bad.shape, np.bool_)
    likely = np.abs(_judged(block, valid, bad, guide, sigma, others, LIKELY)[0]) > LIKELY
    seconded[tuple(others[likely].T)] = True
    k, y, x = places.T
    lone = ~seconded[guide.helpers[k], y[:, None], x[:, None]].any(axis=1)
    return places[lone], score[lone]


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


def _is_witness(band: F32, valid: Valid, sigma: float) -> bool:
    """Whether a band (y, x) says what its noise is: neither rounded above it nor clipped."""
    pixels = band[valid]
    if sigma < ROUNDING and (pixels == np.rint(pixels)).all():
        return False
    return bool(max(np.mean(pixels == pixels.min()), np.mean(pixels == pixels.max())) <= PLATEAU)


def _held(block: F32, valid: Valid, places: Index) -> tuple[F64, F64]:
    """Least and greatest value that the bands of places (place, 3) hold."""
    low, high = np.empty(len(block)), np.empty(len(block))
    for k in np.unique(places[:, 0]):
        pixels = block[k][valid]
        low[k], high[k] = pixels.min(), pixels.max()
    return low[places[:, 0]], high[places[:, 0]]


def _is_held(values: F64, least: F64, most: F64, sigma: F64) -> Valid:
    """Whether values foretold are among those that their bands hold, but for the noise σ of each.

    Of bytes that wrapped the other bands foretell what no byte holds.
    """
    slack = MARGIN * sigma
    return np.asarray((least - slack <= values) & (values <= most + slack))


def _touching(block: F32, valid: Valid, bad: Valid, guide: Forecast, sigma: F64, places: Index) -> Valid:
    """Whether next to each of the places (impulse, 3) another pixel of its band is as SURE to be wrong.

    Faults touch by chance alone; what stands in the scene, be it two pixels wide, has sides and corners.
    """
    sides = places[:, None] + np.array([(0, i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j], np.intp)
    height, width = valid.shape
    k, y, x = (sides[..., axis] for axis in range(3))
    inside = np.asarray(np.logical_and.reduce([y >= 0, y < height, x >= 0, x < width]), np.bool_)
    inside[inside] = valid[y[inside], x[inside]]
    # A helper's impulse beside a place makes it look wrong: what is a suspect in any band does not testify.
    spotted = np.asarray(bad.any(axis=0))
    anywhere = np.repeat(spotted[None], len(bad), axis=0)
    suspect, unsuspected = inside.copy(), inside.copy()
    suspect[inside] = bad[k[inside], y[inside], x[inside]]
    unsuspected[inside] = ~spotted[y[inside], x[inside]]
    touches = np.zeros(inside.shape, np.bool_)
    for asked, aside in ((suspect, bad), (unsuspected, anywhere)):
        touches[asked] = np.abs(_judged(block, valid, aside, guide, sigma, sides[asked], SURE)[0]) > SURE
    return np.asarray(touches.any(axis=1))


def _suspected(block: F32, valid: Valid, sigma: F64, bands: Iterable[int], stride: int) -> Valid:
    """Suspects (band, y, x) of every stride-th row of those bands."""
    bad = np.zeros(block.shape, np.bool_)
    for k in bands:
        suspects(block[k], valid, MARGIN * sigma[k], stride, bad[k])
    return bad


def _places(flags: Valid) -> Index:
    """(place, 3) band, y, x of those set in flags (band, y, x)."""
    return np.stack(np.unravel_index(np.flatnonzero(flags), flags.shape), axis=1)


def _judged(
    block: F32, valid: Valid, bad: Valid, guide: Forecast, sigma: F64, places: Index, least: float
) -> tuple[F64, F64]:
    """Scores and values of places (place, 3), 0 where no score can be above `least`."""
    score, values = np.zeros(len(places)), np.zeros(len(places))
    judge(block, valid, bad, guide.helpers, guide.weights, sigma, places, DOUBT, least, score, values)
    return score, values


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
    half, scale = len(places) // 2, np.ones(bands)
    if len(places):
        scale = np.maximum(MAD * np.partition(np.abs(Z), half, axis=1)[:, half], np.where(live, sigma, 1))
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
