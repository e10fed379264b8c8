"""Products of a transposed matrix with a few columns, AᵀY, strip by strip of its rows.

Source: as in `lanes`, the register blocking of Goto, van de Geijn (2008).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from pipeline.jit import jit
from pipeline.svd.lanes import ROWS
from pipeline.vectors import (
    VECTOR_BYTES,
    add_products,
    broadcast,
    bytes_of,
    counted,
    element,
    emitted,
    load,
    scalar_of,
    store,
    variable,
    zero_vector,
)

Matrix = NDArray[np.floating[Any]]

# Rows in one sweep of a transposed product: so many lines of two caches and pages at a time.
STRIP = 16


@emitted
def _column_run(
    typing: Any, A: Any, row: Any, rows: Any, i: Any, block: Any, Y: Any, v: Any, vectors: Any, Z: Any
) -> Any:
    """Z[i + c] += Σ_r A[row + r, i + c] · Y[row + r], r < rows, c < block, `vectors` vectors of columns from the v-th.

    `block` and `vectors` are literals.
    """
    scalar = scalar_of(A)
    lanes = VECTOR_BYTES // bytes_of(scalar)
    together = range(vectors.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, y, z = (context.make_array(signature.args[j])(context, builder, args[j]) for j in (0, 5, 8))
        columns, width = builder.extract_value(a.shape, 1), builder.extract_value(y.shape, 1)
        column = builder.mul(args[6], ir.Constant(args[6].type, lanes))
        zeros = zero_vector(scalar, lanes)
        totals = [[variable(builder, zeros) for _ in together] for _ in range(block.literal_value)]
        with counted(builder, args[2]) as loop:
            at = builder.add(args[1], loop.index)
            place = builder.add(builder.mul(at, width), column)
            weights = [load(builder, element(builder, y, place, p * lanes), scalar, lanes) for p in together]
            start = builder.add(builder.mul(at, columns), args[3])
            for c, total in enumerate(totals):
                add_products(
                    builder, broadcast(builder, builder.load(element(builder, a, start, c)), lanes), weights, total
                )
        for c, total in enumerate(totals):
            place = builder.add(builder.mul(builder.add(args[3], ir.Constant(args[3].type, c)), width), column)
            for p, part in enumerate(total):
                pointer = element(builder, z, place, p * lanes)
                value = builder.fadd(load(builder, pointer, scalar, lanes), builder.load(part))
                store(builder, value, pointer, scalar, lanes)
        return context.get_dummy_value()

    return types.void(A, types.intp, types.intp, types.intp, block, Y, types.intp, vectors, Z), codegen


@jit
def add_strip(A: Matrix, row: int, rows: int, Y: Matrix, Z: Matrix, lanes: int) -> None:
    """Z += A[row : row + rows]ᵀ Y[row : row + rows]."""
    n = A.shape[1]
    whole = n // ROWS * ROWS
    vectors = Y.shape[1] // lanes
    for v in range(0, vectors - 1, 2):
        for i in range(0, whole, ROWS):
            _column_run(A, row, rows, i, 8, Y, v, 2, Z)
        for i in range(whole, n):
            _column_run(A, row, rows, i, 1, Y, v, 2, Z)
    if vectors % 2:
        for i in range(0, whole, ROWS):
            _column_run(A, row, rows, i, 8, Y, vectors - 1, 1, Z)
        for i in range(whole, n):
            _column_run(A, row, rows, i, 1, Y, vectors - 1, 1, Z)


@jit
def _narrow_transposed(A: Matrix, Y: Matrix, Z: Matrix, lanes: int) -> None:
    m = A.shape[0]
    for row in range(0, m, STRIP):
        add_strip(A, row, min(STRIP, m - row), Y, Z, lanes)


def narrow_transposed(A: Matrix, Y: Matrix) -> Matrix:
    """AᵀY (n, k) for A (m, n) and Y (m, k) C-contiguous of one dtype, k a whole number of vectors."""
    Z = np.zeros((A.shape[1], Y.shape[1]), A.dtype)
    _narrow_transposed(A, Y, Z, VECTOR_BYTES // A.dtype.itemsize)
    return Z
