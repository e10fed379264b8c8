"""Planes of unit noise, denoised: one basis for all patches, within it one Gaussian for each class.

Source: docs/algorithms.md, "Denoise".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.mixture import (
    assign,
    class_count,
    class_moments,
    energies,
    find_classes,
    gaussians,
    shrinker,
)
from pipeline.denoise.model import Learnt
from pipeline.denoise.moments import Moments
from pipeline.denoise.patch_svd import PatchBasis, Restore, fold, patch_basis, patch_moments, project
from pipeline.denoise.patches import Patches, patches_over, spared, voters
from pipeline.denoise.settings import Settings
from pipeline.denoise.strips import spread_rows, strip_moments

F32 = NDArray[np.float32]
Valid = NDArray[np.bool_]

# Rows of patches of which one teaches a basis, in a large block.
EVERY_ROW = 8


def denoise_planes(
    planes: F32,
    valid: Valid,
    settings: Settings,
    origin: tuple[int, int],
    learnt: Learnt | None = None,
    trusted: Valid | None = None,
) -> F32:
    """Planes (plane, y, x) of unit noise, denoised: one basis for all patches, within it one Gaussian for each class.

    Classes are found on the patches of the `learn` grid; those of the `apply` grid are then sorted, and each class is
    fitted anew to its own: a shrinker knows the noise best that it has seen. `learnt` takes the place of all that.
    Patches of `trusted` (y, x) pixels are denoised by what such patches teach, the others by all that is valid.
    """
    trusted = valid if trusted is None else trusted
    apply = patches_over(valid.shape, settings.patch, settings.apply, origin, settings.shift)
    own = np.ones(len(apply), np.bool_) if trusted is valid else spared(valid & ~trusted, apply)
    parts = []
    for chosen, teachers, known in ((own, trusted, learnt), (~own, valid, None)):
        some = apply.take(chosen)
        learning, scores = known, None
        if known is None and len(some):
            learning, scores = learn(planes, valid, settings, origin, teachers, some if chosen.all() else None)
            if learning is None:
                return planes.copy()
        if learning is not None:
            votes = voters(valid, some, teachers)
            parts.append((some, restorer(planes, some, votes, learning, scores)))
    return fold(parts, planes.shape, settings.kaiser)


def restorer(planes: F32, patches: Patches, votes: Valid, learning: Learnt, scores: F32 | None = None) -> Restore:
    """What gives the denoised patches of these numbers; votes (patch,) say which of them the classes are fitted to.

    scores (patch, r) are those of the patches, where they are at hand.
    """
    basis, sorters, classes = learning.basis, learning.sorters, learning.classes
    scores = project(planes, patches, basis) if scores is None else scores
    label = assign(scores[:, : sorters[0].size], sorters)
    if not classes:
        classes = gaussians(class_moments(scores, np.where(votes, label, np.int8(-1)), len(sorters)))
    restore = shrinker(classes, basis)
    return lambda numbers, room: restore(scores[numbers], label[numbers], room)


def learn(
    planes: F32,
    valid: Valid,
    settings: Settings,
    origin: tuple[int, int],
    trusted: Valid,
    folded: Patches | None = None,
) -> tuple[Learnt | None, F32 | None]:
    """Basis of the patches of planes (plane, y, x), and the classes to sort them by; None where no patch votes.

    Second, the scores (patch, r) of the patches to be folded back, where all of them are given and were wanted for it.
    """
    patches = patches_over(valid.shape, settings.patch, settings.learning(valid.size, len(planes)), origin)
    votes = voters(valid, patches, trusted)
    if not votes.any() and trusted is not valid:
        trusted, votes = valid, voters(valid, patches)
    if not votes.any():
        return None, None
    basis = _basis(planes, settings, trusted, patches.take(votes))
    leading = basis.leading(settings.leading, settings.sorted_by(valid.size))
    scores = None
    if settings.thinned and folded is not None:
        scores = project(planes, folded, basis)
        some = scores[np.flatnonzero(voters(valid, folded, trusted))[:: settings.thinned], : leading.V.shape[1]]
    else:
        some = project(planes, patches, leading)
        some = some if votes.all() else some[votes]
    count = class_count(int(np.count_nonzero(trusted)), basis, settings.classes)
    energy = energies(some, leading, len(planes))
    return Learnt(basis, find_classes(some, energy, count, settings.rounds, settings.rough), []), scores


def _basis(planes: F32, settings: Settings, trusted: Valid, patches: Patches) -> PatchBasis:
    """The basis that whole rows of trusted (y, x) pixels tell, or these patches where too few of them are whole."""
    moments = _told_by_rows(planes, settings, trusted) if settings.strips else None
    if moments is not None:
        return patch_basis(moments, 1.0)
    moments = patch_moments(planes, patches, np.ones(len(patches), np.bool_))
    return patch_basis(moments, settings.directions(moments.count, len(moments.mean)))


def _told_by_rows(planes: F32, settings: Settings, trusted: Valid) -> Moments | None:
    """Moments of the patches of as many rows as `strips` wants, every EVERY_ROW-th at least, evenly over the block."""
    wanted = (settings.strips or 0) * len(planes) * settings.patch**2
    count = -(-wanted // max(1, trusted.shape[1] - settings.patch + 1))
    rows = spread_rows(trusted.shape[0], settings.patch, max(count, trusted.shape[0] // EVERY_ROW))
    return strip_moments(planes, settings.patch, rows, trusted)
