"""The innermost loop: F filters times V vectors of pixels in registers, one fused multiply-add at a time.

    out[f, p]  =  clamp( Σ_k  w[k, f] · x[offset(k) + p]  +  bias[f]  +  add[f, p] )        f < F,  p < V·LANES

Source: the register blocking of Goto, van de Geijn (2008); operands found through a table of offsets instead of a
packed matrix, as in the indirect convolution of Dukhan (2019), so the matrix of patches never exists.

The sum runs over k in order, in one chain for each output: its bits depend on the numbers alone, not on where in a
block the output lies, nor on how wide the registers are (given fused multiply-add).
Arguments are addresses in bytes; the callers in this package are the only ones, and see to it that they hold.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import config

from pipeline.jit import jit
from pipeline.vectors import broadcast, counted, emitted, variable, zero_vector

FLOAT, INT, BIT = ir.FloatType(), ir.IntType(64), ir.IntType(1)


def _registers(features: str) -> tuple[int, int, int]:
    """Lanes of a register, and the filters and vectors that fit the registers of a processor with these features."""
    if "+avx512f" in features:
        return 16, 8, 3
    if "+avx2" in features and "+fma" in features:
        return 8, 4, 3
    return 4, 4, 2


def _features() -> str:
    """What numba compiles for: the host, or what NUMBA_CPU_NAME and NUMBA_CPU_FEATURES say in its place."""
    settings: Any = config
    if settings.CPU_NAME or settings.CPU_FEATURES is not None:
        return str(settings.CPU_FEATURES or "")
    return str(binding.get_host_cpu_features().flatten())


HOST = _features()
LANES, FILTERS, VECTORS = _registers(HOST)
FUSED = "+fma" in HOST or "+neon" in HOST
PIXELS = LANES * VECTORS
UNROLLED = 4
ADDRESS = types.intp
VECTOR = ir.VectorType(FLOAT, LANES)


def const(value: int) -> Any:
    """An address or a count."""
    return ir.Constant(INT, value)


@emitted
def fence(typing: Any) -> Any:
    """What was written past the caches is there for other threads."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


def call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """A call of one of LLVM's intrinsics."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [one.type for one in arguments]), name)
    return builder.call(function, arguments)


def at(builder: Any, address: Any, kind: Any) -> Any:
    """An address as a pointer to `kind`."""
    return builder.inttoptr(address, kind.as_pointer())


def number_at(builder: Any, address: Any) -> Any:
    """A float from memory."""
    return builder.load(at(builder, address, FLOAT), align=4)


def read(builder: Any, address: Any) -> Any:
    """A vector from memory aligned to its elements."""
    return builder.load(at(builder, address, VECTOR), align=4)


def write(builder: Any, value: Any, address: Any) -> None:
    """A vector to memory aligned to its elements."""
    builder.store(value, at(builder, address, VECTOR), align=4)


def first_lanes(builder: Any, count: Any) -> Any:
    """A mask of the first `count` lanes, count a 64-bit number."""
    numbers = ir.Constant(ir.VectorType(INT, LANES), list(range(LANES)))
    return builder.icmp_signed("<", numbers, broadcast(builder, count, LANES))


def read_some(builder: Any, address: Any, mask: Any) -> Any:
    """The masked lanes of a vector, the others 0 and not touched."""
    name = f"llvm.masked.load.v{LANES}f32.p0v{LANES}f32"
    arguments = [at(builder, address, VECTOR), ir.Constant(ir.IntType(32), 4), mask, zero_vector(FLOAT, LANES)]
    return call(builder, name, VECTOR, arguments)


def write_some(builder: Any, value: Any, address: Any, mask: Any) -> None:
    """The masked lanes of a vector; the others are not touched."""
    name = f"llvm.masked.store.v{LANES}f32.p0v{LANES}f32"
    call(builder, name, ir.VoidType(), [value, at(builder, address, VECTOR), ir.Constant(ir.IntType(32), 4), mask])


def write_past(builder: Any, value: Any, address: Any) -> None:
    """A vector to memory aligned to vectors, past the caches: what is written once and is larger than they are."""
    store = builder.store(value, at(builder, address, VECTOR), align=4 * LANES)
    store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c, rounded once where the processor does that."""
    if not FUSED:
        return builder.fadd(builder.fmul(a, b), c)
    return call(builder, f"llvm.fma.v{LANES}f32", VECTOR, [a, b, c])


def clamped(builder: Any, value: Any, low: Any, high: Any) -> Any:
    """min(max(value, low), high); what is not a number stays so."""
    value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
    return builder.select(builder.fcmp_ordered(">", value, high), high, value)


def named(kernel: Any, filters: int, vectors: int) -> Any:
    """The kernel compiled under a name of its own.

    Code in the cache on disk finds what it calls by name. Were two sizes of one name, a process that loads what two
    others compiled could call the one for the other.
    """
    kernel.__name__ += f"_{filters}x{vectors}"
    kernel.__qualname__ = kernel.__name__
    return jit(kernel)


