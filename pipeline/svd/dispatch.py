"""One call for every matrix: `svd` takes the quickest path that is right for its shape, rank and tolerance.

Source: docs/algorithms.md, "Randomized SVD"; the papers stand at the head of each path's file.

n = columns of the tall orientation. Each path can be called by its name:

    n <= 32                          gram_svd         exact Gram, no randomness
    32 < n <= 320, m > 8 n           sampled_svd      row-sampled Rayleigh–Ritz; gram_svd when its check fails
    otherwise, rank                  krylov_svd       block Krylov; randomized_svd (Halko–Martinsson–Tropp) where
                                                      rounding would decide
    otherwise, tolerance             rand_qb_ei       Yu–Gu–Li
    all of it, or too fine           LAPACK
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import BlockError
from pipeline.svd.adaptive import rand_qb_ei, sampled_svd
from pipeline.svd.gram import clear, gram_svd, squared_norm
from pipeline.svd.krylov import krylov_svd
from pipeline.svd.range_finder import OVERSAMPLING, randomized_svd
from pipeline.svd.signs import row_signs

Matrix = NDArray[np.floating[Any]]
Factors = tuple[Matrix, NDArray[Any], Matrix]

GRAM_COLUMNS = 32
SAMPLED_COLUMNS = 320
TALL = 8
# Up to here a whole Gram is hardly slower than a sketch that takes many turns, or takes them twice.
EXACT_COLUMNS = 2048
# Finest relative error that the running sum ‖A‖² − Σ‖B_i‖² still decides (Yu, Gu, Li 2018, theorem 3).
FINEST = 1e-6
COARSE = 1e-2


def svd(
    A: ArrayLike,
    rank: int | None = None,
    *,
    tolerance: float | None = None,
    rng: np.random.Generator | int | None = None,
) -> tuple[Matrix, Matrix, Matrix]:
    """Singular value decomposition A ≈ U · diag(s) · Vt, truncated at `rank` or at a relative error.

    Parameters
    ----------
    A: (m, n) real matrix, finite; integers are cast.
    rank: number of singular values k, 1 <= k <= min(m, n). None: all, or as many as `tolerance` asks.
    tolerance: relative Frobenius error ‖A − UsVᵀ‖ / ‖A‖ in [0, 1); with `rank`, whichever is reached first.
    rng: source of the sketches, or its seed; None is np.random.default_rng(0), so equal calls give equal results.

    Returns
    -------
    U (m, k), s (k,) descending, Vt (k, n): float32 for float32, float16, bool and integers of 16 bits or
    fewer, else float64. Columns of U and rows of Vt are orthonormal, to about 1e-5 in float32 and 1e-12 in float64; the
    largest entry of each row of Vt is positive. k >= 1 unless A is empty.

    Raises
    ------
    BlockError: A is not a matrix of finite real numbers, rank is no whole number, tolerance no number or rng no seed,
    or one of them is out of range.
    """
    A = _matrix(A)
    _check_request(A, rank, tolerance)
    if A.size == 0:
        return np.empty((A.shape[0], 0), A.dtype), np.empty(0, A.dtype), np.empty((0, A.shape[1]), A.dtype)
    generator = _generator(rng)
    wide = A.shape[0] < A.shape[1]
    tall = A.T if wide else A
    U, s, Vt = _quick(tall, rank, tolerance, generator) or _careful(tall, rank, tolerance, generator)
    if wide:
        U, Vt = Vt.T, U.T
    signs = row_signs(Vt)
    if (signs < 0).any():
        U, Vt = U * signs, Vt * signs[:, None]
    return np.ascontiguousarray(U), s.astype(A.dtype), np.ascontiguousarray(Vt)


def _quick(A: Matrix, rank: int | None, tolerance: float | None, rng: np.random.Generator) -> Factors | None:
    """The paths that check A as they go; None where they do not serve, or A is not finite or not of usual size."""
    m, n = A.shape
    if n <= GRAM_COLUMNS:
        return gram_svd(A, rank, tolerance)
    if n <= SAMPLED_COLUMNS and m > TALL * n and not (rank is None and tolerance is None):
        return sampled_svd(A, rank, tolerance, rng) or gram_svd(A, rank, tolerance)
    if rank is not None and tolerance is None and rank + OVERSAMPLING <= n // 3:
        return krylov_svd(A, rank, rng)
    return None


def _careful(A: Matrix, rank: int | None, tolerance: float | None, rng: np.random.Generator) -> Factors:
    A, scale = _scaled(A)
    factors = _quick(A, rank, tolerance, rng) if scale != 1.0 else None
    U, s, Vt = factors or _general(A, rank, tolerance, rng)
    return U, s * scale, Vt


def _general(A: Matrix, rank: int | None, tolerance: float | None, rng: np.random.Generator) -> Factors:
    """The paths that take A as it is, where no quick one served."""
    m, n = A.shape
    narrow = n <= GRAM_COLUMNS or (n <= SAMPLED_COLUMNS and m > TALL * n)
    if narrow or (rank is None and tolerance is None) or (rank is not None and rank + OVERSAMPLING > n // 3):
        return _lapack(A, rank, tolerance)
    if tolerance is None:
        assert rank is not None
        exact = gram_svd(A, rank) if n <= EXACT_COLUMNS else None
        return exact or randomized_svd(A, rank, rng) or _lapack(A, rank, tolerance)
    if tolerance < FINEST:
        return _lapack(A, rank, tolerance)
    fine = A.astype(np.float64) if tolerance < COARSE else A
    U, s, Vt = rand_qb_ei(fine, tolerance, rng, rank=n if rank is None else rank) or _lapack(A, rank, tolerance)
    return U.astype(A.dtype, copy=False), s, Vt.astype(A.dtype, copy=False)


def _lapack(A: Matrix, rank: int | None, tolerance: float | None) -> Factors:
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    k = len(s) if rank is None else rank
    if tolerance is not None:
        w = s.astype(np.float64) ** 2
        tail = np.append(np.cumsum(w[::-1])[::-1][1:], 0.0)
        k = min(k, int(np.flatnonzero(tail <= tolerance**2 * w.sum())[0]) + 1)
    return U[:, :k], s[:k], Vt[:k]


def _matrix(A: ArrayLike) -> Matrix:
    """A as a float32 or float64 matrix, or BlockError."""
    A = np.asarray(A)
    if A.ndim != 2 or A.dtype.kind not in "biuf":
        raise BlockError(f"svd takes a real matrix, got {A.dtype} of shape {A.shape}; reshape it to (rows, columns)")
    narrow = A.dtype.itemsize <= 2 or A.dtype == np.float32
    return A.astype(np.float32 if narrow else np.float64, copy=False)


def _check_request(A: Matrix, rank: int | None, tolerance: float | None) -> None:
    if rank is not None and (isinstance(rank, (bool, np.bool_)) or not hasattr(rank, "__index__")):
        raise BlockError(f"rank {rank!r} is no whole number; give 1 to {min(A.shape)}")
    if rank is not None and not 1 <= rank <= min(A.shape):
        raise BlockError(f"rank {rank} of a {A.shape[0]} x {A.shape[1]} matrix; give 1 to {min(A.shape)}")
    number = tolerance is None or (np.ndim(tolerance) == 0 and np.asarray(tolerance).dtype.kind in "iuf")
    if not number or not (tolerance is None or 0.0 <= tolerance < 1.0):
        raise BlockError(f"tolerance {tolerance!r} is not a relative error; give a number from 0 up to 1")


def _generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    try:
        return np.random.default_rng(0 if rng is None else rng)
    except (TypeError, ValueError):
        raise BlockError(f"rng {rng!r} is no seed; give a whole number from 0 or a np.random.Generator") from None


def _scaled(A: Matrix) -> tuple[Matrix, float]:
    """A divided by a power of two where its squares would leave the dtype's range, and that power.

    NaN and infinity are refused.
    """
    if clear(squared_norm(A), A.dtype):
        return A, 1.0
    peak = float(max(abs(A.min()), abs(A.max())))
    if not np.isfinite(peak):
        raise BlockError(f"svd of a {A.shape[0]} x {A.shape[1]} matrix with NaN or infinity; fill or drop those rows")
    exponent = int(np.frexp(peak)[1])
    if abs(exponent) < np.finfo(A.dtype).maxexp // 4:
        return A, 1.0
    return np.ldexp(A, -exponent), float(np.ldexp(1.0, exponent))
