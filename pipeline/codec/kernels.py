"""Inner loops of the low-rank layer: centre, combine, quantise, reconstruct, measure.

Plain IEEE arithmetic in a fixed order, never contracted, no BLAS: the reconstruction has the same bits on every CPU,
so a residual coded on top of it is exact everywhere. Strips of pixels keep the operands in L1 and L2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec.sums import STRIP, TOGETHER, pack_strip, sum_strip
from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
Matrix = NDArray[Any]

LANES = 256  # partial sums, side by side


@jit
def centre(x: Matrix, mean: F64, scale: float, out: F32) -> None:
    """out[b, i] = float32((x[b, i] − mean[b])·scale), for x (band, pixel) of any dtype."""
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            out[b, i] = np.float32((np.float64(x[b, i]) - mean[b]) * scale)


@jit
def combine(weights: F32, planes: F32, out: F32) -> None:
    """out = weights @ planes in float32, summed in the order of `planes`: (r, k), (k, pixel) -> (r, pixel)."""
    k, pixels = planes.shape
    flat, packed, totals = weights.ravel(), np.empty(k * STRIP, np.float32), np.empty(TOGETHER * STRIP, np.float32)
    for start in range(0, pixels, STRIP):
        n = min(STRIP, pixels - start)
        pack_strip(planes, start, n, packed)
        for first in range(0, out.shape[0], TOGETHER):
            count = min(TOGETHER, out.shape[0] - first)
            sum_strip(flat, first, count, k, packed, n, totals)
            for i in range(count):
                out[first + i, start : start + n] = totals[i * STRIP : i * STRIP + n]


@jit
def reconstruct(weights: F32, planes: F32, mean: F64, step: float, limits: F64, whole: bool, out: Matrix) -> None:
    """out[b] = clip(mean[b] + step·Σ_j weights[b, j]·planes[j]): the sum in float32, the rest in float64.

    limits: lowest and highest value. `whole` rounds, half to even. NaN, which only damaged bytes make, becomes lowest.
    """
    k, pixels = planes.shape
    flat, packed, totals = weights.ravel(), np.empty(k * STRIP, np.float32), np.empty(TOGETHER * STRIP, np.float32)
    low, high = limits[0], limits[1]
    for start in range(0, pixels, STRIP):
        n = min(STRIP, pixels - start)
        pack_strip(planes, start, n, packed)
        for first in range(0, out.shape[0], TOGETHER):
            count = min(TOGETHER, out.shape[0] - first)
            sum_strip(flat, first, count, k, packed, n, totals)
            for b in range(first, first + count):
                total = totals[(b - first) * STRIP : (b - first) * STRIP + n]
                row, middle = out[b, start : start + n], mean[b]
                for i in range(n):
                    value = middle + step * np.float64(total[i])
                    if whole:
                        value = np.rint(value)
                    value = value if value >= low else low
                    row[i] = value if value <= high else high


@jit
def peak_of(x: F32) -> float:
    """Largest |x| of a flat array, 0 where there is none; in lanes, as below."""
    lanes = np.zeros(LANES, np.float32)
    for start in range(0, x.shape[0], LANES):
        part = x[start : start + LANES]
        for i in range(part.shape[0]):
            a = np.abs(part[i])
            lanes[i] = a if a > lanes[i] else lanes[i]
    return float(lanes.max())


@jit
def quantise(coefficients: F32, inverse_step: np.float32, threshold: np.float32, out: I32) -> None:
    """out = sign(c)·⌊|c|·inverse_step + threshold⌋, flat arrays; a threshold below ½ widens the zero bin."""
    for i in range(coefficients.shape[0]):
        c = coefficients[i] * inverse_step
        q = np.int32(np.abs(c) + threshold)
        out[i] = -q if c < np.float32(0.0) else q


@jit
def dequantise(q: I32, first: np.float32, second: np.float32, out: F32) -> None:
    """out = sign(q)·(|q| + offset), in steps; the offset is `first` for |q| = 1 and `second` above, 0 for q = 0.

    `out` may be the memory of q: so each strip is copied out of it first.
    """
    strip = np.empty(STRIP, np.float32)
    for start in range(0, q.shape[0], STRIP):
        source, target = q[start : start + STRIP], out[start : start + STRIP]
        n = target.shape[0]
        for i in range(n):
            strip[i] = np.float32(source[i])
        for i in range(n):
            a = np.abs(strip[i])
            a += first if a == np.float32(1.0) else second
            a = a if strip[i] > np.float32(0.0) else -a
            target[i] = a if strip[i] != np.float32(0.0) else np.float32(0.0)


@jit
def missed(c: F32, inverse_step: np.float32, q: I32, first: np.float32, second: np.float32, out: F32) -> None:
    """out = c·inverse_step − what `dequantise` makes of q, flat arrays."""
    for i in range(c.shape[0]):
        level = np.float32(q[i])
        a = np.abs(level)
        a += first if a == np.float32(1.0) else second
        a = a if level > np.float32(0.0) else -a
        out[i] = c[i] * inverse_step - (a if level != np.float32(0.0) else np.float32(0.0))


@jit
def quantisation_moments(sample: F32, norms: F32, inverse_step: np.float32, threshold: np.float32, out: F64) -> None:
    """Weighted moments of r = |c|/step − |q| for a flat sample of coefficients.

    out = [Σr²; Σ1, Σr where |q| = 1; Σ1, Σr where |q| > 1]. Summed in lanes, so that it vectorises in a fixed order.
    """
    lanes = np.zeros((5, LANES))
    squares, one, ones, more, mores = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4]
    q, r, w = np.empty(LANES, np.float32), np.empty(LANES), np.empty(LANES)
    for start in range(0, sample.shape[0], LANES):
        part, weights = sample[start : start + LANES], norms[start : start + LANES]
        n = part.shape[0]
        for i in range(n):
            c = np.abs(part[i] * inverse_step)
            q[i] = np.float32(np.int32(c + threshold))
            r[i] = np.float64(c - q[i])
        for i in range(n):
            w[i] = np.float64(weights[i])
            squares[i] += w[i] * r[i] * r[i]
        for i in range(n):
            weight = w[i] if q[i] == np.float32(1.0) else 0.0
            one[i] += weight
            ones[i] += weight * r[i]
        for i in range(n):
            weight = w[i] if q[i] > np.float32(1.0) else 0.0
            more[i] += weight
            mores[i] += weight * r[i]
    out[:] = lanes.sum(axis=1)


@jit
def centroids(Z: F32, scores: I32) -> tuple[float, float]:
    """Mean of |Z| − |score| where |score| = 1, and where it is more; flat arrays. In lanes, as above."""
    lanes = np.zeros((4, LANES))
    one, ones, more, mores = lanes[0], lanes[1], lanes[2], lanes[3]
    for start in range(0, Z.shape[0], LANES):
        part, score = Z[start : start + LANES], scores[start : start + LANES]
        for i in range(part.shape[0]):
            level = np.abs(np.float32(score[i]))
            e, counts = np.float64(np.abs(part[i]) - level), np.float64(level == np.float32(1.0))
            ones[i] += counts
            one[i] += counts * e
            counts = np.float64(level > np.float32(1.0))
            mores[i] += counts
            more[i] += counts * e
    total = lanes.sum(axis=1)
    return (
        min(max(total[0] / max(total[1], 1.0), -0.5), 0.75),
        min(max(total[2] / max(total[3], 1.0), -0.5), 0.75),
    )


@jit
def add_errors(
    Z: F32, scores: I32, boxes: I64, scale: np.float32, first: np.float32, second: np.float32, errors: F64, sums: F64
) -> None:
    """errors (plane, box) += Σ (|Z|·scale − |dequantised|)² in each box, sums += Σ |score|; scores (plane, y, x) as
    `dequantise` has them. In lanes, column by column."""
    lanes = np.empty((2, Z.shape[2]), np.float32)
    squares, levels = lanes[0], lanes[1]
    for c in range(Z.shape[0]):
        for k in range(boxes.shape[0]):
            x0, n = boxes[k, 2], boxes[k, 3] - boxes[k, 2]
            lanes[:, :n] = np.float32(0.0)
            for y in range(boxes[k, 0], boxes[k, 1]):
                row, score = Z[c, y, x0 : x0 + n], scores[c, y, x0 : x0 + n]
                for x in range(n):
                    a = np.abs(np.float32(score[x]))
                    level = a + (first if a == np.float32(1.0) else second)
                    e = np.abs(row[x]) * scale - (level if a > np.float32(0.0) else np.float32(0.0))
                    squares[x] += e * e
                    levels[x] += a
            for x in range(n):
                errors[c, k] += np.float64(squares[x])
                sums[c, k] += np.float64(levels[x])


@jit
def residual(x: Matrix, y: Matrix, step: float, out: I32) -> float:
    """out = round((x − y) / step), flat arrays; returns the largest |x − y|, above 2³¹ steps of which `out` is void.

    No tie is possible for integers and an odd step, and float64 holds what 32 bits can differ by exactly.
    """
    largest = 0.0
    for i in range(x.shape[0]):
        e = np.float64(x[i]) - np.float64(y[i])
        out[i] = np.int32(np.rint(e / step))
        largest = max(largest, np.abs(e))
    return largest


@jit
def add_residual(y: Matrix, steps: I32, step: float, limits: F64, out: Matrix) -> None:
    """out = clip(y + step·steps) in float64, flat arrays. A NaN, which only damaged bytes make, becomes lowest."""
    for i in range(y.shape[0]):
        value = np.float64(y[i]) + step * np.float64(steps[i])
        value = value if value >= limits[0] else limits[0]
        out[i] = value if value <= limits[1] else limits[1]


@jit
def means(x: Matrix) -> F64:
    """Mean of each row of (band, pixel). Sums of integers are exact up to 2⁵³. In lanes, as above."""
    out, lanes = np.empty(x.shape[0]), np.empty(min(LANES, x.shape[1]))
    for b in range(x.shape[0]):
        lanes[:] = 0.0
        for start in range(0, x.shape[1], LANES):
            row = x[b, start : start + LANES]
            for i in range(row.shape[0]):
                lanes[i] += np.float64(row[i])
        out[b] = lanes.sum() / x.shape[1]
    return out


@jit
def squared_sum(x: Matrix, valid: Bool) -> float:
    """Σ x² over the valid elements of a (band, pixel) array; valid: (1 or band, pixel). In lanes, as above."""
    total, lanes = 0.0, np.empty(min(LANES, x.shape[1]))
    for b in range(x.shape[0]):
        lanes[:] = 0.0
        for start in range(0, x.shape[1], LANES):
            row, real = x[b, start : start + LANES], valid[b % valid.shape[0], start : start + LANES]
            for i in range(row.shape[0]):
                value = np.float64(row[i])
                lanes[i] += value * value if real[i] else 0.0
        total += lanes.sum()
    return total


@jit
def squared_error(x: Matrix, y: Matrix, valid: Bool) -> float:
    """Σ (x − y)² over the valid elements of (band, pixel) arrays; valid: (1 or band, pixel). In lanes, as above."""
    total, lanes = 0.0, np.empty(min(LANES, x.shape[1]))
    for b in range(x.shape[0]):
        lanes[:] = 0.0
        for start in range(0, x.shape[1], LANES):
            one, other = x[b, start : start + LANES], y[b, start : start + LANES]
            real = valid[b % valid.shape[0], start : start + LANES]
            for i in range(one.shape[0]):
                e = np.float64(one[i]) - np.float64(other[i])
                lanes[i] += e * e if real[i] else 0.0
        total += lanes.sum()
    return total


@jit
def largest_error(x: Matrix, y: Matrix, valid: Bool) -> float:
    """max |x − y| over the valid elements, as `squared_error`; NaN counts as infinite."""
    largest = 0.0
    for b in range(x.shape[0]):
        real = valid[b % valid.shape[0]]
        for i in range(x.shape[1]):
            e = np.abs(np.float64(x[b, i]) - np.float64(y[b, i]))
            if real[i] and not e <= largest:
                largest = e if e == e else np.inf
    return largest
