"""What every pass over a graph needs: who uses a tensor, a free name, what is left over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import replace

from pipeline.errors import ModelError
from pipeline.network.graph import Graph, Node


def uses(graph: Graph) -> Counter[str]:
    """How often each tensor is used: by nodes, and as an output."""
    return Counter([name for node in graph.nodes for name in node.inputs] + list(graph.outputs))


def unused(name: str, *taken: Container[str]) -> str:
    """A name like `name` that none of `taken` holds."""
    while any(name in names for names in taken):
        name += "'"
    return name


def needed(graph: Graph, outputs: tuple[str, ...]) -> Graph:
    """The part of a graph that makes `outputs`; its inputs stay as they are. Raises ModelError for unknown names."""
    known = {*graph.inputs, *graph.constants, *(name for node in graph.nodes for name in node.outputs)}
    for name in outputs:
        if name not in known:
            has = ", ".join(graph.outputs)[:400]
            raise ModelError(f"the network has no tensor {name[:80]!r}; its outputs are {has}")
    used = set(outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if used.intersection(node.outputs):
            kept.append(node)
            used.update(name for name in node.inputs if name)
    constants = {name: value for name, value in graph.constants.items() if name in used}
    return replace(graph, outputs=outputs, nodes=tuple(reversed(kept)), constants=constants)
