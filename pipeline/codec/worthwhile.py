"""What of an analysis is worth its bits: planes that say next to nothing are left out before they are coded.

Source: reverse water-filling, Cover and Thomas, 10.3, carried on to what single coefficients bring: a plane of a
variance about the level is coded for nothing where it is noise, and is worth a lot where it is edges.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import wavelet
from pipeline.codec.basis import bits_of_columns
from pipeline.codec.budget import BIT, DEPENDENT_STEP
from pipeline.codec.context import areas_of, boxes_of
from pipeline.codec.low_rank import FINEST_STEP, Analysis
from pipeline.codec.sample import sample_of
from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Index = NDArray[np.intp]

# Steps of the trellis from which a magnitude is not nothing.
SOME = np.float32(1.2)
# Bits of such a one besides where it is: its size and sign.
SIZE_BITS = 3.0
# How many times what its column costs a plane must be worth: to code it takes time, and zeros are not quite free.
DEAR = 2.0
# Bits that the others take for each that theory says.
CAUTION = 1.5
# Of the error allowed, what may be lost in all; for less than the rest no step is looked for.
MOST_LOST = 0.95


def worthwhile(analysis: Analysis, step: float, mse: float) -> Analysis:
    """The analysis without planes that are not worth their bits at about this step; itself where all are.

    mse: the error allowed, units squared, over all elements. What the planes held counts as lost; the coefficients that
    are kept move up in their memory.
    """
    planes, height, width = analysis.coefficients.shape
    layer = analysis.layer
    if not planes or step < FINEST_STEP:
        return analysis
    boxes, norms = boxes_of(height, width, layer.levels), np.array(wavelet.norms(layer.levels))
    spent, worth, sizes, energy = np.zeros((4, planes, len(boxes)))
    weigh(analysis.coefficients, np.float32(1 / (DEPENDENT_STEP * step)), boxes, spent, worth, sizes, energy)
    columns, worth = bits_of_columns(np.abs(layer.entries).mean(axis=1), len(layer.mean)), worth.sum(axis=1)
    turned = max([1, *(len(one.exponents) for one in layer.rotations)])
    cheap = turned + np.flatnonzero(worth[turned:] <= DEAR * BIT * columns[turned:])
    cheap = cheap[np.argsort(worth[cheap], kind="stable")]
    elements, areas = len(layer.mean) * height * width, areas_of(boxes)
    held, more = ((part @ norms) / elements for part in (energy, sizes))
    saved = columns + spent.sum(axis=1)
    left = (DEPENDENT_STEP * step) ** 2 * BIT / (2 * math.log(2))
    live = np.where(energy > left * areas, areas, 0).sum(axis=1)
    count = _paid(saved[cheap], held[cheap], more[cheap], mse - analysis.lost, mse, live.sum(), live[cheap])
    gone = cheap[:count]
    return _without(analysis, gone, float(held[gone].sum())) if count else analysis


def _without(analysis: Analysis, gone: Index, lost: float) -> Analysis:
    """The analysis without these planes, which held a mean squared error of `lost`."""
    layer = analysis.layer
    kept = np.setdiff1d(np.arange(len(layer.exponents)), gone)
    coefficients = analysis.coefficients[: len(kept)]
    for c, plane in enumerate(kept):  # in place: memory fresh from the system costs as much as the work
        if c < plane:
            coefficients[c] = analysis.coefficients[plane]
    sample, norms = sample_of(coefficients, layer.levels)
    return replace(
        analysis,
        layer=replace(
            layer, exponents=layer.exponents[kept], entries=layer.entries[kept], scores=layer.scores[: len(kept)]
        ),
        coefficients=coefficients,
        lost=analysis.lost + lost,
        sample=sample,
        norms=norms,
        room=analysis.room[: len(kept)],
        windows=[window._replace(scores=window.scores[kept]) for window in analysis.windows],
        tried={},
    )


def _paid(saved: F64, held: F64, more: F64, allowed: float, mse: float, live: float, lives: F64) -> int:
    """How many planes, the cheapest first, may go so that the bits they save are more than the others then take.

    saved: bits of each; held, more: mean squared error once it is gone, and how much of it is new. What the others may
    still miss shrinks from before to after, and each coefficient of a variance above that (`live` in all, `lives` in
    those that go) takes ½ log2 of it more. allowed: what is not lost yet of `mse`, of which MOST_LOST leaves a rest.
    """
    after = allowed - np.cumsum(held)
    before = after + np.cumsum(more)
    within = after >= (1 - MOST_LOST) * mse
    shrunk = np.log2(before / np.where(within, after, 1.0), where=within, out=np.zeros(len(after)))
    pays = within & (np.cumsum(saved) > CAUTION * 0.5 * (live - np.cumsum(lives)) * shrunk)
    return int(np.flatnonzero(pays)[-1]) + 1 if pays.any() else 0


@jit
def weigh(Z: F32, scale: np.float32, boxes: I64, spent: F64, worth: F64, sizes: F64, energy: F64) -> None:
    """For each subband of Z (plane, y, x), of the coefficients that are SOME or more in steps of 1 / scale: the bits
    that they take; what they keep out of the error beyond what these bits are worth, in squared steps; Σ Z². And Σ Z²
    of all. In lanes, column by column."""
    flat, lanes, sums = Z.reshape(-1), np.empty((4, Z.shape[2]), np.float32), np.empty(4)
    squares, more, counts, gained = lanes[0], lanes[1], lanes[2], lanes[3]
    for c in range(Z.shape[0]):
        for k in range(boxes.shape[0]):
            height, n = boxes[k, 1] - boxes[k, 0], boxes[k, 3] - boxes[k, 2]
            corner = (c * Z.shape[1] + boxes[k, 0]) * Z.shape[2] + boxes[k, 2]
            lanes[:, :n] = np.float32(0.0)
            for y in range(height):
                here = corner + y * Z.shape[2]
                for x in range(n):
                    z = flat[np.uint64(here + x)]
                    square, is_some = z * z, np.float32(np.abs(z) * scale >= SOME)
                    squares[x] += square
                    more[x] += is_some * square
                    counts[x] += is_some
            _add_up(lanes, n, sums)
            energy[c, k], sizes[c, k], some = sums[0], sums[1], sums[2]
            if some == 0:
                continue
            each = math.log2(height * n / some) + SIZE_BITS
            spent[c, k], cost = some * each, np.float32(BIT * each)
            for y in range(height):
                here = corner + y * Z.shape[2]
                for x in range(n):
                    steps = flat[np.uint64(here + x)] * scale
                    gained[x] += max(steps * steps - cost, np.float32(0.0))
            _add_up(lanes, n, sums)
            worth[c, k] = sums[3]


@jit
def _add_up(lanes: F32, n: int, sums: F64) -> None:
    """sums = those of the first n of each row."""
    for i in range(lanes.shape[0]):
        sums[i] = 0.0
        for x in range(n):
            sums[i] += np.float64(lanes[i, x])
