"""Lines of a scene that end, told from stripes: a sensor draws a column over all rows.

What tells is absence, seen: rows in which an offset of one band is 0 once what the other bands foretell is taken off.
That it is not seen proves nothing: the edges of a field hide it. The test is our own, a ratio of likelihoods with
bounded terms (Huber, Ronchetti 2009, ch. 4) over the best run of segments (Kadane's maximum subarray: Bentley 1984);
docs/algorithms.md, "Stripes and impulses".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

# Logarithm of the likelihood that a line is absent from a run of segments over that of a stripe in all of them, from
# which an offset is refused; where it is one of many stripes of its band, which are likely, from SURER. One segment
# says at most half the square of MOST, so that it takes two, or five.
SURE = 15.0
SURER = 50.0
MOST = 5.0
CLIP = 3.0  # spreads at which bends are clipped for their covariance
MAD = 1.4826  # unit gaussian: σ over the median of |x|


def ending(columns: F64, offsets: F64, floor: F64) -> F64:
    """How surely offsets (band, x) are 0 in a run of segments, at the ends or between, of columns (band, segment, x).

    As `absence` over the likeliest run; 0 where offsets are. floor: least σ (band,) of what stands out of a segment.
    Offsets side by side of one sign are one line, and told by its two edges.
    """
    found = np.zeros(offsets.shape)
    sign = np.pad(np.sign(offsets), ((0, 0), (1, 1)))
    here = sign[:, 1:-1]
    band, first = np.nonzero((here != 0) & (here != sign[:, :-2]))
    last = np.nonzero((here != 0) & (here != sign[:, 2:]))[1]
    if not band.size:
        return found
    steps = unforetold(columns - offsets[:, None], floor)
    edges = np.stack([steps[band, :, first], -steps[band, :, last + 1]])
    seen = np.isfinite(edges)
    left = np.where(seen, edges, 0).sum(axis=0) / np.where(seen.any(axis=0), seen.sum(axis=0), np.nan)
    gain = absence(left + (offsets[band, first] + offsets[band, last])[:, None] / 2, floor[band, None])
    for k, a, b, likely in zip(band, first, last, likeliest(gain), strict=True):
        found[k, a : b + 1] = likely
    return found


def likeliest(gain: F64) -> F64:
    """Largest sum (line,) of gain (line, segment) over a run of segments, or over one at each end: a line may lie
    wholly within the tile."""
    best = run = np.zeros(len(gain))
    for part in gain.T:
        run = np.maximum(run + part, 0.0)
        best = np.maximum(best, run)
    head, tail = (np.cumsum(part, axis=1).max(axis=1).clip(0) for part in (gain, gain[:, ::-1]))
    return np.asarray(np.maximum(best, head + tail))


def absence(height: F64, floor: F64) -> F64:
    """Log likelihood that a line of height (line, segment) is absent over that it is there; 0 where height is NaN.

    How high it is where it is there its own segments say, those that are nearer to their median than to 0.
    """
    level = _median(height)
    level = _median(np.where(np.abs(height - level) < np.abs(height), height, np.nan))
    there, absent = np.abs(height - level), np.abs(height)
    scale = np.maximum(MAD * _median(np.minimum(there, absent)), floor)
    return np.nan_to_num(_loss(there / scale) - _loss(absent / scale))


def _loss(z: F64) -> F64:
    return np.minimum(np.square(z), MOST**2) / 2


def unforetold(mended: F64, floor: F64) -> F64:
    """Steps (band, segment, x + 1), NaN at the edges, between columns mended (band, segment, x), less what those of
    the other bands foretell: regression on the bends of all segments, clipped."""
    steps = np.pad(np.diff(mended, axis=2), ((0, 0), (0, 0), (1, 1)), constant_values=np.nan)
    bends = (steps[:, :, 1:] - steps[:, :, :-1]) / 2
    Z = bends[:, np.isfinite(bends).all(axis=0)]
    scale = np.maximum(MAD * np.median(np.abs(Z), axis=1), floor) if Z.size else floor
    Z = np.clip(Z / scale[:, None], -CLIP, CLIP)
    shrink = len(Z) / (len(Z) + Z.shape[1])
    R = Z @ Z.T
    norm = np.sqrt(np.diag(R)) + 1e-12
    R = (1 - shrink) * R / np.outer(norm, norm) + shrink * np.eye(len(R))
    Q = np.linalg.inv(R) / np.outer(scale, scale)
    count, width = steps.shape[1:]
    return np.asarray((Q / np.diag(Q)[:, None] @ steps.reshape(len(Q), -1)).reshape(-1, count, width))


def _median(values: F64) -> F64:
    """Median (row, 1) of the numbers in each row of values, the lower of two; NaN where there is none."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1, keepdims=True)
    return np.asarray(np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=1))
