"""SVD of the first few values by block Krylov iteration: the fewest products with A for a given error.

Source: Golub, Underwood (1977), block Lanczos on AᵀA with full reorthogonalisation; a random start and so small a block
after Musco, Musco (2015) and Tropp, Webber (2023). The Ritz values say when to stop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit
from pipeline.svd.gram import eigh_descending, gram, lifted
from pipeline.svd.lanes import narrow_product, narrow_transposed, packed
from pipeline.svd.range_finder import nearly_orthonormal, orthonormal, still
from pipeline.svd.vectors import VECTOR_BYTES

Matrix = NDArray[np.floating[Any]]
F64 = NDArray[np.float64]

TURNS = 4
# Share of the squared error left that the second turn of a roomy block may have won for it to be the last.
QUICK = 0.8
# w_k / w_0 below which rounding in AᵀA, not A, would decide the directions.
LOWEST = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-11}


def _room(rank: int) -> int:
    """Columns of a block with which two turns can be enough."""
    return max(rank + 9, rank * 3 // 2)


def block_size(rank: int, lanes: int) -> int:
    """Columns of one block: roomy for a small rank, a third of a large one; whole vectors."""
    if rank <= 20:
        return -(-_room(rank) // lanes) * lanes
    return 32 * max(1, round(rank / 96))


def krylov_svd(A: Matrix, rank: int, rng: np.random.Generator, energy: float) -> tuple[Matrix, F64, Matrix] | None:
    """U (m, rank), s (rank,), Vt (rank, n) of A (m, n), m >= n, or None where rounding would decide.

    `energy` is ‖A‖². K = [V_0 V_1 ...] spans Ω, AᵀAΩ, (AᵀA)²Ω, ...; T = KᵀAᵀAK is block tridiagonal, and known
    without another product.
    """
    if not (A.flags.c_contiguous or A.flags.f_contiguous):
        A = np.ascontiguousarray(A)
    (m, n), b = A.shape, block_size(rank, VECTOR_BYTES // A.dtype.itemsize)
    most = max(2, (n // 2) // b)
    if most * b < rank:
        return None
    K, Y = (np.empty((side, most * b), A.dtype, order="F") for side in (n, m))
    T = np.zeros((most * b, most * b))
    V = orthonormal(_sketch(A, b, rng))
    energies: list[float] = []
    roomy = b >= _room(rank)
    needed = 1 if roomy else 2
    for t in range(most):
        here, width = slice(t * b, (t + 1) * b), (t + 1) * b
        product = _product(A, V)
        K[:, here], Y[:, here], T[here, here] = V, product, gram(product)
        if t == most - 1 or len(energies) >= needed:
            w, W = eigh_descending(T[:width, :width], rank)
            energies.append(float(w.sum()))
        elif width >= rank:
            energies.append(float(np.linalg.eigvalsh(T[:width, :width])[-rank:].sum()))
        if t == most - 1 or _enough(energies, energy, A.dtype, roomy):
            break
        Z = _product(A.T, product)
        V = _beyond(Z, K[:, :width], rng)
        T[width : width + b, here] = V.T @ Z
        T[here, width : width + b] = T[width : width + b, here].T
    if not w[-1] > LOWEST[A.dtype] * w[0]:
        return None
    factors = lifted(Y[:, :width], w, W, sure=False)
    return None if factors is None else (factors[0], factors[1], factors[2] @ K[:, :width].T)


def _enough(energies: list[float], energy: float, dtype: Any, roomy: bool) -> bool:
    """Whether the Ritz values stand still; after two turns of a roomy block, whether the last won less than is left."""
    if len(energies) == 2 and roomy:
        return energies[1] - energies[0] < QUICK * (energy - energies[1])
    return len(energies) > 2 and still(energies[-3:], energy, dtype)


def _sketch(A: Matrix, b: int, rng: np.random.Generator) -> Matrix:
    """AᵀS (n, b): every row of A (m, n), with a gaussian weight, in one of b sums; a cheap pass, half a power step."""
    m = A.shape[0]
    buckets, weights = rng.integers(0, b, (m,)), rng.standard_normal((m,)).astype(A.dtype)
    if A.flags.c_contiguous:
        return np.ascontiguousarray(_weighted_sums(A, buckets, weights, b).T)
    S = np.zeros((m, b), A.dtype)
    S[np.arange(m), buckets] = weights
    return _product(A.T, S)


def _beyond(Z: Matrix, K: Matrix, rng: np.random.Generator) -> Matrix:
    """Orthonormal V (n, b) that, with the orthonormal K, spans K and Z.

    Where Z adds fewer than b directions random ones take the place of the rest.
    """
    V = nearly_orthonormal(Z - K @ (K.T @ Z))
    V = orthonormal(V - K @ (K.T @ V), sweeps=1)
    for _ in range(TURNS):
        overlap = K.T @ V
        if np.abs(overlap).max() <= 20 * np.finfo(V.dtype).eps:
            break
        V = V - K @ overlap
        lost = np.einsum("ij,ij->j", V, V) < 0.5
        V[:, lost] = rng.standard_normal((len(V), np.count_nonzero(lost)))
        V = np.linalg.qr(V - K @ (K.T @ V))[0]
    return V


def _product(A: Matrix, V: Matrix) -> Matrix:
    """A V; where A is stored by columns, its transpose is stored by rows."""
    if A.flags.f_contiguous and not A.flags.c_contiguous:
        return narrow_transposed(A.T, V)
    Y = np.empty((A.shape[0], V.shape[1]), A.dtype)
    narrow_product(A, packed(V, A.dtype), Y)
    return Y


@jit
def _add_rows(A: Matrix, buckets: NDArray[np.intp], weights: Matrix, Z: Matrix) -> None:
    for row in range(A.shape[0]):
        weight, line = weights[row], Z[buckets[row]]
        for j in range(A.shape[1]):
            line[j] += weight * A[row, j]


def _weighted_sums(A: Matrix, buckets: NDArray[np.intp], weights: Matrix, k: int) -> Matrix:
    """Z (k, n): row b is the sum of weights[r]·A[r] over the rows of A (m, n) in bucket b; A C-contiguous."""
    Z = np.zeros((k, A.shape[1]), A.dtype)
    _add_rows(A, buckets, weights, Z)
    return Z
