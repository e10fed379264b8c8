"""Inner loops of the low-rank layer: centre, combine, quantise, reconstruct, measure.

Plain IEEE arithmetic in a fixed order, never contracted, no BLAS: the reconstruction has the same bits on every CPU,
so a residual coded on top of it is exact everywhere. Strips of pixels keep the operands in L1 and L2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
Bool = NDArray[np.bool_]
Matrix = NDArray[Any]

STRIP = 512
LANES = 16


@jit
def centre(x: Matrix, mean: F64, scale: float, out: F32) -> None:
    """out[b, i] = float32((x[b, i] − mean[b])·scale), for x (band, pixel) of any dtype."""
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            out[b, i] = np.float32((np.float64(x[b, i]) - mean[b]) * scale)


@jit
def combine(weights: F32, planes: F32, out: F32) -> None:
    """out = weights @ planes in float32, summed in the order of `planes`: (r, k), (k, pixel) -> (r, pixel)."""
    pixels = planes.shape[1]
    for start in range(0, pixels, STRIP):
        stop = min(start + STRIP, pixels)
        for b in range(out.shape[0]):
            total = out[b, start:stop]
            total[:] = np.float32(0.0)
            for j in range(planes.shape[0]):
                weight, plane = weights[b, j], planes[j, start:stop]
                for i in range(stop - start):
                    total[i] += weight * plane[i]


@jit
def reconstruct(weights: F32, planes: F32, mean: F64, step: float, limits: F64, whole: bool, out: Matrix) -> None:
    """out[b] = clip(mean[b] + step·Σ_j weights[b, j]·planes[j]): the sum in float32, the rest in float64.

    limits: lowest and highest value. `whole` rounds, half to even. NaN, which only damaged bytes make, becomes lowest.
    """
    pixels = planes.shape[1]
    total = np.empty(STRIP, np.float32)
    for start in range(0, pixels, STRIP):
        n = min(STRIP, pixels - start)
        for b in range(out.shape[0]):
            total[:] = np.float32(0.0)
            for j in range(planes.shape[0]):
                weight, plane = weights[b, j], planes[j, start : start + n]
                for i in range(n):
                    total[i] += weight * plane[i]
            row = out[b, start : start + n]
            for i in range(n):
                value = mean[b] + step * np.float64(total[i])
                if whole:
                    value = np.rint(value)
                value = value if value >= limits[0] else limits[0]
                row[i] = value if value <= limits[1] else limits[1]


@jit
def quantise(coefficients: F32, inverse_step: np.float32, threshold: np.float32, out: I32) -> None:
    """out = sign(c)·⌊|c|·inverse_step + threshold⌋, flat arrays; a threshold below ½ widens the zero bin."""
    for i in range(coefficients.shape[0]):
        c = coefficients[i] * inverse_step
        q = np.int32(np.abs(c) + threshold)
        out[i] = -q if c < np.float32(0.0) else q


@jit
def dequantise(q: I32, first: np.float32, second: np.float32, out: F32) -> None:
    """out = sign(q)·(|q| + offset), in steps; the offset is `first` for |q| = 1 and `second` above, 0 for q = 0."""
    for i in range(q.shape[0]):
        a = np.float32(abs(q[i]))
        a += first if a == np.float32(1.0) else second
        out[i] = np.float32(0.0) if q[i] == 0 else (-a if q[i] < 0 else a)


@jit
def quantisation_moments(sample: F32, norms: F32, inverse_step: np.float32, threshold: np.float32, out: F64) -> None:
    """Weighted moments of r = |c|/step − |q| for a flat sample of coefficients, a multiple of LANES long.

    out = [Σr²; Σ1, Σr where |q| = 1; Σ1, Σr where |q| > 1]. Summed in lanes, so that it vectorises in a fixed order.
    """
    lanes = np.zeros((5, LANES))
    for start in range(0, sample.shape[0], LANES):
        for j in range(LANES):
            c = np.abs(sample[start + j] * inverse_step)
            q = np.floor(c + threshold)
            r, weight = np.float64(c - q), np.float64(norms[start + j])
            one = weight if q == np.float32(1.0) else 0.0
            more = weight if q > np.float32(1.0) else 0.0
            lanes[0, j] += weight * r * r
            lanes[1, j] += one
            lanes[2, j] += one * r
            lanes[3, j] += more
            lanes[4, j] += more * r
    out[:] = lanes.sum(axis=1)


@jit
def centroids(Z: F32, scores: I32) -> tuple[float, float]:
    """Mean of |Z| − |score| where |score| = 1, and where it is more; flat arrays."""
    one, more, ones, mores = 0.0, 0.0, 0, 0
    for i in range(Z.shape[0]):
        a = abs(scores[i])
        if a == 1:
            one += np.abs(Z[i]) - np.float32(1.0)
            ones += 1
        elif a:
            more += np.abs(Z[i]) - np.float32(a)
            mores += 1
    return min(max(one / max(ones, 1), -0.5), 0.75), min(max(more / max(mores, 1), -0.5), 0.75)


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
def squared_sum(x: Matrix, valid: Bool) -> float:
    """Σ x² over the valid elements of a (band, pixel) array; valid: (1 or band, pixel)."""
    total = 0.0
    for b in range(x.shape[0]):
        real = valid[b % valid.shape[0]]
        part = 0.0
        for i in range(x.shape[1]):
            value = np.float64(x[b, i])
            part += value * value if real[i] else 0.0
        total += part
    return total


@jit
def squared_error(x: Matrix, y: Matrix, valid: Bool) -> float:
    """Σ (x − y)² over the valid elements of (band, pixel) arrays; valid: (1 or band, pixel)."""
    total = 0.0
    for b in range(x.shape[0]):
        real = valid[b % valid.shape[0]]
        part = 0.0
        for i in range(x.shape[1]):
            e = np.float64(x[b, i]) - np.float64(y[b, i])
            part += e * e if real[i] else 0.0
        total += part
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
