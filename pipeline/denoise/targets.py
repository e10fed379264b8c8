"""Pixels that belong to no class, a ship, a roof: those that stand out by themselves come back as they were measured.
What stands out as a whole alone, or in few of many bands, comes back by `rare.py`.

Source: docs/algorithms.md, "Denoise".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.special import chdtri

from pipeline.denoise.moments import PANEL_ROWS
from pipeline.denoise.spread import QUARTILE
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
# Deviations of what is around it by which a small target stands out of it, and of the noise by which it must have been
# dimmed to come back; the share of the first that its contrast to four pixels has, one of which may be of the target;
# pixels from its own to those around it, in rows and columns.
STANDS_OUT, DIMMED = 7.0, 1.64
NEARLY = 0.75
APART = 2
# Pixels as far as which the rings reach, and as far as anything says of a target.
LOOK = 4 * APART
# Rings of pixels around one, the first of which it must stand out of, and where each of them ends.
RINGS = np.array(
    [
        (ring, y, x)
        for ring in range(APART, LOOK + 1)
        for y in range(-ring, ring + 1)
        for x in range(-ring, ring + 1)
        if max(abs(y), abs(x)) == ring
    ]
)
ENDS = np.flatnonzero(np.diff(RINGS[:, 0], append=0)) + 1
# A target has so many times the energy of what is around it; of a ring at most this share is like it, or it is one of a
# pattern.
LONELY = 5.0
PATTERN = 0.2


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
    if witnesses is None:
        brighten(planes, smooth, valid)
    return beyond


def brighten(planes: F32, smooth: F32, valid: Valid) -> None:
    """Give smooth (plane, y, x) back the valid pixels of planes that stand out of what is around them and were dimmed,
    in place.

    A class or a basis that has seen a ship takes a part of it, and what it leaves may be less than noise can do. But a
    pixel that stands STANDS_OUT deviations out of the ring around it is no noise, whatever is left of it.
    """
    limit = np.float32((NEARLY * STANDS_OUT) ** 2 + 1.25 * len(planes))
    energy = np.empty(valid.shape, np.float32)
    found = dimmed(planes, smooth, limit, np.float32(DIMMED), energy) & valid
    rows, columns = np.nonzero(found)
    quiet = lonely(energy, rows, columns)
    rows, columns = rows[quiet], columns[quiet]
    chosen = alone(planes, rows, columns, RINGS, ENDS, STANDS_OUT)
    smooth[:, rows[chosen], columns[chosen]] = planes[:, rows[chosen], columns[chosen]]


@jit
def dimmed(planes: F32, smooth: F32, limit: np.float32, least: np.float32, energy: F32) -> Valid:
    """(y, x) where planes (plane, y, x) differ from the mean of the four pixels that stand APART by a line whose square
    is above the limit, and smooth is nearer to that mean on it, by `least`. Sets energy (y, x) to the square."""
    height, width = energy.shape
    found, quarter = np.zeros((height, width), np.bool_), np.float32(0.25)
    lost = np.empty(width, np.float32)
    wide = np.empty(width + 2 * APART, np.float32)
    left, right = wide[:width], wide[2 * APART :]
    for y in range(height):
        up, down, square = max(y - APART, 0), min(y + APART, height - 1), energy[y]
        square[:], lost[:] = 0, 0
        for p in range(len(planes)):
            row, above, below, after = planes[p, y], planes[p, up], planes[p, down], smooth[p, y]
            wide[:APART], wide[APART : APART + width], wide[APART + width :] = row[0], row, row[-1]
            for x in range(width):
                off = row[x] - quarter * (above[x] + below[x] + left[x] + right[x])
                square[x] += off * off
                lost[x] += off * (row[x] - after[x])
        for x in range(width):
            found[y, x] = square[x] > limit and lost[x] > 0 and lost[x] * lost[x] >= least * least * square[x]
    return found


@jit
def lonely(energy: F32, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Valid:
    """(pixel,) which of these have several times the energy (y, x) of the pixels around: texture has it everywhere."""
    height, width = energy.shape
    found = np.zeros(len(rows), np.bool_)
    for n in range(len(rows)):
        total = np.float32(0)
        for dy in range(-3 * APART, 3 * APART + 1, 3):
            for dx in range(-3 * APART, 3 * APART + 1, 3):
                if dy != 0 or dx != 0:
                    total += energy[min(max(rows[n] + dy, 0), height - 1), min(max(columns[n] + dx, 0), width - 1)]
        found[n] = energy[rows[n], columns[n]] * 24 >= LONELY * total
    return found


@jit
def alone(
    planes: F32,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    rings: NDArray[np.intp],
    ends: NDArray[np.intp],
    stands_out: float,
) -> Valid:
    """(pixel,) which of these pixels of planes (plane, y, x) stand out of the first of the rings around them, and are
    not one of a pattern: of no other ring a fifth is half as far.

    Along the line to the pixel from the mean of the four pixels that stand APART. What the ring deviates is the larger
    of what it does along the line and in all planes; 1 at the least. rings: (place, 3) ring, row and column, ring by
    ring; ends: (ring,).
    """
    depth = len(planes)
    found, line = np.zeros(len(rows), np.bool_), np.empty(depth)
    along, energy = np.empty(len(rings)), np.empty(len(rings))
    for n in range(len(rows)):
        length = _line(planes, rows[n], columns[n], line)
        _along(planes, rows[n], columns[n], line, length, rings[: ends[0]], along, energy)
        ring = along[: ends[0]]
        middle = np.median(ring)
        spread = np.median(np.abs(ring - middle)) / QUARTILE
        # About their own median; the mean of four has a quarter of the variance of one.
        own = np.median(energy[: ends[0]] + middle * (middle - 2 * ring))
        spread = max(spread, np.sqrt(own / (1.25 * depth)))
        # Of noise alone the line is as long as the root of the number of planes: it follows the noise of the pixel.
        if length - middle < max(1.0, spread) * np.sqrt(stands_out**2 + 1.25 * depth):
            continue
        found[n] = True
        _along(planes, rows[n], columns[n], line, length, rings, along, energy)
        for k in range(1, len(ends)):
            ring = along[ends[k - 1] : ends[k]]
            alike = np.count_nonzero(ring - middle > 0.5 * (length - middle))
            found[n] &= alike <= PATTERN * len(ring)
    return found


@jit
def _line(planes: F32, y: int, x: int, line: F64) -> float:
    """Set line (plane,) to the difference of a pixel to the mean of the four that stand APART; its length."""
    height, width = planes.shape[1:]
    up, down, left, right = max(y - APART, 0), min(y + APART, height - 1), max(x - APART, 0), min(x + APART, width - 1)
    square = 0.0
    for p in range(len(planes)):
        plane = planes[p]
        line[p] = plane[y, x] - 0.25 * (plane[up, x] + plane[down, x] + plane[y, left] + plane[y, right])
        square += line[p] * line[p]
    return float(np.sqrt(square))


@jit
def _along(
    planes: F32, y: int, x: int, line: F64, length: float, places: NDArray[np.intp], along: F64, energy: F64
) -> None:
    """Of pixels around one, (ring, row, column) each, what they have of its line, and the square of all that they
    have, counted from the mean of the four that stand APART."""
    height, width = planes.shape[1:]
    for k in range(len(places)):
        row, column = min(max(y + places[k, 1], 0), height - 1), min(max(x + places[k, 2], 0), width - 1)
        along[k], energy[k] = 0.0, 0.0
        for p in range(len(planes)):
            off = planes[p, row, column] - (planes[p, y, x] - line[p])
            along[k] += line[p] / length * off
            energy[k] += off * off


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
