"""Several nodes become one step: a convolution takes the sum after it and the bounds after that into its epilogue.

    Conv → Add(·, residual) → Relu | Clip    becomes    FusedConv(x, filters, bias, residual; floor, ceiling)
    Conv → Add(·, a constant for each filter)    becomes    Conv with another bias

A node is taken in only where nothing else sees what lies between.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.network.graph import Graph, Node
from pipeline.network.rewrite import unused, uses

Array = NDArray[Any]

FUSED = "FusedConv"
FIRST_CLIP_OF_TENSORS = 11


def fuse(graph: Graph) -> Graph:
    """The same outputs in fewer steps; the graph is for running alone, as it holds nodes that ONNX does not know."""
    return _Fusion(graph).graph()


class _Fusion:
    """One walk over the nodes. `place` says which node, of those kept so far, makes a tensor."""

    def __init__(self, graph: Graph) -> None:
        self.given = graph
        self.constants: dict[str, Array] = dict(graph.constants)
        self.uses = uses(graph)
        self.nodes: list[Node | None] = []
        self.place: dict[str, int] = {}

    def graph(self) -> Graph:
        for node in self.given.nodes:
            self._keep(self._fused(node) or node)
        kept = tuple(node for node in self.nodes if node is not None)
        return replace(self.given, nodes=kept, constants=self.constants)

    def _keep(self, node: Node) -> None:
        self.place.update(dict.fromkeys(node.outputs, len(self.nodes)))
        self.nodes.append(node)

    def _fused(self, node: Node) -> Node | None:
        if node.op == "Add" and len(node.inputs) == 2 and "broadcast" not in node.attributes:
            return self._sum(node)
        if node.op in ("Relu", "Clip"):
            return self._bounds(node)
        return None

    def _conv(self, name: str) -> tuple[int, Node] | None:
        """The convolution that makes a tensor which nothing but the next node sees."""
        place = self.place.get(name)
        node = None if place is None else self.nodes[place]
        if place is None or node is None or node.op not in ("Conv", FUSED) or self.uses[name] != 1:
            return None
        return None if not all(part in self.constants for part in node.inputs[1:3] if part) else (place, node)

    def _sum(self, node: Node) -> Node | None:
        """A sum joins the later of the convolutions it adds: by then the other summand is there."""
        found = []
        for name, other in zip(node.inputs, node.inputs[::-1], strict=True):
            made = self._conv(name)
            if made is not None and made[1].op == "Conv" and name != other:
                found.append((*made, other))
        if not found:
            return None
        place, conv, other = max(found, key=lambda one: one[0])
        if other in self.constants:
            return self._biased(place, conv, other, node)
        self.nodes[place] = None
        inputs = (*conv.inputs, "")[:3]
        return replace(conv, op=FUSED, inputs=(*inputs, other), outputs=node.outputs)

    def _biased(self, place: int, conv: Node, other: str, node: Node) -> Node | None:
        """A constant for each filter, (N, 1, ..) or (1, N, 1, ..), is one more bias."""
        value, filters = self.constants[other], self.constants[conv.inputs[1]]
        count, pixels = filters.shape[0], (1,) * (filters.ndim - 2)
        if value.shape not in ((count, *pixels), (1, count, *pixels)) or value.dtype != filters.dtype:
            return None
        bias = (
            self.constants[conv.inputs[2]] if len(conv.inputs) > 2 and conv.inputs[2] else np.zeros(count, value.dtype)
        )
        if bias.shape != (count,):
            return None
        name = unused(f"{node.outputs[0]} bias", self.constants, self.uses, self.place)
        self.constants[name] = bias + value.reshape(-1)
        self.nodes[place] = None
        return replace(conv, inputs=(*conv.inputs[:2], name), outputs=node.outputs)

    def _bounds(self, node: Node) -> Node | None:
        """Relu and Clip by constants become bounds of the convolution before them."""
        found = self._conv(node.inputs[0])
        bounds = self._numbers(node)
        if found is None or bounds is None or "floor" in found[1].attributes:
            return None
        place, conv = found
        self.nodes[place] = None
        attributes = {**conv.attributes, "floor": bounds[0], "ceiling": bounds[1]}
        return replace(conv, op=FUSED, outputs=node.outputs, attributes=attributes)

    def _numbers(self, node: Node) -> tuple[float, float] | None:
        if node.op == "Relu":
            return 0.0, math.inf
        if self.given.opset < FIRST_CLIP_OF_TENSORS:
            return node.attributes.get("min", -math.inf), node.attributes.get("max", math.inf)
        sides = [-math.inf, math.inf]
        for i, name in enumerate(node.inputs[1:3]):
            if name and (name not in self.constants or self.constants[name].size != 1):
                return None
            sides[i] = float(self.constants[name].item()) if name else sides[i]
        return sides[0], sides[1]
