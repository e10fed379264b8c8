"""A noisy block in, a denoised block out: noise, whitening, pilot, classes, and back.

Source: docs/algorithms.md, "Denoise".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.denoise.noise import estimate_noise
from pipeline.denoise.patch_svd import Patches, class_svd
from pipeline.denoise.patches import energies, fill_holes, starts, voters
from pipeline.denoise.whiten import KEEP_ALL, fit_whitening, slabs
from pipeline.errors import BlockError, ConfigError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]

# Columns of the widest patch matrix; more planes than fit are denoised in groups, strongest first.
MAX_COLUMNS = 640
# Patches for each column of the patch matrix: those a class wants, and those below which learning steps closer.
CLASS_PATCHES = 20
LEARN_PATCHES = 40


@dataclass(frozen=True)
class Settings:
    """How finely a block is cut into patches."""

    patch: int
    """Side of a patch, pixels."""
    pilot_stride: int
    """Pixels between patches of the pilot."""
    learn_stride: int
    """Pixels between the patches that the bases of the classes are learnt from."""
    stride: int
    """Pixels between the patches that are denoised and folded back."""
    classes: int
    """Most groups of patches of like energy."""


@dataclass(frozen=True)
class Denoised:
    """What came of a block."""

    block: F32
    """(band, y, x), data units; equal to the input where not valid and in bands without noise."""
    sigma: F64
    """(band,) noise found or given, data units."""
    rank: int
    """Planes above the noise; 0 where nothing was denoised."""


def settings_for(quality: str, bands: int) -> Settings:
    """Settings for "fast" or "quality"; many bands leave few planes, which want smaller patches."""
    few = bands <= KEEP_ALL
    if quality == "fast":
        return Settings(6, 4, 3, 2, 6) if few else Settings(4, 2, 2, 1, 4)
    if quality == "quality":
        return Settings(6, 3, 2, 1, 6) if few else Settings(4, 2, 1, 1, 4)
    raise ConfigError(f"quality {quality!r} is not known to denoise; use fast or quality")


def denoise_block(
    block: NDArray[Any],
    valid: Valid,
    *,
    quality: str = "fast",
    sigma: ArrayLike | None = None,
    origin: tuple[int, int] = (0, 0),
) -> Denoised:
    """Denoise block (band, y, x), any real dtype, where valid (y, x) bool; finite there.

    sigma: noise in data units, one for all or (band,); None finds it. origin: (y, x) of the block's first pixel in
    the scene. Bands of noise 0 and blocks smaller than a patch come back as they are.
    Raises BlockError for arrays that do not fit together, ConfigError for an unknown quality.
    """
    settings = settings_for(quality, block.shape[0] if block.ndim == 3 else 0)
    _check(block, valid)
    found = estimate_noise(block, valid) if sigma is None else _given(sigma, block.shape[0])
    result = block.astype(np.float32)
    noisy = np.flatnonzero(found > 0)
    if noisy.size == 0 or min(valid.shape) < settings.patch or not valid.any():
        return Denoised(result, found, 0)
    chosen = block if noisy.size == block.shape[0] else block[noisy]
    whitening = fit_whitening(chosen, valid, found[noisy])
    planes = whitening.planes(chosen, valid)
    fill_holes(planes, valid, settings.patch)
    group = max(1, MAX_COLUMNS // settings.patch**2)
    for start in range(0, len(planes), group):
        planes[start : start + group] = denoise_planes(planes[start : start + group], valid, settings, origin)
    for rows in slabs(result.shape):
        result[noisy, rows] = np.where(valid[rows], whitening.bands(planes, rows), result[noisy, rows])
    return Denoised(result, found, whitening.rank)


def denoise_planes(planes: F32, valid: Valid, settings: Settings, origin: tuple[int, int]) -> F32:
    """Planes (plane, y, x) of unit noise, denoised: one SVD of all patches, then one for each class.

    A block with too few patches for two classes has one, and needs no pilot.
    """
    size, d = settings.patch, len(planes) * settings.patch**2
    scarce = valid.size < LEARN_PATCHES * d * settings.learn_stride**2
    learn = _grid(valid, size, max(1, settings.learn_stride - scarce), origin)
    apply = _grid(valid, size, settings.stride, origin)
    votes = voters(valid, *learn, size)
    classes = min(settings.classes, 1 + int(np.count_nonzero(votes)) // (CLASS_PATCHES * d))
    if not votes.any():
        return planes
    if classes == 1:
        return class_svd(planes, _all(learn, size, votes), _all(apply, size), 1)
    grid = _grid(valid, size, settings.pilot_stride, origin)
    pilot = class_svd(planes, _all(grid, size, voters(valid, *grid, size)), _all(grid, size), 1)
    energy = energies(pilot, *learn, size)
    cuts = np.quantile(energy[votes], np.arange(1, classes) / classes)
    label = np.where(votes, np.searchsorted(cuts, energy), -1)
    applied = np.searchsorted(cuts, energies(pilot, *apply, size))
    return class_svd(planes, Patches(size, *learn, label), Patches(size, *apply, applied), classes)


def _grid(valid: Valid, size: int, stride: int, origin: tuple[int, int]) -> tuple[Index, Index]:
    ys, xs = (starts(n, size, stride, first) for n, first in zip(valid.shape, origin, strict=True))
    return ys, xs


def _all(grid: tuple[Index, Index], size: int, votes: Valid | None = None) -> Patches:
    """The patches of a grid (ys, xs) as one class, without those that do not vote."""
    label = np.zeros(len(grid[0]) * len(grid[1]), np.intp)
    return Patches(size, *grid, label if votes is None else np.where(votes, label, -1))


def _check(block: NDArray[Any], valid: Valid) -> None:
    if block.ndim != 3 or 0 in block.shape or block.dtype.kind not in "biuf":
        raise BlockError(f"denoise takes a real (band, y, x) block, got {block.dtype} of shape {block.shape}")
    if valid.shape != block.shape[1:] or valid.dtype != np.bool_:
        raise BlockError(f"valid is {valid.dtype} of shape {valid.shape}; give bool of shape {block.shape[1:]} (y, x)")
    for number, band in enumerate(block):
        if block.dtype.kind == "f" and not np.isfinite(band[valid]).all():
            raise BlockError(f"band {number} has NaN or infinity at valid pixels; mark them invalid")


def _given(sigma: ArrayLike, bands: int) -> F64:
    given = np.asarray(sigma, np.float64)
    if given.shape not in ((), (1,), (bands,)) or not (np.isfinite(given) & (given >= 0)).all():
        raise BlockError(
            f"sigma {sigma!r} is not a noise level; give one number >= 0, or one for each of {bands} bands"
        )
    return np.broadcast_to(given, (bands,)).copy()
