"""Pad: what lies beyond the border of a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.network.operators.call import Array, Call, Operator, axes_of, integers
from pipeline.network.sizes import checked

FIRST_PAD_BY_TENSOR = 11
MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def pad(
    call: Call, x: Array, pads: Array | None = None, value: Array | None = None, axes: Array | None = None
) -> Array:
    """x with more rows before and after each axis, or fewer where pads are negative."""
    before, after = _sides(call, x, pads, axes)
    shape = [size + low + high for size, low, high in zip(x.shape, before, after, strict=True)]
    checked(shape, x.dtype)
    mode = call.attributes["mode"]
    if mode not in MODES:
        raise ModelError(f"mode {mode!r} is not supported")
    inner = x[
        tuple(slice(max(0, -low), size + min(0, high)) for size, low, high in zip(x.shape, before, after, strict=True))
    ]
    sides = [(max(0, low), max(0, high)) for low, high in zip(before, after, strict=True)]
    if mode != "constant":
        return np.pad(inner, sides, MODES[mode])  # type: ignore[call-overload,no-any-return]
    fill: Any = call.attributes.get("value", 0) if value is None else value.item()
    return np.pad(inner, sides, constant_values=x.dtype.type(fill))


def _sides(call: Call, x: Array, pads: Array | None, axes: Array | None) -> tuple[list[int], list[int]]:
    """Rows to add before and after each axis."""
    if pads is None:
        numbers = list(call.attributes["pads" if call.opset > 1 else "paddings"])
    else:
        numbers = integers(pads, "its pads")
    named = range(x.ndim) if axes is None else axes_of(integers(axes, "its axes"), x.ndim)
    if len(numbers) != 2 * len(named):
        raise ModelError(f"{len(numbers)} pads do not fit {len(named)} axes")
    before, after = [0] * x.ndim, [0] * x.ndim
    for i, axis in enumerate(named):
        before[axis], after[axis] = numbers[i], numbers[i + len(named)]
    return before, after


BORDER: dict[str, Operator] = {"Pad": pad}
