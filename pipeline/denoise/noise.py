"""Standard deviation of the noise of each band, found from the band itself and from the other bands.

Sources: spread of the diagonal Haar detail: Donoho, Johnstone (1994); regression on the other bands: Roger,
Arnold (1996), HySime of Bioucas-Dias, Nascimento (2008), eq. 7. The choice of flat cells is our own: the three
Haar details of a 2 x 2 cell are orthogonal, so choosing cells by two does not bias white noise in the third.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

QUARTILE = 0.674489750196082  # of a unit gaussian
MIN_CELLS = 16
FLAT_SHARE = 0.25
FLAT_WINDOW = 5
FLAT_CELLS = 1024
# Least share of a band's own estimate that regression may leave (real scenes: 0.22 and more): twins have noise too.
TWINS = 0.1
RIDGE = 1e-6
# A band whose noise is this far below its own spread (80 dB) is left alone: float32 cannot see it.
NOISELESS = 1e-4


def estimate_noise(block: NDArray[Any], valid: Valid) -> F64:
    """σ per band (band,), data units, of block (band, y, x) where valid (y, x); 0 for a band without noise.

    The lesser of the spread of the diagonal detail and of what its regression on the other bands leaves of it,
    both over the flattest quarter of the 2 x 2 cells. Cells with an invalid pixel, or of a plateau that all bands share
    (fill, saturation), are not read; with fewer than 16 left nothing can be said and σ is 0.
    """
    sigma = np.zeros(block.shape[0])
    usable: Valid = np.asarray(np.all(_corners(valid[None])[:, 0], axis=0))
    details = np.stack([_haar(band, usable) for band in block], axis=1)
    lively = usable & ~_plateaus(details)
    cells = int(np.count_nonzero(lively))
    if cells < MIN_CELLS:
        return sigma
    live = np.flatnonzero(details[0].any(axis=(1, 2)) & (_spread(block, valid) > 0))
    if live.size == 0:
        return sigma
    details = details[:, live]
    flat = _flattest(details[1:], lively, max(FLAT_SHARE, min(1.0, FLAT_CELLS / cells)))
    sigma[live] = _gauss_spread(details[0][:, flat])
    if cells >= 4 * live.size > 4:
        residual, kept = _unpredicted(details[0][:, lively])
        regressed = _gauss_spread(residual[:, flat[lively]]) / kept
        sigma[live] = np.clip(regressed, TWINS * sigma[live], sigma[live])
    return np.where(sigma > NOISELESS * _spread(block, valid), sigma, 0.0)


def _corners(planes: NDArray[Any]) -> NDArray[Any]:
    """(4, plane, y // 2, x // 2): the pixels of each 2 x 2 cell, row by row. Cells do not overlap."""
    h, w = planes.shape[1] // 2 * 2, planes.shape[2] // 2 * 2
    return np.stack([planes[:, i:h:2, j:w:2] for i in (0, 1) for j in (0, 1)])


def _haar(band: NDArray[Any], usable: Valid) -> F32:
    """Diagonal, vertical, horizontal Haar details (3, y // 2, x // 2) of a band (y, x), 0 where unusable."""
    a, b, c, d = np.where(usable, _corners(band[None])[:, 0], 0).astype(np.float64)
    return np.stack([a - b - c + d, a + b - c - d, a - b + c - d]).astype(np.float32) / np.float32(2)


def _plateaus(details: F32) -> Valid:
    """Cells (y, x) without any of the details (3, band, y, x), where they come in squares of 3 x 3.

    A lone one is chance, and to drop it would raise σ: two integers are often equal.
    """
    still = ~np.asarray(np.any(details, axis=(0, 1)))
    return np.asarray(ndimage.binary_opening(still, np.ones((3, 3), bool)))


def _flattest(edges: F32, lively: Valid, share: float) -> Valid:
    """The `share` of lively cells (y, x) around which edges (2, band, y, x) are least, bands weighing alike."""
    energy = np.zeros(lively.shape)
    for detail in edges.reshape(-1, *lively.shape):
        scale = float(np.sqrt(np.mean(np.square(detail[lively], dtype=np.float64))))
        if scale > 0:
            energy += np.square(detail / scale)
    weight = ndimage.uniform_filter(lively.astype(np.float64), FLAT_WINDOW, mode="constant")
    energy = ndimage.uniform_filter(energy, FLAT_WINDOW, mode="constant") / np.maximum(weight, 1e-9)
    flat: Valid = lively & (energy <= np.quantile(energy[lively], share))
    return flat


def _unpredicted(diagonal: F32) -> tuple[F32, float]:
    """What least squares on the other bands leaves of diagonal (band, cell), and the share of noise kept."""
    bands, cells = diagonal.shape
    scale = np.sqrt(np.mean(np.square(diagonal), axis=1, dtype=np.float64))
    unit = diagonal / scale[:, None].astype(np.float32)
    correlation = (unit @ unit.T).astype(np.float64) / cells
    inverse = np.linalg.inv(correlation + RIDGE * np.eye(bands))
    weights = inverse * (scale / np.diag(inverse))[:, None]
    return weights.astype(np.float32) @ unit, float(np.sqrt(1.0 - (bands - 1) / cells))


def _gauss_spread(details: F32) -> F64:
    """σ of each row (band, cell) from its quartiles, which neither edges nor the steps of integers move much."""
    return np.array([_mid_quartiles(row) for row in details])


def _mid_quartiles(row: F32) -> float:
    """Half the interquartile range of one row over that of a unit gaussian; ties share their rank."""
    values, counts = np.unique(row, return_counts=True)
    share = (np.cumsum(counts) - 0.5 * counts) / row.size
    low, high = np.interp([0.25, 0.75], share, values)
    return float(high - low) / (2 * QUARTILE)


def _spread(block: NDArray[Any], valid: Valid) -> F64:
    """Standard deviation of each band over its valid pixels."""
    return np.array([float(np.std(band[valid], dtype=np.float64)) if valid.any() else 0.0 for band in block])
