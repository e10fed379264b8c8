"""What of a graph is known before any input: constants are computed, Identity and Dropout dropped, batch norms folded.

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
from pipeline.network.operators import bind
from pipeline.network.rewrite import needed, unused, uses

Array = NDArray[Any]

MOST_COMPUTED_BYTES = 2 << 30
FILTER_AXIS = {"Conv": 0, "ConvTranspose": 1}


def fold(graph: Graph) -> Graph:
    """The same function of the inputs, with less to do. Raises ModelError where a constant cannot be computed."""
    graph = _constants_folded(graph)
    with np.errstate(all="ignore"):
        return needed(_norms_folded(graph), graph.outputs)


def _constants_folded(graph: Graph) -> Graph:
    """Compute what depends on constants alone, and pass over operators that change nothing."""
    constants: dict[str, Array] = dict(graph.constants)
    nodes: list[Node] = []
    same: dict[str, str] = {}
    computed = 0
    for node in graph.nodes:
        node = replace(node, inputs=tuple(same.get(name, name) for name in node.inputs))
        if all(name in constants for name in node.inputs if name):
            values = bind(node, graph.opset)(*(constants[name] if name else None for name in node.inputs))
            computed += sum(value.nbytes for value in values)
            if computed > MOST_COMPUTED_BYTES:
                raise ModelError(f"its constants come to more than {MOST_COMPUTED_BYTES >> 20} MiB")
            constants.update(zip(node.outputs, values, strict=False))
        elif _changes_nothing(node, constants) and node.outputs[0] not in graph.outputs:
            same[node.outputs[0]] = node.inputs[0]
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes), constants=constants)


def _changes_nothing(node: Node, constants: Mapping[str, Array]) -> bool:
    if node.op == "Dropout":
        training = node.inputs[2] if len(node.inputs) > 2 else ""
        mask_unused = len(node.outputs) == 1 or not node.outputs[1]
        return mask_unused and (not training or (training in constants and not constants[training].any()))
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
