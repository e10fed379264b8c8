"""Two adaptive ways to a low-rank SVD: row-sampled Rayleigh–Ritz with a residual check, and fixed precision.

Sources: Rayleigh–Ritz on a basis from sampled rows (after Drineas, Kannan, Mahoney 2006);
randQB_EI: Yu, Gu, Li (2018), algorithm 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.svd.gram import eigh_descending, gram, panels, rank_for
from pipeline.svd.range_finder import OVERSAMPLING, lift, orthonormal

Matrix = NDArray[np.floating[Any]]
F64 = NDArray[np.float64]

SAMPLE_ROWS = 8192
# Squares: error / best error <= 1.01, and the energy of the sample within 5 % of the matrix it speaks for.
ERROR_RATIO = 1.01**2
SAMPLE_BIAS = 0.05
# Below this share of the energy the residual ‖A‖² − Σs² is rounding in float32, and is not to be believed.
RESIDUAL_FLOOR = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-13}


def sample_rows(m: int, rng: np.random.Generator, rows: int = SAMPLE_ROWS) -> NDArray[np.intp]:
    """`rows` row numbers out of m, one in each of `rows` equal strata (all of them when m is smaller)."""
    if m <= rows:
        return np.arange(m)
    step = m / rows
    return np.minimum(((np.arange(rows) + rng.random(rows)) * step).astype(np.intp), m - 1)


def sampled_svd(
    A: Matrix, rank: int | None, tolerance: float | None, rng: np.random.Generator
) -> tuple[Matrix, F64, Matrix] | None:
    """SVD of a tall A (m, n) from a basis of sampled rows, or None where the sample is not enough.

    The sample's own tail Σ_{i>k} w_i cannot exceed, in expectation, the best error² of the whole; the
    error of its basis on the whole cannot be less. Where the two meet within 2 % (1.01 in error), both are
    the best error.
    """
    m, n = A.shape
    S = A[sample_rows(m, rng)].astype(np.float64)
    w, V = eigh_descending(gram(S) * (m / len(S)))
    sample_energy = float(np.sum(w))
    k = n if rank is None else rank
    if tolerance is not None:
        k = min(k, rank_for(w, sample_energy, tolerance))
    if k + OVERSAMPLING > n // 2:
        return None
    Y, s2, Vt, energy = rayleigh_ritz(A, V[:, : k + OVERSAMPLING])
    if tolerance is not None:
        k = min(rank_for(s2, energy, tolerance), n if rank is None else rank)
        if k > len(s2):
            return None
    residual, expected = energy - float(s2[:k].sum()), float(np.sum(w[k:]))
    trusted = (
        abs(sample_energy - energy) <= SAMPLE_BIAS * energy
        and residual > RESIDUAL_FLOOR[A.dtype] * energy
        and residual <= ERROR_RATIO * expected
    )
    if not trusted:
        return None
    s = np.sqrt(s2[:k])
    return Y[:, :k] / s.astype(A.dtype), s, Vt[:k]


def rayleigh_ritz(A: Matrix, V: F64) -> tuple[Matrix, F64, Matrix, float]:
    """Best approximation of A (m, n) with rows in the span of V (n, l).

    Returns scores (m, l), s² (l,), Vt (l, n) and ‖A‖².
    """
    V = V.astype(A.dtype)
    Y = np.empty((A.shape[0], V.shape[1]), A.dtype)
    energy, start = 0.0, 0
    for panel in panels(A):
        np.matmul(panel, V, out=Y[start : start + len(panel)])
        energy += float(np.einsum("ij,ij->", panel, panel, dtype=np.float64))
        start += len(panel)
    w, W = eigh_descending(gram(Y, np.float64))
    W = W.astype(A.dtype)
    return Y @ W, np.maximum(w, 0.0), (V @ W).T, energy


def rand_qb_ei(
    A: Matrix, tolerance: float, rng: np.random.Generator, *, rank: int, block: int = 16
) -> tuple[Matrix, F64, Matrix] | None:
    """SVD of A (m, n) of the smallest rank found with ‖A − UsVᵀ‖ <= tolerance·‖A‖, and at most `rank`.

    The error of Q B falls by exactly ‖B_i‖² with each block of rows B_i = Q_iᵀA:
    it is known without a residual. None where a third of min(m, n) is not wide enough: LAPACK is quicker.
    """
    m, n = A.shape
    energy = sum(float(np.einsum("ij,ij->", panel, panel, dtype=np.float64)) for panel in panels(A))
    Q, B = np.empty((m, 0), A.dtype), np.empty((0, n), A.dtype)
    error = energy
    limit = max(1, min(rank + OVERSAMPLING, min(m, n) // 3))
    while Q.shape[1] == 0 or (error > tolerance**2 * energy and Q.shape[1] < limit):
        width = min(block, limit - Q.shape[1])
        Y = _sketch_beyond(A, Q, B, rng.standard_normal((n, width)).astype(A.dtype))
        Z = orthonormal(A.T @ Y - B.T @ (Q.T @ Y))
        Y = _sketch_beyond(A, Q, B, Z)
        rows = Y.T @ A
        Q, B = np.concatenate([Q, Y], axis=1), np.concatenate([B, rows])
        error -= float(np.einsum("ij,ij->", rows, rows, dtype=np.float64))
    if error > tolerance**2 * energy and Q.shape[1] < rank:
        return None
    U, s, Vt = lift(Q, B)
    k = min(rank, rank_for(s**2, energy, tolerance), len(s))
    return U[:, :k], s[:k], Vt[:k]


def _sketch_beyond(A: Matrix, Q: Matrix, B: Matrix, test_matrix: Matrix) -> Matrix:
    """Orthonormal basis of the range of (A − QB)Ω, kept orthogonal to Q by a second projection."""
    Y = orthonormal(A @ test_matrix - Q @ (B @ test_matrix))
    return orthonormal(Y - Q @ (Q.T @ Y))
