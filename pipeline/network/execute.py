"""A graph made ready to run: a list of steps, weights packed once, tensors let go as soon as nothing needs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.network.fuse import fuse
from pipeline.network.graph import Graph
from pipeline.network.operators import Bound, bind
from pipeline.network.rewrite import needed
from pipeline.network.sizes import MOST_LIVE_BYTES

Array = NDArray[Any]


class Step(NamedTuple):
    """One operator, the tensors it takes and makes, and those that nothing needs after it."""

    run: Bound
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    over: tuple[str, ...]


class Network:
    """A graph as a function of its inputs; it holds no state between calls, so threads may share it."""

    def __init__(self, graph: Graph, outputs: Sequence[str] | None = None, *, fused: bool = True) -> None:
        """`outputs` names the tensors wanted, the graph's own unless given; what they do not need is left out.
        `fused` joins what can be done in one step; without it there is one step for each node.

        Raises ModelError for a tensor that the graph does not have.
        """
        graph = needed(graph, graph.outputs if outputs is None else tuple(outputs))
        graph = fuse(graph) if fused else graph
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self._constants = graph.constants
        self._steps = _steps(graph)

    def __len__(self) -> int:
        """How many steps it takes."""
        return len(self._steps)

    def __call__(self, *inputs: Array) -> list[Array]:
        """The wanted tensors for one array to each of the graph's inputs, in their order. Raises ModelError."""
        if len(inputs) != len(self.inputs):
            raise ModelError(f"the network takes {len(self.inputs)} inputs, got {len(inputs)}")
        tensors: dict[str, Any] = {"": None, **self._constants}
        tensors.update(zip(self.inputs, map(np.asarray, inputs), strict=True))
        live = 0
        for step in self._steps:
            made = step.run(*[tensors[name] for name in step.inputs])
            for name, value in zip(step.outputs, made, strict=False):
                if name:
                    tensors[name] = value
                    live += value.nbytes
            for name in step.over:
                live -= tensors.pop(name).nbytes
            if live > MOST_LIVE_BYTES:
                raise ModelError(f"the network holds more than {MOST_LIVE_BYTES >> 20} MiB; run it on smaller tiles")
        return [self._own(tensors[name], inputs) for name in self.outputs]

    def _own(self, value: Array, inputs: Sequence[Array]) -> Array:
        """An output that no later change to an input or a constant can reach."""
        others = [*inputs, *self._constants.values()]
        return value.copy() if any(np.may_share_memory(value, other) for other in others) else value


def _steps(graph: Graph) -> tuple[Step, ...]:
    last = {name: i for i, node in enumerate(graph.nodes) for name in (*node.outputs, *node.inputs) if name}
    kept = {*graph.inputs, *graph.outputs, *graph.constants}
    steps = []
    for i, node in enumerate(graph.nodes):
        here = dict.fromkeys(name for name in (*node.inputs, *node.outputs) if name)
        over = tuple(name for name in here if last[name] == i and name not in kept)
        steps.append(Step(bind(node, graph.opset, graph.constants), node.inputs, node.outputs, over))
    return tuple(steps)
