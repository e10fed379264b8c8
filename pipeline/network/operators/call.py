"""What an operator gets beside its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError

Array = NDArray[Any]
Operator = Callable[..., Array | tuple[Array, ...]]
"""operator(call, *inputs): arrays, None where an optional input is left out. It never writes to its inputs."""


@dataclass(frozen=True)
class Call:
    """One use of an operator."""

    op: str
    attributes: Mapping[str, Any]
    """Given or by default; an attribute that has neither is not there."""
    opset: int
    outputs: int = 1
    """How many outputs the node names."""


def same_dtype(*arrays: Array) -> np.dtype[Any]:
    """The one dtype of the arrays. Raises ModelError where they differ, as ONNX does not promote."""
    kinds = {array.dtype for array in arrays}
    if len(kinds) > 1:
        raise ModelError(f"its inputs are of different types: {', '.join(sorted(map(str, kinds)))}")
    return arrays[0].dtype


def axis_of(axis: int, ndim: int) -> int:
    """An axis counted from the front. Raises ModelError where there is no such axis."""
    if not -ndim <= axis < max(ndim, 1):
        raise ModelError(f"axis {axis} is not one of {ndim}")
    return axis % max(ndim, 1)


def axes_of(axes: Any, ndim: int) -> tuple[int, ...]:
    """Axes counted from the front, each once. Raises ModelError otherwise."""
    found = tuple(axis_of(int(axis), ndim) for axis in np.ravel(axes))
    if len(set(found)) != len(found):
        raise ModelError(f"axes {list(found)} name one twice")
    return found


def integers(array: Array, what: str) -> list[int]:
    """A tensor of integers, a vector or one number, as Python's. Raises ModelError."""
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise ModelError(f"{what} must be a vector of integers, got {array.dtype} {array.shape}")
    return [int(value) for value in array.ravel()]
