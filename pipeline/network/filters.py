"""Where the filters of a bank come from: patches of the scene, or textbooks.

Patches:  Coates & Ng 2012 (ZCA), with the per-patch steps of MOSAIKS (Rolf et al. 2021) as in torchgeo.models.RCF.
Classic:  Sobel; Marr & Hildreth 1980 (Laplacian of Gaussian); Freeman & Adelson 1991 (steerable second derivatives).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BankError
from pipeline.svd.signs import row_signs

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

ZCA_FLOOR = 1e-3
FAINT = 1e-7
ABOVE_ROUNDING = 4.0
ROWS = 4096
CLASSIC_KINDS = ("sobel_x", "sobel_y", "log", "d2_000", "d2_060", "d2_120")
FINE, COARSE = 0.75, 1.5


def zca_filters(patches: F32, count: int) -> F64:
    """The first `count` of `patches` (m, d), centred, made unit, whitened twice by ZCA of them all: (count, d).

    With P the centred unit patches and G = PᵀP/m = V·diag(w)·Vᵀ:  F = P · V·diag(1/(w + floor))·Vᵀ.
    """
    G = np.zeros((patches.shape[1],) * 2)
    for first in range(0, len(patches), ROWS):
        P = _unit(patches[first : first + ROWS])
        G += P.T @ P
    w, V = np.linalg.eigh(G / len(patches))
    filters: F64 = (_unit(patches[:count]) @ V / (np.maximum(w, 0.0) + ZCA_FLOOR)) @ V.T
    return filters


def response_moments(patches: F32, filters: F64) -> tuple[F64, F64]:
    """Mean and standard deviation of each filter (n, d) over patches (m, d): (n,) each."""
    total, squares = np.zeros(len(filters)), np.zeros(len(filters))
    for first in range(0, len(patches), ROWS):
        responses = patches[first : first + ROWS].astype(np.float64) @ filters.T
        total += responses.sum(axis=0)
        squares += (responses**2).sum(axis=0)
    mean = total / len(patches)
    return mean, np.sqrt(np.maximum(squares / len(patches) - mean**2, 0.0))


def principal_components(correlation: F64, most: int, rounding: F64 | None = None) -> F32:
    """The first components of z-scored bands, whitened: (K, C) with K <= most, v/√w of eigenpairs (w, v), w > 0.

    Pearson 1901. Components weaker than FAINT of the first are rounding, and left out; so are those with less than
    ABOVE_ROUNDING times the variance that `rounding` (C,), the bands' own to whole numbers, gives them, which
    whitening would blow up to a component's worth of noise. One stays at least.
    """
    w, V = np.linalg.eigh(correlation)
    w, Vt = w[::-1][:most], V.T[::-1][:most]
    floor = np.full(len(w), FAINT * w[0])
    if rounding is not None:
        floor = np.maximum(floor, ABOVE_ROUNDING * (Vt**2 @ rounding))
    kept = w > floor
    kept[0] = True
    Vt = Vt[kept] * row_signs(Vt[kept])[:, None]
    components: F32 = (Vt / np.sqrt(np.maximum(w[kept, None], FAINT))).astype(np.float32)
    return components


def classic_filters(size: int) -> F32:
    """Twelve filters of size x size: the CLASSIC_KINDS at a fine scale, then at a coarse one. (12, 1, size, size)

    Scales are σ = .75 and 1.5 pixels for size 7, and in proportion for others. Each filter sums to 0, its absolute
    values to 1. Raises BankError for an even size or one below 5.
    """
    if size < 5 or size % 2 == 0:
        raise BankError(f"classic filters need an odd size of at least 5, got {size}; drop --size to take 7")
    filters = [kernel for sigma in (FINE, COARSE) for kernel in _derivatives(size, sigma * size / 7)]
    filters = [kernel - kernel.mean() for kernel in filters]
    return np.stack([kernel / np.abs(kernel).sum() for kernel in filters])[:, None].astype(np.float32)


def _derivatives(size: int, sigma: float) -> list[F64]:
    """The CLASSIC_KINDS at one scale, in order."""
    sobel = np.outer([1.0, 2.0, 1.0], [-1.0, 0.0, 1.0])
    smooth = _gaussian(size - 2, sigma)[0]
    g, y, x = _gaussian(size, sigma)
    xx, yy, xy = (x**2 - sigma**2) * g, (y**2 - sigma**2) * g, x * y * g
    steered = [
        np.cos(angle) ** 2 * xx - 2 * np.cos(angle) * np.sin(angle) * xy + np.sin(angle) ** 2 * yy
        for angle in np.deg2rad([0, 60, 120])
    ]
    return [_convolved(smooth, sobel), _convolved(smooth, sobel.T), xx + yy, *steered]


def _convolved(block: F64, kernel: F64) -> F64:
    """Full convolution, as scipy.signal.convolve2d: to import that takes half a second at every start."""
    (height, width), (rows, columns) = block.shape, kernel.shape
    out = np.zeros((height + rows - 1, width + columns - 1))
    for (y, x), weight in np.ndenumerate(kernel):
        out[y : y + height, x : x + width] += weight * block
    return out


def _gaussian(size: int, sigma: float) -> tuple[F64, F64, F64]:
    """exp(−r²/2σ²) on a size x size grid, with the grid's y and x counted from its centre."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.exp(-(x**2 + y**2) / (2 * sigma**2)), y, x


def _unit(patches: F32) -> F64:
    """Patches less their own mean, of norm 1 (flat ones stay 0)."""
    centred = patches.astype(np.float64)
    centred -= centred.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(norms > 1e-8, norms, 1.0)
