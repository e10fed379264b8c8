"""Vectors of 64 bytes in LLVM IR: the words in which the kernels of `lanes` are written.

Source: LLVM language reference, vector types and `llvm.fmuladd`; LLVM splits them for narrower registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

VECTOR_BYTES = 64
_CGUTILS: Any = cgutils


def emitted(build: Callable[..., Any]) -> Callable[..., Any]:
    """A function for kernels to call, its body written by `build` as LLVM IR; numbers in the call are literals."""
    return cast(Callable[..., Any], intrinsic(prefer_literal=True)(build))


def variable(builder: Any, value: Any) -> Any:
    """A variable of the function with this first value; LLVM keeps it in a register."""
    return _CGUTILS.alloca_once_value(builder, value)


def counted(builder: Any, count: Any) -> Any:
    """Context of a loop over 0 .. count − 1, its number as `.index`."""
    return _CGUTILS.for_range(builder, count)


def bytes_of(scalar: Any) -> int:
    """Size of a float or double in bytes."""
    return 8 if isinstance(scalar, ir.DoubleType) else 4


def scalar_of(array_type: Any) -> Any:
    """LLVM's type for the elements of a numba array."""
    return ir.DoubleType() if array_type.dtype == types.float64 else ir.FloatType()


def zero_vector(scalar: Any, lanes: int) -> Any:
    """A vector of zeros."""
    return ir.Constant(ir.VectorType(scalar, lanes), None)


def element(builder: Any, array: Any, index: Any, offset: int = 0) -> Any:
    """Pointer to element index + offset of a contiguous array."""
    return builder.gep(array.data, [builder.add(index, ir.Constant(index.type, offset))])


def load(builder: Any, pointer: Any, scalar: Any, lanes: int, wide: Any = None) -> Any:
    """A vector from memory that is aligned to its elements alone, widened where `wide` is another scalar."""
    pointer = builder.bitcast(pointer, ir.VectorType(scalar, lanes).as_pointer())
    return widened(builder, builder.load(pointer, align=bytes_of(scalar)), scalar, wide or scalar, lanes)


def store(builder: Any, value: Any, pointer: Any, scalar: Any, lanes: int) -> None:
    """A vector to memory that is aligned to its elements alone."""
    pointer = builder.bitcast(pointer, ir.VectorType(scalar, lanes).as_pointer())
    builder.store(value, pointer, align=bytes_of(scalar))


def add_to(builder: Any, value: Any, pointer: Any, scalar: Any, lanes: int) -> None:
    """Add a vector of `scalar` to float64 memory."""
    double = ir.DoubleType()
    value = widened(builder, value, scalar, double, lanes)
    store(builder, builder.fadd(load(builder, pointer, double, lanes), value), pointer, double, lanes)


def widened(builder: Any, value: Any, scalar: Any, wide: Any, lanes: int) -> Any:
    """The vector in `wide`, which is its own scalar or a larger one."""
    return value if bytes_of(wide) == bytes_of(scalar) else builder.fpext(value, ir.VectorType(wide, lanes))


def broadcast(builder: Any, one: Any, lanes: int) -> Any:
    """A vector whose lanes all hold the scalar `one`."""
    undefined = ir.Constant(ir.VectorType(one.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, one, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, zero_vector(ir.IntType(32), lanes))


def gather(builder: Any, array: Any, numbers: Any, scalar: Any) -> Any:
    """A vector of elements of a contiguous array, by a vector of their numbers, 32-bit integers >= 0."""
    lanes = numbers.type.count
    kind, pointers = ir.VectorType(scalar, lanes), ir.VectorType(scalar.as_pointer(), lanes)
    every = ir.VectorType(ir.IntType(1), lanes)
    # One address and numbers of 32 bits are one instruction. llvmlite takes one number alone: they replace it later.
    places = builder.gep(array.data, [ir.Constant(ir.IntType(32), 0)])
    places.operands[1] = numbers
    places.indices[0] = numbers
    places.type = pointers
    # Of typed pointers, which old LLVM has: the newer ones read it as their own.
    name = f"llvm.masked.gather.v{lanes}f{8 * bytes_of(scalar)}.v{lanes}p0f{8 * bytes_of(scalar)}"
    signature = ir.FunctionType(kind, [pointers, ir.IntType(32), every, kind])
    function = _CGUTILS.get_or_insert_function(builder.module, signature, name)
    align, all_lanes = ir.Constant(ir.IntType(32), bytes_of(scalar)), ir.Constant(every, [1] * lanes)
    return builder.call(function, [places, align, all_lanes, ir.Constant(kind, None)])


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c, fused where the processor does that."""
    name = f"llvm.fmuladd.v{a.type.count}f{8 * bytes_of(a.type.element)}"
    kind = ir.FunctionType(a.type, [a.type] * 3)
    return builder.call(_CGUTILS.get_or_insert_function(builder.module, kind, name), [a, b, c])


def add_products(builder: Any, one: Any, vectors: Any, totals: Any) -> None:
    """totals[p] += one · vectors[p]."""
    for vector, total in zip(vectors, totals, strict=True):
        builder.store(multiply_add(builder, one, vector, builder.load(total)), total)
