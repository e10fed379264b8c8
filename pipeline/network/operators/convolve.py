"""Convolutions and their transposes over (N, C, x) and (N, C, y, x) float32, one image at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import ModelError
from pipeline.gemm import Convolution, aligned
from pipeline.network.operators.call import Array, Call, Operator, same_dtype
from pipeline.network.operators.line_kernels import add_apart
from pipeline.network.operators.window import SAME, automatic, padding, pair, windows
from pipeline.network.operators.window_kernels import plain
from pipeline.network.sizes import checked

NO_BIAS = np.empty(0, np.float32)


class Spread(NamedTuple):
    """Along one axis: input i and tap t make output i·stride − before + t·dilation, of `out` outputs."""

    stride: int
    before: int
    dilation: int
    out: int


def conv(call: Call, x: Array, filters: Array, bias: Array | None = None, add: Array | None = None) -> Array:
    """Cross-correlation with filters (N, C/groups, ...); `add`, bounds and all: what fusing makes of a Conv."""
    return _run(call, _packed(call, filters, bias), x, filters, bias, add)


def prepare_conv(call: Call, known: tuple[Any, ...], given: tuple[bool, ...]) -> Callable[..., Array] | None:
    """The same with filters and bias packed now, where both are known."""
    filters, bias = [*known[1:3], None][:2]
    if not all(given[1:3]):
        return None
    packed = _packed(call, filters, bias)

    def run(x: Array, filters: Array, bias: Array | None = None, add: Array | None = None) -> Array:
        return _run(call, packed, x, filters, bias, add)

    return run


def _packed(call: Call, filters: Array, bias: Array | None) -> Convolution:
    spatial = filters.shape[2:]
    if len(spatial) not in (1, 2) or filters.dtype != np.float32:
        raise ModelError(f"filters {filters.shape} of {filters.dtype}; 1-D and 2-D ones of float32 are supported")
    if list(call.attributes.get("kernel_shape") or spatial) != list(spatial) or 0 in filters.shape:
        raise ModelError(f"filters {filters.shape} are not of the kernel_shape given, or empty")
    if bias is not None and (bias.shape != filters.shape[:1] or bias.dtype != np.float32):
        raise ModelError(f"a bias {bias.shape} of {bias.dtype} does not fit filters {filters.shape}")
    strides, dilations = pair(call, "strides", len(spatial), 1), pair(call, "dilations", len(spatial), 1)
    sides = padding(call, len(spatial))
    if len(spatial) == 1:
        filters, strides, dilations, sides = filters[:, :, None], [1, *strides], [1, *dilations], [(0, 0), *sides]
    return Convolution(
        np.ascontiguousarray(filters),
        bias,
        stride=(strides[0], strides[1]),
        padding=(sides[0][0], sides[1][0], sides[0][1], sides[1][1]),
        dilation=(dilations[0], dilations[1]),
        floor=call.attributes.get("floor", -math.inf),
        ceiling=call.attributes.get("ceiling", math.inf),
        groups=call.attributes["group"],
    )


def _run(call: Call, packed: Convolution, x: Array, filters: Array, bias: Array | None, add: Array | None) -> Array:
    _check_images(x, filters)
    if x.shape[1] != filters.shape[1] * call.attributes["group"]:
        raise ModelError(
            f"{x.shape[1]} channels do not fit filters {filters.shape} in {call.attributes['group']} groups"
        )
    axes = windows(call, filters.shape[2:], x.shape[2:])
    shape = checked((x.shape[0], filters.shape[0], *(axis.out for axis in axes)), np.float32)
    if add is not None and (add.shape != shape or add.dtype != np.float32):
        return _apart(call, x, filters, bias, add)
    if call.attributes["auto_pad"] in SAME:
        checked((*x.shape[:2], *(axis.before + axis.length + axis.after for axis in axes)), np.float32)
        x = np.pad(x, [(0, 0), (0, 0), *((axis.before, axis.after) for axis in axes)])
    out = aligned(shape)
    flat = (len(x), shape[1], -1, shape[-1])
    images, maps = x.reshape(len(x), x.shape[1], -1, x.shape[-1]), out.reshape(flat)
    # A slice by steps gives a view, whose rows the epilogue could not read in vectors.
    added = [None] * len(x) if add is None else np.ascontiguousarray(add).reshape(flat)
    for image, other, one in zip(images, added, maps, strict=True):
        packed(image, add=other, out=one)
    return out


def _apart(call: Call, x: Array, filters: Array, bias: Array | None, add: Array) -> Array:
    """The sum and the bounds after the convolution, where the other summand has a shape of its own."""
    attributes = dict(call.attributes)
    floor, ceiling = attributes.pop("floor", -math.inf), attributes.pop("ceiling", math.inf)
    made = conv(replace(call, attributes=attributes), x, filters, bias)
    checked(np.broadcast_shapes(made.shape, add.shape), same_dtype(made, add))
    return np.asarray(np.minimum(np.maximum(made + add, np.float32(floor)), np.float32(ceiling)))


def conv_transpose(call: Call, x: Array, filters: Array, bias: Array | None = None) -> Array:
    """The transpose of a convolution with filters (C, N/groups, ...): each input spreads its filters, which add up."""
    _check_images(x, filters)
    if filters.ndim not in (3, 4) or x.shape[1] != filters.shape[0]:
        raise ModelError(f"filters {filters.shape} do not fit an input {x.shape}; 1-D and 2-D are supported")
    groups, spatial = call.attributes["group"], filters.shape[2:]
    if groups < 1 or x.shape[1] % groups:
        raise ModelError(f"{groups} groups do not divide {x.shape[1]} channels")
    axes = _spread(call, spatial, x.shape[2:])
    shape = checked((x.shape[0], filters.shape[1] * groups, *(axis.out for axis in axes)), np.float32)
    if len(spatial) == 1:
        x, filters, axes = x[:, :, None], filters[:, :, None], [Spread(1, 0, 1, 1), *axes]
    offset = np.zeros(shape[1], np.float32) if bias is None else plain(bias)
    if offset.shape != (shape[1],):
        raise ModelError(f"a bias {offset.shape} does not fit filters {filters.shape} in {groups} groups")
    apart = all(_alone(axis, taps, n) for axis, taps, n in zip(axes, filters.shape[2:], x.shape[2:], strict=True))
    out = np.empty((*shape[:2], axes[0].out, axes[1].out), np.float32)
    if not apart:
        out[:] = offset[:, None, None]
    per_out, per_in = filters.shape[1], x.shape[1] // groups
    for image, one in zip(x, out, strict=True):
        for g in range(groups):
            own, made = slice(g * per_in, (g + 1) * per_in), slice(g * per_out, (g + 1) * per_out)
            _spread_taps(image[own], filters[own], offset[made] if apart else NO_BIAS, one[made], axes)
    return out.reshape(shape)


def _alone(axis: Spread, taps: int, length: int) -> bool:
    """Whether each output along an axis is made by just one tap of one input."""
    return axis.stride == taps and axis.dilation == 1 and axis.before + axis.out <= length * taps


def _spread_taps(x: Array, filters: Array, bias: Array, out: Array, axes: list[Spread]) -> None:
    """Add to out (N, y, x) the filters (C, N, kh, kw) times x (C, y, x): one GEMM and one strided sum for each tap."""
    n, (height, width) = out.shape[0], x.shape[1:]
    for i in range(filters.shape[2]):
        from_y, to_y = _reach(axes[0], i, height)
        for j in range(filters.shape[3]):
            from_x, to_x = _reach(axes[1], j, width)
            part = x[:, from_y, from_x]
            if part.size:
                made = np.ascontiguousarray(filters[:, :, i, j].T) @ part.reshape(len(x), -1)
                steps = (axes[0].stride, axes[1].stride)
                add_apart(made.reshape(n, *part.shape[1:]), bias, out, (to_y, to_x), steps)


def _reach(axis: Spread, tap: int, length: int) -> tuple[slice, int]:
    """The inputs whose tap falls into the output, and where the first of them does."""
    first = tap * axis.dilation - axis.before
    low = max(0, -(first // axis.stride))
    high = max(low, min(length, -((first - axis.out) // axis.stride)))
    return slice(low, high), first + low * axis.stride


def _spread(call: Call, kernel: tuple[int, ...], spatial: tuple[int, ...]) -> list[Spread]:
    count = len(kernel)
    strides, dilations = pair(call, "strides", count, 1), pair(call, "dilations", count, 1)
    extra = call.attributes.get("output_padding") or [0] * count
    wanted = call.attributes.get("output_shape")
    pads, mode = padding(call, count), call.attributes["auto_pad"]
    found = []
    for i, (taps, length) in enumerate(zip(kernel, spatial, strict=True)):
        extent = (length - 1) * strides[i] + (taps - 1) * dilations[i] + 1 + extra[i]
        if wanted or mode in SAME:
            out = wanted[i - count] if wanted else length * strides[i]
            before = automatic(call, extent - out)[0]
        else:
            before, out = pads[i][0], extent - sum(pads[i])
        if out < 1 or extra[i] < 0:
            raise ModelError(f"an output of {out} rows or columns cannot be")
        found.append(Spread(strides[i], before, dilations[i], out))
    return found


def _check_images(x: Array, filters: Array) -> None:
    if x.ndim != filters.ndim or x.dtype != np.float32 or filters.dtype != np.float32 or 0 in x.shape:
        raise ModelError(f"an input {x.shape} of {x.dtype} does not fit filters {filters.shape} of {filters.dtype}")


CONVOLVE: dict[str, Operator] = {"Conv": conv, "ConvTranspose": conv_transpose}
