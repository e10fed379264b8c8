"""The SVD of a patch matrix as a basis: the Gram added panel by panel, patches projected on it, folded back from it.

Sources: patch matrices and their SVD: Muresan, Parks (2003), Zhang et al. (2010), Deledalle et al. (2011); the edge
of the noise and the gains: Gavish, Donoho (2017). The patch matrix is never held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.moments import Moments
from pipeline.denoise.patches import Patches, Place
from pipeline.gemm.im2col import col2im
from pipeline.svd.gram import eigh_descending
from pipeline.svd.shrinkage import frobenius_gains

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Votes = NDArray[np.bool_]
Restore = Callable[[slice, F32], tuple[Index, F32]]
"""Denoise patches of these numbers into the first rows of an array (…, d): the row of each there, and weights > 0."""


@dataclass(frozen=True)
class PatchBasis:
    """The directions in which patches differ by more than noise, and as many below it."""

    mean: F32
    """(d,), d = plane·size²."""
    V: F32
    """(d, r) orthonormal columns, strongest first."""
    gains: F32
    """(k,), k <= r: the optimal gains of those above the noise."""

    def leading(self, share: float) -> PatchBasis:
        """The strongest of the directions above the noise, a share of them."""
        count = max(1, int(share * len(self.gains)))
        return PatchBasis(self.mean, np.ascontiguousarray(self.V[:, :count]), self.gains[:count])


def patch_moments(planes: F32, patches: Patches, votes: Votes) -> Moments:
    """Moments of the patches (patch, d) of planes (plane, y, x) that vote (patch,)."""
    total = Moments.empty(planes.shape[0] * patches.size**2)
    voting = patches.take(votes)
    room, centred = voting.room(len(planes)), voting.room(len(planes))
    for numbers in voting.panels():
        total.add(voting.lower(planes, numbers, room), room=centred)
    return total


def patch_basis(moments: Moments, headroom: float) -> PatchBasis:
    """The basis of patches with these moments: `headroom` directions for each above the noise, one at least."""
    d = len(moments.mean)
    w, V = eigh_descending(moments.covariance())
    gains = frobenius_gains(w, d / max(moments.count, 1))
    above = int(np.count_nonzero(gains))
    kept = min(d, max(1, round(headroom * above)))
    return PatchBasis(
        moments.mean.astype(np.float32),
        np.ascontiguousarray(V[:, :kept], np.float32),
        gains[:above].astype(np.float32),
    )


def project(planes: F32, patches: Patches, basis: PatchBasis) -> F32:
    """Scores (patch, r) of the patches of planes (plane, y, x)."""
    scores = np.empty((len(patches), basis.V.shape[1]), np.float32)
    middle, room = basis.mean @ basis.V, patches.room(len(planes))
    for numbers in patches.panels():
        np.matmul(patches.lower(planes, numbers, room), basis.V, out=scores[numbers])
        scores[numbers] -= middle
    return scores


def fold(parts: Sequence[tuple[Patches, Restore]], shape: tuple[int, ...], kaiser: float, place: Place) -> F32:
    """Planes of shape (plane, y, x) at place: the weighted average where patches, in parts that cover it, overlap.

    Within a patch the middle weighs more than the rim, by a Kaiser window.
    """
    total = np.zeros(shape, np.float32)
    weight = np.zeros(shape[1:], np.float32)
    for patches, restored in parts:
        ramp = np.kaiser(patches.size, kaiser)
        window = np.outer(ramp, ramp).ravel().astype(np.float32)
        room = patches.room(shape[0])
        for numbers in patches.panels():
            row, weights = restored(numbers, room)
            ys, xs = patches.ys[numbers], patches.xs[numbers]
            col2im(room, row, weights, window, ys, xs, patches.size, total, weight)
    wanted = total[:, *place]
    wanted /= weight[place]
    return wanted
