"""Panels: a part of the input copied once into a buffer that stays in the second cache, where kernels find it.

A panel holds, for some output pixels, every input pixel that they need, zeros where padding is:

    panel[c, line, phase, i]  =  x[c, y0·stride − top + line, x0·stride − left + i·stride + phase]

so that the pixels that one tap of the filters meets lie in a row whatever the stride is; the tap (c, i, j) of output
pixel (y, x) is at panel[c, (y − y0)·stride + i·spread, j·spread % stride, x − x0 + j·spread // stride].
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import carray, types  # type: ignore[attr-defined]
from numpy.typing import NDArray

from pipeline.gemm.microkernel import ADDRESS, BIT, FILTERS, FLOAT, LANES, PIXELS, at, call, const
from pipeline.gemm.partition import FLOAT as FLOAT_BYTES
from pipeline.gemm.partition import L2_BYTES
from pipeline.jit import jit
from pipeline.vectors import emitted

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
FLOATS: Any = types.CPointer(types.float32)  # type: ignore[no-untyped-call]
BYTES = ir.IntType(8).as_pointer()

PANEL_BYTES = L2_BYTES
MOST_COLUMNS = 20 * LANES
NARROW = 2 * LANES


class Image(NamedTuple):
    """Where a (C, H, W) array lies: steps in bytes from channel to channel, row to row, pixel to pixel."""

    address: int
    plane: int
    line: int
    step: int


class Axis(NamedTuple):
    """A convolution along one axis: taps, stride, padding before, dilation, lengths of input and output."""

    taps: int
    stride: int
    before: int
    dilation: int
    length: int
    out: int

    @property
    def extent(self) -> int:
        """Inputs from the first tap to the last."""
        return (self.taps - 1) * self.dilation + 1


class Panel(NamedTuple):
    """How panels are cut: output pixels of one, lines of its channels, floats in a line of one phase.

    flat: lines are no longer than they must be, so that the rows of outputs can be taken as one; what comes of the
    pixels between two rows is thrown away. For maps that are narrow beside a register.
    """

    rows: int
    columns: int
    lines: int
    pitch: int
    flat: int = 0

    @staticmethod
    def fitting(channels: int, y: Axis, x: Axis, room: int = PANEL_BYTES, *, flat: bool = False) -> Panel:
        """The panel whose lines are shared by most rows of output, within `room` bytes where that can be."""
        flat = flat and y.stride == x.stride == 1 and x.out <= NARROW and y.out > 1
        parts = -(-x.out // MOST_COLUMNS)
        columns = min(x.out, -(-x.out // parts // LANES) * LANES)
        while True:
            pitch = -(-columns // LANES) * LANES + (x.extent - 1) // x.stride + LANES
            if flat:
                pitch = x.out + x.extent - 1
            line = FLOAT_BYTES * channels * x.stride * pitch
            fit = (room // line - y.extent) // y.stride + 1
            if fit >= min(4, y.out) or columns <= 4 * LANES:
                break
            columns = max(4 * LANES, columns // 2 // LANES * LANES)
        rows = max(1, min(y.out, fit))
        rows = -(-y.out // -(-y.out // rows))
        return Panel(rows, columns, (rows - 1) * y.stride + y.extent, pitch, int(flat))

    def floats(self, channels: int, phases: int) -> int:
        """Size of the buffer; a kernel may read one block beyond a flat panel."""
        return channels * self.lines * phases * self.pitch + PIXELS

    def sums(self) -> int:
        """Floats of what kernels write for one block of filters where the panel is flat."""
        return FILTERS * self.sum_line() if self.flat else 1

    def sum_line(self) -> int:
        """Floats of one filter among them."""
        return -(-self.rows * self.pitch // LANES) * LANES + PIXELS

    def offsets(self, channels: int, y: Axis, x: Axis) -> I64:
        """Bytes from an output pixel's place to each tap (c, i, j) in the panel: (C·kh·kw,)."""
        c = np.arange(channels)[:, None, None]
        i = np.arange(y.taps)[None, :, None] * y.dilation
        j = np.arange(x.taps)[None, None, :] * x.dilation
        places = ((c * self.lines + i) * x.stride + j % x.stride) * self.pitch + j // x.stride
        return np.ascontiguousarray(FLOAT_BYTES * places.ravel(), np.int64)


