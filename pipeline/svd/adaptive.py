"""Two adaptive ways to a low-rank SVD: row-sampled Rayleigh–Ritz with a residual check, and fixed precision.

Sources: Rayleigh–Ritz on a basis from sampled rows (after Drineas, Kannan, Mahoney 2006);
randQB_EI: Yu, Gu, Li (2018), algorithm 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.svd.gram import clear, eigh_descending, gram, gram_svd, panels, rank_for, squared_norm
from pipeline.svd.lanes import LINE, narrow_product_and_energy, packed, suits_product
from pipeline.svd.range_finder import OVERSAMPLING, lift, orthonormal

Matrix = NDArray[np.floating[Any]]
F64 = NDArray[np.float64]

SAMPLE_ROWS = 8192
# Columns of the sampled basis beyond the rank, at least.
SPARE = 5
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
    S = A[sample_rows(m, rng)]
    with np.errstate(over="ignore", invalid="ignore"):
        G = gram(S) * (m / len(S))
    sample_energy = float(np.trace(G))
    if not clear(sample_energy, A.dtype):
        return None
    limit = n if rank is None else rank
    w, V = eigh_descending(G, None if tolerance is not None else min(n, _width(limit)))
    k = limit if tolerance is None else min(limit, rank_for(w, sample_energy, tolerance))
    if _width(k) > n // 2:
        return None
    Y, energy = scores(A, V[:, : _width(k)])
    factors = gram_svd(Y, k if tolerance is None else None) if clear(energy, A.dtype) else None
    if factors is None:
        return None
    U, s, Wt = factors
    if tolerance is not None:
        k = min(rank_for(s**2, energy, tolerance), limit)
        if k > len(s):
            return None
    residual = energy - float(np.sum(s[:k] ** 2))
    expected = sample_energy - float(np.sum(w[:k]))
    trusted = (
        abs(sample_energy - energy) <= SAMPLE_BIAS * energy
        and residual > RESIDUAL_FLOOR[A.dtype] * energy
        and residual <= ERROR_RATIO * expected
    )
    return (U[:, :k], s[:k], Wt[:k] @ V[:, : Wt.shape[1]].T.astype(A.dtype)) if trusted else None


def _width(rank: int) -> int:
    """Columns of the basis for this rank: a whole number of lines, which is what a product of lines costs."""
    return -(-(rank + SPARE) // LINE) * LINE


def scores(A: Matrix, V: F64) -> tuple[Matrix, float]:
    """A V (m, l) and ‖A‖² of A (m, n), in one pass where the rows of A lie one after the other."""
    Y = np.empty((A.shape[0], V.shape[1]), A.dtype)
    if suits_product(A, V.shape[1]):
        return Y, narrow_product_and_energy(A, packed(V, A.dtype), Y)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.matmul(A, V.astype(A.dtype), out=Y), squared_norm(A)


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
