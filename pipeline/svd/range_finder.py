"""Randomized range finding and the SVD it gives.

Source: Halko, Martinsson, Tropp (2011), algorithms 4.4 and 5.1; CholeskyQR2 with a shift: Fukaya, Kannan,
Nakatsukasa, Yamamoto, Yanagisawa (2020); subspace iteration with Ritz values: Rutishauser (1969).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from pipeline.svd.gram import SEEN, eigh_descending, gram, lifted, squared_norm

Matrix = NDArray[np.floating[Any]]
F64 = NDArray[np.float64]

OVERSAMPLING = 10
# Squared error that further iterations would still take away, as a share of what is left, at which they end.
STILL = 0.012
MOST_ITERATIONS = 24
# Share of the energy below which the residual ‖A‖² − Σs² is rounding.
ROUNDING = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-14}


def cholesky_qr(Y: Matrix) -> Matrix:
    """One sweep Y -> Y R⁻¹, RᵀR = YᵀY and a shift; LinAlgError when that is not positive definite."""
    G = gram(Y)
    G.flat[:: len(G) + 1] += 11 * float(np.finfo(Y.dtype).eps) * np.trace(G)
    return whitened(Y, G)


def whitened(Y: Matrix, G: F64) -> Matrix:
    """Y R⁻¹, RᵀR = G; LinAlgError when G is not positive definite."""
    R, fault = linalg.lapack.dpotrf(G)
    if fault:
        raise np.linalg.LinAlgError("a Gram that is not positive definite")
    inverse: Matrix = linalg.lapack.dtrtri(R)[0].astype(Y.dtype)
    return Y @ inverse


def nearly_orthonormal(Y: Matrix) -> Matrix:
    """One sweep of CholeskyQR, enough between two half steps; QR where Y has no full rank."""
    try:
        return cholesky_qr(Y)
    except np.linalg.LinAlgError:
        return np.linalg.qr(Y)[0]


def orthonormal(Y: Matrix) -> Matrix:
    """Orthonormal basis Q (m, l) of the range of Y (m, l), m >= l, in Y's dtype.

    CholeskyQR twice, the second without shift; columns that depend on each other fall to Householder QR.
    """
    try:
        Q = cholesky_qr(Y)
        G = gram(Q)
        sound = near_identity(G)
        Q = whitened(Q, G)
    except np.linalg.LinAlgError:
        return np.linalg.qr(Y)[0]
    if sound:
        return Q
    G = gram(Q) - np.eye(Q.shape[1])
    return Q if float(np.abs(G).max()) < 50 * np.finfo(Y.dtype).eps else np.linalg.qr(Y)[0]


def near_identity(G: F64) -> bool:
    """Whether a Gram is so near to the identity that one CholeskyQR leaves nothing but rounding (condition < 2)."""
    away = G - np.eye(len(G))
    return bool(np.vdot(away, away) < 0.25)


def range_basis(A: Matrix, width: int, rng: np.random.Generator, power_iterations: int = 1) -> Matrix:
    """Q (m, width) near the range of A (m, n): Y = (A Aᵀ)^q A Ω, Ω gaussian, width <= min(m, n)."""
    test_matrix = rng.standard_normal((A.shape[1], width)).astype(A.dtype)
    Q = orthonormal(A @ test_matrix)
    for _ in range(power_iterations):
        Q = power_step(A, Q)
    return Q


def power_step(A: Matrix, Q: Matrix) -> Matrix:
    """One power iteration, orthonormal at each half step, so that small directions outlive rounding."""
    return orthonormal(A @ orthonormal(A.T @ Q))


def randomized_svd(
    A: Matrix,
    rank: int,
    rng: np.random.Generator,
    *,
    oversampling: int = OVERSAMPLING,
    power_iterations: int | None = None,
) -> tuple[Matrix, F64, Matrix] | None:
    """U (m, rank), s (rank,), Vt (rank, n) of A (m, n), float32 or float64.

    `power_iterations` None: as many as it takes, one at least; the result is None where `MOST_ITERATIONS` are too few.
    """
    width = min(rank + oversampling, *A.shape)
    if power_iterations is None:
        test_matrix = rng.standard_normal((A.shape[1], width)).astype(A.dtype)
        return subspace_svd(A, rank, orthonormal(test_matrix))
    Q = range_basis(A, width, rng, power_iterations)
    U, s, Vt = lift(Q, Q.T @ A)
    return U[:, :rank], s[:rank], Vt[:rank]


def subspace_svd(A: Matrix, rank: int, V: Matrix) -> tuple[Matrix, F64, Matrix] | None:
    """U (m, rank), s, Vt of A (m, n) by iterating from an orthonormal V (n, l) until the error stands still.

    Y = A V, V = orth(Aᵀ orth(Y)): each turn raises the energy Σ s² of the first `rank` Ritz values by a share ρ of what
    the turn before it did, so ρ/(1 − ρ) of the last gain is still to come. None where it does not come to rest.
    """
    whole = squared_norm(A)
    energies: list[float] = []
    for _ in range(MOST_ITERATIONS):
        Y = A @ V
        energies.append(_ritz_energy(Y, rank))
        if len(energies) > 2 and still(energies[-3:], whole, A.dtype):
            return _from_scores(Y, V, rank)
        V = orthonormal(A.T @ nearly_orthonormal(Y))
    return None


def _ritz_energy(Y: Matrix, rank: int) -> float:
    return float(np.linalg.eigvalsh(gram(Y))[-rank:].sum())


def still(energies: list[float], whole: float, dtype: Any, least: float = STILL) -> bool:
    """Whether what is left to gain, by the last two gains, is a small share, `least`, of the squared error."""
    before, now = np.diff(energies)
    share = min(max(now / before, 0.0), 0.95) if before > 0 else 0.0
    left = max(whole - energies[-1], ROUNDING[dtype] * whole)
    return bool(now * share / (1.0 - share) <= least * left)


def _from_scores(Y: Matrix, V: Matrix, rank: int) -> tuple[Matrix, F64, Matrix]:
    """SVD of Y Vᵀ, Y (m, l), V (n, l) orthonormal, cut at `rank`: by the Gram of Y, or by its QR."""
    w, W = eigh_descending(gram(Y), rank)
    factors = lifted(Y, w, W) if w[-1] > SEEN[Y.dtype] * w[0] else None
    if factors is None:
        Q = orthonormal(Y)
        factors = lift(Q, Q.T @ Y)
    U, s, Wt = factors
    return U[:, :rank], s[:rank], Wt[:rank] @ V.T


def lift(Q: Matrix, B: Matrix) -> tuple[Matrix, F64, Matrix]:
    """SVD of Q B from the small SVD of B = QᵀA (l, n)."""
    W, s, Vt = np.linalg.svd(B, full_matrices=False)
    return Q @ W, s.astype(np.float64), Vt
