"""Noise of each band by itself, where scenes have least: in the corner of the spectrum, over the calmest windows.

A window is 4 x 4 pixels. Its third difference both ways is orthogonal to every surface of second degree, and weighs
frequencies by sin⁶ of half of them either way: of scenes, whose power falls with frequency (Field 1987), next to
nothing is left. Windows are chosen by their coefficients of such surfaces, which are orthogonal to it, so that choosing
the calm ones does not bias white noise. Third differences as the noise of a signal: Rice (1984), Hall, Kay,
Titterington (1990).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.details import Details, centred
from pipeline.denoise.spread import SPREAD_ERROR, spread
from pipeline.denoise.whiten import native
from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

SIDE = 4
# Share of the windows that are read, and how many at the least.
CALM_SHARE = 0.05
LEAST = 1024
# Of blocks of more values every second row and column is read.
EVERY = 1 << 18
# Share of windows without any difference, above which whole numbers are coarser than the noise: the calm windows are
# then those that chance has left without.
MOST_ZEROS = 1 / 64
# How much larger differences may be in the calmest quarter: where it is more, the calm windows are of a part with less
# noise (water, a gap that was filled), and not of one with less texture.
MOST_RISE = 1.5
# Constant, line, parabola and third difference over four pixels, each of unit length.
TAPS = np.array(
    [
        np.array([1.0, 1.0, 1.0, 1.0]) / 2,
        np.array([-3.0, -1.0, 1.0, 3.0]) / np.sqrt(20.0),
        np.array([1.0, -1.0, -1.0, 1.0]) / 2,
        np.array([-1.0, 3.0, -3.0, 1.0]) / np.sqrt(20.0),
    ],
    np.float32,
)


@jit
def corners(pixels: F32, usable: Valid, step: int, taps: F32, corner: F32, energy: F32) -> int:
    """Third differences and energies (window,) of the windows of pixels (y, x) whose first pixel is at every step-th
    row and column, where usable (y, x); how many there are.

    usable: of `details.wavelet_details`, whose cells stand at every second pixel; windows between them want both sides.
    """
    rows, columns = usable.shape
    width = pixels.shape[1]
    lines = np.empty((4, width), np.float32)
    count = 0
    for y in range(0, len(pixels) - 3, step):
        a, b, c, d = pixels[y], pixels[y + 1], pixels[y + 2], pixels[y + 3]
        for t in range(4):
            for x in range(width):
                lines[t, x] = taps[t, 0] * a[x] + taps[t, 1] * b[x] + taps[t, 2] * c[x] + taps[t, 3] * d[x]
        upper, lower = y // 2, min((y + 1) // 2, rows - 1)
        for x in range(0, width - 3, step):
            left, right = x // 2, min((x + 1) // 2, columns - 1)
            if not (usable[upper, left] and usable[upper, right] and usable[lower, left] and usable[lower, right]):
                continue
            found = np.float32(0)
            total = np.float32(0)
            for i in range(4):
                found += taps[3, i] * lines[3, x + i]
            for t, u in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0)):
                value = np.float32(0)
                for i in range(4):
                    value += taps[u, i] * lines[t, x + i]
                total += value * value
            corner[count], energy[count] = found, total
            count += 1
    return count


def cells_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many cells of 4 x 4 pixels stand at every second row and column (y, x) of this many; none in fewer than 4."""
    return tuple(max(0, (length - SIDE) // 2 + 1) for length in shape)


def corner_details(block: NDArray[Any], valid: Valid, details: Details) -> Details:
    """The details of block (band, y, x) where valid (y, x), with third differences for the diagonal ones, where the
    cells are of 4 x 4 pixels; as they are else."""
    shape = cells_of(valid.shape)
    if details.whole.shape != shape or not valid.any():
        return details
    diagonal, pixels = np.empty_like(details.diagonal), np.empty(valid.shape, np.float32)
    for b, band in enumerate(block.astype(native(block.dtype), copy=False)):
        centred(band, valid, int(np.count_nonzero(valid)), pixels)
        lines = sum(tap * pixels[i : i + 2 * shape[0] - 1 : 2] for i, tap in enumerate(TAPS[3]))
        diagonal[b] = sum(tap * lines[:, i : i + 2 * shape[1] - 1 : 2] for i, tap in enumerate(TAPS[3]))
    return replace(details, diagonal=np.where(details.whole, diagonal, np.float32(0)))


def third_differences(block: NDArray[Any], valid: Valid, chosen: Valid) -> F32 | None:
    """(band, cell) third differences both ways of block (band, y, x) in the chosen (y, x) of the wavelet's cells; None
    where these are not of 4 x 4 pixels."""
    if chosen.shape != cells_of(valid.shape):
        return None
    rows, columns = np.nonzero(chosen)
    found = np.empty((len(block), len(rows)), np.float32)
    for b, band in enumerate(block.astype(native(block.dtype), copy=False)):
        _third_differences(band, 2 * rows, 2 * columns, TAPS[3].astype(np.float64), found[b])
    return found


@jit
def _third_differences(
    band: NDArray[Any], rows: NDArray[np.intp], columns: NDArray[np.intp], taps: F64, found: F32
) -> None:
    """Set found (cell,) to those of the windows of band (y, x) that begin at these pixels. In float64: what bands have
    in common must not round them."""
    for n in range(len(rows)):
        total = 0.0
        for i in range(SIDE):
            line = 0.0
            for j in range(SIDE):
                line += taps[j] * band[rows[n] + i, columns[n] + j]
            total += taps[i] * line
        found[n] = total


def corner_noise(block: NDArray[Any], valid: Valid, usable: Valid) -> F64:
    """σ (band,), data units, of block (band, y, x) where valid (y, x), each band by itself, and half its standard error
    on top; infinite where it cannot be told: with fewer than LEAST windows, of whole numbers coarser than the noise,
    and where the calm windows are of a part with less noise.

    usable: (y, x) cells of `details.Details` without holes and plateaus; those smaller than 4 x 4 pixels, which slivers
    have, tell nothing of windows.
    """
    sigma, pixels_valid = np.full(len(block), np.inf), int(np.count_nonzero(valid))
    if usable.shape != cells_of(valid.shape) or not usable.any():
        return sigma
    step = 1 if block.size <= EVERY else 2
    windows = [(length - SIDE) // step + 1 for length in valid.shape]
    corner, energy = (np.empty(windows[0] * windows[1], np.float32) for _ in range(2))
    pixels = np.empty(valid.shape, np.float32)
    for b, band in enumerate(block.astype(native(block.dtype), copy=False)):
        centred(band, valid, pixels_valid, pixels)
        found = corners(pixels, usable, step, TAPS, corner, energy)
        chosen = min(found, max(LEAST, int(CALM_SHARE * found)))
        if chosen < LEAST:
            continue
        # In the order of the windows, ties and all: the same on every processor.
        counts = chosen, max(chosen, found // 4)
        limits = np.partition(energy[:found], [count - 1 for count in counts])
        calm, more = (corner[:found][energy[:found] <= limits[count - 1]] for count in counts)
        fine = np.count_nonzero(calm == 0) <= MOST_ZEROS * len(calm)
        if fine and np.abs(more).mean() <= MOST_RISE * np.abs(calm).mean():
            sigma[b] = spread(calm[None])[0] * (1 + np.sqrt(SPREAD_ERROR / chosen) / 2)
    return sigma
