"""What a magnitude is expected to be, from those already known: the context that integers are coded under.

Sources: a weighted sum of known magnitudes around a coefficient, in its parent and in other components as context:
Wu (1997), Penna, Tillo, Magli, Olmo (2007); here with weights by least squares for each kind of subband. All of it
is integers, the same on every CPU. docs/format.md, "Integers under contexts", has every constant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codec.wavelet import subbands
from pipeline.jit import jit

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]

# The terms of the sum, in the order of their weights: the magnitudes to the left, above, at the two upper corners,
# two to the left and two above; the parent and its four neighbours; the plane before and its four neighbours; the
# plane before that; the first subband of this level (and its four neighbours) and the second, where they are known;
# the mean magnitude of this subband.
(
    LEFT,
    ABOVE,
    CORNERS,
    SECOND,
    PARENT,
    ABOUT_PARENT,
    BEFORE,
    ABOUT_BEFORE,
    TWO_BEFORE,
    FIRST,
    ABOUT_FIRST,
    OTHER,
    MEAN,
) = range(13)
TERMS = 13
# Weights are 256ths, and less than 2; sums 1024ths.
UNIT = 1024
MOST_WEIGHT = 511
WEIGHT_BITS = 9
# A magnitude counts as this much at the most, a weight times a ratio of means as 8.
MOST = 4095
MOST_PRODUCT = 8 * UNIT - 1
# Kinds of subband with weights of their own: the low corner, three orientations on four scales, the finest last.
KINDS = 13
BUCKETS = 64
# Means are written as quarters of their log2, from 2⁻¹⁵·⁷⁵; 0 says that there is nothing but zeros.
MEAN_ONE = 64
MOST_MEAN = 255
# Subbands of a larger mean than 2⁸ have their low bits written as they are.
PLAIN = 8
QUARTERS = np.array([1024, 1218, 1448, 1722], np.int64)


def boxes_of(height: int, width: int, levels: int) -> I64:
    """(subband, 10): y0, y1, x0, x1; the numbers of parent, first and second subband of this level, or −1; orientation;
    kind; coefficients in those before. In the order of `wavelet.subbands`, which is the order of the file."""
    rows, before = [], 0
    for number, (y, x) in enumerate(subbands(height, width, levels)):
        i, orientation = (number - 1) // 3, (number - 1) % 3 + 1 if number else 0
        parent = number - 3 if i > 0 else -1
        first = number - orientation + 1 if orientation > 1 else -1
        second = number - 1 if orientation == 3 else -1
        scale = min(levels - i - 1, 3)
        kind = 1 + 3 * scale + orientation - 1 if number else 0
        rows.append((y.start, y.stop, x.start, x.stop, parent, first, second, orientation, kind, before))
        before += (y.stop - y.start) * (x.stop - x.start)
    return np.array(rows, np.int64)


def areas_of(boxes: I64) -> I64:
    """(subband,) coefficients of each; 0 where small planes have none."""
    areas: I64 = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    return areas


@jit
def shift_of(code: int) -> int:
    """How many low bits are written plainly in a subband whose mean has this code."""
    return max(0, (code - MEAN_ONE) // 4 - PLAIN)


@jit
def ratio(code: int, other: int) -> int:
    """Mean over another mean, in 1024ths, from their codes; 0 where the other is all zeros."""
    if other == 0:
        return 0
    quarters = (code - 4 * shift_of(code)) - (other - 4 * shift_of(other))
    octaves = quarters >> 2
    value = int(QUARTERS[quarters & 3])
    return min(value << octaves, 1 << 24) if octaves >= 0 else value >> min(-octaves, 40)


@jit
def products(means: I64, boxes: I64, c: int, k: int, weights: I64, out: I64) -> None:
    """out (TERMS,) = weights of subband k of plane c, in 1024ths: its kind's times ratios of means (plane, subband)."""
    code = means[c, k]
    out[:] = weights[boxes[k, 8]] * 4
    from_parent = ratio(code, means[c, boxes[k, 4]]) if boxes[k, 4] >= 0 else 0
    from_before = ratio(code, means[c - 1, k]) if c > 0 else 0
    from_two = ratio(code, means[c - 2, k]) if c > 1 else 0
    from_first = ratio(code, means[c, boxes[k, 5]]) if boxes[k, 5] >= 0 else 0
    from_other = ratio(code, means[c, boxes[k, 6]]) if boxes[k, 6] >= 0 else 0
    out[PARENT] = (out[PARENT] * from_parent) >> 10
    out[ABOUT_PARENT] = (out[ABOUT_PARENT] * from_parent) >> 10
    out[BEFORE] = (out[BEFORE] * from_before) >> 10
    out[ABOUT_BEFORE] = (out[ABOUT_BEFORE] * from_before) >> 10
    out[TWO_BEFORE] = (out[TWO_BEFORE] * from_two) >> 10
    out[FIRST] = (out[FIRST] * from_first) >> 10
    out[ABOUT_FIRST] = (out[ABOUT_FIRST] * from_first) >> 10
    out[OTHER] = (out[OTHER] * from_other) >> 10
    mean = ratio(code, MEAN_ONE)
    out[MEAN] = min((out[MEAN] * mean) >> 10, 1 << 22)
    for i in range(TERMS - 1):
        out[i] = min(out[i], MOST_PRODUCT)


@jit
def bucket(total: int) -> int:
    """The context of a sum in 1024ths: four for each octave of 16 times it and 1."""
    # No sum of all terms comes near 2³¹; floats from 32 bits are made in vectors.
    bits = np.float32(np.int32(total + 64)).view(np.int32)
    return min(int(bits >> 21) - 532, BUCKETS - 1)
