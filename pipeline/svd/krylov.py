"""SVD of the first few values by block Krylov iteration: the fewest products with A for a given error.

Source: Golub, Underwood (1977), block Lanczos on AᵀA with full reorthogonalisation; a random start and so small a block
after Musco, Musco (2015) and Tropp, Webber (2023). The Ritz values say when to stop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.svd.blocks import beside, block_gram
from pipeline.svd.gram import clear, eigh_descending, lifted
from pipeline.svd.passes import by_columns, product, there_and_back, weighted_sums
from pipeline.svd.range_finder import ROUNDING, STILL, nearly_orthonormal, orthonormal, still
from pipeline.vectors import VECTOR_BYTES

Matrix = NDArray[np.floating[Any]]
F64 = NDArray[np.float64]
Factors = tuple[Matrix, F64, Matrix]

TURNS = 4
# Share of the squared error left that the second turn of a roomy block may have won for it to be the last.
QUICK = 0.8
# Columns of A for each of the rank below which two turns are too few of a spectrum that hardly falls; and below which
# the gains fall so slowly that half as much is to be left.
ROOMY = 32
MANY = 8
# Ritz values (squares) of which the b-th is this share of the first count as a cluster.
ALIKE = 0.85
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


def krylov_svd(A: Matrix, rank: int, rng: np.random.Generator) -> Factors | None:
    """U (m, rank), s (rank,), Vt (rank, n) of A (m, n), m >= n.

    None where rounding would decide, where the Ritz values do not come to rest in K of half the columns, or may be at
    rest beside equal values that K cannot hold, and where A is not finite or its squares leave the dtype's range.
    K = [V_0 V_1 ...] spans Ω, AᵀAΩ, (AᵀA)²Ω, ...; T = KᵀAᵀAK is block tridiagonal, and known without another product.
    """
    if not (A.flags.c_contiguous or A.flags.f_contiguous):
        A = np.ascontiguousarray(A)
    b = block_size(rank, VECTOR_BYTES // A.dtype.itemsize)
    n = A.shape[1]
    most, roomy = max(2, n // 2 // b), b >= _room(rank) and rank * ROOMY <= n
    # The first turn that can be the last, and so the first from which AᵀA V may be too much.
    first = -(-rank // b) - 1 + (1 if roomy else 2)
    if first >= most:
        return None
    sums = _sketch(A, b, rng)
    block = beside(sums, np.empty((len(sums), 0), A.dtype), np.empty((0, b)))
    if not clear(block.energy, A.dtype):
        return None
    V = block.V if block.sound else orthonormal(sums)
    Z: Matrix | None
    Y, Z, energy = there_and_back(A, V)
    if not clear(energy, A.dtype):
        return None
    K, T, products = V, block_gram(Y), [Y]
    energies: list[float] = []
    for t in range(most):
        if t >= first:
            w, W = eigh_descending(T, rank)
            energies.append(float(w.sum()))
            if _enough(energies, energy, A.dtype, roomy, STILL if rank * MANY <= n else STILL / 2):
                return None if _crowded(w, b, energy) else _factors(w, W, K, products)
        elif len(T) >= rank:
            energies.append(float(np.linalg.eigvalsh(T)[-rank:].sum()))
        if t == most - 1:
            break
        if Z is None:
            Z = product(A.T, Y)
        V, below, lost = _beyond(Z, K, np.ascontiguousarray(T[:, -b:]), rng)
        if lost and b < rank:
            return _all_there_is(T, K, products, rank, energy)
        Y, Z = there_and_back(A, V)[:2] if t + 1 < first else (product(A, V), None)
        K, T, products = np.concatenate([K, V], axis=1), _bordered(T, below, block_gram(Y)), [*products, Y]
    return None


def _all_there_is(T: F64, K: Matrix, products: list[Matrix], rank: int, energy: float) -> Factors | None:
    """The SVD where AᵀA leads no further out of K, if next to nothing of A lies outside.

    If not, what is there may be further copies of values of which K holds as many as a block has columns.
    """
    if len(T) < rank:
        return None
    w, W = eigh_descending(T, rank)
    outside = energy - float(np.trace(T))
    small = max(STILL * (energy - float(w.sum())), ROUNDING[K.dtype] * energy)
    return _factors(w, W, K, products) if outside <= small else None


def _factors(w: F64, W: F64, K: Matrix, products: list[Matrix]) -> Factors | None:
    """U, s, Vt by the Ritz pairs w, W of T, and products = A K by blocks; None where rounding would decide."""
    if not w[-1] > LOWEST[K.dtype] * w[0]:
        return None
    factors = lifted(np.concatenate(products, axis=1), w, W, sure=False)
    return None if factors is None else (factors[0], factors[1], factors[2] @ K.T)


def _crowded(w: F64, b: int, energy: float) -> bool:
    """Whether b Ritz values w (k,) lie so near together that more of their size may be outside of K, and would matter.

    Of a value K holds b copies at most, of a cluster hardly more; more of them show as gains that have ceased.
    """
    rest = len(w) - b
    if rest <= 0:
        return False
    found = np.cumsum(w)
    # What copies of w_i in place of all that follow its b would win.
    won = np.arange(rest, 0, -1) * w[:rest] - (found[-1] - found[b - 1 : -1])
    return bool(((w[b - 1 : -1] > ALIKE * w[:rest]) & (won > STILL * (energy - found[-1]))).any())


def _bordered(T: F64, below: Matrix, corner: F64) -> F64:
    """The block tridiagonal T with one more block on the diagonal, `corner`, and `below` beside it."""
    old, new = len(T), len(T) + len(corner)
    wider = np.zeros((new, new))
    wider[:old, :old], wider[old:, old:] = T, corner
    wider[old:, old - len(corner) : old] = below
    wider[old - len(corner) : old, old:] = below.T
    return wider


def _enough(energies: list[float], energy: float, dtype: Any, roomy: bool, share: float = STILL) -> bool:
    """Whether the Ritz values stand still; after two turns of a roomy block, whether the last won less than is left."""
    if len(energies) == 2 and roomy:
        return energies[1] - energies[0] < QUICK * (energy - energies[1])
    return len(energies) > 2 and still(energies[-3:], energy, dtype, share)


def _sketch(A: Matrix, b: int, rng: np.random.Generator) -> Matrix:
    """AᵀS (n, b): every row of A (m, n), with a gaussian weight, in one of b sums; a cheap pass, half a power step."""
    m = A.shape[0]
    buckets, weights = rng.integers(0, b, (m,)), rng.standard_normal((m,)).astype(A.dtype)
    if not by_columns(A):
        return np.ascontiguousarray(weighted_sums(A, buckets, weights, b).T)
    S = np.zeros((m, b), A.dtype)
    S[np.arange(m), buckets] = weights
    return product(A.T, S)


def _beyond(Z: Matrix, K: Matrix, shares: F64, rng: np.random.Generator) -> tuple[Matrix, NDArray[Any], bool]:
    """Orthonormal V (n, b) that, with the orthonormal K, spans K and Z, and VᵀZ; whether V is random in part.

    `shares` is KᵀZ.
    """
    block = beside(Z, K, shares)
    if block.sound:
        return block.V, block.R, False
    V = nearly_orthonormal(Z - K @ (K.T @ Z))
    V, lost = _filled_up(orthonormal(V - K @ (K.T @ V)), K, rng)
    return V, V.T @ Z, lost


def _filled_up(V: Matrix, K: Matrix, rng: np.random.Generator) -> tuple[Matrix, bool]:
    """V (n, b) made orthogonal to K; random directions take the place of those that K spans, if there are any."""
    ever = False
    for _ in range(TURNS):
        overlap = K.T @ V
        if np.abs(overlap).max() <= 20 * np.finfo(V.dtype).eps:
            break
        V = V - K @ overlap
        lost = np.einsum("ij,ij->j", V, V) < 0.5
        ever |= bool(lost.any())
        V[:, lost] = rng.standard_normal((len(V), np.count_nonzero(lost)))
        V = np.linalg.qr(V - K @ (K.T @ V))[0]
    return V, ever
