"""Column offsets of single bands (pushbroom stripes), found and taken away before anything else looks at the block.

Sources: stripes are offsets of the medians of columns (moment matching: Gadallah, Csillag, Smith 2000), few against
the gradients that bands share (sparse unidirectional variation: Bouali, Ladjal 2011; Chang et al. 2015), solved by
coordinate descent with a hard threshold that falls (Mazumder, Friedman, Hastie 2011). The tests that tell a stripe
from a scene are our own: docs/algorithms.md, "Stripes and impulses".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.endings import SURE, SURER, ending
from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

# Rows of a segment, and segments below which nothing is said: a stripe must stand in most of them.
SEGMENT = 8
MIN_SEGMENTS = 16
# Shorter columns say too little: natural lines of 32 pixels are common.
MIN_ROWS = 64
# Standard errors, by the spread over the segments: one step like SEED starts the search (real scenes: 7 on
# tiles of 256, 12 at worst on 64), and one
# offset like it convicts a band, whose others must reach KEEP.
SEED = 9.0
KEEP = 5.0
# Weights, in standard deviations given the other bands, of the search: at first the strongest alone may enter.
LEVELS = (64.0, 32.0, 16.0, 8.0, 5.0, 5.0)
SWEEPS = 3
# Weight of the refinement, for an offset of 0; it falls by half at WIDE deviations.
SOFT = 1.5
WIDE = 3.0
ROUNDS = 5
ROUND_SWEEPS = 10
# Share of what the other bands foretell that an offset must exceed, in the search and in the refinement.
DOUBT = 0.3
LATE_DOUBT = 0.1
# Share of an offset that must be seen from each side: a line, not the edge of a field.
BOTH_SIDES = 0.4
# Share of bands in one column, and of columns in one band, that tell a line of the scene from stripes.
FEW_BANDS = 1 / 3
MOST_BANDS = 2 / 3
DENSE = 0.08
# Pixels of a dead column, at least, the share of them that hold its value, and of a sample of so many of them.
MIN_DEAD = 32
STILL = 0.9
STILL_SAMPLE = 0.6
CLIP = 1.5  # spreads at which steps are clipped for their covariance
SHRINK = 0.02  # of correlations, with plenty of samples
MAD = 1.4826  # unit gaussian: σ over the median of |x|
MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean
QUARTILES = 1.349  # interquartile range of a unit gaussian
# Noise deviations beyond which an offset of a column is an edge of the scene.
LARGEST = 100.0
# Fewer bands than these are not looked at: nothing tells a stripe from a furrow. Share of the offsets' energy that one
# pattern may have in the striped bands.
WITNESSES = 3
SHARED = 0.6
SHARED_BY_TWO = 0.8


class Steps(NamedTuple):
    """Medians over segments, and their standard errors, both (band, ...); NaN where too few segments are real."""

    value: F64
    error: F64


def column_offsets(block: F32, valid: Valid, sigma: F64) -> F64:
    """Offsets (band, x), data units, 0 where no stripe is sure, of block (band, y, x) with noise σ (band,)."""
    offsets = np.zeros((len(block), block.shape[2]))
    live = np.flatnonzero(sigma > 0)
    if block.shape[1] < MIN_ROWS or block.shape[2] < MIN_SEGMENTS or live.size < WITNESSES:
        return offsets
    chosen = block if live.size == len(block) else block[live]
    columns = segments(chosen, valid)
    floor = MEDIAN_ERROR * sigma[live] / np.sqrt(block.shape[1])
    across = medians(np.diff(columns, axis=2), np.sqrt(2) * floor)
    if not (np.abs(across.value) > SEED * across.error).any():
        return offsets
    along = medians(np.diff(segments(chosen.swapaxes(1, 2), valid.T), axis=2), np.sqrt(2) * floor)
    found = _solved(columns, across, precision(across, along, np.sqrt(2) * floor), floor)
    # A sensor's columns do not differ by so much: the sharp edges of a map, a mosaic or a rendered scene do.
    found[np.abs(found).max(axis=1) > LARGEST * sigma[live]] = 0
    if not shared(found):
        offsets[live] = found
    return offsets


def shared(offsets: F64) -> bool:
    """Whether the striped of all bands have the same offsets (band, x), but for size: rows of a crop, a city's grid."""
    striped = offsets[offsets.any(axis=1)]
    if len(striped) < 2:
        return False
    unit = striped / np.linalg.norm(striped, axis=1, keepdims=True)
    return bool(np.linalg.eigvalsh(unit @ unit.T)[-1] > (SHARED if len(striped) > 2 else SHARED_BY_TWO) * len(striped))


