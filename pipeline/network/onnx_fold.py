"""What of a graph is known before any input: constants are computed, Identity dropped, norms and pads folded.

A batch norm after a convolution is one more factor and offset for each of its filters (Jacob et al. 2018, section 3.2):
    W' = W · γ/√(σ² + ε),    b' = (b − μ) · γ/√(σ² + ε) + β
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.network.graph import Graph, Node
from pipeline.network.onnx_tensor import DTYPES
from pipeline.network.operators import bind
from pipeline.network.rewrite import needed, unused, uses

Array = NDArray[Any]

MOST_COMPUTED_BYTES = 2 << 30
OTHER_DTYPE = {"Shape", "Size", "ArgMax", "ArgMin", "Cast", "CastLike", "ConstantOfShape", "Where"}
OTHER_DTYPE |= {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
"""Operators whose output is not of their first input's type."""
FILTER_AXIS = {"Conv": 0, "ConvTranspose": 1}


def fold(graph: Graph, dtypes: Mapping[str, np.dtype[Any]] | None = None) -> Graph:
    """The same function of the inputs, with less to do; `dtypes` of the inputs, where they are known, help.

    Raises ModelError where a constant cannot be computed.
    """
    graph = _Constants(graph, dtypes or {}).graph()
    with np.errstate(all="ignore"):
        return needed(_pads_folded(_norms_folded(graph)), graph.outputs)


class _Constants:
    """One walk over the nodes: what depends on constants alone is computed, what changes nothing is passed over."""

    def __init__(self, graph: Graph, dtypes: Mapping[str, np.dtype[Any]]) -> None:
        self.given = graph
        self.constants: dict[str, Array] = dict(graph.constants)
        self.dtypes = {**dtypes, **{name: value.dtype for name, value in graph.constants.items()}}
        self.same: dict[str, str] = {}
        self.computed = 0

    def graph(self) -> Graph:
        nodes = []
        for node in self.given.nodes:
            node = self._like_another(replace(node, inputs=tuple(self.same.get(name, name) for name in node.inputs)))
            if all(name in self.constants for name in node.inputs if name):
                self._compute(node)
            elif self._changes_nothing(node):
                self.same[node.outputs[0]] = node.inputs[0]
            else:
                nodes.append(node)
            if node.inputs and node.inputs[0] in self.dtypes and node.op not in OTHER_DTYPE:
                self.dtypes[node.outputs[0]] = self.dtypes[node.inputs[0]]
        return replace(self.given, nodes=tuple(nodes), constants=self.constants)

    def _like_another(self, node: Node) -> Node:
        """A CastLike as a Cast, where the other's type is known: what it gives may then be a constant."""
        if node.op != "CastLike" or node.inputs[1] not in self.dtypes:
            return node
        kinds = {dtype: kind for kind, dtype in DTYPES.items()}
        return replace(node, op="Cast", inputs=node.inputs[:1], attributes={"to": kinds[self.dtypes[node.inputs[1]]]})

    def _compute(self, node: Node) -> None:
        values = bind(node, self.given.opset)(*(self.constants[name] if name else None for name in node.inputs))
        self.computed += sum(value.nbytes for value in values)
        if self.computed > MOST_COMPUTED_BYTES:
            raise ModelError(f"its constants come to more than {MOST_COMPUTED_BYTES >> 20} MiB")
        made = {name: value for name, value in zip(node.outputs, values, strict=False) if name}
        self.constants.update(made)
        self.dtypes.update((name, value.dtype) for name, value in made.items())

    def _changes_nothing(self, node: Node) -> bool:
        if not node.outputs[0] or node.outputs[0] in self.given.outputs:
            return False
        if node.op == "Dropout":
            training = node.inputs[2] if len(node.inputs) > 2 else ""
            mask_unused = len(node.outputs) == 1 or not node.outputs[1]
            return mask_unused and (not training or not self.constants.get(training, np.ones(1)).any())
        if node.op == "Cast":
            known = self.dtypes.get(node.inputs[0])
            return known is not None and known == DTYPES.get(node.attributes["to"])
        return node.op == "Identity"


