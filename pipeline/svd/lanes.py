"""Two products of a tall, narrow matrix that BLAS is slow at: its Gram, and A W for a few columns.

Source: the register blocking of Goto, van de Geijn (2008), on vectors of 64 bytes written out as LLVM IR. The Gram
needs no transposition: with rows of n laid end to end in x, G[i, i+d] = Σ x[t]·x[t+d] over t = i mod n, so for
each lag d the products of whole vectors with the same vectors d later are added up lane by lane.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.jit import jit

Matrix = NDArray[np.floating[Any]]
F64 = NDArray[np.float64]

VECTOR_BYTES = 64
# A row of a narrow matrix, with what follows it, is one line of this many lanes.
LINE = 16
# Rows of the Gram in one sweep, and how many a narrow matrix can have; rows of the product in one sweep.
BLOCK = 5
NARROW = 3 * BLOCK
ROWS = 8
# What is summed in the dtype of the matrix before float64 takes over; a run also stays in the first cache.
RUN_BYTES = 16384
GROUPS = 64
# Rows in one sweep of a transposed product: so many lines of two caches and pages at a time.
STRIP = 16


def _size(scalar: Any) -> int:
    return 8 if isinstance(scalar, ir.DoubleType) else 4


def _scalar_type(array_type: Any) -> Any:
    return ir.DoubleType() if array_type.dtype == types.float64 else ir.FloatType()


def _zeros(scalar: Any, lanes: int) -> Any:
    return ir.Constant(ir.VectorType(scalar, lanes), None)


def _at(builder: Any, array: Any, index: Any, offset: int = 0) -> Any:
    """Pointer to element index + offset of a contiguous array."""
    return builder.gep(array.data, [builder.add(index, ir.Constant(index.type, offset))])


def _load(builder: Any, pointer: Any, scalar: Any, lanes: int, wide: Any = None) -> Any:
    """A vector from memory that is aligned to its elements alone, widened where `wide` is another scalar."""
    pointer = builder.bitcast(pointer, ir.VectorType(scalar, lanes).as_pointer())
    return _widened(builder, builder.load(pointer, align=_size(scalar)), scalar, wide or scalar, lanes)


def _store(builder: Any, value: Any, pointer: Any, scalar: Any, lanes: int) -> None:
    pointer = builder.bitcast(pointer, ir.VectorType(scalar, lanes).as_pointer())
    builder.store(value, pointer, align=_size(scalar))


def _add_to(builder: Any, value: Any, pointer: Any, scalar: Any, lanes: int) -> None:
    """Add a vector of `scalar` to float64 memory."""
    double = ir.DoubleType()
    value = _widened(builder, value, scalar, double, lanes)
    _store(builder, builder.fadd(_load(builder, pointer, double, lanes), value), pointer, double, lanes)


def _widened(builder: Any, value: Any, scalar: Any, wide: Any, lanes: int) -> Any:
    return value if _size(wide) == _size(scalar) else builder.fpext(value, ir.VectorType(wide, lanes))


def _spread(builder: Any, one: Any, lanes: int) -> Any:
    """A vector whose lanes all hold the scalar `one`."""
    undefined = ir.Constant(ir.VectorType(one.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, one, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, _zeros(ir.IntType(32), lanes))


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c, fused where the processor does that."""
    name = f"llvm.fmuladd.v{a.type.count}f{8 * _size(a.type.element)}"
    kind = ir.FunctionType(a.type, [a.type] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [a, b, c])


