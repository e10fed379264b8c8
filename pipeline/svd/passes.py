"""Passes over a matrix: weighted sums of its rows; A V; A V with AᵀA V and ‖A‖² while a strip of rows is at hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit
from pipeline.svd.lanes import add_squares, narrow_product, narrow_product_and_energy, packed, product_rows
from pipeline.svd.strips import STRIP, add_strip, narrow_transposed

Matrix = NDArray[np.floating[Any]]
F64 = NDArray[np.float64]


@jit
def _add_rows(A: Matrix, buckets: NDArray[np.intp], weights: Matrix, Z: Matrix) -> None:
    for row in range(A.shape[0]):
        weight, line = weights[row], Z[buckets[row]]
        for j in range(A.shape[1]):
            line[j] += weight * A[row, j]


def weighted_sums(A: Matrix, buckets: NDArray[np.intp], weights: Matrix, k: int) -> Matrix:
    """Z (k, n): row b is the sum of weights[r]·A[r] over the rows of A (m, n) in bucket b; A C-contiguous."""
    Z = np.zeros((k, A.shape[1]), A.dtype)
    _add_rows(A, buckets, weights, Z)
    return Z


@jit
def _there_and_back(A: Matrix, W: Matrix, Y: Matrix, Z: Matrix, energies: F64) -> None:
    m = A.shape[0]
    for row in range(0, m, STRIP):
        stop = min(row + STRIP, m)
        product_rows(A, W, Y, row, stop)
        add_strip(A, row, stop - row, Y, Z, W.shape[2])
        add_squares(A, row, stop, energies)


def there_and_back(A: Matrix, V: Matrix) -> tuple[Matrix, Matrix, float]:
    """A V (m, k), AᵀA V (n, k) and ‖A‖² of a contiguous A (m, n), V (n, k), k a whole number of vectors.

    A is read once if its rows lie one after the other.
    """
    Z = np.zeros(V.shape, A.dtype)
    if by_columns(A):
        Y = product(A, V)
        return Y, Z, narrow_product_and_energy(A.T, packed(Y, A.dtype), Z)
    W = packed(V, A.dtype)
    Y, energies = np.empty((A.shape[0], V.shape[1]), A.dtype), np.zeros(W.shape[2])
    _there_and_back(A, W, Y, Z, energies)
    return Y, Z, float(energies.sum())


def product(A: Matrix, V: Matrix) -> Matrix:
    """A V (m, k) of a contiguous A (m, n), V (n, k), k a whole number of vectors."""
    if by_columns(A):
        return narrow_transposed(A.T, V)
    Y = np.empty((A.shape[0], V.shape[1]), A.dtype)
    narrow_product(A, packed(V, A.dtype), Y)
    return Y


def by_columns(A: Matrix) -> bool:
    """Whether A is stored by columns: then its transpose is stored by rows."""
    return A.flags.f_contiguous and not A.flags.c_contiguous
