"""A noisy block in, a denoised block out: noise, whitening, classes of patches, and back.

Source: docs/algorithms.md, "Denoise".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from pipeline.denoise.defects import Repair
from pipeline.denoise.measure import given_noise, measure, sample_rows
from pipeline.denoise.model import SceneModel
from pipeline.denoise.noise import large_values_told, peak_of
from pipeline.denoise.patches import Place, fill_holes, replication
from pipeline.denoise.planes import denoise_planes
from pipeline.denoise.put_back import Inner, put_back
from pipeline.denoise.rare import FAR
from pipeline.denoise.settings import Settings, groups, settings_for
from pipeline.denoise.stray import stray
from pipeline.denoise.targets import AROUND, LOOK
from pipeline.denoise.whiten import fit_whitening
from pipeline.errors import BlockError
from pipeline.plain import no_plain_array
from pipeline.repeated import PLAIN, Cells, Grid, company, grids

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]

# Pixels around a place that is wanted that are denoised with it: targets are told by what is around them, and rare
# objects by what is left around them once targets are.
REACH = max(AROUND, LOOK) + FAR
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
    """Planes above the noise; of bands of several grids, on the grid that has most."""
    touched: Valid
    """(band,) False for those that came back as they were."""
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
    they are, and so do a few pixels that are astray (`stray.py`). Bands whose pixels were repeated onto a finer grid
    are denoised on their own (`repeated.py`), where they learn by themselves, whatever the model; a sigma holds there,
    too. Raises BlockError for arrays that do not fit together and values that float32 cannot square, ConfigError for an
    unknown quality.
    """
    _check(block, valid, clear)
    settings_for(quality, len(block))
    given = None if sigma is None else given_noise(sigma, len(block))
    block = block.astype(np.uint8) if block.dtype == np.bool_ else block
    astray = stray(block, valid)
    valid = valid if astray is None else valid & ~astray
    with large_values_told(block, valid):
        found = _grid_by_grid(block, valid, _Task(quality, given, origin, model, clear, repair, place))
    _must_be_finite(found, block, valid)
    return found if astray is None else replace(found, astray=astray)


@dataclass(frozen=True)
class _Task:
    """How a block is denoised: what `denoise_block` takes beside it."""

    quality: str
    sigma: F64 | None
    """(band,)"""
    origin: tuple[int, int]
    model: SceneModel | None
    clear: Valid | None
    repair: Repair
    place: Place | None

    def on(self, cells: Cells, valid: Valid, sigma: F64 | None) -> _Task:
        """The same, of cells of valid (y, x) pixels, of noise sigma (band,); they learn by themselves."""
        clear = None if self.clear is None else ~cells.some(valid & ~self.clear)
        place = None if self.place is None else cells.place(self.place)
        return _Task(self.quality, sigma, cells.origin(self.origin), None, clear, self.repair, place)


def _grid_by_grid(block: NDArray[Any], valid: Valid, task: _Task) -> Denoised:
    """`denoise_block`, of what is checked and not astray: bands whose pixels were repeated each on their own grid, the
    means of finer ones beside them. What a model of the scene knows noise of it keeps."""
    found = grids(block, valid)
    apart = {grid: bands for grid, bands in found.items() if grid != PLAIN}
    if task.model is not None:
        apart = {grid: bands[task.model.sigma[bands] == 0] for grid, bands in apart.items()}
    if not sum(bands.size for bands in apart.values()):
        return _denoised(block, valid, task)
    count, holes = len(block), np.zeros(block.shape, np.bool_)
    whole = Denoised(_narrowed(block), np.zeros(count), 0, np.zeros(count, np.bool_), holes)
    plain = np.arange(count) if task.model is not None else found.get(PLAIN, np.zeros(0, np.intp))
    if plain.size:
        sigma = None if task.sigma is None else task.sigma[plain]
        whole = _with_part(whole, plain, _denoised(block[plain], valid, replace(task, sigma=sigma)), valid)
    for grid, bands in apart.items():
        if bands.size:
            whole = _with_part(whole, bands, _on_grid(block, valid, task, grid, bands, found), valid)
    return whole if holes.any() else replace(whole, holes=None)


