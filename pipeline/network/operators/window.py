"""Where the windows of a convolution or a pool lie along each axis, from ONNX's attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.errors import ModelError
from pipeline.network.operators.call import Call

SAME = ("SAME_UPPER", "SAME_LOWER")


class Axis(NamedTuple):
    """Window i takes inputs i·stride − before + t·dilation for t < taps; out windows lie along `length` inputs."""

    taps: int
    stride: int
    before: int
    after: int
    dilation: int
    length: int
    out: int


def pair(call: Call, name: str, axes: int, default: int) -> list[int]:
    """An attribute of one number for each axis, `default` where it is left out. Raises ModelError."""
    values = call.attributes.get(name) or [default] * axes
    if len(values) != axes or min(values) < 1:
        raise ModelError(f"{name} {values[:8]} are not {axes} positive numbers")
    return list(values)


def padding(call: Call, axes: int) -> list[tuple[int, int]]:
    """Padding before and after each axis, where it is given and not automatic. Raises ModelError."""
    pads = call.attributes.get("pads") or [0] * 2 * axes
    if call.attributes["auto_pad"] != "NOTSET":
        pads = [0] * 2 * axes
    if len(pads) != 2 * axes or min(pads) < 0:
        raise ModelError(f"pads {pads[:8]} are not {2 * axes} numbers of at least 0")
    return list(zip(pads[:axes], pads[axes:], strict=True))


def automatic(call: Call, total: int) -> tuple[int, int]:
    """Padding that makes the output as long as the input over the stride: the odd one after, or before."""
    total = max(0, total)
    return (
        (total // 2, total - total // 2)
        if call.attributes["auto_pad"] == "SAME_UPPER"
        else (-(-total // 2), total // 2)
    )


def windows(call: Call, kernel: Sequence[int], spatial: Sequence[int]) -> list[Axis]:
    """The windows over an input of `spatial` sizes. Raises ModelError where none fits."""
    axes = len(kernel)
    if len(spatial) != axes:
        raise ModelError(f"a kernel of {axes} axes does not fit an input of {len(spatial)}")
    mode = call.attributes["auto_pad"]
    if mode not in ("NOTSET", "VALID", *SAME):
        raise ModelError(f"auto_pad {mode!r} is not supported")
    strides, dilations = pair(call, "strides", axes, 1), pair(call, "dilations", axes, 1)
    pads = padding(call, axes)
    found = []
    for i, (taps, stride, dilation, length) in enumerate(zip(kernel, strides, dilations, spatial, strict=True)):
        extent = (taps - 1) * dilation + 1
        before, after = pads[i]
        if mode in SAME:
            out = -(-length // stride)
            before, after = automatic(call, (out - 1) * stride + extent - length)
        room = before + length + after
        if taps < 1 or length < 1 or extent > room:
            raise ModelError(f"windows of {extent} do not fit an input of {room}, padding included")
        out = (room - extent) // stride + 1
        if call.attributes.get("ceil_mode") and (room - extent) % stride and out * stride < length + before:
            out += 1
        found.append(Axis(taps, stride, before, after, dilation, length, out))
    return found
