"""Standard deviation of the noise of each band, found from the diagonal wavelet details of all bands together.

Sources: spread of the diagonal detail: Donoho, Johnstone (1994), here of the wavelet with four taps of Daubechies
(1988), which lets less texture through than Haar's; what the bands share is no noise: Roger, Arnold (1996),
HySime of Bioucas-Dias, Nascimento (2008), eq. 7, as the start of a factor analysis (principal factors, Harman 1976,
ch. 8). The choice of flat cells is our own: the three details of a cell are orthogonal, so choosing cells by two
does not bias white noise in the third.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.svd.gram import eigh_descending

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

QUARTILE = 0.674489750196082  # of a unit gaussian
HAAR = (np.array([1.0, 1.0]) / np.sqrt(2.0)).astype(np.float32)
DAUBECHIES = (np.array([1 + 3**0.5, 3 + 3**0.5, 3 - 3**0.5, 1 - 3**0.5]) / 32**0.5).astype(np.float32)
MIN_CELLS = 16
# Fewer cells of 4 x 4 valid pixels than this, and cells of 2 x 2 are read: slivers.
ENOUGH_CELLS = 256
FLAT_SHARE = 0.25
FLAT_WINDOW = 5
FLAT_CELLS = 1024
# Least share of the cells that must be free of the plateaus of single bands for those to be left out.
FREE_SHARE = 0.1
# Least share of a band's own estimate that the other bands may leave (real scenes: 0.22 and more): twins have noise.
TWINS = 0.1
RIDGE = 1e-6
ROUNDS = 3
# A factor that is for this much one band's is that band's own noise, or its own texture: it is left in.
# One factor at most for each so many bands: more cannot be told from their noise.
FEW = 3
OWN_FACTOR = 0.7
# Where the factors take more than this of a band's noise, what is left cannot tell σ any better than regression did.
MOST_LEVERAGE = 0.6
CLIP = 5.0
# Where the squares of a spread are clipped, in its σ; E min(x², TAMED²) of a unit gaussian x; and the variance of the
# log of a variance so found from n cells, times n.
TAMED = 1.5
TAMED_SQUARE = 0.7784652
SPREAD_ERROR = 3.3
# A band whose noise is this far below its own spread (80 dB) is left alone: float32 cannot see it.
NOISELESS = 1e-4
# What float32 leaves of a constant, as a share of the largest pixel about the mean.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Details:
    """One level of an orthogonal wavelet transform of a block; a cell is one place of its coarse grid."""

    diagonal: F32
    """(band, y, x): white noise of σ keeps its σ here."""
    edges: F32
    """(2, band, y, x): vertical and horizontal details."""
    mean: F32
    """(band, y, x) local mean, data units."""
    whole: Valid
    """(y, x): every pixel under the wavelet is valid."""

    @cached_property
    def readable(self) -> tuple[Valid, Valid]:
        """Cells (y, x) that show noise, and bands (band,) that vary: no holes, and no plateaus.

        A plateau is a square of 3 x 3 cells without any detail: a lone one is chance, and to drop it would raise σ, for
        two integers are often equal. Plateaus of single bands (saturation) count while enough cells are free of all.
        """
        live = np.asarray(self.diagonal.any(axis=(1, 2)) | self.edges.any(axis=(0, 2, 3)))
        square = np.ones((3, 3), bool)
        some, every = np.zeros_like(self.whole), np.ones_like(self.whole)
        for b in np.flatnonzero(live):
            moving = (self.diagonal[b] != 0) | (self.edges[0, b] != 0) | (self.edges[1, b] != 0)
            plateau = ndimage.binary_opening(~moving & self.whole, square)
            some |= plateau
            every &= plateau
        free = self.whole & ~some
        enough = np.count_nonzero(free) >= max(MIN_CELLS, FREE_SHARE * np.count_nonzero(self.whole))
        return (free if enough else self.whole & ~every), live

    def of(self, bands: NDArray[np.intp]) -> Details:
        """The same for some of the bands."""
        return Details(self.diagonal[bands], self.edges[:, bands], self.mean[bands], self.whole)


def estimate_noise(block: NDArray[Any], valid: Valid, details: Details | None = None) -> F64:
    """σ per band (band,), data units, of block (band, y, x) where valid (y, x); 0 for a band without noise.

    The spread of what a factor model of the bands leaves of the diagonal details, over the flattest quarter of the
    cells, and never more than that of the details themselves. Cells with an invalid pixel, or on a plateau
    (fill, saturation), are not read; with fewer than 16 left nothing can be said and σ is 0. `details` are those of
    the block, where they are at hand.
    """
    sigma = np.zeros(block.shape[0])
    contrast = _contrast(block, valid)
    details = wavelet_details(block, valid) if details is None else details
    lively, live = details.readable
    live = live & (contrast > 0)
    cells = int(np.count_nonzero(lively))
    if cells < MIN_CELLS or not live.any():
        return sigma
    flat = flattest(details.edges[:, live], lively, max(FLAT_SHARE, min(1.0, FLAT_CELLS / cells)))
    x = details.diagonal[live][:, flat]
    sigma[live] = spread(x)
    noisy = np.flatnonzero(sigma > NOISELESS * contrast)
    if x.shape[1] >= 4 * noisy.size > 8:
        sigma[noisy] = _without_factors(details.diagonal[noisy][:, flat], sigma[noisy])
    return np.where(sigma > NOISELESS * contrast, sigma, 0.0)


def wavelet_details(block: NDArray[Any], valid: Valid) -> Details:
    """Details of block (band, y, x) by the four-tap wavelet, or by Haar's where few 4 x 4 squares are valid."""
    taps = DAUBECHIES
    if min(valid.shape) < 4 or np.count_nonzero(_whole(valid, 4)) < ENOUGH_CELLS:
        taps = HAAR
    whole = _whole(valid, taps.size)
    shape = (block.shape[0], *whole.shape)
    diagonal, mean, edges = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros((2, *shape), np.float32)
    for b, band in enumerate(block if whole.any() else ()):
        centre = float(np.mean(band[valid], dtype=np.float64))
        pixels = np.subtract(np.where(valid, band, centre), centre, dtype=np.float64).astype(np.float32)
        low, high = _filtered(pixels, taps, 1), _filtered(pixels, _mirror(taps), 1)
        tiny = ROUNDING * float(np.abs(pixels).max(initial=0.0))
        for out, half, filters in (
            (diagonal[b], high, _mirror(taps)),
            (edges[0, b], high, taps),
            (edges[1, b], low, _mirror(taps)),
        ):
            detail = _filtered(half, filters, 0)
            # A constant leaves rounding, not zero, under irrational taps.
            out[...] = np.where(whole & (np.abs(detail) > tiny), detail, 0.0)
        mean[b] = _filtered(low, taps, 0) / 2 + centre
    return Details(diagonal, edges, mean, whole)