def _on_grid(
    block: NDArray[Any], valid: Valid, task: _Task, grid: Grid, bands: Index, found: dict[Grid, Index]
) -> Denoised:
    """Some bands of a grid, denoised there beside the means of finer ones, and repeated again; found: of all bands."""
    cells, own, chosen = Cells(grid, valid.shape), len(bands), company(grid, bands, found)
    sigma = None
    if task.sigma is not None:
        sides = {band: other.pixels for other, numbers in found.items() for band in numbers}
        sigma = task.sigma[chosen] * np.sqrt([sides[band] / grid.pixels for band in chosen])
    part = _denoised(cells.means(block[chosen], valid), cells.some(valid), task.on(cells, valid, sigma))
    holes = None if part.holes is None else np.stack([cells.pixels(band) for band in part.holes[:own]])
    result = np.stack([cells.pixels(band) for band in part.block[:own]])
    return Denoised(result, part.sigma[:own], part.rank, part.touched[:own], holes)


def _with_part(whole: Denoised, bands: Index, part: Denoised, valid: Valid) -> Denoised:
    """The whole, in whose arrays the part that is of these bands is set."""
    for b, band, touched in zip(bands, part.block, part.touched, strict=True):
        whole.block[b] = np.where(valid, band, whole.block[b]) if touched else whole.block[b]
    whole.sigma[bands], whole.touched[bands] = part.sigma, part.touched
    if whole.holes is not None and part.holes is not None:
        whole.holes[bands] = part.holes & valid
    return replace(whole, rank=max(whole.rank, part.rank))


def _denoised(block: NDArray[Any], valid: Valid, task: _Task) -> Denoised:
    """`denoise_block`, of bands of one grid."""
    settings, model, clear = settings_for(task.quality, len(block)), task.model, task.clear
    trusted = valid if clear is None else learnable(valid, clear, model)
    rows = sample_rows(trusted) if settings.sampled else None
    by_model = None if model is None else model.measured(block, valid, trusted)
    measured = by_model or measure(block, valid, task.sigma, rows, trusted, task.repair)
    found, result = measured.sigma, _narrowed(block)
    noisy, as_it_was = np.flatnonzero(found > 0), np.zeros(len(block), np.bool_)
    if noisy.size == 0 or min(valid.shape) < settings.patch or not valid.any():
        return Denoised(result, found, 0, as_it_was)
    unit = measured.unit(noisy)
    if model is None:
        level = measured.level(unit, noisy, trusted, rows)
        whitening = fit_whitening(unit, trusted, level)
        model = SceneModel(found, measured.stabiliser, whitening, [], replication(unit, valid, task.origin))
        found = measured.total(level, noisy)
    settings = settings_for(task.quality, len(block), model.whitening.V.shape[1]).aligned(model.replicated)
    if min(valid.shape) < settings.patch:
        return Denoised(result, found, 0, as_it_was)
    planes = model.whitening.planes(unit, valid)
    fill_holes(planes, valid, settings.widest)
    inner = around(task.place, valid.shape)
    smooth = _smoothed(planes, valid, settings, task.origin, model, trusted, inner)
    masked = valid & ~trusted
    witnesses = apart_from(masked, trusted, settings.widest)
    cubes = (measured.block[:, *inner], unit[:, *inner], planes[:, *inner])
    here = Inner(*cubes, *(one[inner] for one in (valid, trusted, masked, witnesses)))
    put_back(result[:, *inner], smooth, here, measured, model.whitening, found, noisy)
    return Denoised(result, found, model.whitening.rank, found > 0, measured.holes)


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
    for number in np.flatnonzero(found.touched):
        band = found.block[number]
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
