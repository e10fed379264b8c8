"""What of an analysis is worth its bits: subbands and planes that say next to nothing are left out before they are
coded.

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
from pipeline.codec.context import boxes_of
from pipeline.codec.low_rank import FINEST_STEP, Analysis
from pipeline.codec.sample import sample_of
from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

# Steps of the trellis from which a magnitude is not nothing.
SOME = np.float32(1.2)
# Only of a subband in which fewer than one in so many is.
RARE = 16
# Bits of such a one besides where it is: its size and sign.
SIZE_BITS = 3.0
# What such a subband may be worth, in squared steps a coefficient, for each in all planes that is not nothing.
HUSHED = 0.02
# And how many times what its column costs a plane must be worth: to code it takes time, and zeros are not quite free.
DEAR = 2.0
# Of the error allowed, what may be left out in all; less than the rest no step is looked for.
MOST_LOST = 0.95


def worthwhile(analysis: Analysis, step: float, mse: float) -> Analysis:
    """The analysis without what is not worth its bits at about this step, for an error of `mse` (units squared).

    Subbands are zeros in the coefficients, which are changed in place, planes are gone; what both held counts as lost.
    """
    planes, height, width = analysis.coefficients.shape
    layer = analysis.layer
    if not planes or step < FINEST_STEP:
        return analysis
    boxes, norms = boxes_of(height, width, layer.levels), np.array(wavelet.norms(layer.levels))
    counts, worth, energy = np.zeros((3, planes, len(boxes)))
    weigh(analysis.coefficients, np.float32(1 / (DEPENDENT_STEP * step)), boxes, counts, worth, energy)
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    allowed = HUSHED * counts.sum() / (planes * height * width)
    hushed = (counts > 0) & (counts * RARE <= area) & (worth <= allowed * area)
    bits = bits_of_columns(np.abs(layer.entries).mean(axis=1), len(layer.mean))
    keeps = np.where(hushed, 0.0, worth).sum(axis=1) > DEAR * BIT * bits
    keeps[: max([1, *(len(one.exponents) for one in layer.rotations)])] = True
    gone = np.repeat(~keeps[:, None], len(boxes), axis=1)
    for left_out in (hushed | gone, gone):
        lost = analysis.lost + float((energy * norms)[left_out].sum()) / (len(layer.mean) * height * width)
        if lost <= MOST_LOST * mse:
            break
    else:
        return analysis
    if not left_out.any():
        return analysis
    kept = np.flatnonzero(keeps)
    coefficients = analysis.coefficients[: len(kept)]
    for c, plane in enumerate(kept):  # in place: memory fresh from the system costs as much as the work
        if c < plane:
            coefficients[c] = analysis.coefficients[plane]
        for y0, y1, x0, x1 in boxes[left_out[plane], :4]:
            coefficients[c, y0:y1, x0:x1] = 0
    layer = replace(
        layer, exponents=layer.exponents[kept], entries=layer.entries[kept], scores=layer.scores[: len(kept)]
    )
    sample, counted = sample_of(coefficients, layer.levels)
    return replace(
        analysis,
        layer=layer,
        coefficients=coefficients,
        lost=lost,
        sample=sample,
        norms=counted,
        room=analysis.room[: len(kept)],
        tried={},
    )


@jit
def weigh(Z: F32, scale: np.float32, boxes: I64, counts: F64, worth: F64, energy: F64) -> None:
    """For each subband of Z (plane, y, x): how many coefficients, in steps of 1 / scale, are SOME or more; what these
    keep out of the error beyond what their bits are worth, in squared steps; Σ Z²."""
    for c in range(Z.shape[0]):
        for k in range(boxes.shape[0]):
            y0, y1, x0, x1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
            some, total = 0, 0.0
            for y in range(y0, y1):
                row, squares = Z[c, y, x0:x1], np.float32(0.0)
                for x in range(row.shape[0]):
                    some += np.abs(row[x]) * scale >= SOME
                    squares += row[x] * row[x]
                total += np.float64(squares)
            counts[c, k], energy[c, k] = some, total
            if some == 0:
                continue
            cost = np.float32(BIT * (math.log2((y1 - y0) * (x1 - x0) / some) + SIZE_BITS))
            for y in range(y0, y1):
                row, gained = Z[c, y, x0:x1], np.float32(0.0)
                for x in range(row.shape[0]):
                    steps = row[x] * scale
                    gained += max(steps * steps - cost, np.float32(0.0))
                worth[c, k] += np.float64(gained)
