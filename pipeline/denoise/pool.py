"""Noise, planes and bases of a scene from windows of it: what each window adds, and what is made of the sums.

Source: docs/algorithms.md, "Denoise", bases of the scene. All sums are `Moments`, which add up in any number of
windows; they are to be merged in a fixed order. A window teaches by its clear pixels alone, where that is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.denoise.defects import Repair
from pipeline.denoise.measure import Measured, given_noise, measure
from pipeline.denoise.mixture import assign, class_count, class_moments, energies, find_classes, gaussians
from pipeline.denoise.model import Learnt, SceneModel
from pipeline.denoise.moments import Moments
from pipeline.denoise.patch_svd import patch_basis, patch_moments, project
from pipeline.denoise.patches import fill_holes, patches_among, patches_over, replication, voters
from pipeline.denoise.settings import Settings, groups
from pipeline.denoise.stabilise import Stabiliser
from pipeline.denoise.whiten import band_moments, whitening_of
from pipeline.repeated import PLAIN, grids

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]
Origin = tuple[int, int]


@dataclass(frozen=True)
class Survey:
    """What one window says of the scene."""

    pixels: int
    """Those it is learnt from."""
    sigma: F64
    """(band,) noise, data units."""
    stabiliser: Stabiliser | None
    moments: Moments
    """Of its bands, mended, data units, over valid pixels."""
    replicated: bool


@dataclass(frozen=True)
class Rows:
    """Scores of patches of one group of planes, to find the classes with."""

    scores: F32
    """(patch, leading)"""
    energy: F32
    """(patch,)"""


def survey(
    block: NDArray[Any],
    valid: Valid,
    origin: Origin,
    *,
    sigma: ArrayLike | None,
    clear: Valid | None = None,
    repair: Repair = "all",
) -> Survey | None:
    """Noise and bands of a window (band, y, x); None where it has no pixel to learn from.

    Bands whose pixels were repeated have no noise on the grid of the scene.
    """
    learn = _learnable(valid, clear)
    if not learn.any():
        return None
    measured = _measured(block, valid, learn, sigma, repair)
    doubled = replication(measured.block[measured.sigma > 0], valid, origin)
    pixels, moments = int(np.count_nonzero(learn)), band_moments(measured.block, learn)
    return Survey(pixels, measured.sigma, measured.stabiliser, moments, doubled)


def _measured(block: NDArray[Any], valid: Valid, learn: Valid, sigma: ArrayLike | None, repair: Repair) -> Measured:
    """A window (band, y, x), whose bands of other grids are as they were and show no noise."""
    plain = grids(block, learn).get(PLAIN, np.zeros(0, np.intp))
    if plain.size == len(block):
        return measure(block, valid, sigma, learn=learn, repair=repair)
    noise, clean, line = np.zeros(len(block)), np.ones(len(block), np.bool_), None
    if plain.size:
        given = None if sigma is None else given_noise(sigma, len(block))[plain]
        part = measure(block[plain], valid, given, learn=learn, repair=repair)
        noise[plain], clean[plain] = part.sigma, part.clean
        block = block.astype(np.result_type(block, part.block))
        block[plain] = part.block
        line = None if part.stabiliser is None else part.stabiliser.among(plain, len(block))
    return Measured(block, noise, line, clean)


def agree(surveys: list[Survey]) -> SceneModel:
    """The scene's noise, each band's from the windows where it has any, and the planes that follow; no bases yet.

    Half the pixels must lie in windows whose noise grows with the signal before the scene's is taken to.
    """
    pixels = np.array([one.pixels for one in surveys], np.float64)
    sigma = _medians(np.stack([one.sigma for one in surveys]), pixels)
    total = Moments.empty(len(sigma))
    for one in surveys:
        total.merge(one.moments)
    noisy = np.flatnonzero(sigma > 0)
    rising = [one for one in surveys if one.stabiliser is not None]
    stabiliser = None
    if 2 * sum(one.pixels for one in rising) > pixels.sum():
        stabiliser = _joint(rising, total.mean, sigma)
    replicated = 2 * sum(one.pixels for one in surveys if one.replicated) > pixels.sum()
    return SceneModel(sigma, stabiliser, whitening_of(total.of(noisy), sigma[noisy]), [], replicated)


def _medians(values: F64, weight: F64) -> F64:
    """(band,) the weighted median of the positive ones of values (window, band); 0 where there are none."""
    found = np.zeros(values.shape[1])
    for b, column in enumerate(values.T):
        if (column > 0).any():
            found[b] = _median(column[column > 0], weight[column > 0])
    return found


def _median(values: F64, weight: F64) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    return float(np.interp(0.5 * reached[-1], reached - 0.5 * weight[order], values[order]))


def _joint(rising: list[Survey], mean: F64, sigma: F64) -> Stabiliser:
    """One line for each band: the median of the windows' slopes, through the median of their values at the mean."""
    weight = np.array([one.pixels for one in rising], np.float64)
    lines = [one.stabiliser for one in rising if one.stabiliser is not None]
    gain = _medians(np.stack([line.gain for line in lines]), weight)
    level = np.stack([np.where(line.gain > 0, line.gain * mean + line.floor, 0.0) for line in lines])
    return Stabiliser(gain, np.where(gain > 0, _medians(level, weight) - gain * mean, 0.0), sigma)


def _learnable(valid: Valid, clear: Valid | None) -> Valid:
    return valid if clear is None else valid & clear