@emitted
def floats_at(typing: Any, address: Any) -> Any:
    """An address as a pointer to floats."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return at(builder, args[0], FLOAT)

    return FLOATS(ADDRESS), codegen


@emitted
def copy(typing: Any, source: Any, to: Any, count: Any) -> Any:
    """`count` bytes from one address to another; a negative count is none."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        with builder.if_then(builder.icmp_signed(">", args[2], const(0))):
            source, to = (builder.inttoptr(one, BYTES) for one in args[:2])
            arguments = [to, source, args[2], ir.Constant(BIT, 0)]
            call(builder, "llvm.memcpy.p0i8.p0i8.i64", ir.VoidType(), arguments)
        return context.get_dummy_value()

    return types.void(ADDRESS, ADDRESS, ADDRESS), codegen


@emitted
def clear(typing: Any, to: Any, count: Any) -> Any:
    """`count` bytes of zeros; a negative count is none."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        with builder.if_then(builder.icmp_signed(">", args[1], const(0))):
            arguments = [builder.inttoptr(args[0], BYTES), ir.Constant(ir.IntType(8), 0), args[1], ir.Constant(BIT, 0)]
            call(builder, "llvm.memset.p0i8.i64", ir.VoidType(), arguments)
        return context.get_dummy_value()

    return types.void(ADDRESS, ADDRESS), codegen


@jit
def gather(line: int, step: int, length: int, start: int, stride: int, count: int, to: int) -> None:
    """`count` floats at `to`: the pixels start + i·stride of a line of `length` pixels, 0 beyond its ends.

    Pixels lie `step` bytes apart, a multiple of 4.
    """
    low = min(count, max(0, -(start // stride)))
    high = max(low, min(count, -((start - length) // stride)))
    clear(to, 4 * low)
    clear(to + 4 * high, 4 * (count - high))
    first = line + (start + low * stride) * step
    if stride * step == 4:
        copy(first, to + 4 * low, 4 * (high - low))
    elif stride * step == 8 and high > low:
        out = carray(floats_at(to + 4 * low), high - low)
        pixels = carray(floats_at(first), 2 * (high - low) - 1)
        for i in range(high - low):
            out[i] = pixels[2 * i]
    else:
        for i in range(low, high):
            carray(floats_at(to), count)[i] = carray(floats_at(line + (start + i * stride) * step), 1)[0]


@jit
def fill(
    x: Image, channels: int, y_axis: Axis, x_axis: Axis, cut: Panel, row: int, column: int, rows: int, panel: F32
) -> None:
    """Fill the panel of the outputs from (row, column) on, for `rows` rows.

    Lines are filled to their end: kernels read whole vectors, and undefined memory may be slow to multiply.
    """
    lines = (rows - 1) * y_axis.stride + (y_axis.taps - 1) * y_axis.dilation + 1
    top, left = row * y_axis.stride - y_axis.before, column * x_axis.stride - x_axis.before
    for c in range(channels):
        for number in range(lines):
            at_line = (c * cut.lines + number) * x_axis.stride * cut.pitch
            y = top + number
            if y < 0 or y >= y_axis.length:
                clear(panel.ctypes.data + 4 * at_line, 4 * x_axis.stride * cut.pitch)
                continue
            line = x.address + c * x.plane + y * x.line
            for phase in range(x_axis.stride):
                to = panel.ctypes.data + 4 * (at_line + phase * cut.pitch)
                gather(line, x.step, x_axis.length, left + phase, x_axis.stride, cut.pitch, to)
