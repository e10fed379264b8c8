"""Networks without their weights: what a fixture leaves out, made again from a seed, by what each weight is for."""

from __future__ import annotations

import zlib

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper

SMALLEST = 4
FILTERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
NORM = ("gamma", "beta", "mean", "variance")


def roles(model: ModelProto) -> dict[str, str]:
    """What each float32 initializer of at least SMALLEST elements is for."""
    large = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= SMALLEST
    }
    found = {}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name in large:
                if node.op_type == "BatchNormalization":
                    found[name] = NORM[place - 1]
                elif node.op_type in FILTERS and place == 1:
                    found[name] = node.op_type
                elif node.op_type in (*FILTERS, "Add"):
                    found[name] = "bias"
    return found


def weight(role: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random float32: He's scaling for filters, positive variances, nothing at zero."""
    if role == "variance":
        return rng.uniform(0.5, 2.0, shape).astype(np.float32)
    if role == "gamma":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if role in ("beta", "mean", "bias"):
        return (0.3 * rng.standard_normal(shape)).astype(np.float32)
    inputs = {"Conv": np.prod(shape[1:]), "ConvTranspose": shape[0], "Gemm": shape[1], "MatMul": shape[0]}[role]
    return (np.sqrt(2.0 / inputs) * rng.standard_normal(shape)).astype(np.float32)


def emptied(model: ModelProto) -> ModelProto:
    """The model without the values that `filled` makes again, and without what exporters tell about themselves."""
    model = ModelProto.FromString(model.SerializeToString())
    known = roles(model)
    for tensor in model.graph.initializer:
        if tensor.name in known:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    for part in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        for field in ("doc_string", "metadata_props", "value_info"):
            if field in part.DESCRIPTOR.fields_by_name:
                part.ClearField(field)
    return model


def filled(model: ModelProto, seed: int) -> ModelProto:
    """The model with weights made from `seed`, each from a generator of its own."""
    model = ModelProto.FromString(model.SerializeToString())
    known = roles(model)
    for place, tensor in enumerate(model.graph.initializer):
        if tensor.name in known:
            values = weight(known[tensor.name], tuple(tensor.dims), np.random.default_rng([seed, place]))
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def image(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A float32 input of unit noise."""
    return np.random.default_rng([seed, 1 << 20]).standard_normal(shape).astype(np.float32)


def packed(model: ModelProto) -> bytes:
    """The bytes of an emptied model, compressed."""
    return zlib.compress(model.SerializeToString(deterministic=True), 9)


def unpacked(content: bytes) -> ModelProto:
    """The model of `packed`."""
    return onnx.load_model_from_string(zlib.decompress(content))
