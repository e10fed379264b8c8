"""What is put back into a block once its planes are smooth: bands in data units, targets kept, no more than the noise.

Source: docs/algorithms.md, "Denoise".
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.measure import Measured
from pipeline.denoise.rare import FAR, given_back, off_by, with_rims
from pipeline.denoise.targets import keep_beyond, keep_targets
from pipeline.denoise.whiten import KEEP_ALL, Whitening, native, slabs

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]


class Inner(NamedTuple):
    """The part of a block that is denoised."""

    before: NDArray[Any]
    """(band, y, x) as mended, data units."""
    unit: NDArray[Any]
    """(band, y, x) noisy bands of level noise."""
    planes: F32
    """(plane, y, x) of unit noise."""
    valid: Valid
    trusted: Valid
    masked: Valid
    """What a mask takes out of learning."""
    witnesses: Valid
    """Of whose pixels the noise taken is held against the noise found."""


def put_back(
    result: F32,
    smooth: F32,
    here: Inner,
    measured: Measured,
    whitening: Whitening,
    sigma: F64,
    noisy: NDArray[np.intp],
) -> None:
    """Set noisy bands of result (band, y, x), where valid, to what the smooth planes (plane, y, x) say, in place."""
    # What a mask takes out of learning is given back beyond the planes in any case.
    targets = keep_targets(smooth, here.planes, here.unit, whitening, here.trusted, measured.clean[noisy])
    beyond = here.masked | targets
    whole, few, taken = bool(here.valid.all()), len(result) <= KEEP_ALL, np.zeros(noisy.size)
    # Of targets, which come back as they were measured, nothing is taken: they say nothing of what is around them.
    changed = here.valid & ~((smooth[0] == here.planes[0]) & (targets | (len(smooth) == noisy.size)))
    unit = here.unit.astype(native(here.unit.dtype), copy=False)
    lost = with_rims(unit.shape)
    some = slice(None) if noisy.size == len(result) else noisy
    for slab in slabs(result.shape):
        bands = whitening.bands(smooth, slab)
        keep_beyond(bands, here.unit, here.planes, slab, whitening, beyond)
        off_by(unit[:, slab], bands, changed[slab], whitening.sigma, lost[:, FAR:][:, slab])
        bands = measured.back(bands, noisy)
        if few:
            taken += energy_taken(here.before[some, slab], bands, sigma[noisy], here.witnesses[slab])
        result[some, slab] = bands if whole else np.where(here.valid[slab], bands, result[some, slab])
    taken += give_back(result, lost, changed, here, measured, whitening, sigma, noisy)
    if few and here.witnesses.any():
        hold_back(result, here.before, noisy, taken / np.count_nonzero(here.witnesses), here.valid)


def give_back(
    result: F32,
    lost: F32,
    changed: Valid,
    here: Inner,
    measured: Measured,
    whitening: Whitening,
    sigma: F64,
    noisy: NDArray[np.intp],
) -> F64:
    """Give noisy bands of result (band, y, x) back what of `lost`, with rims, in units of the level noise, is no noise,
    in place, where changed (y, x); by how much (band,) that changes what `energy_taken` says."""
    rows, columns, gifts = given_back(lost, changed, measured.clean[noisy])
    if not rows.size:
        return np.zeros(noisy.size)
    b, n = np.nonzero(gifts)
    # Of a band and a pixel each a line of one band, one row and so many pixels is made.
    level = here.unit[:, rows, columns] - whitening.sigma[:, None] * (lost[:, FAR + rows, FAR + columns] - gifts)
    bands = measured.back(level.astype(np.float32)[:, None], noisy)[:, 0]
    before, old = here.before[noisy[:, None], rows, columns], result[noisy[:, None], rows, columns]
    new = np.where(gifts != 0, bands, old)
    result[noisy[b], rows[n], columns[n]] = new[b, n]
    chosen = here.witnesses[rows, columns][None]
    now, then = (energy_taken(before[:, None], after[:, None], sigma[noisy], chosen) for after in (new, old))
    return now - then


def energy_taken(before: NDArray[Any], after: F32, sigma: F64, chosen: Valid) -> F64:
    """Σ ((before − after) / σ)² over the chosen (y, x) pixels of each band, for rows of a block (band, y, x)."""
    if not chosen.all():
        before, after = np.where(chosen, before, 0), np.where(chosen, after, np.float32(0))
    taken = np.subtract(before, after, dtype=np.float32)
    taken /= sigma[:, None, None].astype(np.float32)
    return np.asarray(np.einsum("byx,byx->b", taken, taken), np.float64)


def hold_back(result: F32, before: NDArray[Any], noisy: NDArray[np.intp], taken: F64, valid: Valid) -> None:
    """Give noisy bands of result (band, y, x) back what was `taken` (band,), mean squared in σ², beyond the noise.

    More than the noise is signal: the discrepancy principle of Morozov (1966). Of many bands the noise is found in
    what few planes leave, a little low: there it would cost more than it saves.
    """
    for b, energy in zip(noisy, taken, strict=True):
        if 1 < energy < np.inf:
            with np.errstate(invalid="ignore"):  # of what is not valid
                held = before[b] + np.float32(1 / np.sqrt(energy)) * (result[b] - before[b])
            result[b] = np.where(valid, held, result[b])
