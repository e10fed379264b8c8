"""A noisy block in, a denoised block out: noise, whitening, classes of patches, and back.

Source: docs/algorithms.md, "Denoise".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from pipeline.denoise.defects import Repair
from pipeline.denoise.measure import Measured, measure, sample_rows
from pipeline.denoise.model import SceneModel
from pipeline.denoise.noise import large_values_told, peak_of
from pipeline.denoise.patches import Place, fill_holes, replication
from pipeline.denoise.planes import denoise_planes
from pipeline.denoise.settings import Settings, groups, settings_for
from pipeline.denoise.stray import stray
from pipeline.denoise.targets import AROUND, LOOK, keep_beyond, keep_targets
from pipeline.denoise.whiten import KEEP_ALL, Whitening, fit_whitening, slabs
from pipeline.errors import BlockError
from pipeline.plain import no_plain_array

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

# Pixels around a place that is wanted that are denoised with it: targets are told by what is around them.
REACH = max(AROUND, LOOK)
# Least share of the valid pixels that must be clear for a block to be learnt from those alone.
LEAST_CLEAR = 0.25


@dataclass(frozen=True)
class Denoised:
    """What came of a block."""

    block: F32
    """(band, y, x), data units; equal to the input where not valid and in bands without noise."""
    sigma: F64
    """(band,) noise found or given, data units."""
    rank: int
    """Planes above the noise."""
    touched: bool = True
    """False where the block came back as it was."""
    holes: Valid | None = None
    """(band, y, x) values that were taken for impulses or dead lines, and foretold; None where there are none."""
    astray: Valid | None = None
    """(y, x) valid pixels far from all others, which taught nothing and came back as they were; None without any."""


def denoise_block(
    block: NDArray[Any],
    valid: Valid,
    *,
    quality: str = "fast",
    sigma: ArrayLike | None = None,
    origin: tuple[int, int] = (0, 0),
    model: SceneModel | None = None,
    clear: Valid | None = None,
    repair: Repair = "all",
    place: Place | None = None,
) -> Denoised:
    """Denoise block (band, y, x), any real dtype, where valid (y, x) bool; finite there.

    sigma: noise in data units, one for all or (band,); None finds it, and whether it grows with the signal. origin:
    (y, x) of the block's first pixel in the scene. model: noise, planes and bases of the whole scene, in place of the
    block's own; sigma is then the model's. A sigma below what float32, in which blocks come back, rounds a band's
    values to is none: the band comes back as it is. clear: (y, x) bool, where noise, planes and bases are learnt; other
    pixels (clouds) are denoised by bases of all valid ones. repair: what is mended before: "all", "stripes" (and dead
    lines) or "none"; a model has its own. place: the rows and columns that are wanted, both ends given: the others
    teach, and what comes back there is to be thrown away. Bands of noise 0 and blocks smaller than a patch come back as
    they are, and so do a few pixels that are astray (`stray.py`). Raises BlockError for arrays that do not fit together
    and values that float32 cannot square, ConfigError for an unknown quality.
    """
    _check(block, valid, clear)
    settings = settings_for(quality, len(block))
    block = block.astype(np.uint8) if block.dtype == np.bool_ else block
    astray = stray(block, valid)
    valid = valid if astray is None else valid & ~astray
    with large_values_told(block, valid):
        found = _denoised(block, valid, settings, quality, sigma, origin, model, clear, repair, place)
    _must_be_finite(found, block, valid)
    return found if astray is None else replace(found, astray=astray)


def _denoised(
    block: NDArray[Any],
    valid: Valid,
    settings: Settings,
    quality: str,
    sigma: ArrayLike | None,
    origin: tuple[int, int],
    model: SceneModel | None,
    clear: Valid | None,
    repair: Repair,
    place: Place | None,
) -> Denoised:
    """`denoise_block`, of what is checked and not astray."""
    trusted = valid if clear is None else learnable(valid, clear, model)
    rows = sample_rows(trusted) if settings.sampled else None
    by_model = None if model is None else model.measured(block, valid, trusted)
    measured = by_model or measure(block, valid, sigma, rows, trusted, repair)
    found, result = measured.sigma, _narrowed(block)
    noisy = np.flatnonzero(found > 0)
    if noisy.size == 0 or min(valid.shape) < settings.patch or not valid.any():
        return Denoised(result, found, 0, touched=False)
    unit = measured.unit(noisy)
    if model is None:
        level = measured.level(unit, noisy, trusted, rows)
        whitening = fit_whitening(unit, trusted, level)
        model = SceneModel(found, measured.stabiliser, whitening, [], replication(unit, valid, origin))
        found = measured.total(level, noisy)
    settings = settings_for(quality, len(block), model.whitening.V.shape[1]).aligned(model.replicated)
    if min(valid.shape) < settings.patch:
        return Denoised(result, found, 0, touched=False)
    planes = model.whitening.planes(unit, valid)
    fill_holes(planes, valid, settings.widest)
    inner = around(place, valid.shape)
    smooth = _smoothed(planes, valid, settings, origin, model, trusted, inner)
    masked = valid & ~trusted
    witnesses = apart_from(masked, trusted, settings.widest)
    cubes = (measured.block[:, *inner], unit[:, *inner], planes[:, *inner])
    here = _Inner(*cubes, *(one[inner] for one in (valid, trusted, masked, witnesses)))
    _put_back(result[:, *inner], smooth, here, measured, model.whitening, found, noisy)
    return Denoised(result, found, model.whitening.rank, holes=measured.holes)


def _narrowed(block: NDArray[Any]) -> F32:
    """Block in float32; what is finite and beyond it is the largest that it holds."""
    with np.errstate(over="ignore"):
        result = block.astype(np.float32)
    if block.dtype.kind == "f" and block.dtype.itemsize > 4:
        beyond = np.isinf(result) & np.isfinite(block)
        result[beyond] = np.copysign(np.finfo(np.float32).max, result[beyond])
    return result


def _must_be_finite(found: Denoised, block: NDArray[Any], valid: Valid) -> None:
    """Raise BlockError where a number was lost on the way: block (band, y, x) is finite where valid."""
    if not found.touched:
        return
    for number, band in enumerate(found.block):
        finite = np.isfinite(band)
        if not finite.all() and not finite[valid].all():
            raise BlockError(
                f"denoising band {number} gave NaN or infinity, of values of up to {peak_of(block, valid):.3g}; give "
                "them in other units, or do not denoise them (quality none)"
            )


def around(place: Place | None, shape: tuple[int, ...]) -> Place:
    """The rows and columns of a block (y, x) in which what is wanted of it, or all, is denoised."""
    if place is None:
        return slice(0, shape[0]), slice(0, shape[1])
    rows, columns = (
        slice(max(0, one.start - REACH), min(one.stop + REACH, side)) for one, side in zip(place, shape, strict=True)
    )
    return rows, columns


class _Inner(NamedTuple):
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


def _put_back(
    result: F32,
    smooth: F32,
    here: _Inner,
    measured: Measured,
    whitening: Whitening,
    sigma: F64,
    noisy: NDArray[np.intp],
) -> None:
    """Set noisy bands of result (band, y, x), where valid, to what the smooth planes (plane, y, x) say, in place."""
    # What a mask takes out of learning is given back beyond the planes in any case.
    targets = keep_targets(smooth, here.planes, here.unit, whitening, here.trusted, measured.clean[noisy])
    beyond = here.masked | targets
    whole, taken = bool(here.valid.all()), np.zeros(noisy.size)
    for slab in slabs(result.shape):
        bands = whitening.bands(smooth, slab)
        keep_beyond(bands, here.unit, here.planes, slab, whitening, beyond)
        bands = measured.back(bands, noisy)
        taken += energy_taken(here.before[noisy, slab], bands, sigma[noisy], here.witnesses[slab])
        result[noisy, slab] = bands if whole else np.where(here.valid[slab], bands, result[noisy, slab])
    if len(result) <= KEEP_ALL and here.witnesses.any():
        hold_back(result, here.before, noisy, taken / np.count_nonzero(here.witnesses), here.valid)


def _smoothed(
    planes: F32,
    valid: Valid,
    settings: Settings,
    origin: tuple[int, int],
    model: SceneModel,
    trusted: Valid,
    inner: Place,
) -> F32:
    """The planes at inner, denoised, as many together as a patch matrix holds; holes of planes may be filled anew."""
    smooth = np.empty_like(planes[:, *inner])
    for number, group in enumerate(groups(len(planes), settings.patch)):
        learnt = model.learnt[number] if model.learnt else None
        smooth[group] = denoise_planes(planes[group], valid, settings, origin, learnt, trusted, inner)
    return smooth


def learnable(valid: Valid, clear: Valid, model: SceneModel | None) -> Valid:
    """Where a block is learnt from: its clear pixels; all valid ones where few of them are clear, unless a model of the
    scene has learnt already."""
    return valid if model is None and is_clouded(valid, clear) else valid & clear


def is_clouded(valid: Valid, clear: Valid) -> bool:
    """Whether so few valid pixels are clear that a block without a model is learnt from all of them."""
    return bool(np.count_nonzero(valid & clear) < LEAST_CLEAR * np.count_nonzero(valid))


def apart_from(masked: Valid, trusted: Valid, patch: int) -> Valid:
    """The trusted (y, x) pixels of which no patch holds a masked one: a cloud has no say in them."""
    return trusted & ~ndimage.maximum_filter(masked, 2 * patch - 1) if masked.any() else trusted


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


def _check(block: NDArray[Any], valid: Valid, clear: Valid | None) -> None:
    for name, given, axes in (("block", block, "(band, y, x)"), ("valid", valid, "(y, x) of bool")):
        if wrong := no_plain_array(given, axes):
            raise BlockError(f"{name} {wrong}")
    if block.ndim != 3 or 0 in block.shape or block.dtype.kind not in "biuf":
        raise BlockError(f"denoise takes a real (band, y, x) block, got {block.dtype} of shape {block.shape}")
    for name, mask in (("valid", valid), ("clear", clear)):
        if mask is not None and (mask.shape != block.shape[1:] or mask.dtype != np.bool_):
            shape = f"{block.shape[1:]} (y, x)"
            raise BlockError(f"{name} is {mask.dtype} of shape {mask.shape}; give bool of shape {shape}")
    for number, band in enumerate(block if block.dtype.kind == "f" else ()):
        finite = np.isfinite(band)
        if not finite.all() and not finite[valid].all():
            raise BlockError(f"band {number} has NaN or infinity at valid pixels; mark them invalid")
