"""What an ONNX network offers a bank: its input, and each tensor with features, stride and halo, or why it has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import BankError
from pipeline.network.graph import Node
from pipeline.network.onnx_import import load
from pipeline.network.survey import Survey, input_channels, survey


def model_facts(path: Path) -> dict[str, Any]:
    """Inputs, bands and outputs of a network, and `tensors`, one mapping for each in running order.

    A tensor has `features`, `stride` (pixels, y and x) and `halo` (pixels: top, left, bottom, right), or `refused`, the
    reason why tiles cannot be computed of it. `mean` marks means over the whole scene.

    Raises:
        ModelError: the file is not a model that we run.
        BankError: it takes more than one input.
    """
    graph = load(path)
    channels = input_channels(graph) if len(graph.inputs) == 1 else None
    found = survey(graph, channels)
    return {
        "model": path.name,
        "inputs": list(graph.inputs),
        "bands": channels,
        "dtype": str(graph.dtypes.get(graph.inputs[0], "float32")),
        "outputs": list(graph.outputs),
        "operators": len(graph.nodes),
        "tensors": [_tensor(found, node, name) for node in graph.nodes for name in node.outputs if name],
    }


def _tensor(found: Survey, node: Node, name: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"tensor": name, "operator": node.op}
    try:
        field = found.field(name)
        halo = field.halo
    except BankError as error:
        return facts | {"refused": found.causes.get(name, str(error))}
    stride = [float(step) for step in field.stride]
    return facts | {"features": field.channels, "stride": stride, "halo": list(halo), "mean": field.mean}
