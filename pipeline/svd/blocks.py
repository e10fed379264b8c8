"""A block of columns made orthonormal, beside those that are, in one call: CholeskyQR by the kernels for few columns.

Source: CholeskyQR2 with a shift: Fukaya, Kannan, Nakatsukasa, Yamamoto, Yanagisawa (2020); the Gram of what a
projection leaves, by Pythagoras: Carson, Lund, Rozložník, Thomas (2021).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit
from pipeline.svd.lanes import BLOCK, product_rows
from pipeline.svd.strips import STRIP, add_strip
from pipeline.vectors import VECTOR_BYTES

Matrix = NDArray[np.floating[Any]]
F64 = NDArray[np.float64]

# Bytes of a small factor up to which the kernels of `lanes` and `strips` are quicker than BLAS.
SMALL = 32768
# Rows of a Gram summed in the dtype of the matrix before float64 takes over.
RUN = 512
# ‖G − I‖² below which one more sweep leaves nothing but rounding: the condition is below 2.
NEAR = 0.25


class Block(NamedTuple):
    """V (n, b) and R (b, b) with Y = (what K spans) + V R; `energy` is ‖Y‖²; `sound`: V is orthonormal and beside K."""

    V: Matrix
    R: F64
    energy: float
    sound: bool


def beside(Y: Matrix, K: Matrix, shares: F64) -> Block:
    """Y (n, b) made orthonormal beside the orthonormal K (n, l), both C-contiguous, b a whole number of vectors.

    `shares` is KᵀY as it is known, (l, b); l may be 0. Where the columns depend on each other, or on K, V is not sound.
    """
    lanes = VECTOR_BYTES // Y.dtype.itemsize
    V, R, S, energy, sound = _two_sweeps(Y, K, shares, 11 * float(np.finfo(Y.dtype).eps), lanes)
    return Block(V, S @ R if sound else R, float(energy), bool(sound))


def block_gram(V: Matrix) -> F64:
    """VᵀV (b, b) of V (n, b) C-contiguous, b a whole number of vectors; short runs summed in V's dtype."""
    G: F64 = _inner(V, V, VECTOR_BYTES // V.dtype.itemsize)
    return G


@jit
def _two_sweeps(Y: Matrix, K: Matrix, shares: F64, shift: float, lanes: int) -> tuple[Matrix, F64, F64, float, bool]:
    rest = _less(Y, K, shares, lanes) if K.shape[1] else Y
    G = _inner(rest, rest, lanes)
    energy = np.trace(G)
    for i in range(len(G)):
        G[i, i] += shift * energy
    R, S, inverse = np.zeros_like(G), np.zeros_like(G), np.zeros_like(G)
    if not _factor(G, R, inverse):
        return rest, R, S, energy, False
    V = _times(rest, inverse, lanes)
    G = _inner(V, V, lanes)
    if K.shape[1]:
        overlap = _inner(K, V, lanes)
        G -= overlap.T @ overlap
        V = _less(V, K, overlap, lanes)
    away = 0.0
    for i in range(len(G)):
        for j in range(len(G)):
            away += (G[i, j] - (i == j)) ** 2
    if not (away < NEAR and _factor(G, S, inverse)):
        return V, R, S, energy, False
    return _times(V, inverse, lanes), R, S, energy, True


@jit
def _inner(K: Matrix, V: Matrix, lanes: int) -> F64:
    """KᵀV (l, b) in float64."""
    total = np.zeros((K.shape[1], V.shape[1]))
    small = total.size * V.itemsize <= SMALL
    for start in range(0, len(V), RUN):
        stop = min(start + RUN, len(V))
        if small:
            part = np.zeros(total.shape, V.dtype)
            for row in range(start, stop, STRIP):
                add_strip(K, row, min(STRIP, stop - row), V, part, lanes)
            total += part
        else:
            total += K[start:stop].T @ V[start:stop]
    return total


@jit
def _times(K: Matrix, W: F64, lanes: int) -> Matrix:
    """K W (n, b) in the dtype of K."""
    if W.size * K.itemsize > SMALL:
        return K @ W.astype(K.dtype)
    Q = np.empty((len(K), W.shape[1]), K.dtype)
    product_rows(K, _packed(W, K, lanes), Q, 0, len(K))
    return Q


@jit
def _less(V: Matrix, K: Matrix, W: F64, lanes: int) -> Matrix:
    """V − K W."""
    Q = _times(K, W, lanes)
    for row in range(V.shape[0]):
        for j in range(V.shape[1]):
            Q[row, j] = V[row, j] - Q[row, j]
    return Q


@jit
def _packed(W: F64, like: Matrix, lanes: int) -> Matrix:
    """What `lanes.packed` makes of W (l, b), in the dtype of `like`."""
    P = np.zeros((W.shape[1] // lanes, (len(W) + BLOCK - 1) // BLOCK * BLOCK, lanes), like.dtype)
    for v in range(P.shape[0]):
        for i in range(W.shape[0]):
            for j in range(lanes):
                P[v, i, j] = W[i, v * lanes + j]
    return P


@jit
def _factor(G: F64, R: F64, inverse: F64) -> bool:
    """Upper R with RᵀR = G, into zeros, and its inverse; False where G, which is used up, is not positive definite."""
    b = len(G)
    for i in range(b):
        if not G[i, i] > 0.0:
            return False
        R[i, i] = np.sqrt(G[i, i])
        for j in range(i + 1, b):
            R[i, j] = G[i, j] / R[i, i]
        for k in range(i + 1, b):
            for j in range(k, b):
                G[k, j] -= R[i, k] * R[i, j]
    for i in range(b - 1, -1, -1):
        inverse[i] = 0.0
        inverse[i, i] = 1.0
        for k in range(i + 1, b):
            for j in range(k, b):
                inverse[i, j] -= R[i, k] * inverse[k, j]
        for j in range(i, b):
            inverse[i, j] /= R[i, i]
    return True
