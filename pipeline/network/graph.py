"""A network as a list of operators in the order they run: what an ONNX file becomes before anything looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Node:
    """One operator of ONNX's default domain."""

    op: str
    """ONNX's name of it: Conv, Relu, ..."""
    inputs: tuple[str, ...]
    """Names of tensors; "" where an optional input is left out."""
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    """As in the file: int, float, str, list of these, or an array."""


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, with the tensors that are known before any input is."""

    inputs: tuple[str, ...]
    """Names of the tensors that the caller gives, constants left out."""
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[np.generic]]
    opset: int
    """Version of the default domain's operators."""
    dtypes: Mapping[str, np.dtype[Any]] = field(default_factory=dict)
    """The declared element types of the inputs, where there are any."""
