"""Gram matrices in panels, and the SVD they give: A = (A V / s) s Vᵀ with AᵀA = V s² Vᵀ.

Source: the method of snapshots (Sirovich 1987), exact but for rounding: a Gram squares the singular values,
so one summed in a precision eps cannot tell s_i from zero below sqrt(eps)·s_0. What lies below is done
in float64.
Centre or whiten before a float32 Gram: a large mean is a large s_0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from pipeline.svd.lanes import NARROW, narrow_gram, narrow_product, packed, suits_product
from pipeline.svd.signs import row_signs

Matrix = NDArray[np.floating[Any]]
F64 = NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)

PANEL_ROWS = 8192
ENERGY_ROWS = 512
# From here on some eigenvectors are quicker than all.
SUBSET = 160
# Smallest eigenvalue, as a share of the largest, that a Gram of this precision shows at all; one that it shows
# so well that U needs no check; and the smallest tail that decides a rank.
SEEN = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}
SURE = {np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-2}
TAIL = {np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-12}
# Below this share of s_0 a column of A V is orthogonal to the first to less than the dtype of A can say.
ORTHOGONAL_FLOOR = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-3}
# Departure of UᵀU from the identity that stands, and the most that one more orthonormalisation mends.
ORTHONORMAL = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}
MENDABLE = 0.1


def panels(A: NDArray[Scalar], rows: int = PANEL_ROWS) -> Iterable[NDArray[Scalar]]:
    """Consecutive slabs of at most `rows` rows of A, as views."""
    return (A[start : start + rows] for start in range(0, A.shape[0], rows))


def gram(A: Matrix, precision: Any = None) -> F64:
    """AᵀA of A (m, n): panels multiplied in `precision` (None: A's dtype), summed in float64 (n, n)."""
    if 0 < A.shape[1] <= NARROW and A.flags.c_contiguous and A.dtype in SEEN:
        return narrow_gram(A, np.promote_types(precision or A.dtype, A.dtype))
    total = np.zeros((A.shape[1], A.shape[1]))
    with np.errstate(over="ignore", invalid="ignore"):
        for panel in panels(A):
            panel = panel.astype(precision or A.dtype, copy=False)
            total += panel.T @ panel
    return total


def times(A: Matrix, W: F64) -> Matrix:
    """A W (m, k) in A's dtype, A (m, n), W (n, k)."""
    if not suits_product(A, W.shape[1]):
        return A @ W.astype(A.dtype)
    Y = np.empty((A.shape[0], W.shape[1]), A.dtype)
    narrow_product(A, packed(W, A.dtype), Y)
    return Y


def squared_norm(A: Matrix) -> float:
    """‖A‖² of A (m, n) in float64, panels in A's dtype; not finite where A is not."""
    if A.flags.f_contiguous:
        A = A.T
    with np.errstate(over="ignore", invalid="ignore"):
        return sum(float(np.vdot(panel, panel)) for panel in panels(A, ENERGY_ROWS))


def clear(energy: float, dtype: Any) -> bool:
    """Whether ‖A‖², taken in this dtype, is finite and far from overflow and underflow: so are A and its Gram."""
    limits = np.finfo(dtype)
    return bool(limits.tiny / limits.eps < energy < limits.max * limits.eps)


def eigh_descending(G: F64, rank: int | None = None) -> tuple[F64, F64]:
    """Eigenvalues w (k,), largest first, and eigenvectors V (n, k), float64, of a symmetric G (n, n).

    `rank` asks for the k largest alone. Signs are fixed: the largest entry of each column is positive.
    """
    n = G.shape[0]
    if rank is None or rank >= n // 3 or n <= SUBSET:
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
    when what is asked for lies below what a float64 Gram can show (take LAPACK then), and when A is not
    finite, or its squares are not.
    """
    G = gram(A)
    if not clear(float(np.trace(G)), A.dtype):
        return None
    w, V = eigh_descending(G, rank if tolerance is None and len(G) > NARROW else None)
    k = _wanted(w, rank, tolerance)
    factors = lifted(A, w[:k], V[:, :k]) if _shown(w, k, tolerance, A.dtype) else None
    if factors is not None or A.dtype == np.float64:
        return factors
    w, V = eigh_descending(gram(A, np.float64))
    return _careful_lift(A, V[:, : _wanted(w, rank, tolerance)])


def _wanted(w: F64, rank: int | None, tolerance: float | None) -> int:
    limit = len(w) if rank is None else rank
    if tolerance is None:
        return limit
    w = np.maximum(w, 0.0)
    return min(limit, rank_for(w, float(w.sum()), tolerance))


def _shown(w: F64, k: int, tolerance: float | None, dtype: Any) -> bool:
    """Whether w_{k-1}, and the tail that decides k, stand clear of the rounding of the Gram."""
    return bool(w[k - 1] > SEEN[dtype] * w[0]) and (tolerance is None or tolerance**2 > TAIL[dtype])


def lifted(A: Matrix, w: F64, V: F64, sure: bool = True) -> tuple[Matrix, F64, Matrix] | None:
    """U = A V / s, s = √w, in one product; None where U is not orthonormal and cannot be mended.

    The Gram of U shows what the rounding of A's did. Rayleigh–Ritz on U R⁻¹, RᵀR = UᵀU, mends it: A V = U s.
    """
    s = np.sqrt(w)
    U = times(A, V / s)
    if sure and w[-1] > SURE[A.dtype] * w[0]:
        return U, s, V.T.astype(A.dtype)
    G = gram(U)
    loss = float(np.abs(G - np.eye(len(s))).max())
    if loss > ORTHONORMAL[A.dtype]:
        if not loss < MENDABLE:
            return None
        R = np.linalg.cholesky(G).T
        P, s, Qt = np.linalg.svd(R * s)
        U, V = times(U, np.linalg.solve(R, P)), V @ Qt.T
    return U, s, V.T.astype(A.dtype)


def _careful_lift(A: Matrix, V: F64) -> tuple[Matrix, F64, Matrix]:
    """Left vectors and values from the right ones, in float64: Y = A V, s = its column norms, U = Y / s."""
    Y = np.concatenate([panel.astype(np.float64) @ V for panel in panels(A)])
    s = np.sqrt(np.einsum("ij,ij->j", Y, Y))
    order = np.argsort(-s, kind="stable")
    Y, s, V = Y[:, order], s[order], V[:, order]
    if s[-1] <= ORTHOGONAL_FLOOR[A.dtype] * s[0]:
        # QR mends the small columns and gives the null ones a direction.
        Q, R = np.linalg.qr(Y / np.where(s > 0, s, 1.0))
        U = Q * np.where(np.diagonal(R) < 0, -1.0, 1.0)
    else:
        U = Y / s
    return U.astype(A.dtype, copy=False), s, V.T.astype(A.dtype)