def products(builder: Any, x: Any, step: Any, w: Any, table: Any, count: Any, shape: tuple[int, int]) -> list[Any]:
    """Σ over k < count of w[k, f]·x[k, v], for F filters x V vectors: variables, filter by filter.

    Row k of x lies at x + table[k], or where `table` is None at x + k·step; row k of w at w + 4·F·k.
    """
    filters, vectors = shape
    totals = [variable(builder, zero_vector(FLOAT, LANES)) for _ in range(filters * vectors)]

    def turn(k: Any) -> None:
        if table is None:
            row = builder.add(x, builder.mul(k, step))
        else:
            row = builder.add(x, builder.load(at(builder, builder.add(table, builder.shl(k, const(3))), INT)))
        weights = builder.add(w, builder.mul(k, const(4 * filters)))
        pixels = [read(builder, builder.add(row, const(4 * LANES * v))) for v in range(vectors)]
        for f in range(filters):
            spread = broadcast(builder, number_at(builder, builder.add(weights, const(4 * f))), LANES)
            for v, pixel in enumerate(pixels):
                total = totals[f * vectors + v]
                builder.store(fused(builder, pixel, spread, builder.load(total)), total)

    with counted(builder, builder.udiv(count, const(UNROLLED))) as loop:
        first = builder.mul(loop.index, const(UNROLLED))
        for number in range(UNROLLED):
            turn(builder.add(first, const(number)))
    rest = builder.urem(count, const(UNROLLED))
    with counted(builder, rest) as loop:
        turn(builder.add(builder.sub(count, rest), loop.index))
    return totals


def convolving(filters: int, vectors: int) -> Any:
    """The kernel for `filters` x `vectors`: bias, a map to add, and a clamp before the store; see the module.

    (x, out, add, lanes, w, table, count, out_step, add_step, bias, low, high, kept, past): of the last vector only the
    first `lanes` pixels are written, of the filters only the first `kept`. add 0: nothing to add. past 1: write whole,
    aligned vectors past the caches.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, out, add, lanes, w, table, count, out_step, add_step, bias, low, high, kept, past = args
        totals = products(builder, x, None, w, table, count, (filters, vectors))
        low, high = (broadcast(builder, bound, LANES) for bound in (low, high))
        mask, last = first_lanes(builder, lanes), vectors - 1
        some, streams = (builder.icmp_signed("!=", flag, const(0)) for flag in (add, past))
        for f in range(filters):
            with builder.if_then(builder.icmp_signed("<", const(f), kept)):
                spread = broadcast(builder, number_at(builder, builder.add(bias, const(4 * f))), LANES)
                mine = totals[f * vectors : (f + 1) * vectors]
                for total in mine:
                    builder.store(builder.fadd(builder.load(total), spread), total)
                with builder.if_then(some):
                    place = builder.add(add, builder.mul(add_step, const(f)))
                    for v, total in enumerate(mine):
                        here = builder.add(place, const(4 * LANES * v))
                        more = read_some(builder, here, mask) if v == last else read(builder, here)
                        builder.store(builder.fadd(builder.load(total), more), total)
                place = builder.add(out, builder.mul(out_step, const(f)))
                for v, total in enumerate(mine):
                    here = builder.add(place, const(4 * LANES * v))
                    value = clamped(builder, builder.load(total), low, high)
                    with builder.if_else(streams) as (stream, keep):
                        with stream:
                            write_past(builder, value, here)
                        with keep:
                            write_some(builder, value, here, mask) if v == last else write(builder, value, here)
        return context.get_dummy_value()

    @emitted
    def kernel(  # type: ignore[no-untyped-def]
        typing, x, out, add, lanes, w, table, count, out_step, add_step, bias, low, high, kept, past
    ):
        return types.void(*[ADDRESS] * 10, types.float32, types.float32, ADDRESS, ADDRESS), codegen

    def convolve(  # type: ignore[no-untyped-def]
        x, out, add, lanes, w, table, count, out_step, add_step, bias, low, high, kept, past
    ):
        kernel(x, out, add, lanes, w, table, count, out_step, add_step, bias, low, high, kept, past)

    return named(convolve, filters, vectors)


def multiplying(filters: int, vectors: int) -> Any:
    """The kernel for a plain product: rows of x one `step` apart, all F filters and V vectors written."""

    @emitted
    def kernel(typing: Any, x: Any, step: Any, w: Any, count: Any, out: Any, out_step: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, step, w, count, out, out_step = args
            totals = products(builder, x, step, w, None, count, (filters, vectors))
            for f in range(filters):
                place = builder.add(out, builder.mul(out_step, const(f)))
                for v in range(vectors):
                    write(builder, builder.load(totals[f * vectors + v]), builder.add(place, const(4 * LANES * v)))
            return context.get_dummy_value()

        return types.void(*[ADDRESS] * 6), codegen

    def multiply(x, step, w, count, out, out_step):  # type: ignore[no-untyped-def]
        kernel(x, step, w, count, out, out_step)

    return named(multiply, filters, vectors)
