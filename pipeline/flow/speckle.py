"""Noise in proportion to the signal, as radar's speckle is: told, for one level of noise in a tile takes it off what is
dark alone. In decibels it is the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.flow.crew import Watch
from pipeline.flow.tasks import Receipt
from pipeline.grid import Grid, Window
from pipeline.raster.scene import Source
from pipeline.untrusted import one_line

F64 = NDArray[np.float64]
Read = Callable[[Window], tuple[NDArray[Any], NDArray[np.bool_]]]
"""A window's block (band, y, x) and where (y, x) it is valid."""
SIDE, WINDOWS, BANDS = 128, 12, 8
"""Of the windows that are looked at; how many, and how many bands of more, both spread evenly."""
CELL, LEAST = 16, 64
"""Side of a cell, of which a mean and a noise are taken; cells of a band, at least."""
FEW = 0.1
"""Share of pixels that may be 0 or below."""
BINS, OF_BIN = 8, 8
"""Of brightness, in equal ratios, and the cells that one has at least."""
CALM = 0.2
"""Quantile of the noise of a bin's cells: those with detail show more."""
RANGE = 3.0
"""Between the darkest and the brightest bin; of less it is one level, nearly."""
SLOPE, ERROR, APART = 0.1, 0.08, 0.2
"""Logarithm of noise over logarithm of brightness: how far from 1, and the bins from the line. And how far cells lie
above the calm ones of their bin, for the texture of optical scenes grows with the brightness too, here more and there
less."""
SHARE = 0.13
"""Of the signal, at least: radar of up to 14 looks as amplitude, of 59 as intensity. Texture in the calm cells of
optical scenes is up to 0.1, 0.12 with some noise on it."""


def tell_speckle(source: Source, receipt: Receipt, quality: str, watch: Watch) -> None:
    """Warn of bands that were denoised now and whose noise is in proportion to them."""
    if quality != "none" and receipt.tiles > receipt.resumed:
        tell_found(source, watch)


def tell_found(source: Source, watch: Watch) -> None:
    """Warn of bands whose noise is in proportion to them."""
    info = source.info
    try:
        text = speckle_text(info.name, info.bands, (info.height, info.width), source.read)
    except SourceError:  # what cannot be read was told
        return
    if text is not None:
        watch.warn(text)


def speckle_text(name: str, bands: Sequence[str], extent: tuple[int, int], read: Read) -> str | None:
    """What is to be said of a scene of this extent (height, width); None where there is nothing."""
    shares = speckle(len(bands), extent, read)
    if not shares:
        return None
    most = max(shares, key=lambda band: shares[band])
    others = f" and {len(shares) - 1} more" if len(shares) > 1 else ""
    return one_line(
        f"{name}: noise grows in proportion to the signal, as radar's does ({bands[most]}{others}: about "
        f"{100 * shares[most]:.0f} % of it), and comes off the dark parts alone; give decibels (10*log10 of each value)"
    )


def speckle(count: int, extent: tuple[int, int], read: Read) -> dict[int, float]:
    """By their numbers, of the bands looked at of so many, those whose noise is in proportion to them: its share."""
    chosen = [int(band) for band in np.unique(np.linspace(0, count - 1, min(count, BANDS)).round())]
    grid = Grid(*extent, SIDE)
    cells: dict[int, list[F64]] = {band: [] for band in chosen}
    for number in grid.spread(WINDOWS):
        block, valid = read(grid[number].window)
        cells = {band: [*found, cells_of(block[band], valid)] for band, found in cells.items()}
        cells = {band: found for band, found in cells.items() if np.isfinite(found[-1]).all()}
        if not cells:  # as most scenes of heights, decibels and differences
            return {}
    shares = {band: share_of(np.concatenate(found, axis=1)) for band, found in cells.items()}
    return {band: share for band, share in shares.items() if share is not None}


def cells_of(plane: NDArray[Any], valid: NDArray[np.bool_]) -> F64:
    """(2, cell), mean and noise of the cells of plane (y, x) that are valid and nearly all above 0; NaN where more than
    a few pixels are below 0, for then it is no power and no amplitude. What the sensor's own noise, taken off, has left
    below 0 counts as 0."""
    height, width = (side // CELL * CELL for side in plane.shape)
    there = valid[:height, :width]
    values = np.where(there, plane[:height, :width], 0).astype(np.float64)
    if np.count_nonzero(values < 0) > FEW * np.count_nonzero(there):
        return np.full((2, 1), np.nan)
    values = np.maximum(values, 0)
    diagonal = values[0::2, 0::2] - values[0::2, 1::2] - values[1::2, 0::2] + values[1::2, 1::2]
    whole = _by_cell(there, CELL).all(axis=(1, 3)) & (_by_cell(values > 0, CELL).mean(axis=(1, 3)) >= 1 - FEW)
    mean = _by_cell(values, CELL).mean(axis=(1, 3))[whole]
    noise = _by_cell(np.abs(diagonal), CELL // 2).mean(axis=(1, 3))[whole]
    return np.stack([mean, noise * math.sqrt(math.pi / 2) / 2])


def _by_cell(plane: NDArray[Any], side: int) -> NDArray[Any]:
    height, width = plane.shape
    return plane.reshape(height // side, side, width // side, side)


def share_of(cells: F64) -> float | None:
    """Noise over mean of cells (2, cell) where the one is in proportion to the other; None where it is not, or too few
    show it."""
    if cells.shape[1] < LEAST:
        return None
    brightness, noise = np.log(np.maximum(cells, np.finfo(np.float32).tiny))
    low, high = np.quantile(brightness, (0.02, 0.98))
    if high - low < math.log(RANGE):
        return None
    bins = np.clip((brightness - low) / (high - low) * BINS, 0, BINS - 1).astype(int)
    found = [
        (np.median(brightness[here]), np.quantile(noise[here], CALM), np.median((noise - brightness)[here]))
        for here in (bins == number for number in range(BINS))
        if np.count_nonzero(here) >= OF_BIN
    ]
    if len(found) < BINS // 2 or found[-1][0] - found[0][0] < math.log(RANGE):
        return None
    x, calm, usual = np.array(found).T
    slope, start = np.polyfit(x, calm, 1)
    share, apart = math.exp(np.median(calm - x)), np.median(usual - (calm - x))
    line = float(np.std(calm - slope * x - start))
    fits = abs(slope - 1) <= SLOPE and line <= ERROR and apart <= APART
    return share if fits and share >= SHARE else None
