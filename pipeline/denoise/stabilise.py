"""Noise that grows with the signal, v(x) = gain·x + floor, made equal everywhere, and back.

Sources: mean and variance of flat places and a robust line through them: Foi, Trimeche, Katkovnik, Egiazarian (2008);
generalised Anscombe transform and the closed form of its exact unbiased inverse: Mäkitalo, Foi (2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.anscombe import SHIFT, destabilised, stabilised, variance_sum
from pipeline.denoise.details import Details, cells, lowest, wavelet_details
from pipeline.denoise.noise import MOST_LEVERAGE, factor_projection
from pipeline.denoise.spread import QUARTILE, SPREAD_ERROR, spread
from pipeline.denoise.whiten import native
from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

# Bins of equal count by brightness, the fewest cells in one, and the share of each that is read: the flattest.
BINS = 12
MIN_BIN = 30
BIN_SHARE = 0.4
# The flattest share of all cells, from which is learnt what the bands share: a quarter may be water alone.
CALM_SHARE = 0.4
ROUNDS = 8
# What the median band must show: the rise of the variance over the scene, and the slope in its own errors.
# Real scenes with noise added that does not depend on the signal: to 1.63; with noise that does: from 2.4, and 3.2.
RISE = 1.9
SURE = 3.0
# Slope, in its own errors, that one band needs for its own transform once the scene has been found to depend.
BAND_SURE = 2.0
# Least variance that a line may give, as a share of its mean.
LEAST = 0.02
# The same in units of σ², where a band of plateaus has none.
LEAST_VARIANCE = 1e-6
# Variance at the mean brightness, in units of σ², below which the line of a band says nothing.
LOST = 0.5
# About so many pixels tell the brightness of the dark and of the light end.
END_PIXELS = 4096
CLIP = 6.0


@dataclass(frozen=True)
class Stabiliser:
    """The way from data units to bands of unit noise, and back."""

    gain: F64
    """(band,) rise of the variance with the signal, data units; 0: this band is divided by its sigma alone."""
    floor: F64
    """(band,) variance at signal 0, data units squared; may be negative where the data have an offset."""
    sigma: F64
    """(band,) root mean square noise over the valid pixels, data units; 0 for a band without noise."""

    def of(self, bands: NDArray[np.intp]) -> Stabiliser:
        """The same for some of the bands."""
        return Stabiliser(self.gain[bands], self.floor[bands], self.sigma[bands])

    def among(self, bands: NDArray[np.intp], count: int) -> Stabiliser:
        """The same for these of so many bands, of which the others have no noise."""
        found = np.zeros((3, count))
        found[:, bands] = self.gain, self.floor, self.sigma
        return Stabiliser(*found)

    def forward(self, block: NDArray[Any]) -> F32:
        """Block (band, y, x), data units, to unit noise: 2/a √(a·x + 3/8·a² + c), or x/σ where the gain is 0."""
        result = np.empty(block.shape, np.float32)
        block = block.astype(native(block.dtype), copy=False)
        stabilised(block, self.gain, self.floor, self._least, self._unit, result)
        return result

    def inverse(self, block: F32) -> F32:
        """Block (band, y, x) of unit noise, denoised, to data units: the expectation of each, not its root alone."""
        result = np.empty_like(block)
        destabilised(block, self.gain, self.floor, self._least, self._unit, result)
        return result

    @property
    def _least(self) -> F64:
        """(band,) what stands under the root at the least; below, the transform goes on as a straight line."""
        return np.asarray(SHIFT * self.gain**2 + LEAST * self.sigma**2)

    @property
    def _unit(self) -> F64:
        """(band,) 1/σ, 1 for a band without noise."""
        return 1.0 / np.where(self.sigma > 0, self.sigma, 1.0)


@dataclass(frozen=True)
class Seen:
    """Flat cells, binned for each band by its own brightness."""

    mean: F64
    """(band, bin) brightness, data units."""
    variance: F64
    """(band, bin) in units of σ²."""
    count: int
    """Cells in a bin."""
    brightness: F32
    """(band, cell) data units."""
    order: NDArray[np.intp]
    """(band, cell) the cells from the darkest bin to the brightest."""
    mix: F64
    """(band, band) whose noise, in units of σ², the variance of each band is made of."""


def fit_stabiliser(
    block: NDArray[Any], valid: Valid, sigma: F64, details: Details | None = None, share: float = BIN_SHARE
) -> Stabiliser | None:
    """The stabiliser of block (band, y, x), finite where valid (y, x), of noise σ (band,) as `estimate_noise` finds it.

    share: of the cells of each brightness that are read, the flattest.
    None where the noise does not depend on the signal, or too little is seen to say so. The decision is one for all
    bands (the median of their slopes): texture that brightens with the signal fools one band, seldom most of them.
    """
    noisy = np.flatnonzero(sigma > 0)
    if noisy.size == 0:
        return None
    chosen = block if noisy.size == sigma.size else block[noisy]
    details = wavelet_details(block, valid) if details is None else details
    seen = flat_cells(details if noisy.size == sigma.size else details.of(noisy), sigma[noisy], share)
    if seen is None:
        return None
    mean, variance, count = seen.mean, seen.variance, seen.count
    gain, floor, error = _lines(mean, variance, count)
    gain, floor, error = _lines(mean, variance * _unmixed(seen, gain, floor), count)
    darkest, low, high = _ends(chosen, valid)
    middle = np.maximum(gain * mean.mean(axis=1) + floor, LEAST_VARIANCE)
    # A line that leaves the dark end of the scene without noise was not drawn by noise.
    sane = gain * darkest + floor > LEAST * middle
    rise = np.where(sane, (gain * high + floor) / np.maximum(gain * low + floor, LEAST * middle), 0.0)
    slope, gain = np.maximum(gain, 0.0), np.where(sane, gain, 0.0)
    if np.median(rise) < RISE or np.median(gain / error) < SURE:
        return None
    rising = (gain > BAND_SURE * error) & (rise > 1)
    # A line far below the noise of the calm places was drawn by a few bins: its band keeps the σ it came with.
    lost = ~rising & (middle < LOST)
    slope, middle = np.where(lost, 0.0, slope), np.where(lost, 1.0, middle)
    found, lines = np.zeros((2, sigma.size)), np.zeros((2, sigma.size))
    found[:, noisy] = np.where(rising, np.stack([gain, floor]) * sigma[noisy] ** 2, 0.0)
    lines[:, noisy] = np.stack([slope, middle - slope * mean.mean(axis=1)]) * sigma[noisy] ** 2
    return Stabiliser(found[0], found[1], _root_mean_square(block, valid, lines[0], lines[1], noisy))


def flat_cells(details: Details, sigma: F64, share: float) -> Seen | None:
    """The flat cells of each brightness; None where there are too few.

    The flattest cells are chosen in bins of the mean of all bands, so that bright and dark ones are both seen, and
    binned anew by each band's own brightness.
    """
    lively, _ = details.readable
    if np.count_nonzero(lively) * share < BINS * MIN_BIN:
        return None
    energy = details.flatness[lively]
    x = cells(details.diagonal, lively)
    limit = (CLIP * sigma[:, None]).astype(np.float32)
    calm = np.clip(x.take(np.flatnonzero(energy <= lowest(energy, CALM_SHARE)), axis=1), -limit, limit)
    project = np.eye(len(x))
    if calm.shape[1] >= 4 * len(x) > 8:
        covariance = (calm @ calm.T).astype(np.float64) / calm.shape[1]
        cleared, leverage = factor_projection(covariance, sigma, calm.shape[1])
        project = np.where(leverage[:, None] < MOST_LEVERAGE, cleared, project)
    brightness = cells(details.mean, lively)
    overall = np.mean(brightness / sigma[:, None].astype(np.float32), axis=0)
    chosen = np.concatenate([some[energy[some] <= lowest(energy[some], share)] for some in _bins(overall)])
    count = chosen.size // BINS
    if count == 0:
        return None
    chosen = chosen[: count * BINS]
    brightness = brightness.take(chosen, axis=1)
    order = by_rank(brightness, np.arange(1, BINS + 1) * count)
    rest = np.take_along_axis((project / sigma).astype(np.float32) @ x.take(chosen, axis=1), order, axis=1)
    variance = spread(rest.reshape(-1, count)).reshape(len(x), BINS) ** 2
    return Seen(_binned(brightness, order), variance, count, brightness, order, project**2)


def _binned(cells: F32, order: NDArray[np.intp]) -> F64:
    """Mean (band, bin) of cells (band, cell) in this order (band, cell)."""
    binned = np.take_along_axis(cells, order, axis=1).reshape(len(cells), BINS, -1)
    return np.asarray(binned.mean(axis=2, dtype=np.float64))


def _unmixed(seen: Seen, gain: F64, floor: F64) -> F64:
    """What the variances (band, bin) are to be multiplied by: they hold noise of other bands, of another brightness."""
    own = np.maximum(gain[:, None] * seen.mean + floor[:, None], LEAST)
    mixed = _binned((seen.mix * gain).astype(np.float32) @ seen.brightness, seen.order) + (seen.mix @ floor)[:, None]
    return np.asarray(own / np.maximum(mixed, LEAST))


def _bins(brightness: F32) -> list[NDArray[np.intp]]:
    """The cells in BINS groups of equal count, by brightness (cell,)."""
    ends = np.cumsum([len(part) for part in np.array_split(brightness, BINS)])
    return np.split(by_rank(brightness[None], ends)[0], ends[:-1])


def by_rank(values: F32, ends: NDArray[np.intp]) -> NDArray[np.intp]:
    """(row, value) the numbers of values (row, value) in groups by rank, which end before `ends`; in order within each.

    Of equal values the first is the lower: a stable sort, but for the order within groups.
    """
    order = np.empty(values.shape, np.intp)
    _by_rank(values, np.sort(values, axis=1), ends, order)
    return order


@jit
def _by_rank(values: F32, ordered: F32, ends: NDArray[np.intp], order: NDArray[np.intp]) -> None:
    """`by_rank`, from the values as they are and in order."""
    for row in range(len(values)):
        at = np.zeros(len(ends), np.intp)
        at[1:] = ends[:-1]
        # The lowest value of each group but the first, and how many of that value belong to groups before.
        edges = ordered[row][ends[:-1]]
        first = ends[:-1] - np.searchsorted(ordered[row], edges)
        seen = np.zeros(len(edges), np.intp)
        for n, value in enumerate(values[row]):
            group = 0
            for edge in edges:
                group += int(value > edge)
            for g in range(group, len(edges)):
                if value != edges[g]:
                    break
                group = g + 1 if seen[g] >= first[g] else group
                seen[g] += 1
            order[row, at[group]] = n
            at[group] += 1


def _lines(mean: F64, variance: F64, count: int) -> tuple[F64, F64, F64]:
    """Slope, intercept and error of the slope (band,) of variance over mean (band, bin), by reweighted least squares.

    A bin weighs by the error of its variance, and less where it lies far from the line. Slopes that cannot be
    told, of bands of one brightness, come with an infinite error.
    """
    middle = _middle(variance)
    least = np.maximum(0.05 * middle, LEAST_VARIANCE)
    line = np.maximum(middle + 0 * variance, least)
    trust = np.ones_like(variance)
    unit = np.maximum(np.ptp(mean, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    x = (mean - mean.mean(axis=1, keepdims=True)) / unit
    for _ in range(ROUNDS):
        weight = trust * count / (SPREAD_ERROR * line**2)
        total = weight.sum(axis=1, keepdims=True)
        x0 = (weight * x).sum(axis=1, keepdims=True) / total
        v0 = (weight * variance).sum(axis=1, keepdims=True) / total
        leverage = (weight * (x - x0) ** 2).sum(axis=1, keepdims=True)
        told = leverage > 0
        slope = (weight * (x - x0) * (variance - v0)).sum(axis=1, keepdims=True) / np.where(told, leverage, 1.0)
        line = np.maximum(v0 + slope * (x - x0), least)
        miss = np.abs(variance - line) / line * np.sqrt(count / SPREAD_ERROR)
        scale = np.maximum(1.0, _middle(miss) / QUARTILE)
        trust = 1 / np.maximum(1.0, miss / (2 * scale))
    gain = slope / unit
    floor = v0 - slope * x0 - gain * mean.mean(axis=1, keepdims=True)
    error = np.where(told, scale / np.sqrt(np.where(told, leverage, 1.0)) / unit, np.inf)
    return gain[:, 0], floor[:, 0], error[:, 0]


def _middle(bins: F64) -> F64:
    """(band, 1) median of bins (band, bin), an even number of them."""
    ordered = np.sort(bins, axis=1)
    half = bins.shape[1] // 2
    return np.asarray(0.5 * (ordered[:, half - 1 : half] + ordered[:, half : half + 1]))


def _ends(block: NDArray[Any], valid: Valid) -> tuple[F64, F64, F64]:
    """Brightness (band,) that a hundredth and a twentieth of the valid pixels lie below, and a twentieth above."""
    step = max(1, int(np.count_nonzero(valid)) // END_PIXELS)
    pixels = block.reshape(len(block), -1).take(np.flatnonzero(valid)[::step], axis=1)
    ordered = np.sort(pixels, axis=1)
    dark, low, high = (_quantile(ordered, share) for share in (0.01, 0.05, 0.95))
    return dark, low, high


def _quantile(ordered: NDArray[Any], share: float) -> F64:
    """(row,) the value of each of some rows (row, value), in order, up to which that share of them lies."""
    rank = share * (ordered.shape[1] - 1)
    first = int(rank)
    lower, upper = (ordered[:, n].astype(np.float64) for n in (first, min(first + 1, ordered.shape[1] - 1)))
    return np.asarray(lower + (rank - first) * (upper - lower))


def _root_mean_square(block: NDArray[Any], valid: Valid, gain: F64, floor: F64, noisy: NDArray[np.intp]) -> F64:
    """Noise (band,) of the noisy bands over the valid pixels: the root of the mean of max(v(x), 0); 0 elsewhere."""
    result, count = np.zeros(len(block)), np.count_nonzero(valid)
    for b in noisy:
        band = block[b].astype(native(block.dtype), copy=False)
        result[b] = np.sqrt(variance_sum(band, valid, gain[b], floor[b]) / count)
    return result
