"""Gram matrices in panels, and the SVD they give: A = (A V / s) s Vᵀ with AᵀA = V s² Vᵀ.

Source: the method of snapshots (Sirovich 1987), exact but for rounding: a Gram squares the singular values,
so one summed in a precision eps cannot tell s_i from zero below sqrt(eps)·s_0. What lies below is done
in float64.
Centre or whiten before a float32 Gram: a large mean is a large s_0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from pipeline.svd.signs import row_signs

Matrix = NDArray[np.floating[Any]]
F64 = NDArray[np.float64]

PANEL_ROWS = 8192
# Smallest eigenvalue, as a share of the largest, that a Gram of this precision still shows well.
GRAM_FLOOR = {np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-12}
# Below this share of s_0 a column of A V is orthogonal to the first to less than the dtype of A can say.
ORTHOGONAL_FLOOR = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-3}


def panels(A: Matrix, rows: int = PANEL_ROWS) -> Iterable[Matrix]:
    """Consecutive slabs of at most `rows` rows of A, as views."""
    return (A[start : start + rows] for start in range(0, A.shape[0], rows))


def gram(A: Matrix, precision: Any = None) -> F64:
    """AᵀA of A (m, n): panels multiplied in `precision` (None: A's dtype), summed in float64 (n, n)."""
    total = np.zeros((A.shape[1], A.shape[1]))
    for panel in panels(A):
        panel = panel.astype(precision or A.dtype, copy=False)
        total += panel.T @ panel
    return total


def eigh_descending(G: F64, rank: int | None = None) -> tuple[F64, F64]:
    """Eigenvalues w (k,), largest first, and eigenvectors V (n, k), float64, of a symmetric G (n, n).

    `rank` asks for the k largest alone. Signs are fixed: the largest entry of each column is positive.
    """
    n = G.shape[0]
    if rank is None or rank >= n // 3:
        w, V = np.linalg.eigh(G)
    else:
        w, V = linalg.eigh(G, subset_by_index=[n - rank, n - 1], driver="evr")
    w, V = w[::-1][:rank], V[:, ::-1][:, :rank]
    return w, V * row_signs(V.T)


def rank_for(w: F64, energy: float, tolerance: float) -> int:
    """Smallest k >= 1 with energy − Σ_{i<k} w_i <= tolerance²·energy; len(w) + 1 if none does."""
    tail = np.maximum(energy - np.cumsum(w), 0.0)
    reached = np.flatnonzero(tail <= tolerance**2 * energy)
    return int(reached[0]) + 1 if reached.size else len(w) + 1


def gram_svd(A: Matrix, rank: int | None = None, tolerance: float | None = None) -> tuple[Matrix, F64, Matrix] | None:
    """SVD of A (m, n), m >= n, float32 or float64, through its n x n Gram: U (m, k), s (k,), Vt (k, n).

    k is the smallest rank that reaches `tolerance` (relative Frobenius error), at most `rank`. Returns None
    when what is asked for lies below what a float64 Gram can show: take LAPACK then.
    """
    precision = A.dtype
    w, V = eigh_descending(gram(A))
    k = _wanted(w, rank, tolerance)
    if precision == np.float32 and not _shown(w, k, tolerance, GRAM_FLOOR[precision]):
        precision = np.dtype(np.float64)
        w, V = eigh_descending(gram(A, precision))
        k = _wanted(w, rank, tolerance)
    elif precision == np.float64 and not _shown(w, k, tolerance, GRAM_FLOOR[precision]):
        return None
    return _lift(A, V[:, :k], precision)


def _wanted(w: F64, rank: int | None, tolerance: float | None) -> int:
    limit = len(w) if rank is None else rank
    if tolerance is None:
        return limit
    w = np.maximum(w, 0.0)
    return min(limit, rank_for(w, float(w.sum()), tolerance))


def _shown(w: F64, k: int, tolerance: float | None, floor: float) -> bool:
    """Whether w_{k-1}, and the tail that decides k, stand clear of the rounding of the Gram."""
    return bool(w[k - 1] > floor * w[0]) and (tolerance is None or tolerance**2 > floor)


def _lift(A: Matrix, V: F64, precision: Any) -> tuple[Matrix, F64, Matrix]:
    """Left vectors and values from the right ones: Y = A V, s = its column norms, U = Y / s."""
    Y = np.concatenate([panel.astype(precision, copy=False) @ V.astype(precision) for panel in panels(A)])
    s = np.sqrt(np.einsum("ij,ij->j", Y, Y, dtype=np.float64))
    order = np.argsort(-s, kind="stable")
    Y, s, V = Y[:, order], s[order], V[:, order]
    if s[-1] <= ORTHOGONAL_FLOOR[A.dtype] * s[0]:
        # QR mends the small columns and gives the null ones a direction.
        Q, R = np.linalg.qr(Y / np.where(s > 0, s, 1.0))
        U = Q * np.where(np.diagonal(R) < 0, -1.0, 1.0)
    else:
        U = Y / s.astype(Y.dtype)
    return U.astype(A.dtype, copy=False), s, V.T.astype(A.dtype)
