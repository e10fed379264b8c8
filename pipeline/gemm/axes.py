"""What a convolution is asked for, checked: shapes, strides, padding, dilation, groups."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BlockError
from pipeline.gemm.panel import Axis

F32 = NDArray[np.float32]
Pair = int | tuple[int, int]
Sides = int | tuple[int, int] | tuple[int, int, int, int]


def axes_of(
    shape: tuple[int, ...], filters: tuple[int, ...], stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> tuple[Axis, Axis]:
    """The two axes of a convolution of x (C, H, W) with filters (N, C/groups, kh, kw), by their shapes."""
    if shape[0] != filters[1] * groups:
        raise BlockError(
            f"filters {filters} with groups={groups} need {filters[1] * groups} channels, x has {shape[0]}"
        )
    sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
    top, left, bottom, right = sides * 2 if len(sides) == 2 else sides
    axes = []
    for place, name, before, after in ((0, "rows", top, bottom), (1, "columns", left, right)):
        step = stride if isinstance(stride, int) else stride[place]
        spread = dilation if isinstance(dilation, int) else dilation[place]
        length, taps = shape[1 + place], filters[2 + place]
        if step < 1 or spread < 1 or before < 0 or after < 0:
            raise BlockError(
                f"stride and dilation must be at least 1 and padding at least 0, "
                f"got stride {step}, dilation {spread}, padding {before} and {after}"
            )
        room, extent = before + length + after, (taps - 1) * spread + 1
        if extent > room:
            raise BlockError(
                f"filters of {extent} {name} do not fit the input of {room} {name}, padding included; "
                f"pad more or take smaller filters"
            )
        axes.append(Axis(taps, step, before, spread, length, (room - extent) // step + 1))
    return axes[0], axes[1]


def check_groups(filters: tuple[int, ...], groups: int) -> None:
    """Raise BlockError unless the filters fall into `groups`."""
    if groups < 1 or filters[0] % groups:
        raise BlockError(f"groups={groups} does not divide {filters[0]} filters")


def real(array: NDArray[Any], name: str, ndim: int) -> F32:
    """Any real array of `ndim` axes, none empty, as float32."""
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" or array.ndim != ndim or 0 in array.shape:
        raise BlockError(f"{name} must be real, with {ndim} axes, none of them empty, got {array.dtype} {array.shape}")
    return array.astype(np.float32, copy=False)
