"""An operator where it stands in a network, as the rules of tiling see it: the axes of its inputs, its constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.network.graph import Node
from pipeline.network.steps import STILL, Step

Y, X, C = "y", "x", "c"
SPACE = (Y, X)
TO_NCHW = (0, 3, 1, 2)
"""The order that brings the channels of (N, y, x, C) to the front."""
Dims = tuple[int | str | None, ...]
"""The axes of a tensor: a size, "y" and "x" for the axes of the scene, "c" for channels whose number nothing has told
yet, None for a size that follows from it."""


class Refused(Exception):
    """An operator that tiles cannot be computed through; says why, and names the operator."""


@dataclass(frozen=True)
class Rule:
    """What an operator reads and gives, over the scene."""

    sources: tuple[str, ...]
    """The tensors over the scene among its inputs."""
    steps: tuple[Step, Step]
    """Along y and x, the same for every source."""
    dims: Dims
    """Of each of its outputs, unless `others` says otherwise."""
    others: tuple[Dims, ...] = ()
    """Of its outputs, where they differ."""


@dataclass(frozen=True)
class Site:
    """A node, the dims of the tensors over the scene, the constants, and the version of the operators."""

    node: Node
    dims: Mapping[str, Dims]
    constants: Mapping[str, NDArray[np.generic]]
    opset: int

    @property
    def data(self) -> Dims:
        """The axes of the first input."""
        name = self.node.inputs[0] if self.node.inputs else ""
        if name not in self.dims:
            raise Refused(f"{self.node.op} does not work on the scene, or takes it in another place than the first")
        return self.dims[name]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.node.attributes.get(name, default)

    def constant(self, place: int, what: str) -> NDArray[np.generic] | None:
        """The constant at an input, None where it is left out."""
        name = self.node.inputs[place] if place < len(self.node.inputs) else ""
        if not name:
            return None
        if name not in self.constants:
            raise Refused(f"{self.node.op} takes its {what} at run time, and a tile's are not the scene's")
        return self.constants[name]

    def integers(self, place: int, name: str, what: str) -> list[int] | None:
        """A list of integers that old operators have as an attribute, and new ones as an input."""
        given = self.attribute(name)
        if given is None:
            found = self.constant(place, what)
            if found is not None and found.dtype.kind not in "iu":
                raise ModelError(f"its {what} must be integers, got {found.dtype}")
            given = None if found is None else np.atleast_1d(found)
        return None if given is None else [int(value) for value in np.atleast_1d(given)]

    def axis(self, number: int) -> int:
        """The place of an axis counted from either end."""
        rank = len(self.data)
        if not -rank <= number < rank:
            raise Refused(f"{self.node.op} names axis {number} of {rank}")
        return number % rank

    def no_space(self, axes: list[int], what: str) -> None:
        """Refuse an operator that mixes all of y or x."""
        if any(self.data[axis] in SPACE for axis in axes):
            raise Refused(f"{self.node.op} {what}")

    def still(self, dims: Dims, sources: tuple[str, ...] = ()) -> Rule:
        """The rule of an operator that takes each place of the scene by itself."""
        if any(sum(axis == side for axis in dims) != 1 for side in SPACE):
            raise Refused(f"{self.node.op} leaves no y and x axes to cut tiles along")
        return Rule(sources or (self.node.inputs[0],), (STILL, STILL), dims)

    def moved(self, channels: int | str | None, first: Step, second: Step) -> Rule:
        """The rule of an operator on (N, channels, two axes of space), with its steps along these two."""
        if len(self.data) != 4 or set(self.data[2:]) != set(SPACE):
            raise Refused(f"{self.node.op} does not work on (N, C, y, x) here")
        steps = (first, second) if self.data[2] == Y else (second, first)
        return Rule((self.node.inputs[0],), steps, (self.data[0], channels, *self.data[2:]))

    def pair(self, name: str, default: int) -> tuple[int, int]:
        """An attribute with a value for each of two axes, none below its default. Raises ModelError."""
        values = self.attribute(name) or (default, default)
        if len(values) != 2 or min(values) < default:
            raise ModelError(f"{name} {values[:8]} are not 2 numbers of at least {default}")
        return int(values[0]), int(values[1])

    def pads(self) -> list[int]:
        """Padding before the two axes and after them, 0 where it is automatic. Raises ModelError."""
        values = self.attribute("pads") or [0] * 4
        values = values if self.attribute("auto_pad", "NOTSET") == "NOTSET" else [0] * 4
        if len(values) != 4 or min(values) < 0:
            raise ModelError(f"pads {values[:8]} are not 4 numbers of at least 0")
        return [int(value) for value in values]

    def positive(self, name: str) -> int:
        """A block size or a number of groups, 1 where it is left out. Raises ModelError."""
        value = int(self.attribute(name, 1))
        if value < 1:
            raise ModelError(f"{name} {value} is not positive")
        return value