def _add_products(builder: Any, one: Any, vectors: Any, totals: Any) -> None:
    """totals[p] += one · vectors[p]."""
    for vector, total in zip(vectors, totals, strict=True):
        builder.store(_multiply_add(builder, one, vector, builder.load(total)), total)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _outer_run(typing: Any, x: Any, n: Any, row: Any, rows: Any, first: Any, sums: Any, like: Any) -> Any:
    """sums[first + i, :] += Σ_r x[r·n + first + i] · x[r·n :], row <= r < row + rows, i < BLOCK: one line of lanes.

    `first` is a literal; the sum over r is taken in the dtype of `like`, `rows` is even.
    """
    narrow, wide = _scalar_type(x), _scalar_type(like)
    lanes = VECTOR_BYTES // _size(wide)
    parts = LINE // lanes
    together = 2 // parts
    block = [first.literal_value + i for i in range(BLOCK)]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = context.make_array(signature.args[0])(context, builder, args[0])
        target = context.make_array(signature.args[5])(context, builder, args[5])
        columns, begin, number = args[1:4]
        totals = [[cgutils.alloca_once_value(builder, _zeros(wide, lanes)) for _ in range(2)] for _ in block]
        with cgutils.for_range(builder, builder.udiv(number, ir.Constant(number.type, together))) as loop:
            at = builder.add(begin, builder.mul(loop.index, ir.Constant(begin.type, together)))
            at = builder.mul(at, columns)
            for turn in range(together):
                line = [_load(builder, _at(builder, source, at, p * lanes), narrow, lanes, wide) for p in range(parts)]
                for i, total in zip(block, totals, strict=True):
                    one = builder.load(_at(builder, source, at, i))
                    spread = _spread(builder, one if narrow == wide else builder.fpext(one, wide), lanes)
                    _add_products(builder, spread, line, total[turn : turn + parts])
                at = builder.add(at, columns)
        for i, total in zip(block, totals, strict=True):
            for p, part in enumerate(total):
                place = _at(builder, target, ir.Constant(begin.type, i * LINE + p % parts * lanes))
                _add_to(builder, builder.load(part), place, wide, lanes)
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, types.intp, first, sums, like), codegen


@jit
def _outer_gram(x: Matrix, n: int, like: Matrix, sums: F64) -> None:
    """sums[i·LINE + j] += Σ_r x[r·n + i]·x[r·n + j]; `like` has the dtype to multiply in."""
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
    _outer_gram(A.reshape(-1), n, np.empty(1, precision), sums)
    return np.ascontiguousarray(sums.reshape(NARROW, LINE)[:n, :n])


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _row_run(typing: Any, A: Any, row: Any, groups: Any, depth: Any, W: Any, v: Any, vectors: Any, Y: Any) -> Any:
    """Y[row + r] = A[row + r] W, r < groups · ROWS, in `vectors` vectors of columns from the v-th, a literal number.

    W is (vectors, depth, lanes), filled up with zeros; each row of Y is stored over what comes next.
    """
    scalar = _scalar_type(A)
    lanes = VECTOR_BYTES // _size(scalar)
    together = range(vectors.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, w, y = (context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 4, 7))
        columns, width = builder.extract_value(a.shape, 1), builder.extract_value(y.shape, 1)
        size = ir.Constant(args[1].type, lanes)
        panels = [builder.mul(builder.add(args[5], ir.Constant(args[5].type, p)), args[3]) for p in together]
        totals = [[cgutils.alloca_once(builder, ir.VectorType(scalar, lanes)) for _ in together] for _ in range(ROWS)]
        with cgutils.for_range(builder, args[2]) as group:
            first = builder.add(args[1], builder.mul(group.index, ir.Constant(args[1].type, ROWS)))
            rows = [builder.add(first, ir.Constant(first.type, r)) for r in range(ROWS)]
            starts = [builder.mul(row, columns) for row in rows]
            for total in totals:
                for part in total:
                    builder.store(_zeros(scalar, lanes), part)
            with cgutils.for_range(builder, builder.udiv(args[3], ir.Constant(first.type, BLOCK))) as loop:
                at = builder.mul(loop.index, ir.Constant(first.type, BLOCK))
                places = [builder.mul(builder.add(panel, at), size) for panel in panels]
                for i in range(BLOCK):
                    weights = [_load(builder, _at(builder, w, place, i * lanes), scalar, lanes) for place in places]
                    for start, total in zip(starts, totals, strict=True):
                        one = _spread(builder, builder.load(_at(builder, a, builder.add(start, at), i)), lanes)
                        _add_products(builder, one, weights, total)
            column = builder.mul(args[5], size)
            for row, total in zip(rows, totals, strict=True):
                place = builder.add(builder.mul(row, width), column)
                for p, part in enumerate(total):
                    _store(builder, builder.load(part), _at(builder, y, place, p * lanes), scalar, lanes)
        return context.get_dummy_value()

    return types.void(A, types.intp, types.intp, types.intp, W, types.intp, vectors, Y), codegen


