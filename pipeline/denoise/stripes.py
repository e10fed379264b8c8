"""Column offsets of single bands (pushbroom stripes), found and taken away before anything else looks at the block.

Sources: stripes are offsets of the medians of columns (moment matching: Gadallah, Csillag, Smith 2000), few against
the gradients that bands share (sparse unidirectional variation: Bouali, Ladjal 2011; Chang et al. 2015), solved by
coordinate descent with a hard threshold that falls (Mazumder, Friedman, Hastie 2011). The tests that tell a stripe
from a scene are our own: docs/algorithms.md, "Stripes and impulses".
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

# Rows of a segment, and segments below which nothing is said: a stripe must stand in most of them.
SEGMENT = 8
MIN_SEGMENTS = 16
# Standard errors, by the spread over the segments, of a step between columns: real scenes reach 6.
SEED = 9.0
KEEP = 5.0
# Standard deviations, given the other bands, at which offsets enter: first the strongest alone.
LEVELS = (64.0, 32.0, 16.0, 8.0, 5.0, 5.0)
ROUNDS=5
OUTER=1
REQ=False
PROJ=False
SOFT=1.5
WIDE=3.0
SWEEPS2=10
DOUBT2=0.1
SH=1.0
SH0=.02
SWEEPS = 3
# Least share of what the other bands foretell that an offset must exceed.
DOUBT = 0.3
# Share of bands in one column, and of columns in one band, that tell a line of the scene from stripes.
FEW_BANDS = 1 / 3
# Pixels of a dead column, at least, and the share of them that hold its value.
MIN_DEAD = 32
STILL = 0.9
DENSE = 0.08
CLIP = 1.5
MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean
QUARTILES = 1.349  # interquartile range of a unit gaussian


class Steps(NamedTuple):
    """Medians over segments, and their standard errors, both (band, ...); NaN where too few segments are real."""

    value: F64
    error: F64


def column_offsets(block: F32, valid: Valid, sigma: F64) -> F64:
    """Offsets (band, x), data units, 0 where no stripe is sure, of block (band, y, x) with noise σ (band,)."""
    bands, _, width = block.shape
    offsets = np.zeros((bands, width))
    columns = segments(block, valid)
    if columns.shape[1] < MIN_SEGMENTS or width < 5:
        return offsets
    floor = MEDIAN_ERROR * sigma / np.sqrt(block.shape[1])
    across = medians(np.diff(columns, axis=2), np.sqrt(2) * floor)
    if not (np.abs(across.value) > SEED * across.error).any():
        return offsets
    along = medians(np.diff(segments(block.swapaxes(1, 2), valid.T), axis=2), np.sqrt(2) * floor)
    Q = precision(across, along, np.sqrt(2) * floor)
    real = np.isfinite(across.value).all(axis=0)
    steps = np.where(real, across.value, 0.0)
    allowed = np.repeat((sigma > 0)[:, None], width, axis=1)
    deviation = 1 / np.sqrt(2 * np.diag(Q))[:, None]
    for level in LEVELS:
        descend(steps, real, Q, offsets, (level / deviation) * np.ones(offsets.shape), DOUBT, SWEEPS)
    allowed = believable(columns, offsets, floor)
    dense = allowed.mean(axis=1) > DENSE
    offsets[~allowed] = 0
    allowed |= dense[:, None]
    for i in range(OUTER):
      if REQ:
        rest = Steps(steps - np.diff(offsets, axis=1), across.error)
        Q = precision(rest, along, np.sqrt(2) * floor)
        deviation = 1 / np.sqrt(2 * np.diag(Q))[:, None]
      if PROJ:
        steps = np.linalg.solve(Q, projected(columns, Q))
        steps[:, ~real] = 0
      for _ in range(ROUNDS):
          weights = SOFT / deviation / (1 + np.square(offsets / (WIDE * deviation)))
          descend(steps, real, Q, offsets, np.where(allowed, weights, np.inf), DOUBT2, SWEEPS2)
    return offsets


def projected(columns, Q):
    D = np.diff(columns, axis=2)
    return medians(np.tensordot(Q, D, 1), np.zeros(len(Q))).value


def segments(block: F32, valid: Valid) -> F64:
    """Means (band, segment, x) of runs of rows of block (band, y, x); NaN where fewer than half the pixels are real."""
    bands, height, width = block.shape
    length = max(1, min(SEGMENT, height // MIN_SEGMENTS))
    count = height // length
    shape = (count, length, width)
    if valid.all():
        return block[:, : count * length].reshape(bands, *shape).mean(axis=2, dtype=np.float32).astype(np.float64)
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
    few_typical = np.where(few, np.nan, error)
    typical = np.nanmedian(few_typical, axis=1) if not few.all() else floor
    error = np.maximum(error, np.maximum(floor, typical)[:, None])
    return Steps(np.where(few, np.nan, middle), np.where(few, np.inf, error))


def precision(across: Steps, along: Steps, floor: F64) -> F64:
    """Inverse covariance (band, band) of the steps of the scene: clipped, so that stripes have little say."""
    samples = [part.value[:, np.isfinite(part.value).all(axis=0)] for part in (across, along)]
    spreads = [1.4826 * np.median(np.abs(part), axis=1) for part in samples if part.shape[1] >= MIN_SEGMENTS]
    scale = np.maximum(np.min(spreads, axis=0), np.maximum(floor, 1e-30))
    Z = np.clip(np.concatenate(samples, axis=1) / scale[:, None], -CLIP, CLIP)
    R = Z @ Z.T / Z.shape[1]
    norm = np.sqrt(np.diag(R)) + 1e-12
    R /= norm[:, None] * norm
    shrink = SH0 + len(R) / (len(R) + Z.shape[1]) * SH
    R = (1 - shrink) * R + shrink * np.eye(len(R))
    return np.asarray(np.linalg.inv(R) / scale[:, None] / scale)


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
                least = weights[k, x] * (1 / (sides * Q[k, k]))
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


def believable(columns: F64, offsets: F64, floor: F64) -> Valid:
    """Which offsets (band, x) stand in most segments, on both sides, and in few bands or in many columns."""
    bands, width = offsets.shape
    mended = columns - offsets[:, None]
    error = np.sqrt(1.5) * floor
    sides = np.full((2, *columns.shape), np.nan)
    sides[0, :, :, 1:] = columns[:, :, 1:] - mended[:, :, :-1]
    sides[1, :, :, :-1] = columns[:, :, :-1] - mended[:, :, 1:]
    sides[0, :, :, 0], sides[1, :, :, -1] = sides[1, :, :, 0], sides[0, :, :, -1]
    height = medians(sides.mean(axis=0), error)
    left, right = (medians(side, error).value for side in sides)
    score = np.where(np.isfinite(height.value), np.abs(height.value) / height.error, 0)
    line = np.minimum(left * np.sign(offsets), right * np.sign(offsets)) > 0.4 * np.abs(offsets)
    found = (offsets != 0) & line & (score > KEEP)
    share = found.mean(axis=1)
    dense = share > DENSE
    few = found.sum(axis=0) <= max(1.0, FEW_BANDS * bands)
    found &= few | dense[:, None]
    if bands < 3:
        found &= dense[:, None]
    seeds = found & (score > SEED)
    return np.asarray(found & seeds.any(axis=1)[:, None])


def dead_columns(block: F32, valid: Valid, sigma: F64) -> Valid:
    """Pixels (band, y, x) of columns that hold one value, in few bands, between columns near by that do not."""
    bands, height, width = block.shape
    dead = np.zeros((bands, width), np.bool_)
    if height < MIN_DEAD:
        return np.zeros(block.shape, np.bool_)
    rows = np.linspace(0, height - 1, MIN_DEAD).astype(np.intp)
    sample = block[:, rows]
    middle = np.median(sample, axis=1)
    still = (sample == middle[:, None]).mean(axis=1) > 0.6
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
