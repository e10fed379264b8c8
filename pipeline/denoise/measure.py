"""What a block's noise is: defects mended, σ found, noise that grows with the signal made level.

Source: docs/algorithms.md, "Denoise".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.denoise import defects
from pipeline.denoise.corner import corner_details
from pipeline.denoise.defects import Repair
from pipeline.denoise.details import Details, wavelet_details
from pipeline.denoise.growth import is_texture
from pipeline.denoise.noise import large_values_told, noise_with_texture, without_texture
from pipeline.denoise.stabilise import BIN_SHARE, Stabiliser, fit_stabiliser
from pipeline.errors import BlockError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]

# What a quick look reads of a large block: strips of so many rows, about so many pixels in all; not where these have
# less than this share of the valid pixels that as many rows have on average.
STRIP = 32
SAMPLE_PIXELS = 1 << 16
SAMPLE_SHARE = 0.75
# A level farther from 1 than this factor was found by factors that ran away, not by the noise.
FARTHEST = 1.25


# Of so few bands texture is not told by what they share: what grows with the signal is sought where there is least.
FEW, FEW_SHARE = 3, 0.1


@dataclass(frozen=True)
class Measured:
    """A block and its noise."""

    block: NDArray[Any]
    """(band, y, x), data units, without stripes and impulses; the very array given where there are none."""
    sigma: F64
    """(band,) noise, data units; 0 for a band without."""
    stabiliser: Stabiliser | None
    clean: NDArray[np.bool_]
    """(band,) where no impulses were found: what stands alone there is real."""
    holes: NDArray[np.bool_] | None = None
    """(band, y, x) impulses and dead lines, whose values are foretold; None where there are none."""

    def unit(self, noisy: Index) -> NDArray[Any]:
        """The noisy bands, of level noise."""
        chosen = self.block if noisy.size == len(self.block) else self.block[noisy]
        return chosen if self.stabiliser is None else self.stabiliser.of(noisy).forward(chosen)

    def level(self, unit: NDArray[Any], noisy: Index, valid: Valid, rows: Index | None = None) -> F64:
        """How much noise (band,) those bands `unit` have, read from some rows or from all.

        The line through the variances is a guess for each band; what it left uneven in size can be seen.
        """
        if self.stabiliser is None:
            return self.sigma[noisy]
        level = noise_with_texture(_details(unit, valid, rows))
        return np.where(level * FARTHEST < 1, 1.0, level)

    def total(self, level: F64, noisy: Index) -> F64:
        """Root mean square noise (band,), data units, where the noisy bands have turned out to be of this `level`."""
        total = self.sigma.copy()
        believed = np.where(level < FARTHEST, level, 1.0)
        total[noisy] = level if self.stabiliser is None else total[noisy] * believed
        return total

    def back(self, bands: F32, noisy: Index) -> F32:
        """Noisy bands as `unit` gives them (band, y, x), in data units."""
        return bands if self.stabiliser is None else self.stabiliser.of(noisy).inverse(bands)


def measure(
    block: NDArray[Any],
    valid: Valid,
    sigma: ArrayLike | None,
    rows: Index | None = None,
    learn: Valid | None = None,
    repair: Repair = "all",
) -> Measured:
    """Mend block (band, y, x) where valid (y, x) and find its noise; a sigma given is taken as it is, and as level.

    rows: those of the block that noise is read from; None reads all. repair: what is mended.
    """
    learn = valid if learn is None else learn
    with large_values_told(block, learn):
        return _measured(block, valid, sigma, rows, learn, repair)


def _measured(
    block: NDArray[Any], valid: Valid, sigma: ArrayLike | None, rows: Index | None, learn: Valid, repair: Repair
) -> Measured:
    details = None if sigma is not None else _details(block, learn, rows)
    found = given_noise(sigma, len(block)) if details is None else noise_with_texture(details)
    found = np.where(found > rounding(block, valid), found, 0.0)
    if not found.any():
        return Measured(block, found, None, np.ones(found.size, np.bool_))
    mended, clean, holes = mend(block, valid, found, learn, repair)
    if details is None:
        return Measured(mended, found, None, clean, holes)
    if mended is not block:
        details = _details(mended, learn, rows)
        found = noise_with_texture(details)
    shown = _some(mended, learn, rows)
    few = len(block) <= FEW
    seen = (corner_details(*shown, details), FEW_SHARE) if few else (details, BIN_SHARE)
    stabiliser = fit_stabiliser(mended, learn, found, *seen)
    if stabiliser and not few and is_texture(details, corner_details(*shown, details), found):
        stabiliser = None
    # Defects and the law of the noise are told by all that is in a band beside its signal: texture is taken off last.
    # Of noise that grows with the signal σ is the root mean square, not that of the calm places it was found in.
    final = stabiliser.sigma if stabiliser else without_texture(*shown, details, found)
    return Measured(mended, final, stabiliser, clean, holes)


def sample_rows(valid: Valid) -> Index | None:
    """Rows that tell the noise of a block, valid (y, x), quickly: strips spread over it; None where all are to be read.

    The few wavelets that reach over a seam see an edge there, and are not among the flat ones.
    """
    height, width = valid.shape
    strips = max(1, -(-SAMPLE_PIXELS // (STRIP * width)))
    if 2 * height < 3 * strips * STRIP:
        return None
    first = (2 * np.arange(strips) + 1) * height // (2 * strips) - STRIP // 2
    rows = (first[:, None] + np.arange(STRIP)).ravel()
    share = np.count_nonzero(valid[rows]) / rows.size
    return rows if share >= SAMPLE_SHARE * np.count_nonzero(valid) / height else None


def _some(block: NDArray[Any], valid: Valid, rows: Index | None) -> tuple[NDArray[Any], Valid]:
    return (block, valid) if rows is None else (block[:, rows], valid[rows])


def _details(block: NDArray[Any], valid: Valid, rows: Index | None) -> Details:
    return wavelet_details(*_some(block, valid, rows))


def rounding(block: NDArray[Any], valid: Valid) -> F64:
    """(band,) what float32, in which blocks come back, may change by itself; noise below that is better left alone."""
    chosen = (band if valid.all() else band[valid] for band in block)
    peaks = [max(float(pixels.max(initial=0)), -float(pixels.min(initial=0))) for pixels in chosen]
    # At the largest number there is, what is next to it would overflow.
    return np.spacing(np.minimum(peaks, np.finfo(np.float32).max / 2).astype(np.float32)).astype(np.float64)


def mend(
    block: NDArray[Any], valid: Valid, sigma: F64, learn: Valid | None = None, what: Repair = "all"
) -> tuple[NDArray[Any], Valid, Valid | None]:
    """Block (band, y, x) of noise σ (band,) without defects, the very array where it has none; bands without impulses,
    and the values that are foretold.

    Wide numbers are mended about their mean: float32 would round their noise.
    """
    if what == "none":
        return block, np.ones(len(block), np.bool_), None
    offset = np.zeros((len(block), 1, 1))
    narrow = block
    if block.dtype.itemsize > 2 and block.dtype != np.float32 and valid.any():
        offset[:, 0, 0] = [np.round(np.mean(band[valid], dtype=np.float64)) for band in block]
        narrow = np.where(valid, block - offset, 0)
    repaired = defects.repair(narrow.astype(np.float32, copy=False), valid, sigma, learn, what)
    clean = np.asarray(repaired.impulses == 0)
    if repaired.holes is None and not repaired.stripes.any():
        return block, clean, None
    return (repaired.block + offset if offset.any() else repaired.block), clean, repaired.holes


def given_noise(sigma: ArrayLike | None, bands: int) -> F64:
    """(band,) noise that was given, one for all or one each. Raises BlockError where it is none."""
    try:
        given = np.asarray(sigma, np.float64)
    except (TypeError, ValueError):  # words, complex numbers, rows of several lengths
        given = np.full(1, np.nan)
    if given.shape not in ((), (1,), (bands,)) or not (np.isfinite(given) & (given >= 0)).all():
        raise BlockError(
            f"sigma {sigma!r} is not a noise level; give one number >= 0, or one for each of {bands} bands"
        )
    return np.broadcast_to(given, (bands,)).copy()
