"""Standard deviation of the noise of each band, found from the diagonal wavelet details of all bands together.

Sources: spread of the diagonal detail: Donoho, Johnstone (1994); what the bands share is no noise: Roger, Arnold
(1996), HySime of Bioucas-Dias, Nascimento (2008), eq. 7, as the start of a factor analysis (principal factors, Harman
1976, ch. 8); that the detail of scenes grows with its scale: Field (1987), used here to tell texture from noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.corner import corner_noise, third_differences
from pipeline.denoise.derived import derived_noise, independent, relations
from pipeline.denoise.details import MIN_CELLS, Details, cells, lowest, wavelet_details
from pipeline.denoise.spread import SPREAD_ERROR, spread
from pipeline.denoise.stray import without_stray
from pipeline.errors import BlockError
from pipeline.repeated import PLAIN, Cells, company, grids
from pipeline.svd.gram import eigh_descending

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

FLAT_SHARE = 0.25
FLAT_CELLS = 1024
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
# A band whose noise is this far below its own spread (80 dB) is left alone: float32 cannot see it.
NOISELESS = 1e-4
# Squares of the differences of larger values leave float32.
LARGE = 1e18
# Share of the variance that details of twice the size have more than these which these have of texture: bands of
# Landsat and Sentinel-2 with known noise say .14 to .19. What is left of σ at the least; and in how many bands texture
# is looked for: more tell it by what they share.
TEXTURE = 0.16
LEAST_NOISE = 0.85
TEXTURED_BANDS = 16
# What is left of σ at the least where the corner of the spectrum has less: resampled noise has least there, too.
LEAST_CORNER = 0.5
CORNER_BANDS = 64
# Of more than LONE bands the corner is read by all of them together, too, over this share of the cells, the flattest,
# or so many, in blocks that have SOME times as many. Where it has less than σ by more than this factor the calm cells
# are of a part with less noise; where more than this share of a band's are 0, whole numbers are coarser than the noise.
LONE = 3
CALM_SHARE, CALM_CELLS, SOME = 0.05, 1024, 6
CALM_FACTOR = 1.3
CALM_ZEROS = 1 / 16
# Of the coarse details the flattest, where few objects (roofs, cars) stand in the way.
COARSE_SHARE = 0.125
COARSE_CELLS = 256
# What the coarse level has more counts beyond this many standard errors of its σ².
CHANCE = 2.0


def estimate_noise(block: NDArray[Any], valid: Valid) -> F64:
    """σ per band (band,), data units, of block (band, y, x) where valid (y, x); 0 for a band without noise.

    The spread of what a factor model of the bands leaves of the diagonal details, over the flattest quarter of the
    cells, and never more than that of the details themselves; of up to 16 bands less the texture that details of twice
    the size tell of, and no more than the corner of the spectrum shows where a band is calmest. Cells with an invalid
    pixel, or on a plateau (fill, saturation), are not read; with fewer than 16 left nothing can be said and σ is 0.
    A few pixels far from all others are not read (`stray.py`); of bands whose pixels were repeated onto a finer grid
    σ is that of a pixel on their own (`repeated.py`). Raises BlockError for values whose squares leave
    float32.
    """
    valid = without_stray(block, valid)
    with large_values_told(block, valid):
        found = grids(block, valid)
        if list(found) == [PLAIN]:
            return _estimated(block, valid)
        sigma = np.zeros(len(block))
        for grid, bands in found.items():
            chosen, cells = company(grid, bands, found), Cells(grid, valid.shape)
            sigma[bands] = _estimated(cells.means(block[chosen], valid), cells.some(valid))[: bands.size]
        return sigma


def _estimated(block: NDArray[Any], valid: Valid) -> F64:
    """`estimate_noise`, of bands of one grid."""
    details = wavelet_details(block, valid)
    return without_texture(block, valid, details, noise_with_texture(details))


@contextmanager
def large_values_told(block: NDArray[Any], valid: Valid) -> Iterator[None]:
    """Linear algebra that fails on block (band, y, x), since float32 does not hold the squares of its values where
    valid (y, x), says so: BlockError. Fills as large that stand on plateaus do no harm."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except np.linalg.LinAlgError as error:
        peak = peak_of(block, valid)
        if peak < LARGE:
            raise
        what = f"values of up to {peak:.3g} cannot be squared in float32"
        raise BlockError(f"{what}; give them in larger units, or as nodata where they mark what is missing") from error


def peak_of(block: NDArray[Any], valid: Valid) -> float:
    """The largest value, by size, of block (band, y, x) where valid (y, x)."""
    return float(np.abs(block[:, valid].astype(np.float64)).max(initial=0.0))


def noise_with_texture(details: Details) -> F64:
    """σ (band,) as `estimate_noise` finds it in details, with the texture that one band alone shows."""
    lively, live = details.readable
    live = live & (details.contrast > 0)
    count = int(np.count_nonzero(lively))
    if count < MIN_CELLS or not live.any():
        return np.zeros(len(live))
    return _noise(cells(details.diagonal, details.flattest(max(FLAT_SHARE, min(1.0, FLAT_CELLS / count)))), details)