def _solved(columns: F64, across: Steps, Q: F64, floor: F64) -> F64:
    """Offsets (band, x) that explain the steps between columns: the sure ones, then all of bands that have many."""
    real: Valid = np.asarray(np.isfinite(across.value).all(axis=0))
    steps = np.where(real, across.value, 0.0)
    offsets = np.zeros((len(columns), columns.shape[2]))
    deviation = 1 / np.sqrt(2 * np.diag(Q))[:, None]
    for level in LEVELS:
        descend(steps, real, Q, offsets, np.broadcast_to(level / deviation, offsets.shape), DOUBT, SWEEPS)
    allowed, scene = believable(columns, offsets, floor)
    offsets[~allowed] = 0
    allowed |= (allowed.mean(axis=1, keepdims=True) > DENSE) & ~scene
    for _ in range(ROUNDS if allowed.any() else 0):
        weights = SOFT / deviation / (1 + np.square(offsets / (WIDE * deviation)))
        descend(steps, real, Q, offsets, np.where(allowed, weights, np.inf), LATE_DOUBT, ROUND_SWEEPS)
    return offsets


def segments(block: F32, valid: Valid) -> F64:
    """Means (band, segment, x) of runs of rows of block (band, y, x); NaN where fewer than half the pixels are real."""
    height, width = valid.shape
    length = max(1, min(SEGMENT, height // MIN_SEGMENTS))
    count = height // length
    shape = (count, length, width)
    if valid.all():
        means = np.repeat(np.eye(count, dtype=np.float32) / np.float32(length), length, axis=1)
        return np.asarray(means @ block[:, : count * length], np.float64)
    real = valid[: count * length].reshape(shape)
    weight = real.sum(axis=1).astype(np.float64)
    weight[weight < length / 2] = np.nan
    cut = (band[: count * length].reshape(shape) for band in block)
    return np.stack([np.where(real, part, 0).sum(axis=1) / weight for part in cut])


def medians(values: F64, floor: F64) -> Steps:
    """Median over axis 1 of values (band, segment, x) and its standard error, not below floor (band,)."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    few = count < MIN_SEGMENTS // 2
    low, middle, high = (
        np.take_along_axis(ordered, np.rint(np.maximum(count - 1, 0) * q).astype(np.intp)[:, None], axis=1)[:, 0]
        for q in (0.25, 0.5, 0.75)
    )
    error = MEDIAN_ERROR / QUARTILES * (high - low) / np.sqrt(np.maximum(count, 1))
    typical = np.array([np.mean(row[real]) if real.any() else 0.0 for row, real in zip(error, ~few, strict=True)])
    error = np.maximum(error, np.maximum(floor, typical)[:, None])
    return Steps(np.where(few, np.nan, middle), np.where(few, np.inf, error))


def precision(across: Steps, along: Steps, floor: F64) -> F64:
    """Inverse covariance (band, band) of the steps of the scene: clipped, so that stripes have little say."""
    samples = [part.value[:, np.isfinite(part.value).all(axis=0)] for part in (across, along)]
    # The mean too: of a band of coarser pixels, repeated, most steps are 0.
    spreads = [_spread(np.abs(part)) for part in samples if part.shape[1] >= MIN_SEGMENTS]
    scale = np.maximum(np.min(spreads, axis=0), floor) if spreads else floor
    Z = np.clip(np.concatenate(samples, axis=1) / scale[:, None], -CLIP, CLIP)
    R = Z @ Z.T
    norm = np.sqrt(np.diag(R)) + 1e-12
    shrink = SHRINK + len(R) / (len(R) + Z.shape[1])
    R = (1 - shrink) * R / (norm[:, None] * norm) + shrink * np.eye(len(R))
    return np.asarray(np.linalg.inv(R) / scale[:, None] / scale)


def _spread(sizes: F64) -> F64:
    return np.asarray(np.maximum(MAD * np.median(sizes, axis=1), np.mean(sizes, axis=1)))


@jit
def descend(steps: F64, real: Valid, Q: F64, offsets: F64, weights: F64, doubt: float, sweeps: int) -> None:
    """Offsets (band, x), in place, that explain steps (band, x − 1): min ½ Σ gᵀ Q g + Σ weights |offsets|.

    g = steps − ∇offsets is what they leave, likely under precision Q; steps that are not real are left out. What the
    other bands foretell of an offset raises its weight by DOUBT of it; infinite weights hold offsets at 0.
    """
    bands, width = offsets.shape
    g = np.zeros((width + 1, bands))
    for x in range(1, width):
        if real[x - 1]:
            for k in range(bands):
                g[x, k] = steps[k, x - 1] - offsets[k, x] + offsets[k, x - 1]
    for _ in range(sweeps):
        for x in range(width):
            left = x > 0 and real[x - 1]
            right = x < width - 1 and real[x]
            sides = int(left) + int(right)
            if sides == 0:
                continue
            pull = Q @ (g[x] - g[x + 1])
            for k in range(bands):
                if weights[k, x] == np.inf:
                    continue
                own = pull[k] / Q[k, k]
                best = offsets[k, x] + own / sides
                least = weights[k, x] / (sides * Q[k, k])
                if weights[k, x] > 0:
                    least += doubt * abs(g[x, k] - g[x + 1, k] - own) / sides
                best = np.sign(best) * max(abs(best) - least, 0.0)
                change = best - offsets[k, x]
                if change != 0:
                    offsets[k, x] = best
                    if left:
                        g[x, k] -= change
                    if right:
                        g[x + 1, k] += change
                    for j in range(bands):
                        pull[j] -= sides * change * Q[j, k]


def believable(columns: F64, offsets: F64, floor: F64) -> tuple[Valid, Valid]:
    """Which offsets (band, x) stand in most segments, on both sides, and in few bands or in many columns.

    And which (band, x) seem to be lines of the scene itself: in most bands, or not over all rows.
    """
    bands = len(offsets)
    mended = columns - offsets[:, None]
    error = np.sqrt(1.5) * floor
    sides = np.full((2, *columns.shape), np.nan)
    sides[0, :, :, 1:] = columns[:, :, 1:] - mended[:, :, :-1]
    sides[1, :, :, :-1] = columns[:, :, :-1] - mended[:, :, 1:]
    sides[0, :, :, 0], sides[1, :, :, -1] = sides[1, :, :, 0], sides[0, :, :, -1]
    height = medians(sides.mean(axis=0), error)
    left, right = (medians(side, error).value for side in sides)
    score = np.where(np.isfinite(height.value), np.abs(height.value) / height.error, 0)
    line = np.minimum(left * np.sign(offsets), right * np.sign(offsets)) > BOTH_SIDES * np.abs(offsets)
    found = (offsets != 0) & line & (score > KEEP)
    ends = ending(columns, np.where(found, offsets, 0), error * np.sqrt(columns.shape[1]) / MEDIAN_ERROR)
    found &= ends <= SURE
    share = found.mean(axis=1)
    dense = share > DENSE
    # A road or a canal stands in most bands, also where they foretell all of it but a little.
    crowd = (score > KEEP).mean(axis=0)
    lines = np.asarray((crowd > max(MOST_BANDS, 2 * float(crowd.mean()))) & (bands > 1))
    few = crowd * bands <= max(1.0, FEW_BANDS * bands)
    found &= (few | dense[:, None]) & ~lines
    seeds = found & (score > SEED)
    return np.asarray(found & seeds.any(axis=1)[:, None]), lines | (ends > SURER)


def dead_columns(block: F32, valid: Valid, sigma: F64) -> Valid:
    """Pixels (band, y, x) of columns that hold one value, in few bands, between columns near by that do not."""
    bands, height, width = block.shape
    dead = np.zeros((bands, width), np.bool_)
    if height < MIN_DEAD:
        return np.zeros(block.shape, np.bool_)
    rows = np.linspace(0, height - 1, MIN_DEAD).astype(np.intp)
    sample = block[:, rows] if valid[rows].all() else np.where(valid[rows], block[:, rows], np.nan)
    # Where more than 0.6 of the sample hold one value, at least so many of them follow one another.
    maybe = np.count_nonzero(sample[:, 1:] == sample[:, :-1], axis=1) >= int((2 * STILL_SAMPLE - 1) * MIN_DEAD)
    if not maybe.any():
        return np.zeros(block.shape, np.bool_)
    middle, still = np.zeros((bands, width)), np.zeros((bands, width), np.bool_)
    columns = sample.swapaxes(1, 2)[maybe]
    middle[maybe] = np.median(columns, axis=1)
    still[maybe] = (columns == middle[maybe][:, None]).mean(axis=1) > STILL_SAMPLE
    for k, x in zip(*np.nonzero(still & (sigma > 0)[:, None]), strict=True):
        column = block[k, valid[:, x], x]
        dead[k, x] = len(column) >= MIN_DEAD and np.mean(column == middle[k, x]) > STILL
    alone = ~(dead | still)
    near = np.zeros_like(dead)
    near[:, 1:-1] = alone[:, :-2] & alone[:, 2:]
    near[:, 2:-1] |= alone[:, :-3] & alone[:, 3:]
    near[:, 1:-2] |= alone[:, :-3] & alone[:, 3:]
    dead &= near & (dead.sum(axis=0) <= max(1.0, FEW_BANDS * bands))
    return np.asarray(dead[:, None] & valid)
