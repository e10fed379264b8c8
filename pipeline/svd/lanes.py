"""Products of a tall, narrow matrix that BLAS is slow at: its Gram, and A W for a few columns.

Source: the register blocking of Goto, van de Geijn (2008): a block of rows times a vector of columns in registers, one
broadcast and one fused multiply-add at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from pipeline.jit import jit
from pipeline.vectors import (
    VECTOR_BYTES,
    add_products,
    add_to,
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
F64 = NDArray[np.float64]

# A row of a narrow matrix, with what follows it, is one line of this many lanes.
LINE = 16
# Rows of the Gram in one sweep, and how many a narrow matrix can have; rows of the product in one sweep.
BLOCK = 5
NARROW = 3 * BLOCK
ROWS = 8
# What is summed in the dtype of the matrix before float64 takes over; a run also stays in the first cache.
RUN_BYTES = 16384
GROUPS = 8


@emitted
def _outer_run(typing: Any, x: Any, n: Any, row: Any, rows: Any, first: Any, sums: Any, like: Any) -> Any:
    """sums[first + i, :] += Σ_r x[r·n + first + i] · x[r·n :], row <= r < row + rows, i < BLOCK: one line of lanes.

    `first` is a literal; the sum over r is taken in the dtype of `like`, `rows` is even.
    """
    narrow, wide = scalar_of(x), scalar_of(like)
    lanes = VECTOR_BYTES // bytes_of(wide)
    parts = LINE // lanes
    together = 2 // parts
    block = [first.literal_value + i for i in range(BLOCK)]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = context.make_array(signature.args[0])(context, builder, args[0])
        target = context.make_array(signature.args[5])(context, builder, args[5])
        columns, begin, number = args[1:4]
        totals = [[variable(builder, zero_vector(wide, lanes)) for _ in range(2)] for _ in block]
        with counted(builder, builder.udiv(number, ir.Constant(number.type, together))) as loop:
            at = builder.add(begin, builder.mul(loop.index, ir.Constant(begin.type, together)))
            at = builder.mul(at, columns)
            for turn in range(together):
                line = [
                    load(builder, element(builder, source, at, p * lanes), narrow, lanes, wide) for p in range(parts)
                ]
                for i, total in zip(block, totals, strict=True):
                    one = builder.load(element(builder, source, at, i))
                    spread = broadcast(builder, one if narrow == wide else builder.fpext(one, wide), lanes)
                    add_products(builder, spread, line, total[turn : turn + parts])
                at = builder.add(at, columns)
        for i, total in zip(block, totals, strict=True):
            for p, part in enumerate(total):
                place = element(builder, target, ir.Constant(begin.type, i * LINE + p % parts * lanes))
                add_to(builder, builder.load(part), place, wide, lanes)
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, types.intp, first, sums, like), codegen


@jit
def add_gram(x: Matrix, n: int, like: Matrix, sums: F64) -> None:
    """sums[i·LINE + j] += Σ_r x[r·n + i]·x[r·n + j], n <= NARROW; `like` has the dtype to multiply in.

    x flat; sums (NARROW·LINE,), in which what stands beside the n x n is of no meaning.
    """
    m = x.size // n
    safe = max(0, (x.size - 2 * LINE) // n) // 2 * 2
    run = max(2, RUN_BYTES // (n * x.itemsize) // 2 * 2)
    for row in range(0, safe, run):
        rows = min(run, safe - row)
        _outer_run(x, n, row, rows, 0, sums, like)
        if n > 5:
            _outer_run(x, n, row, rows, 5, sums, like)
        if n > 10:
            _outer_run(x, n, row, rows, 10, sums, like)
    for row in range(safe, m):
        for i in range(n):
            for j in range(n):
                sums[i * LINE + j] += np.float64(x[row * n + i]) * np.float64(x[row * n + j])


def narrow_gram(A: Matrix, precision: Any) -> F64:
    """AᵀA (n, n) float64 of A (m, n), n <= 15, C-contiguous float32 or float64; short runs summed in `precision`."""
    n = A.shape[1]
    sums = np.zeros(NARROW * LINE)
    add_gram(A.reshape(-1), n, np.empty(1, precision), sums)
    return np.ascontiguousarray(sums.reshape(NARROW, LINE)[:n, :n])


@emitted
def _row_run(typing: Any, A: Any, row: Any, groups: Any, depth: Any, W: Any, v: Any, vectors: Any, Y: Any) -> Any:
    """Y[row + r] = A[row + r] W, r < groups · ROWS, in `vectors` vectors of columns from the v-th, a literal number.

    W is (vectors, depth, lanes), filled up with zeros; each row of Y is stored over what comes next.
    """
    scalar = scalar_of(A)
    lanes = VECTOR_BYTES // bytes_of(scalar)
    together = range(vectors.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, w, y = (context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 4, 7))
        columns, width = builder.extract_value(a.shape, 1), builder.extract_value(y.shape, 1)
        size = ir.Constant(args[1].type, lanes)
        panels = [builder.mul(builder.add(args[5], ir.Constant(args[5].type, p)), args[3]) for p in together]
        totals = [[variable(builder, zero_vector(scalar, lanes)) for _ in together] for _ in range(ROWS)]
        with counted(builder, args[2]) as group:
            first = builder.add(args[1], builder.mul(group.index, ir.Constant(args[1].type, ROWS)))
            rows = [builder.add(first, ir.Constant(first.type, r)) for r in range(ROWS)]
            starts = [builder.mul(row, columns) for row in rows]
            for total in totals:
                for part in total:
                    builder.store(zero_vector(scalar, lanes), part)
            with counted(builder, builder.udiv(args[3], ir.Constant(first.type, BLOCK))) as loop:
                at = builder.mul(loop.index, ir.Constant(first.type, BLOCK))
                places = [builder.mul(builder.add(panel, at), size) for panel in panels]
                for i in range(BLOCK):
                    weights = [load(builder, element(builder, w, place, i * lanes), scalar, lanes) for place in places]
                    for start, total in zip(starts, totals, strict=True):
                        one = broadcast(builder, builder.load(element(builder, a, builder.add(start, at), i)), lanes)
                        add_products(builder, one, weights, total)
            column = builder.mul(args[5], size)
            for row, total in zip(rows, totals, strict=True):
                place = builder.add(builder.mul(row, width), column)
                for p, part in enumerate(total):
                    store(builder, builder.load(part), element(builder, y, place, p * lanes), scalar, lanes)
        return context.get_dummy_value()

    return types.void(A, types.intp, types.intp, types.intp, W, types.intp, vectors, Y), codegen


@emitted
def _square_run(typing: Any, A: Any, start: Any, count: Any, energies: Any) -> Any:
    """energies[:] += squares of `count` elements of A from number `start`, lane by lane; a rest is left out."""
    scalar = scalar_of(A)
    lanes = VECTOR_BYTES // bytes_of(scalar)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, e = (context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 3))
        totals = [variable(builder, zero_vector(scalar, lanes)) for _ in range(4)]
        step = ir.Constant(args[2].type, 4 * lanes)
        with counted(builder, builder.udiv(args[2], step)) as loop:
            at = builder.add(args[1], builder.mul(loop.index, step))
            for p, total in enumerate(totals):
                vector = load(builder, element(builder, a, at, p * lanes), scalar, lanes)
                add_products(builder, vector, [vector], [total])
        for total in totals:
            add_to(builder, builder.load(total), element(builder, e, ir.Constant(args[1].type, 0)), scalar, lanes)
        return context.get_dummy_value()

    return types.void(A, types.intp, types.intp, energies), codegen


@jit
def product_rows(A: Matrix, W: Matrix, Y: Matrix, first: int, stop: int) -> None:
    """Y[first:stop] = A[first:stop] W; the rows before are made and may be made again, those after come later."""
    m, n = A.shape
    k = Y.shape[1]
    vectors, depth, lanes = W.shape
    # A sweep reads whole blocks of columns and stores whole vectors: the last rows could leave their arrays.
    safe = min(stop, m - max((depth - 1) // n, (vectors * lanes - 1) // k))
    whole = first
    if safe >= max(ROWS, first):
        groups = (safe - first) // ROWS
        whole = safe
        for v in range(0, vectors - 1, 2):
            _row_run(A, first, groups, depth, W, v, 2, Y)
        if vectors % 2:
            _row_run(A, first, groups, depth, W, vectors - 1, 1, Y)
        if first + groups * ROWS < safe:
            for v in range(0, vectors - 1, 2):
                _row_run(A, safe - ROWS, 1, depth, W, v, 2, Y)
            if vectors % 2:
                _row_run(A, safe - ROWS, 1, depth, W, vectors - 1, 1, Y)
    for row in range(whole, stop):
        for j in range(k):
            total = A[row, 0] * W[j // lanes, 0, j % lanes]
            for i in range(1, n):
                total += A[row, i] * W[j // lanes, i, j % lanes]
            Y[row, j] = total


@jit
def add_squares(A: Matrix, first: int, stop: int, energies: F64) -> None:
    """energies[:], one vector, += the squares of A[first:stop], spread over its lanes."""
    n, step = A.shape[1], 4 * len(energies)
    start, count = first * n, (stop - first) * n
    _square_run(A, start, count, energies)
    for at in range(start + count // step * step, start + count):
        energies[0] += np.float64(A[at // n, at % n]) ** 2


@jit
def _narrow_product(A: Matrix, W: Matrix, Y: Matrix, energies: F64) -> None:
    m = A.shape[0]
    for first in range(0, m, GROUPS * ROWS):
        stop = min(first + GROUPS * ROWS, m)
        product_rows(A, W, Y, first, stop)
        if energies.size:
            add_squares(A, first, stop, energies)


def suits_product(A: Matrix, columns: int) -> bool:
    """Whether `narrow_product` takes A (m, n) and W (n, columns): one vector of columns, or several whole ones."""
    lanes = VECTOR_BYTES // A.dtype.itemsize
    return A.flags.c_contiguous and (columns <= lanes or columns % lanes == 0)


def packed(W: NDArray[Any], dtype: Any) -> Matrix:
    """W (n, k) as `narrow_product` reads it: (vectors, n filled up to whole blocks, one vector of columns)."""
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    n, k = W.shape
    padded = np.zeros((-(-n // BLOCK) * BLOCK, -(-k // lanes) * lanes), dtype)
    padded[:n, :k] = W
    return np.ascontiguousarray(padded.reshape(len(padded), -1, lanes).swapaxes(0, 1))


def narrow_product(A: Matrix, W: Matrix, Y: Matrix) -> None:
    """Y (m, k) = A W for A (m, n) and Y C-contiguous, W as `packed` makes it from (n, k)."""
    _narrow_product(A, W, Y, np.empty(0))


def narrow_product_and_energy(A: Matrix, W: Matrix, Y: Matrix) -> float:
    """The same, and ‖A‖² while each row of A is at hand."""
    energies = np.zeros(VECTOR_BYTES // A.dtype.itemsize)
    _narrow_product(A, W, Y, energies)
    return float(energies.sum())