def _norms_folded(graph: Graph) -> Graph:
    """Fold each batch norm into the convolution before it, where nothing else sees what lies between them."""
    count = uses(graph)
    constants: dict[str, Array] = dict(graph.constants)
    nodes: list[Node | None] = []
    place: dict[str, int] = {}
    for node in graph.nodes:
        before = place.get(node.inputs[0]) if node.op == "BatchNormalization" else None
        if before is not None and count[node.inputs[0]] == 1:
            folded = _folded(nodes[before], node, constants)
            if folded is not None:
                nodes[before], node = None, folded
        place[node.outputs[0]] = len(nodes)
        nodes.append(node)
    return replace(graph, nodes=tuple(node for node in nodes if node is not None), constants=constants)


def _folded(conv: Node | None, norm: Node, constants: dict[str, Array]) -> Node | None:
    """The convolution that does both; its filters and bias are added to the constants. None where it cannot be."""
    if conv is None or conv.op not in FILTER_AXIS or len(norm.outputs) > 1 or norm.attributes.get("training_mode"):
        return None
    fixed = [*conv.inputs[1:], *norm.inputs[1:]]
    if not all(name in constants for name in fixed if name):
        return None
    filters = constants[conv.inputs[1]]
    gamma, beta, mean, variance = (constants[name].astype(np.float64) for name in norm.inputs[1:])
    groups = conv.attributes.get("group", 1)
    filter_axis = FILTER_AXIS[conv.op]
    count = filters.shape[filter_axis] * (groups if filter_axis else 1)
    if (
        filters.ndim < 3
        or filters.shape[0] % max(groups, 1)
        or {gamma.shape, beta.shape, mean.shape, variance.shape} != {(count,)}
    ):
        return None
    factor = gamma / np.sqrt(variance + norm.attributes.get("epsilon", 1e-5))
    bias = constants[conv.inputs[2]] if len(conv.inputs) > 2 and conv.inputs[2] else np.zeros(count)
    if bias.shape != (count,):
        return None
    names = tuple(unused(f"{norm.outputs[0]} {part}", constants) for part in ("filters", "bias"))
    constants[names[0]] = _scaled(filters, factor, filter_axis, groups)
    constants[names[1]] = ((bias - mean) * factor + beta).astype(filters.dtype)
    return replace(conv, inputs=(conv.inputs[0], *names), outputs=norm.outputs)


def _scaled(filters: Array, factor: NDArray[np.float64], axis: int, groups: int) -> Array:
    """filters (N, C/groups, ...) or, for axis 1, (C, N/groups, ...), each filter n times factor[n]."""
    spatial = (1,) * (filters.ndim - 2)
    if axis == 0:
        return (filters * factor.reshape(-1, 1, *spatial)).astype(filters.dtype)
    parts = filters.reshape(groups, -1, *filters.shape[1:])
    return (parts * factor.reshape(groups, 1, -1, *spatial)).reshape(filters.shape).astype(filters.dtype)


def _pads_folded(graph: Graph) -> Graph:
    """A Pad by zeros before a convolution becomes that convolution's own padding."""
    nodes = []
    pads = {node.outputs[0]: node for node in graph.nodes if node.op == "Pad"}
    for node in graph.nodes:
        before = pads.get(node.inputs[0]) if node.op == "Conv" else None
        sides = None if before is None else _zero_sides(before, graph)
        if before is not None and sides and node.attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID"):
            valid = node.attributes.get("auto_pad") == "VALID"
            own = [0] * len(sides) if valid else node.attributes.get("pads") or [0] * len(sides)
            if len(own) == len(sides):
                both = [one + other for one, other in zip(own, sides, strict=True)]
                attributes = {**node.attributes, "auto_pad": "NOTSET", "pads": both}
                node = replace(node, inputs=(before.inputs[0], *node.inputs[1:]), attributes=attributes)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _zero_sides(pad: Node, graph: Graph) -> list[int] | None:
    """What a Pad by zeros adds before and after each axis of pixels; None where it does anything else."""
    names = (*pad.inputs, "", "", "")
    if pad.attributes.get("mode", "constant") != "constant" or names[3]:
        return None
    if pad.inputs[1:]:
        if names[1] not in graph.constants or (names[2] and names[2] not in graph.constants):
            return None
        sides, value = graph.constants[names[1]].tolist(), graph.constants[names[2]].any() if names[2] else False
    else:
        sides, value = pad.attributes.get("pads", []), pad.attributes.get("value", 0)
    axes = len(sides) // 2
    if value or axes < 3 or min(sides) < 0 or any(sides[:2]) or any(sides[axes : axes + 2]):
        return None
    return [*sides[2:axes], *sides[axes + 2 :]]