def prepare(
    block: NDArray[Any], valid: Valid, model: SceneModel, settings: Settings, clear: Valid | None = None
) -> F32 | None:
    """Planes (plane, y, x) of unit noise of a window, without holes; None where it has nothing to give."""
    noisy = np.flatnonzero(model.sigma > 0)
    if noisy.size == 0 or not valid.any() or min(valid.shape) < settings.patch:
        return None
    unit = model.measured(block, valid, _learnable(valid, clear)).unit(noisy)
    planes = model.whitening.planes(unit, valid)
    fill_holes(planes, valid, settings.patch)
    return planes


def level(
    block: NDArray[Any], valid: Valid, origin: Origin, *, model: SceneModel, clear: Valid | None = None
) -> Survey | None:
    """Noise and noisy bands of a window once its noise has been made level: as `survey`, but in unit noise."""
    learn = _learnable(valid, clear)
    if not learn.any():
        return None
    noisy = np.flatnonzero(model.sigma > 0)
    measured = model.measured(block, valid, learn)
    unit = measured.unit(noisy)
    sigma = measured.level(unit, noisy, learn)
    return Survey(int(np.count_nonzero(learn)), sigma, None, band_moments(unit, learn), model.replicated)


def levelled(model: SceneModel, levels: list[Survey]) -> SceneModel:
    """The model with the planes of level bands."""
    return replace(model, whitening=agree(levels).whitening)


def basis_moments(
    block: NDArray[Any],
    valid: Valid,
    origin: Origin,
    *,
    model: SceneModel,
    settings: Settings,
    clear: Valid | None = None,
) -> list[Moments] | None:
    """Moments of a window's patches, for each group of planes."""
    planes = prepare(block, valid, model, settings, clear)
    if planes is None:
        return None
    patches = patches_among(valid.shape, settings.patch, settings.learn, origin, settings.scattered)
    votes = voters(valid, patches, _learnable(valid, clear))
    return [patch_moments(planes[group], patches, votes) for group in groups(len(planes), settings.patch)]


def based(model: SceneModel, totals: list[Moments], settings: Settings) -> SceneModel:
    """The model with a basis for each group of planes; no classes yet."""
    rooms = [settings.directions(total.count, len(total.mean)) for total in totals]
    learnt = [Learnt(patch_basis(total, room), [], []) for total, room in zip(totals, rooms, strict=True)]
    return replace(model, learnt=learnt)


def leading_rows(
    block: NDArray[Any],
    valid: Valid,
    origin: Origin,
    *,
    model: SceneModel,
    settings: Settings,
    share: float,
    clear: Valid | None = None,
) -> list[Rows] | None:
    """A share of a window's patches, evenly spread, for each group of planes."""
    planes = prepare(block, valid, model, settings, clear)
    if planes is None:
        return None
    patches = patches_among(valid.shape, settings.patch, settings.learn, origin, settings.scattered)
    voting = np.flatnonzero(voters(valid, patches, _learnable(valid, clear)))
    count = int(np.ceil(share * len(voting)))
    chosen = voting[(2 * np.arange(count) + 1) * len(voting) // max(1, 2 * count)]
    rows = []
    for group, learnt in zip(groups(len(planes), settings.patch), model.learnt, strict=True):
        leading = learnt.basis.leading(settings.leading)
        scores = project(planes[group], patches, leading)[chosen]
        rows.append(Rows(scores, energies(scores, leading, len(planes[group]))))
    return rows


def sorted_out(model: SceneModel, found: list[list[Rows]], settings: Settings, pixels: int) -> SceneModel:
    """The model with classes to sort patches by, from the rows (window, group) of so many pixels."""
    learnt = []
    for one, rows in zip(model.learnt, zip(*found, strict=True), strict=True):
        scores = np.concatenate([part.scores for part in rows])
        energy = np.concatenate([part.energy for part in rows])
        count = class_count(pixels, one.basis, settings)
        learnt.append(replace(one, sorters=find_classes(scores, energy, count, settings.rounds, settings.rough)))
    return replace(model, learnt=learnt)


def members_moments(
    block: NDArray[Any],
    valid: Valid,
    origin: Origin,
    *,
    model: SceneModel,
    settings: Settings,
    clear: Valid | None = None,
) -> list[list[Moments]] | None:
    """Moments (group, class) of the scores of a window's patches in each class."""
    planes = prepare(block, valid, model, settings, clear)
    if planes is None:
        return None
    patches = patches_over(valid.shape, settings.patch, settings.apply, origin, settings.shift)
    votes = voters(valid, patches, _learnable(valid, clear))
    found = []
    for group, learnt in zip(groups(len(planes), settings.patch), model.learnt, strict=True):
        scores = project(planes[group], patches, learnt.basis)
        label = assign(scores[:, : learnt.sorters[0].size], learnt.sorters)
        found.append(class_moments(scores, np.where(votes, label, np.int8(-1)), len(learnt.sorters)))
    return found


def finished(model: SceneModel, totals: list[list[Moments]]) -> SceneModel:
    """The model, whole."""
    learnt = [replace(one, classes=gaussians(total)) for one, total in zip(model.learnt, totals, strict=True)]
    return replace(model, learnt=learnt)


def merged(found: Iterable[Any]) -> Any:
    """The sum, in their order, of what windows gave: `Moments` in lists of lists; None where none gave anything."""
    total = None
    for one in found:
        if total is None:
            total = one
        elif one is not None:
            _add(total, one)
    return total


def _add(total: Any, other: Any) -> None:
    if isinstance(total, Moments):
        total.merge(other)
    else:
        for mine, its in zip(total, other, strict=True):
            _add(mine, its)