@jit
def _narrow_product(A: Matrix, W: Matrix, Y: Matrix) -> None:
    m, n = A.shape
    k = Y.shape[1]
    vectors, depth, lanes = W.shape
    safe = max(0, (m - max(lanes // k, BLOCK)) // ROWS)
    for begin in range(0, safe, GROUPS):
        groups = min(GROUPS, safe - begin)
        for v in range(0, vectors - 1, 2):
            _row_run(A, begin * ROWS, groups, depth, W, v, 2, Y)
        if vectors % 2:
            _row_run(A, begin * ROWS, groups, depth, W, vectors - 1, 1, Y)
    for row in range(safe * ROWS, m):
        for j in range(k):
            total = A[row, 0] * W[j // lanes, 0, j % lanes]
            for i in range(1, n):
                total += A[row, i] * W[j // lanes, i, j % lanes]
            Y[row, j] = total


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
    _narrow_product(A, W, Y)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _column_run(
    typing: Any, A: Any, row: Any, rows: Any, i: Any, block: Any, Y: Any, v: Any, vectors: Any, Z: Any
) -> Any:
    """Z[i + c] += Σ_r A[row + r, i + c] · Y[row + r], r < rows, c < block, `vectors` vectors of columns from the v-th.

    `block` and `vectors` are literals.
    """
    scalar = _scalar_type(A)
    lanes = VECTOR_BYTES // _size(scalar)
    together = range(vectors.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, y, z = (context.make_array(signature.args[j])(context, builder, args[j]) for j in (0, 5, 8))
        columns, width = builder.extract_value(a.shape, 1), builder.extract_value(y.shape, 1)
        column = builder.mul(args[6], ir.Constant(args[6].type, lanes))
        zeros = _zeros(scalar, lanes)
        totals = [[cgutils.alloca_once_value(builder, zeros) for _ in together] for _ in range(block.literal_value)]
        with cgutils.for_range(builder, args[2]) as loop:
            at = builder.add(args[1], loop.index)
            place = builder.add(builder.mul(at, width), column)
            weights = [_load(builder, _at(builder, y, place, p * lanes), scalar, lanes) for p in together]
            start = builder.add(builder.mul(at, columns), args[3])
            for c, total in enumerate(totals):
                _add_products(builder, _spread(builder, builder.load(_at(builder, a, start, c)), lanes), weights, total)
        for c, total in enumerate(totals):
            place = builder.add(builder.mul(builder.add(args[3], ir.Constant(args[3].type, c)), width), column)
            for p, part in enumerate(total):
                pointer = _at(builder, z, place, p * lanes)
                value = builder.fadd(_load(builder, pointer, scalar, lanes), builder.load(part))
                _store(builder, value, pointer, scalar, lanes)
        return context.get_dummy_value()

    return types.void(A, types.intp, types.intp, types.intp, block, Y, types.intp, vectors, Z), codegen


@jit
def _narrow_transposed(A: Matrix, Y: Matrix, Z: Matrix, lanes: int) -> None:
    m, n = A.shape
    whole = n // ROWS * ROWS
    vectors = Y.shape[1] // lanes
    for row in range(0, m, STRIP):
        rows = min(STRIP, m - row)
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


def narrow_transposed(A: Matrix, Y: Matrix) -> Matrix:
    """AᵀY (n, k) for A (m, n) and Y (m, k) C-contiguous of one dtype, k a whole number of vectors."""
    Z = np.zeros((A.shape[1], Y.shape[1]), A.dtype)
    _narrow_transposed(A, Y, Z, VECTOR_BYTES // A.dtype.itemsize)
    return Z


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
