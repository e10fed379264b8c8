"""Pixels that belong to no class, a ship, a roof, a plume of one line: they come back as they were measured.

Source: docs/algorithms.md, "Denoise".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.special import chdtri

from pipeline.denoise.moments import PANEL_ROWS
from pipeline.denoise.whiten import Whitening, slabs, standardised
from pipeline.jit import jit
from pipeline.svd.gram import panels

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

# How often noise alone may look like an isolated target, per pixel.
CHANCE = 1e-6
# Pixels around one, to each side, whose energy beyond the planes tells what noise has there; how much more than
# chance it must be, for noise grows with what is bright; and how many times the noise is no noise anywhere.
AROUND = 3
MARGIN = 1.5
NEVER = 9.0


def keep_targets(
    smooth: F32, planes: F32, unit: NDArray[Any], whitening: Whitening, valid: Valid, clean: Valid
) -> Valid:
    """Give smooth (plane, y, x) back the pixels of planes that it misses by more than noise can, in place.

    A ship or a roof of one pixel is no part of any class; chance looks like it once in a million pixels. Bands `unit`
    (band, y, x) with impulses are no witnesses (clean (band,) False), nor is a scene of more bands than planes that has
    some. Returns where (y, x) the bands have more than noise that no plane holds: nothing there was noise.
    """
    V = whitening.V
    many = V.shape[0] > V.shape[1]
    beyond = np.zeros(valid.shape, np.bool_)
    witnesses = None if clean.all() else V[clean].astype(np.float32)
    if witnesses is not None and (witnesses.size == 0 or many):
        return beyond
    limit = chdtri(len(planes) if witnesses is None else len(witnesses), CHANCE)
    if many:
        beyond = standing_out(energy_beyond(unit, planes, whitening, valid), valid, V.shape[0] - V.shape[1])
    for rows in slabs(planes.shape):
        lost = beyond[rows].copy()
        if witnesses is None:
            farther(planes[:, rows], smooth[:, rows], np.float32(limit), lost)
        else:
            missed = np.tensordot(witnesses, planes[:, rows] - smooth[:, rows], 1)
            lost[:] = np.einsum("pyx,pyx->yx", missed, missed) > limit
        if lost.any():
            smooth[:, rows][:, lost] = planes[:, rows][:, lost]
    return beyond


@jit
def farther(planes: F32, smooth: F32, limit: np.float32, lost: Valid) -> None:
    """Set lost (y, x), too, where Σ (planes − smooth)² over the planes (plane, y, x) is above limit."""
    total = np.empty(lost.shape[1], np.float32)
    for y in range(len(lost)):
        total[:] = 0
        for p in range(len(planes)):
            row, other = planes[p, y], smooth[p, y]
            for x in range(len(total)):
                off = row[x] - other[x]
                total[x] += off * off
        for x in range(len(total)):
            lost[y, x] |= total[x] > limit


def energy_beyond(unit: NDArray[Any], planes: F32, whitening: Whitening, valid: Valid) -> F32:
    """(y, x) Σ over the bands of what no plane holds of them, squared, in units of the noise; 0 where not valid."""
    energy = np.empty(valid.shape, np.float32)
    V = whitening.V.astype(np.float32)
    for rows in slabs(unit.shape):
        Z = standardised(unit[:, rows], valid[rows], whitening.mean, whitening.sigma)
        Z -= np.tensordot(V, planes[:, rows], 1)
        energy[rows] = np.einsum("byx,byx->yx", Z, Z)
    energy[~valid] = 0
    return energy


def standing_out(energy: F32, valid: Valid, degrees: int) -> Valid:
    """(y, x) where the energy of `degrees` dimensions of unit noise is more than chance, and than what is around has.

    Noise that is not as large everywhere as it was found to be is large all around; nothing has NEVER times of it.
    """
    limit = MARGIN * chdtri(degrees, CHANCE)
    found = np.zeros(valid.shape, np.bool_)
    candidates = np.argwhere(valid & (energy > limit))
    if not len(candidates):
        return found
    side = 2 * AROUND + 1
    around = sliding_window_view(np.pad(np.where(valid, energy, np.nan), AROUND, constant_values=np.nan), (side, side))
    for some in panels(candidates, PANEL_ROWS):
        y, x = some.T
        level = np.maximum(1.0, np.nanmedian(around[y, x].reshape(len(some), -1), axis=1) / degrees)
        found[y, x] = (energy[y, x] > limit * level) | (energy[y, x] > NEVER * degrees)
    return found


def keep_beyond(bands: F32, unit: NDArray[Any], planes: F32, rows: slice, whitening: Whitening, chosen: Valid) -> None:
    """Give bands (band, rows, x), where chosen (y, x), what no plane of the clear pixels can say of them, in place.

    Few planes of many bands hold the land, not a cloud's spectrum.
    """
    here = chosen[rows]
    if whitening.V.shape[0] > whitening.V.shape[1] and here.any():
        bands[:, here] += unit[:, rows][:, here] - whitening.bands(planes, rows)[:, here]
