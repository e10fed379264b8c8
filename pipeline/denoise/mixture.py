"""Classes of patches: a mixture of low-rank Gaussians over the scores of patches in unit noise.

Sources: mixtures of Gaussians on patches: Yu, Sapiro, Mallat (2012), Houdard, Bouveyron, Delon (2018); here with
hard assignment and Gavish–Donoho (2017) gains in each class, and a start from classes of like energy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.moments import PANEL_ROWS, Moments
from pipeline.denoise.patch_svd import PatchBasis
from pipeline.denoise.settings import SORTED_BY, Settings
from pipeline.jit import jit
from pipeline.svd.gram import eigh_descending, panels
from pipeline.svd.shrinkage import frobenius_gains

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Label = NDArray[np.int8]
Whitener = tuple[F64, F64, float]
"""T (r, r), mean·T (r,) and a constant: ‖scores·T − mean·T‖² + the constant says how unlikely scores are."""

# Rows sorted at a time: the distances to all classes of more than these leave the cache.
SORT_ROWS = 1024
# Rows for each column of a class's covariance below which all patches lend it theirs.
LEAST_ROWS = 2.0
# Variance of all directions together, that of the noise being 1, above which float32 has not summed the faintest well:
# it rounds to about 1e-7 of the strongest.
STRONG = 1e5


@dataclass(frozen=True)
class Gaussian:
    """One class: mean, axes, the gain along each, and what a member weighs in the overlap average."""

    mean: F32
    """(r,)"""
    V: F32
    """(r, r) orthonormal columns."""
    gains: F64
    """(k,), k <= r, of the first k axes: signal / (signal + 1); the others hold noise alone."""
    weight: float

    @property
    def size(self) -> int:
        """r, the scores it looks at."""
        return len(self.mean)

    def whitener(self) -> Whitener:
        """T (r, r), mean·T (r,) and −log det, with ‖scores·T − mean·T‖² + the last = −2 log-likelihood + constant.

        Every axis counts with √(1 − gain), its share of noise: a difference of large squares would drown the small.
        """
        share = np.ones(len(self.V))
        share[: len(self.gains)] = np.maximum(1.0 - self.gains, np.finfo(np.float64).eps)
        T = self.V.astype(np.float64) * np.sqrt(share)
        return T, self.mean.astype(np.float64) @ T, -float(np.sum(np.log(share)))


def gaussian(moments: Moments) -> Gaussian:
    """The class of rows with these moments: axes above the noise and their optimal gains."""
    r = len(moments.mean)
    w, V = eigh_descending(moments.covariance())
    gains = frobenius_gains(w, r / max(moments.count, 1.0))
    gains = gains[: int(np.count_nonzero(gains))]
    return Gaussian(
        moments.mean.astype(np.float32),
        V.astype(np.float32),
        gains,
        float(1.0 / (1.0 + np.sum(gains**2))),
    )


def class_count(pixels: int, basis: PatchBasis, settings: Settings) -> int:
    """How many classes so many valid pixels can tell apart in this basis."""
    r = int(basis.V.shape[1])
    count = max(1, *(min(most, pixels // (each * r)) for most, each in settings.classes))
    return min(count, max(settings.sure, r // SORTED_BY))


def energies(scores: F32, basis: PatchBasis, planes: int) -> F32:
    """(row,) energy of scores (row, r) about each plane's mean in the patch, noise shrunk away."""
    k = len(basis.gains)
    cube = basis.V[:, :k].reshape(planes, len(basis.V) // planes, k)
    lively = (cube - cube.mean(axis=1, keepdims=True)).reshape(len(basis.V), k) * basis.gains
    gram = lively.T @ lively
    found = [np.einsum("ij,ij->i", panel @ gram, panel) for panel in panels(scores[:, :k], PANEL_ROWS)]
    return np.concatenate([np.empty(0, np.float32), *found])


def class_moments(scores: F32, label: Label, classes: int) -> list[Moments]:
    """Moments of the rows of scores (row, r) in each class 0 … classes − 1; label −1 belongs to none."""
    found = [Moments.empty(scores.shape[1]) for _ in range(classes)]
    room = np.empty((PANEL_ROWS, scores.shape[1]), np.float32)
    for c, rows in by_class(label, classes):
        found[c].add(scores, rows, room)
    return found


def by_class(label: Label, classes: int) -> Iterator[tuple[int, Index]]:
    """(class, its row numbers in order) for each class 0 … classes − 1 that appears in label."""
    order = np.argsort(label, kind="stable")
    ends = np.searchsorted(label[order], np.arange(classes + 1))
    return ((c, order[ends[c] : ends[c + 1]]) for c in range(classes) if ends[c + 1] > ends[c])


def find_classes(scores: F32, energy: F32, count: int, rounds: int, rough: float = 1.0) -> list[Gaussian]:
    """`count` classes of the rows of scores (row, r): of like energy (row,) at first, then of like covariance.

    rough: the share of the r columns, the strongest, that the rounds look at.
    """
    label = np.searchsorted(np.quantile(energy, np.arange(1, count) / count), energy).astype(np.int8)
    some = np.ascontiguousarray(scores[:, : max(1, int(rough * scores.shape[1]))])
    for _ in range(rounds if count > 1 else 0):
        label = nearest(some, rough_whiteners(lent(class_moments(some, label, count))))
    return gaussians(class_moments(scores, label, count))


def rough_whiteners(moments: list[Moments]) -> list[Whitener]:
    """As `Gaussian.whitener`, for a round: the covariance drawn to the unit noise by as many rows as it has columns.

    By its Cholesky factor, until the rounding of the strongest directions, which float32 has summed, comes near to the
    noise of the faintest: then by its eigenvectors, none of which has less than the noise.
    """
    r = len(moments[0].mean)
    covariances = np.stack([(part.scatter + r * np.eye(r)) / (part.count + r) for part in moments])
    weak = np.trace(covariances, axis1=1, axis2=2) <= STRONG
    factors = iter(_inverse_factors(covariances[weak]))
    found = []
    for part, covariance, plain in zip(moments, covariances, weak, strict=True):
        inverse = next(factors) if plain else None
        if inverse is None:
            w, V = eigh_descending(covariance)
            w = np.maximum(w, 1.0)
            T, constant = V / np.sqrt(w), float(np.sum(np.log(w)))
        else:
            T, constant = inverse.T, -2 * float(np.sum(np.log(np.diag(inverse))))
        found.append((T, part.mean @ T, constant))
    return found


def _inverse_factors(covariances: F64) -> list[F64] | list[None]:
    """L⁻¹ (r, r) of each of covariances (class, r, r) = L Lᵀ; none of any where rounding has left one of them none."""
    try:
        return list(np.linalg.inv(np.linalg.cholesky(covariances)))
    except np.linalg.LinAlgError:
        return [None] * len(covariances)


def gaussians(moments: list[Moments]) -> list[Gaussian]:
    """The classes of these moments; one of few rows borrows the covariance of all."""
    return [gaussian(part) for part in lent(moments)]


def lent(moments: list[Moments]) -> list[Moments]:
    """These moments; those of few rows with the covariance of all."""
    whole = Moments.empty(len(moments[0].mean))
    for part in moments:
        whole.merge(part)
    found = []
    for part in moments:
        lacking = LEAST_ROWS * len(part.mean) - part.count
        if lacking > 0:
            joined = whole.scaled(lacking)
            joined.merge(part)
            part = joined
        found.append(part)
    return found


def assign(scores: F32, classes: list[Gaussian]) -> Label:
    """(row,) the likeliest class of each of scores (row, r)."""
    return nearest(scores, [one.whitener() for one in classes])


def nearest(scores: F32, whiteners: list[Whitener]) -> Label:
    """(row,) the class of each of scores (row, r) whose whitener gives the least."""
    label = np.zeros(len(scores), np.int8)
    if len(whiteners) == 1:
        return label
    parts, means, constants = zip(*whiteners, strict=True)
    T = np.ascontiguousarray(np.concatenate(parts, axis=1).T, np.float32)
    mean, constant = np.concatenate(means).astype(np.float32), np.array(constants, np.float32)
    by = np.empty((len(T), SORT_ROWS), np.float32)
    for panel, labels in zip(panels(scores, SORT_ROWS), panels(label, SORT_ROWS), strict=True):
        apart = by[:, : len(panel)] if len(panel) == SORT_ROWS else np.empty((len(T), len(panel)), np.float32)
        np.matmul(T, panel.T, out=apart)
        _least(apart, mean, constant, labels)
    return label


@jit
def _least(apart: F32, mean: F32, constant: F32, label: Label) -> None:
    """Set label (row,) to the class of least ‖apart − mean‖² + constant: apart (class·r, row), mean (class·r,)."""
    classes, rows = len(constant), apart.shape[1]
    r = len(mean) // classes
    best = np.full(rows, np.inf, np.float32)
    for c in range(classes):
        total = np.full(rows, constant[c], np.float32)
        for k in range(c * r, (c + 1) * r):
            line, middle = apart[k], mean[k]
            for n in range(rows):
                off = line[n] - middle
                total[n] += off * off
        for n in range(rows):
            label[n] = c if total[n] < best[n] else label[n]
            best[n] = min(total[n], best[n])


@dataclass(frozen=True)
class Shrinker:
    """Scores to denoised patches, by class: ((scores − mean) V gains) (Vᵀ basisᵀ) + what the mean looks like."""

    inward: list[F32]
    """(r, k) for each class."""
    outward: list[F32]
    """(k + 1, d); the last row is what all the members have in common."""
    weights: F32
    """(class,)"""

    def __call__(self, scores: F32, label: Label, panel: F32) -> tuple[Index, F32]:
        """Denoise patches of scores (row, r) and label (row,), class by class, into the first rows of panel (…, d).

        Where in it each row stands (row,); their weights (row,).
        """
        place = np.empty(len(scores), np.intp)
        start = 0
        for c, rows in by_class(label, len(self.inward)):
            stop = start + len(rows)
            shrunk = np.ones((len(rows), len(self.outward[c])), np.float32)
            np.matmul(scores.take(rows, axis=0), self.inward[c], out=shrunk[:, :-1])
            np.matmul(shrunk, self.outward[c], out=panel[start:stop])
            place[rows] = np.arange(start, stop)
            start = stop
        return place, self.weights[label]


def shrinker(classes: list[Gaussian], basis: PatchBasis) -> Shrinker:
    """The shrinker of these classes, whose scores stand in this basis."""
    inward, outward = [], []
    for one in classes:
        V = np.ascontiguousarray(one.V[:, : len(one.gains)])
        gains = one.gains.astype(np.float32)
        inward.append(V * gains)
        common = basis.V @ (one.mean - V @ (gains * (V.T @ one.mean))) + basis.mean
        outward.append(np.concatenate([V.T @ basis.V.T, common[None]]))
    return Shrinker(inward, outward, np.array([one.weight for one in classes], np.float32))
