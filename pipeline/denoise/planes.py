"""Planes of unit noise, denoised: one basis for all patches, within it one Gaussian for each class.

Source: docs/algorithms.md, "Denoise".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

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
from pipeline.denoise.patch_svd import Restore, fold, patch_basis, patch_moments, project
from pipeline.denoise.patches import Patches, Place, box_sums, patches_among, patches_over, spared, voters
from pipeline.denoise.settings import Settings

F32 = NDArray[np.float32]
Valid = NDArray[np.bool_]

# Among holes: patches for each column of their matrix below which a basis is noise, and share of the patches with any
# real pixel that must be real enough to vote where there are so few planes; below these nothing is taken away.
FEWEST = 1
REAL_SHARE, FEW_PLANES = 0.02, 2
# Share of the real pixels near which one is missing from which holes are filled anew with what came out; how often.
SCATTERED = 0.25
REFILLS = 2


def denoise_planes(
    planes: F32,
    valid: Valid,
    settings: Settings,
    origin: tuple[int, int],
    learnt: Learnt | None = None,
    trusted: Valid | None = None,
    place: Place | None = None,
) -> F32:
    """Planes (plane, y, x) of unit noise, denoised: one basis for all patches, within it one Gaussian for each class.

    Classes are found on the patches of the `learn` grid; those of the `apply` grid are then sorted, and each class is
    fitted anew to its own: a shrinker knows the noise best that it has seen. `learnt` takes the place of all that.
    Patches of `trusted` (y, x) pixels are denoised by what such patches teach, the others by all that is valid.
    Where holes are scattered they are filled with what came out, in planes, and all is done again: a mean of what is
    around knows no texture. All planes teach; what comes back are those at `place`, if one is given.
    """
    trusted = valid if trusted is None else trusted
    everywhere = slice(0, valid.shape[0]), slice(0, valid.shape[1])
    # With the scene's bases a pixel must not hang on what else its tile holds.
    for _ in range(REFILLS if learnt is None and scattered(valid, settings.patch) else 0):
        smooth = _by_sizes(planes, valid, settings, origin, learnt, trusted, everywhere)
        planes[:, ~valid] = smooth[:, ~valid]
    return _by_sizes(planes, valid, settings, origin, learnt, trusted, place or everywhere)


def scattered(valid: Valid, size: int) -> bool:
    """Whether many of the valid (y, x) pixels have one that is not within a patch around them."""
    if valid.all():
        return False
    beside = np.count_nonzero(valid & ~ndimage.minimum_filter(valid, size))
    return bool(beside > SCATTERED * np.count_nonzero(valid))


def _by_sizes(
    planes: F32,
    valid: Valid,
    settings: Settings,
    origin: tuple[int, int],
    learnt: Learnt | None,
    trusted: Valid,
    place: Place,
) -> F32:
    """`denoise_planes`, once. Few pixels teach a basis badly: there the mean with what patches of another size give is
    nearer to the truth."""
    pixels, side = int(np.count_nonzero(trusted)), min(valid.shape)
    sizes = [settings] if learnt is not None else settings.sizes(pixels, len(planes), side)
    told = [_by_patches(planes, valid, size, origin, learnt, trusted, place) for size in sizes]
    match [one for one in told if one is not None]:
        case [one, other]:
            return np.asarray((one + other) / 2)
        case [one]:
            return one
    return planes[:, *place].copy()


def _by_patches(
    planes: F32,
    valid: Valid,
    settings: Settings,
    origin: tuple[int, int],
    learnt: Learnt | None,
    trusted: Valid,
    place: Place,
) -> F32 | None:
    """`denoise_planes` by patches of one size; None where holes leave nothing to learn from."""
    apply = patches_over(valid.shape, settings.patch, settings.apply, origin, settings.shift)
    own = np.ones(len(apply), np.bool_) if trusted is valid else spared(valid & ~trusted, apply)
    parts = []
    for chosen, teachers, known in ((own, trusted, learnt), (~own, valid, None)):
        some = apply.take(chosen)
        learning = known
        if known is None and len(some):
            learning = learn(planes, valid, settings, origin, teachers)
            if learning is None:
                return None
        if learning is not None:
            votes = voters(valid, some, teachers)
            parts.append(restored(planes, some, votes, learning, place))
    return fold(parts, planes.shape, settings.kaiser, place)


def restored(planes: F32, patches: Patches, votes: Valid, learning: Learnt, place: Place) -> tuple[Patches, Restore]:
    """Those of the patches that reach into place, and what gives them denoised, by their numbers.

    votes (patch,): to which of all patches the classes are fitted.
    """
    basis, sorters, classes = learning.basis, learning.sorters, learning.classes
    reach = patches.meeting(place)
    if classes:  # the others have no say
        patches, reach = patches.take(reach), np.ones(np.count_nonzero(reach), np.bool_)
    scores = project(planes, patches, basis)
    label = assign(scores[:, : sorters[0].size], sorters)
    if not classes:
        classes = gaussians(class_moments(scores, np.where(votes, label, np.int8(-1)), len(sorters)))
    restore = shrinker(classes, basis)
    if not reach.all():
        scores, label = scores[reach], label[reach]
    return patches.take(reach), lambda numbers, room: restore(scores[numbers], label[numbers], room)


def learn(planes: F32, valid: Valid, settings: Settings, origin: tuple[int, int], trusted: Valid) -> Learnt | None:
    """Basis of the patches of planes (plane, y, x), and the classes to sort them by; None where no patch votes."""
    steps = settings.learning(valid.size, len(planes))
    patches = patches_among(valid.shape, settings.patch, steps, origin, settings.scattered)
    votes = voters(valid, patches, trusted)
    if not votes.any() and trusted is not valid:
        trusted, votes = valid, voters(valid, patches)
    columns, whole = len(planes) * settings.patch**2, bool(valid.all())
    if np.count_nonzero(votes) < settings.rows * columns and not whole:
        patches = patches_over(valid.shape, settings.patch, (1, 1), origin)
        votes = voters(valid, patches, trusted)
    least: float = 1 if whole else FEWEST * columns
    if not whole and len(planes) <= FEW_PLANES:
        least = max(least, REAL_SHARE * np.count_nonzero(box_sums(valid, patches)))
    if np.count_nonzero(votes) < least:
        return None
    patches = patches.take(votes)
    moments = patch_moments(planes, patches, np.ones(len(patches), np.bool_))
    basis = patch_basis(moments, settings.directions(moments.count, len(moments.mean)))
    leading = basis.leading(settings.leading)
    scores = project(planes, patches, leading)
    count = class_count(int(np.count_nonzero(trusted)), basis, settings)
    energy = energies(scores, leading, len(planes))
    return Learnt(basis, find_classes(scores, energy, count, settings.rounds, settings.rough), [])