def _whole(valid: Valid, size: int) -> Valid:
    """(y, x) every second square of size² that is valid throughout; none in an array too small for one."""
    if min(valid.shape) < size:
        return np.zeros((max(0, (valid.shape[0] - size) // 2 + 1), max(0, (valid.shape[1] - size) // 2 + 1)), bool)
    squares = np.lib.stride_tricks.sliding_window_view(valid, (size, size))[::2, ::2]
    return np.asarray(squares.all(axis=(2, 3)))


def _mirror(taps: F32) -> F32:
    """The high-pass filter that is orthogonal to the low-pass `taps`."""
    return taps[::-1] * np.where(np.arange(taps.size) % 2, np.float32(-1), np.float32(1))


def _filtered(pixels: F32, taps: F32, axis: int) -> F32:
    """Every second value of pixels (y, x) filtered along an axis; no value reaches over the edge."""
    last = 2 * ((pixels.shape[axis] - taps.size) // 2) + 1
    lines = [pixels[i : i + last : 2] if axis == 0 else pixels[:, i : i + last : 2] for i in range(taps.size)]
    result = taps[0] * lines[0]
    for tap, line in zip(taps[1:], lines[1:], strict=True):
        result += tap * line
    return np.asarray(result)


def flatness(edges: F32, lively: Valid) -> F64:
    """(y, x) energy of the edges (2, band, y, x) around each cell, bands weighing alike; least where flat."""
    energy = np.zeros(lively.shape)
    for detail in edges.reshape(-1, *lively.shape):
        scale = float(np.sqrt(np.mean(np.square(detail[lively], dtype=np.float64))))
        if scale > 0:
            energy += np.square(detail / np.float32(scale))
    weight = ndimage.uniform_filter(lively.astype(np.float64), FLAT_WINDOW, mode="constant")
    energy = ndimage.uniform_filter(energy * lively, FLAT_WINDOW, mode="constant")
    return np.asarray(energy / np.maximum(weight, 1e-9))


def flattest(edges: F32, lively: Valid, share: float) -> Valid:
    """The `share` of lively cells (y, x) with the least energy of edges around them."""
    energy = flatness(edges, lively)
    return np.asarray(lively & (energy <= np.quantile(energy[lively], share)))


def _without_factors(x: F32, alone: F64) -> F64:
    """σ (band,) of details x (band, cell), > 2 bands, without what the bands share; `alone`: the σ of each by itself.

    A factor of the bands takes a share (the leverage) of each band's noise with it, which is put back. Regression
    takes the most, and what it leaves of few bands holds much noise of the others; so it is only the start.
    """
    limit = (CLIP * alone[:, None]).astype(np.float32)
    # In float64: bands that are nearly multiples of one another leave float32 nothing to invert.
    tame = np.clip(x, -limit, limit).astype(np.float64)
    covariance = tame @ tame.T / x.shape[1]
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale) + RIDGE * np.eye(len(x))
    sigma: F64 = np.clip(scale / np.sqrt(np.diag(np.linalg.inv(correlation))), TWINS * alone, alone)
    for size in (_clipped_spread,) * (ROUNDS - 1) + (spread,):
        project, leverage = factor_projection(covariance, sigma, x.shape[1])
        update = np.where(leverage < MOST_LEVERAGE, size((project / sigma).astype(np.float32) @ x), 1.0)
        sigma = np.clip(sigma * update, TWINS * alone, alone)
    return np.asarray(sigma)


def factor_projection(covariance: F64, sigma: F64, cells: int) -> tuple[F64, F64]:
    """What takes the factors of the bands from x/σ (band, cell), scaled so that noise of σ has unit spread again.

    Factors: eigenvectors of the whitened covariance (band, band) above the noise edge, few, without those that are one
    band's alone. Second, the leverage (band,): the share of each band's noise that went with them, and was put back.
    """
    bands = len(sigma)
    w, V = eigh_descending(covariance / np.outer(sigma, sigma))
    most = max(1, bands // FEW)
    V = V[:, : min(most, int(np.count_nonzero(w > (1 + np.sqrt(bands / cells)) ** 2)))]
    V = V[:, np.max(V**2, axis=0, initial=0.0) < OWN_FACTOR]
    leverage = np.minimum(np.sum(V**2, axis=1), 1 - TWINS)
    return (np.eye(bands) - V @ V.T) / np.sqrt(1.0 - leverage)[:, None], leverage


def _clipped_spread(details: F32) -> F64:
    """σ of each row (band, cell) of about unit spread from its squares, the largest tamed: quick, for a round."""
    return np.asarray(np.sqrt(np.mean(np.square(np.clip(details, -4, 4)), axis=1, dtype=np.float64)))


def spread(details: F32) -> F64:
    """σ of each row (band, cell): one step of a clipped variance (Huber 1964) from the quartiles.

    The quartiles bear edges and the steps of integers; the clipped variance has four fifths of their error.
    """
    variance = np.array([_mid_quartiles(row) for row in np.sort(details, axis=1)])[:, None] ** 2
    limit = (TAMED**2 * variance).astype(np.float32)
    variance = np.minimum(np.square(details), limit).mean(axis=1, dtype=np.float64) / TAMED_SQUARE
    return np.asarray(np.sqrt(variance))


def _mid_quartiles(row: F32) -> float:
    """Half the interquartile range of one row, in order, over that of a unit gaussian; ties share their rank."""
    low, high = (_mid_quantile(row, share) for share in (0.25, 0.75))
    return (high - low) / (2 * QUARTILE)


def _mid_quantile(row: F32, share: float) -> float:
    """Where the mid-ranks of the values of a row, in order, reach this share of it; a line between two of them."""
    rank = share * row.size
    value = row[int(rank)]
    first, end = np.searchsorted(row, value), np.searchsorted(row, value, side="right")
    middle = 0.5 * float(first + end)
    if middle > rank and first > 0:
        other = row[first - 1]
        beside = 0.5 * float(np.searchsorted(row, other) + first)
    elif middle < rank and end < row.size:
        other = row[end]
        beside = 0.5 * float(end + np.searchsorted(row, other, side="right"))
    else:
        return float(value)
    return float(value) + (rank - middle) / (beside - middle) * (float(other) - float(value))


def _contrast(block: NDArray[Any], valid: Valid) -> F64:
    """Standard deviation of each band over its valid pixels."""
    return np.array([float(np.std(band[valid], dtype=np.float64)) if valid.any() else 0.0 for band in block])
