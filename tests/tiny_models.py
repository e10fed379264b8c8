"""Tiny ONNX files made on the spot: no binary lies in the repository."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.network.graph import Graph
from tests.reference_network import Builder


def write_model(path: Path, graph: Graph, channels: int) -> Path:
    """A graph as an ONNX file that takes (1, channels, y, x) float32."""
    nodes = [helper.make_node(node.op, node.inputs, node.outputs, **node.attributes) for node in graph.nodes]
    inputs = [helper.make_tensor_value_info(graph.inputs[0], TensorProto.FLOAT, [1, channels, None, None])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in graph.outputs]
    constants = [numpy_helper.from_array(values, name) for name, values in graph.constants.items()]
    made = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    opset = helper.make_opsetid("", graph.opset)
    onnx.save(helper.make_model(made, opset_imports=[opset], ir_version=8), path)
    return path


def small_resnet(path: Path, channels: int, classifies: bool = False) -> Path:
    """Stride 4, 3 features at `add_5`; with a head of one mean over the scene and a product, if it classifies."""
    b = Builder(channels, 3)
    x = b.add("Relu", b.conv("x", 5, 3, strides=[2, 2]))
    x = b.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    x = b.add("Add", b.conv(b.conv(x, 3, 3), 3, 3), x)
    if classifies:
        x = b.add("GlobalAveragePool", x)
        x = b.add("Gemm", b.add("Flatten", x), b.weights(3, 4))
    return write_model(path, b.graph(x), channels)


def small_unet(path: Path, channels: int) -> Path:
    """Stride 1, 2 features at `conv_6`; its skips fit even sizes alone."""
    b = Builder(channels, 4)
    top = b.add("Relu", b.conv("x", 3, 2))
    low = b.conv(b.add("MaxPool", top, kernel_shape=[2, 2], strides=[2, 2]), 3, 3)
    b.conv(b.join(b.transposed(low, 2, 2), top), 3, 2)
    return write_model(path, b.graph(), channels)
