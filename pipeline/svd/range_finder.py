"""Randomized range finding and the SVD it gives.

Source: Halko, Martinsson, Tropp (2011), algorithms 4.4 and 5.1; CholeskyQR2 with a shift: Fukaya, Kannan,
Nakatsukasa, Yamamoto, Yanagisawa (2020).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.svd.gram import gram

Matrix = NDArray[np.floating[Any]]
F64 = NDArray[np.float64]

OVERSAMPLING = 10
# Above this s_k / s_0 the spectrum is too flat for one power iteration to come within a percent of the best.
FLAT = 0.05


def cholesky_qr(Y: Matrix, shift: bool = True) -> Matrix:
    """One sweep Y -> Y R⁻¹, RᵀR = YᵀY (+ shift); LinAlgError when that is not positive definite."""
    G = gram(Y)
    if shift:
        G[np.diag_indices_from(G)] += 11 * G.shape[0] * float(np.finfo(Y.dtype).eps) * np.trace(G) / G.shape[0]
    R = np.linalg.cholesky(G).T
    return Y @ np.linalg.solve(R, np.eye(len(R))).astype(Y.dtype)


def orthonormal(Y: Matrix) -> Matrix:
    """Orthonormal basis Q (m, l) of the range of Y (m, l), m >= l, in Y's dtype.

    CholeskyQR twice, the second without shift; columns that depend on each other fall to Householder QR.
    """
    try:
        Q = cholesky_qr(cholesky_qr(Y), shift=False)
    except np.linalg.LinAlgError:
        return np.linalg.qr(Y)[0]
    loss = float(np.abs(gram(Q) - np.eye(Q.shape[1])).max())
    return Q if loss < 50 * np.finfo(Y.dtype).eps else np.linalg.qr(Y)[0]


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
) -> tuple[Matrix, F64, Matrix]:
    """U (m, rank), s (rank,), Vt (rank, n) of A (m, n), float32 or float64.

    `power_iterations` None: one, and a second where the sketch shows a flat spectrum.
    """
    width = min(rank + oversampling, *A.shape)
    Q = range_basis(A, width, rng, 1 if power_iterations is None else power_iterations)
    U, s, Vt = lift(Q, Q.T @ A)
    if power_iterations is None and s[rank - 1] > FLAT * s[0]:
        Q = power_step(A, Q)
        U, s, Vt = lift(Q, Q.T @ A)
    return U[:, :rank], s[:rank], Vt[:rank]


def lift(Q: Matrix, B: Matrix) -> tuple[Matrix, F64, Matrix]:
    """SVD of Q B from the small SVD of B = QᵀA (l, n)."""
    W, s, Vt = np.linalg.svd(B, full_matrices=False)
    return Q @ W, s.astype(np.float64), Vt