def _noise(x: F32, details: Details) -> F64:
    """σ (band,) of what a factor model leaves of x (band, cell), some of the cells of the bands of `details`."""
    contrast = details.contrast
    live = details.readable[1] & (contrast > 0)
    sigma = np.zeros(len(x))
    sigma[live] = spread(x[live])
    noisy = np.flatnonzero(sigma > NOISELESS * contrast)
    if x.shape[1] >= 4 * noisy.size > 8:
        sigma[noisy] = _without_factors(x[noisy], sigma[noisy])
    if not np.isfinite(sigma).all():  # nothing that is computed with it would be; `large_values_told` says why
        raise np.linalg.LinAlgError("noise is beyond float32")
    return np.where(sigma > NOISELESS * contrast, sigma, 0.0)


def without_texture(block: NDArray[Any], valid: Valid, details: Details, sigma: F64) -> F64:
    """σ (band,) of block (band, y, x) where valid (y, x), as it was read from its `details`, less texture: what the
    next level of the wavelet tells of, and what is not in the corner of the spectrum."""
    noisy = np.flatnonzero(sigma)
    if not 0 < noisy.size <= CORNER_BANDS:
        return sigma
    less = less_texture(details, sigma).copy()
    chosen = block if noisy.size == len(block) else block[noisy]
    corner = np.maximum(corner_noise(chosen, valid, details.readable[0]), LEAST_CORNER * less[noisy])
    if noisy.size > LONE and np.count_nonzero(details.readable[0]) >= SOME * CALM_CELLS:
        calm = calm_noise(chosen, valid, details if noisy.size == len(block) else details.of(noisy))
        corner = np.where(calm * CALM_FACTOR < less[noisy], corner, np.minimum(corner, calm))
    less[noisy] = np.minimum(less[noisy], corner)
    return less


def calm_noise(block: NDArray[Any], valid: Valid, details: Details) -> F64:
    """σ (band,) of bands that share factors, block (band, y, x) where valid (y, x), and half its standard error on top,
    where a scene has least texture: in the third differences of the flattest cells of its `details`. Infinite where it
    cannot be told."""
    count = int(np.count_nonzero(details.readable[0]))
    read = max(CALM_SHARE * count, min(CALM_CELLS, count))
    x = third_differences(block, valid, details.flattest(read / max(1, count)))
    if x is None or not x.size:
        return np.full(len(block), np.inf)
    sigma = _noise(x, details) * (1 + np.sqrt(SPREAD_ERROR / read) / 2)
    told = (sigma > 0) & (np.count_nonzero(x == 0, axis=1) <= CALM_ZEROS * x.shape[1])
    return np.asarray(np.where(told, sigma, np.inf))


def less_texture(details: Details, sigma: F64) -> F64:
    """σ (band,) as it was read from `details`, less the texture of single bands in it.

    White noise has the same σ on every level of the wavelet. What the next level has more is texture, if it is more
    than chance, and this level has a share of it.
    """
    noisy = np.flatnonzero(sigma)
    if not 0 < noisy.size <= TEXTURED_BANDS:
        return sigma
    coarse = wavelet_details(2 * details.mean[noisy], details.whole)
    x = cells(coarse.diagonal, _flattest_below(details, coarse))
    if x.shape[1] < max(MIN_CELLS, 4 * noisy.size):
        return sigma
    found = spread(x)
    if noisy.size > 2 and (found > 0).all():
        found = _without_factors(x, found)
    certain = 1 - CHANCE * np.sqrt(SPREAD_ERROR / x.shape[1])
    share = TEXTURE * np.maximum(certain * found**2 / sigma[noisy] ** 2 - 1.0, 0.0)
    less = sigma.copy()
    # Where all would be texture the coarse cells have seen something else: objects, close together.
    less[noisy] *= np.where(share < 1.0, np.sqrt(np.maximum(1.0 - share, LEAST_NOISE**2)), 1.0)
    return less


def _flattest_below(details: Details, coarse: Details) -> Valid:
    """Cells (y, x) of `coarse`, the next level of `details`, under which those are flattest.

    The edges of `coarse` itself would not do: where objects are dense, it is flat nowhere.
    """
    readable = coarse.readable[0]
    fine = np.where(details.readable[0], details.flatness, np.inf)
    flatness = np.zeros(readable.shape)
    # The middle of a coarse wavelet lies between the second and the third of the four cells under it, either way.
    y, x = 2 * np.arange(readable.shape[0]), 2 * np.arange(readable.shape[1])
    for step in (1, 2):
        below = np.ix_(np.minimum(y + step, len(fine) - 1), np.minimum(x + step, fine.shape[1] - 1))
        flatness = np.maximum(flatness, fine[below])
    readable = readable & np.isfinite(flatness)
    count = int(np.count_nonzero(readable))
    if count < MIN_CELLS:
        return np.zeros_like(readable)
    share = max(COARSE_SHARE, min(1.0, COARSE_CELLS / count))
    return np.asarray(readable & (flatness <= lowest(flatness[readable], share)))


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
    start = scale / np.sqrt(np.diag(np.linalg.inv(correlation)))
    if (start < TWINS * alone).any():
        told = relations(x, limit)
        kept = independent(told, alone)
        if kept.size < len(x):
            sigma = _without_factors(x[kept], alone[kept]) if kept.size > 2 else alone[kept]
            return np.minimum(derived_noise(told, kept, sigma), alone)
    sigma = np.clip(start, TWINS * alone, alone)
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
