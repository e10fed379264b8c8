"""The SVD of a patch matrix as a basis: the Gram added panel by panel, patches projected on it, folded back from it.

Sources: patch matrices and their SVD: Muresan, Parks (2003), Zhang et al. (2010), Deledalle et al. (2011); the edge
of the noise and the gains: Gavish, Donoho (2017). The patch matrix is never held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.moments import Moments
from pipeline.denoise.patches import Patches
from pipeline.gemm.im2col import col2im
from pipeline.svd.gram import eigh_descending
from pipeline.svd.shrinkage import frobenius_gains

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Votes = NDArray[np.bool_]

# Directions kept for each that stands above the noise of all patches: a class may raise what the whole buries.
HEADROOM = 2.0
# Share of those above the noise that patches are sorted by: the faint ones say little of the class.
LEADING = 0.5
# Shape of the Kaiser window that weighs a patch's pixels in the overlap average.
KAISER = 2.0


@dataclass(frozen=True)
class PatchBasis:
    """The directions in which patches differ by more than noise, and as many below it."""

    mean: F32
    """(d,), d = plane·size²."""
    V: F32
    """(d, r) orthonormal columns, strongest first."""
    gains: F32
    """(k,), k <= r: the optimal gains of those above the noise."""

    def leading(self) -> PatchBasis:
        """The directions that patches are sorted by."""
        count = max(1, int(LEADING * len(self.gains)))
        return PatchBasis(self.mean, np.ascontiguousarray(self.V[:, :count]), self.gains[:count])


def patch_moments(planes: F32, patches: Patches, votes: Votes) -> Moments:
    """Moments of the patches (patch, d) of planes (plane, y, x) that vote (patch,)."""
    total = Moments.empty(planes.shape[0] * patches.size**2)
    for numbers, ys in patches.panels():
        panel = patches.lower(planes, ys)
        total.add(panel if votes[numbers].all() else panel[votes[numbers]])
    return total


def patch_basis(moments: Moments) -> PatchBasis:
    """The basis of patches with these moments; one direction at least."""
    d = len(moments.mean)
    w, V = eigh_descending(moments.covariance())
    gains = frobenius_gains(w, d / max(moments.count, 1))
    above = int(np.count_nonzero(gains))
    kept = min(d, max(1, round(HEADROOM * above)))
    return PatchBasis(
        moments.mean.astype(np.float32),
        np.ascontiguousarray(V[:, :kept], np.float32),
        gains[:above].astype(np.float32),
    )


def project(planes: F32, patches: Patches, basis: PatchBasis) -> F32:
    """Scores (patch, r) of the patches of planes (plane, y, x)."""
    scores = np.empty((len(patches), basis.V.shape[1]), np.float32)
    middle = basis.mean @ basis.V
    for numbers, ys in patches.panels():
        np.matmul(patches.lower(planes, ys), basis.V, out=scores[numbers])
        scores[numbers] -= middle
    return scores


def fold(patches: Patches, shape: tuple[int, ...], restored: Callable[[slice], tuple[F32, F32]]) -> F32:
    """Planes of shape (plane, y, x): the weighted average of patches where they overlap.

    restored(numbers) gives the panel (patch, d) of those patches and their weights (patch,) > 0; within a patch the
    middle weighs more than the rim.
    """
    ramp = np.kaiser(patches.size, KAISER)
    window = np.outer(ramp, ramp).ravel().astype(np.float32)
    total = np.zeros(shape, np.float32)
    weight = np.zeros(shape[1:], np.float32)
    for numbers, ys in patches.panels():
        panel, weights = restored(numbers)
        col2im(panel, weights, window, ys, patches.xs, patches.size, patches.size, total, weight)
    total /= weight
    return total
