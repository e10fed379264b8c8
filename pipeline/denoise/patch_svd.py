"""Denoising planes of unit noise by the SVD of their patch matrix, over all patches or class by class.

Sources: patch matrices and their SVD: Muresan, Parks (2003), Zhang et al. (2010), Deledalle et al. (2011);
optimal shrinkage: Gavish, Donoho (2017); classes of like energy: docs/algorithms.md, "Denoise". The patch matrix
is never held: Grams are added up panel by panel, and projections folded back panel by panel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm.im2col import col2im, im2col
from pipeline.svd.gram import eigh_descending
from pipeline.svd.shrinkage import frobenius_gains

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]

PANEL_ROWS = 4096


@dataclass(frozen=True)
class Patches:
    """Where the overlapping patches of a (plane, y, x) array stand, and what each is."""

    size: int
    """Side of a patch, pixels."""
    ys: Index
    xs: Index
    """Starts of the patches; patch number i·len(xs) + j stands at (ys[i], xs[j])."""
    label: Index
    """(patch,) class of each, 0 … classes − 1; −1 takes no part in a class's mean and SVD."""

    def panels(self) -> Iterator[tuple[slice, Index]]:
        """Patch numbers and ys of slabs of about PANEL_ROWS patches, at least one row of them."""
        width = len(self.xs)
        step = max(1, PANEL_ROWS // width)
        for start in range(0, len(self.ys), step):
            ys = self.ys[start : start + step]
            yield slice(start * width, (start + len(ys)) * width), ys

    def lower(self, planes: F32, ys: Index) -> F32:
        """The panel (patch, plane·size²) of the patches that start at ys."""
        return im2col(planes, ys, self.xs, self.size, self.size)


@dataclass(frozen=True)
class Moments:
    """Count, mean (d,) and scatter Σ(x − mean)(x − mean)ᵀ (d, d) of some patches."""

    count: int
    mean: F64
    scatter: F64


@dataclass(frozen=True)
class Basis:
    """How one class is denoised: mean + V f Vᵀ (x − mean), and its weight in the overlap average."""

    mean: F32
    V: F32
    gains: F32
    weight: float


def class_svd(planes: F32, learn: Patches, patches: Patches, classes: int) -> F32:
    """Planes (plane, y, x) float32 of unit noise, denoised with one basis for each class of patches.

    The bases come from the patches `learn`, which may stand further apart than those that are folded back.
    """
    moments = class_moments(planes, learn, classes)
    bases = [shrunk_basis(pooled(moments, c)) for c in range(classes)]
    total = np.zeros_like(planes)
    weight = np.zeros(planes.shape[1:], np.float32)
    weights = np.array([basis.weight for basis in bases], np.float32)
    for numbers, ys in patches.panels():
        label = patches.label[numbers]
        panel = project(patches.lower(planes, ys), label, bases)
        col2im(panel, weights[label], ys, patches.xs, patches.size, patches.size, total, weight)
    total /= weight
    return total


def class_moments(planes: F32, patches: Patches, classes: int) -> list[Moments]:
    """Moments of the patches of each class, added panel by panel.

    The sums are taken about a provisional mean, the mean of the class in the first panel where it appears: a class
    far from zero would otherwise lose its small eigenvalues to cancellation.
    """
    d = planes.shape[0] * patches.size**2
    shift = np.zeros((classes, d), np.float32)
    count = np.zeros(classes, np.intp)
    first, second = np.zeros((classes, d)), np.zeros((classes, d, d))
    for numbers, ys in patches.panels():
        panel = patches.lower(planes, ys)
        for c, rows in by_class(patches.label[numbers], classes):
            A = panel[rows]
            if count[c] == 0:
                shift[c] = A.mean(axis=0)
            A -= shift[c]
            count[c] += len(A)
            first[c] += np.ones(len(A), np.float32) @ A
            second[c] += A.T @ A
    return [_about_mean(int(count[c]), shift[c], first[c], second[c]) for c in range(classes)]


def _about_mean(count: int, shift: F32, first: F64, second: F64) -> Moments:
    offset = first / max(count, 1)
    return Moments(count, shift + offset, second - count * np.outer(offset, offset))


def by_class(label: Index, classes: int) -> Iterator[tuple[int, Index]]:
    """(class, its row numbers in order) for each class 0 … classes − 1 that appears in label."""
    order = np.argsort(label, kind="stable")
    ends = np.searchsorted(label[order], np.arange(classes + 1))
    return ((c, order[ends[c] : ends[c + 1]]) for c in range(classes) if ends[c + 1] > ends[c])


def pooled(moments: list[Moments], c: int) -> Moments:
    """Moments of class c, joined with its neighbours' where it has fewer than 2 d patches (Chan et al. 1983)."""
    if moments[c].count >= 2 * len(moments[c].mean):
        return moments[c]
    near = moments[max(0, c - 1) : c + 2]
    count = sum(part.count for part in near)
    mean = np.sum([part.count * part.mean for part in near], axis=0) / max(count, 1)
    scatter = np.zeros_like(moments[c].scatter)
    for part in near:
        scatter += part.scatter + part.count * np.outer(part.mean - mean, part.mean - mean)
    return Moments(count, mean, scatter)


def shrunk_basis(moments: Moments) -> Basis:
    """Eigenvectors above the noise edge and their optimal gains; none for a class without patches."""
    count = max(moments.count, 1)
    w, V = eigh_descending(moments.scatter / count)
    gains = frobenius_gains(w, len(w) / count)
    kept = int(np.count_nonzero(gains))
    gains = gains[:kept]
    weight = 1.0 / (1.0 + float(np.sum(gains**2)))
    return Basis(
        moments.mean.astype(np.float32),
        np.ascontiguousarray(V[:, :kept], np.float32),
        gains.astype(np.float32),
        weight,
    )


def project(panel: F32, label: Index, bases: list[Basis]) -> F32:
    """Each row of panel (patch, d) denoised with the basis of its class, in place."""
    for c, rows in by_class(label, len(bases)):
        basis = bases[c]
        scores = (panel[rows] - basis.mean) @ basis.V
        scores *= basis.gains
        panel[rows] = scores @ basis.V.T + basis.mean
    return panel
