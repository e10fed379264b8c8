"""The coefficients of a predictor: least squares, weighted by how quiet a place is, for each class of blocks.

Floats choose them; what is written, and all that decodes, are integers. Weights of 1 / spread² make least squares the
likeliest under residuals whose spread differs from place to place, which is what costs bits. Classes as in k-means: a
block goes to the coefficients that cost it the fewest bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec.predictor import (
    BLOCK,
    BOTTOM,
    CONSTANT_BITS,
    MOST_REPEATED,
    SHIFTS,
    SIDE,
    TOP,
    Model,
    Shape,
    counts_of,
    inside,
    offsets_of,
    positions,
)
from pipeline.codec.predictor_many import fit_bands

Bool = NDArray[np.bool_]
F64 = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]

# A class needs this many samples for each coefficient.
ENOUGH = 8
# Rounding the coefficients may add so much of the mean squared residual.
ROUNDING = 1e-3
LARGEST = 1 << 22
# Below this float32 tells all samples apart.
NARROW = 1 << 17
# From so many bands of fewer pixels than these on, calls cost more than sums: one loop does.
MANY_BANDS, FEW_PIXELS = 256, 4096
TOGETHER = 1 << 14  # samples of a row, of some bands, at once


@dataclass(frozen=True, slots=True)
class Plan:
    """How much work goes into a predictor."""

    shape: Shape
    classes: int
    samples: int
    """of a band, about, that are looked at"""
    rounds: int
    """of choosing classes"""


def fit(reference: I32, real: Bool, offsets: I64, plan: Plan, step: int) -> Model:
    """The predictor of planes (`predictor.padded`, filled, edges repeated) at this residual step.

    real: (1 or band, y, x) bool, what counts.
    """
    bands, height, width = reference.shape[0], reference.shape[1] - TOP - BOTTOM, reference.shape[2] - 2 * SIDE
    blocks = (-(-height // BLOCK), -(-width // BLOCK))
    repeats = find_repeats(inside(reference), real)
    if bands >= MANY_BANDS and height * width < FEW_PIXELS and plan.classes == 1:
        return _fit_many(reference, real, offsets, plan, step, repeats)
    coefficients = np.zeros((bands, plan.classes, plan.shape.taps + 1), np.int32)
    classes, shifts = np.zeros((bands, *blocks), np.uint8), np.zeros(bands, np.int64)
    spread = None
    precision = np.float32 if max(int(reference.max()), -int(reference.min())) < NARROW else np.float64
    for band in range(bands):
        rows, columns = _places(height, width, plan, repeats[band])
        number = ((rows // BLOCK * blocks[1])[:, None] + columns // BLOCK).reshape(-1)
        A, t = _terms(reference, band, plan.shape, rows, columns, precision)
        count = real[band % len(real)][np.ix_(rows, columns)].reshape(-1)
        if spread is not None and len(spread) != len(t):
            spread = None
        C, chosen, error, spread = _fit_band(A, t, count, number, blocks[0] * blocks[1], plan, step, spread)
        shifts[band], rounded = _round(C, A, error)
        coefficients[band][:, : len(A) - 1] = rounded[:, :-1]
        coefficients[band][:, -1] = rounded[:, -1]
        classes[band] = chosen.reshape(blocks)
    return Model(plan.shape, offsets, shifts, coefficients, classes, repeats)


def _fit_many(reference: I32, real: Bool, offsets: I64, plan: Plan, step: int, repeats: I64) -> Model:
    """`fit` for one class, all bands in one loop."""
    bands, height, width = inside(reference).shape
    taps = positions(plan.shape, bands)
    taken, places = _references(plan.shape, len(taps)), offsets_of(taps, reference)
    C, errors, variances = fit_bands(reference, real, places, counts_of(plan.shape, bands), taken, step, repeats)
    shifts, rounded = _rounded(C, variances, errors)
    classes = np.zeros((bands, -(-height // BLOCK), -(-width // BLOCK)), np.uint8)
    return Model(plan.shape, offsets, shifts, rounded[:, None].astype(np.int32), classes, repeats)


def _terms(reference: I32, band: int, shape: Shape, rows: I64, columns: I64, precision: Any) -> tuple[Floats, Floats]:
    """The terms of some samples of a band, (tap + 1, sample), the last 1; and the samples."""
    taps = positions(shape, band)
    A = np.empty((len(taps) + 1, len(rows), len(columns)), precision)
    even = len(columns) == 1 or bool((np.diff(columns) == columns[1] - columns[0]).all())
    across: Any = slice(columns[0], columns[-1] + 1, columns[1] - columns[0] if len(columns) > 1 else 1)
    for i, (back, dy, dx) in enumerate([*taps, (0, 0, 0)]):
        plane = reference[band - back, :, SIDE + dx :]
        A[i] = plane[rows + TOP + dy, across] if even else plane[np.ix_(rows + TOP + dy, columns)]
    t = A[-1].reshape(-1).copy()
    A[-1] = 1.0
    return A.reshape(len(A), -1), t


def _references(shape: Shape, count: int) -> I64:
    """For each tap the one that is taken off it before it is squared, itself for none: float32 can then tell them."""
    of = np.arange(count)
    of[: shape.own] = 0
    at = shape.own
    for back in range(1, shape.before + 1):
        n = 1 + (shape.around if back <= shape.near else 0)
        of[at : at + n] = at
        at += n
    return of[:count]


def _places(height: int, width: int, plan: Plan, repeat: I64) -> tuple[I64, I64]:
    """Every n-th row, and of large blocks every n-th column, so that about plan.samples are read, one of each square.

    Where there are classes, some of each block of pixels.
    """
    side, *cuts = repeat.tolist()
    rows, columns = (
        np.flatnonzero((np.arange(n) + cut) % side * np.arange(n) == 0)
        for n, cut in zip((height, width), cuts, strict=True)
    )
    most = max(BLOCK // 2 // side, 1) if plan.classes > 1 else len(rows)
    every = max(1, min(len(rows) * len(columns) // plan.samples, most, len(rows)))
    rows = rows[every // 2 :: every]
    across = max(1, min(len(rows) * len(columns) // (2 * plan.samples), BLOCK // 2))
    return rows, columns[::across]


def find_repeats(planes: I32, real: Bool) -> I64:
    """(band, 3): side of the largest squares of equal samples, where real, in planes (band, y, x), and their cuts."""
    out = np.zeros((len(planes), 3), np.int64)
    out[:, 0] = 1
    if min(planes.shape[1:]) == 1:
        return out
    for band in _likely_repeated(planes, real):
        plane, known = planes[band], real[band % len(real)]
        x = _repeating(plane, known)
        y = _repeating(plane.T, known.T)
        for side in range(min(MOST_REPEATED, *plane.shape), 1, -1):
            cuts = [_cut(fresh, side) for fresh in (y, x)]
            if min(cuts) >= 0:
                out[band] = side, *cuts
                break
    return out


def _likely_repeated(planes: I32, real: Bool) -> Iterator[int]:
    """Bands whose first two rows repeat in a third of the columns or more; some at once where rows are short."""
    step = max(1, TOGETHER // planes.shape[2])
    for start in range(0, len(planes), step):
        rows = planes[start : start + step, :2]
        known = real[start : start + step, :2] if len(real) > 1 else real[:, :2]
        same = (~known[:, :, 1:] | (known[:, :, :-1] & (rows[:, :, 1:] == rows[:, :, :-1]))).all(axis=1)
        yield from (start + np.flatnonzero(np.count_nonzero(same, axis=1) * 3 >= same.shape[1])).tolist()


def _repeating(plane: I32, known: Bool) -> Bool:
    """Whether each column but the first of a plane (y, x) is that to its left, where it is real."""
    same: Bool = (~known[:, 1:] | (known[:, :-1] & (plane[:, 1:] == plane[:, :-1]))).all(axis=0)
    return same


def _cut(same: Bool, side: int) -> int:
    """How far the first square is cut off, if all columns that do not begin one are `same` as the one before; or −1."""
    i = np.arange(1, len(same) + 1)
    return next((cut for cut in range(side) if same[(i + cut) % side != 0].all()), -1)


def _fit_band(
    A: Floats, t: Floats, count: Bool, place: I64, blocks: int, plan: Plan, step: int, spread: Floats | None
) -> tuple[F64, NDArray[np.uint8], float, Floats]:
    """Coefficients (class, tap + 1) of terms A (tap + 1, sample), class of each block, mean squared residual, spread.

    spread: of the band before, which is quiet and restless in the same places.
    """
    taken = _references(plan.shape, len(A) - 1)
    chosen, errors = np.zeros(blocks, np.uint8), np.empty((plan.classes, len(t)), A.dtype)
    known = count.astype(A.dtype)
    C = np.zeros((plan.classes, len(A)))
    if not count.any():
        return C, chosen, 1.0, np.ones(len(t), A.dtype)
    if spread is None:
        spread = _spread(np.abs(t - _solve(A, t, known, step, taken).astype(A.dtype) @ A))
    weight = known / np.square(spread + float(0.3 * spread.mean() + 0.1))
    C[:] = _solve(A, t, weight, step, taken)
    errors[:] = t - C[0].astype(A.dtype) @ A
    spread = _spread(np.abs(errors[0]))
    if plan.classes > 1:
        chosen = _first_classes(errors[0], known, place, blocks, plan.classes)
        for _ in range(plan.rounds):
            for k in range(plan.classes):
                own = (chosen[place] == k) & count
                if np.count_nonzero(own) >= ENOUGH * len(A):
                    C[k] = _solve(A[:, own], t[own], weight[own], step, taken)
                    errors[k] = t - C[k].astype(A.dtype) @ A
            costs = [np.bincount(place, known * np.log2(np.abs(e) + 0.3), blocks) for e in errors]
            chosen = np.argmin(costs, axis=0).astype(np.uint8)
        order = np.argsort(-np.bincount(chosen, minlength=plan.classes), kind="stable")
        C, errors, chosen = C[order], errors[order], np.argsort(order).astype(np.uint8)[chosen]
    e = np.take_along_axis(errors, chosen[place][None], axis=0)[0][count]
    return C, chosen, float(np.square(e).mean()), spread


def _first_classes(e: Floats, known: Floats, place: I64, blocks: int, classes: int) -> NDArray[np.uint8]:
    """Blocks by how large their residuals are, in equal parts."""
    total = np.bincount(place, known * np.log2(np.abs(e) + 1), blocks)
    size = total / np.maximum(np.bincount(place, known, blocks), 1)
    rank = np.argsort(np.argsort(size, kind="stable"), kind="stable")
    return (rank * classes // blocks).astype(np.uint8)


def _solve(A: Floats, t: Floats, weight: Floats, step: int, taken: I64) -> F64:
    """Weighted least squares, as if each sample had the noise of its quantisation besides.

    taken: `_references`. Float32 will do for differences: neighbours are alike.
    """
    root = np.sqrt(weight / weight.max())
    B = A * root
    other = taken != np.arange(len(taken))
    B[: len(taken)][other] -= B[taken[other]]
    M = (B @ B.T).astype(np.float64)
    # Their own variance besides, or samples that others repeat would leave nothing to solve.
    total = float(np.square(root, dtype=np.float64).sum())
    ridge: F64 = float(np.finfo(A.dtype).eps) * np.diag(M) + total * ((step * step - 1) / 12 + 1e-3)
    ridge[-1] = total * 1e-6
    solution: F64 = np.linalg.solve(M + np.diag(ridge), (B @ (t * root)).astype(np.float64))
    np.subtract.at(solution, taken[other], solution[: len(taken)][other])
    return solution


def _spread(size: Floats) -> Floats:
    """Mean of |residual| over nine samples in a row."""
    sums = np.concatenate([[0.0], np.cumsum(size, dtype=np.float64)])
    i = np.arange(len(size))
    low, high = np.maximum(i - 4, 0), np.minimum(i + 5, len(size))
    spread: Floats = ((sums[high] - sums[low]) / (high - low)).astype(size.dtype)
    return spread


def _round(C: F64, A: Floats, error: float) -> tuple[int, I64]:
    """Shift, and coefficients in units of 2^−shift, so fine that rounding adds little to a mean squared error."""
    shift, out = _rounded(C, A[:-1, ::8].var(axis=1, dtype=np.float64).sum(), np.float64(error))
    return int(shift), out


def _rounded(C: F64, variances: Any, errors: Any) -> tuple[I64, I64]:
    """`_round` for sums of variances and errors (), or (row,) of as many as C (row, tap + 1) has rows."""
    added = variances / 12
    shifts = 0.5 * np.log2(np.maximum(added / np.maximum(ROUNDING * errors, 1e-6), 1.0))
    shifts = np.clip(np.ceil(shifts), *SHIFTS).astype(np.int64)
    out = np.clip(np.rint(np.ldexp(C, shifts.astype(np.int32)[..., None])), -LARGEST, LARGEST).astype(np.int64)
    out[:, -1] = np.clip(np.rint(C[:, -1] * 2**CONSTANT_BITS), -(2**30), 2**30)
    return shifts, out
