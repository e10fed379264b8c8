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
                    for vector, part in zip(line, total[turn : turn + parts], strict=True):
                        builder.store(_multiply_add(builder, spread, vector, builder.load(part)), part)
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


@intrinsic  # type: ignore[untyped-decorator]
def _row_run(typing: Any, A: Any, row: Any, groups: Any, blocks: Any, W: Any, Y: Any, column: Any) -> Any:
    """Y[row + r, column :] = A[row + r] W, r < groups · ROWS, one vector of columns, stored over what comes next.

    W has zeros to fill `blocks` blocks of rows and a whole vector of columns.
    """
    scalar = _scalar_type(A)
    lanes = VECTOR_BYTES // _size(scalar)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, w, y = (context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 4, 5))
        columns, width = builder.extract_value(a.shape, 1), builder.extract_value(y.shape, 1)
        totals = [cgutils.alloca_once(builder, ir.VectorType(scalar, lanes)) for _ in range(ROWS)]
        with cgutils.for_range(builder, args[2]) as group:
            first = builder.add(args[1], builder.mul(group.index, ir.Constant(args[1].type, ROWS)))
            rows = [builder.add(first, ir.Constant(first.type, r)) for r in range(ROWS)]
            starts = [builder.mul(row, columns) for row in rows]
            for total in totals:
                builder.store(_zeros(scalar, lanes), total)
            with cgutils.for_range(builder, args[3]) as loop:
                at = builder.mul(loop.index, ir.Constant(first.type, BLOCK))
                for i in range(BLOCK):
                    place = builder.mul(at, ir.Constant(first.type, lanes))
                    weights = _load(builder, _at(builder, w, place, i * lanes), scalar, lanes)
                    for start, total in zip(starts, totals, strict=True):
                        one = builder.load(_at(builder, a, builder.add(start, at), i))
                        product = _multiply_add(builder, _spread(builder, one, lanes), weights, builder.load(total))
                        builder.store(product, total)
            for row, total in zip(rows, totals, strict=True):
                place = builder.add(builder.mul(row, width), args[6])
                _store(builder, builder.load(total), _at(builder, y, place), scalar, lanes)
        return context.get_dummy_value()

    return types.void(A, types.intp, types.intp, types.intp, W, Y, types.intp), codegen


@jit
def _narrow_product(A: Matrix, W: Matrix, Y: Matrix) -> None:
    m, n = A.shape
    k = Y.shape[1]
    vectors, depth, lanes = W.shape
    safe = max(0, (m - max(lanes // k, BLOCK)) // ROWS)
    for begin in range(0, safe, GROUPS):
        for v in range(vectors):
            _row_run(A, begin * ROWS, min(GROUPS, safe - begin), depth // BLOCK, W[v], Y, v * lanes)
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
