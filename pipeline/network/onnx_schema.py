"""What ONNX itself says of its operators: which versions, inputs, attributes and defaults each has."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from onnx import NodeProto, defs

from pipeline.errors import ModelError
from pipeline.network.onnx_tensor import attribute

NEWEST_OPSET: int = min(28, defs.onnx_opset_version())
"""Later ones may give operators a meaning that ours do not have."""

MAY_LEAVE_OUT = {"Resize"}
"""Operators that are used without inputs which their schema asks for: the region of a Resize."""


@cache
def schema(op: str, opset: int) -> defs.OpSchema:
    """The form of an operator of the default domain at a version. Raises ModelError where it has none."""
    try:
        found = defs.get_schema(op, opset, "")
    except defs.SchemaError as error:
        raise ModelError(f"operator {op} is not one of ONNX's opset {opset}") from error
    if found.deprecated:
        raise ModelError(f"operator {op} is withdrawn in opset {opset}; export the network again")
    return found


@cache
def defaults(op: str, opset: int) -> dict[str, Any]:
    """The values of attributes that are left out, by name; those without a default are not there."""
    known = schema(op, opset).attributes
    return {name: attribute(one.default_value) for name, one in known.items() if one.default_value.name}


def problem(node: NodeProto, opset: int) -> str | None:
    """What is wrong with a use of an operator, None where nothing is: inputs, outputs, attributes and their types."""
    op, attributes = node.op_type, {given.name: given for given in node.attribute}
    inputs, outputs, form = len(node.input), len(node.output), schema(node.op_type, opset)
    if not form.min_input <= inputs <= form.max_input or not form.min_output <= outputs <= form.max_output:
        return f"it has {inputs} inputs and {outputs} outputs, which the operator does not allow"
    if op not in MAY_LEAVE_OUT and not all(node.input[: form.min_input]):
        return "an input that it needs is left out"
    for name, given in attributes.items():
        if name not in form.attributes:
            return f"attribute {name!r} is not supported"
        kind: Any = form.attributes[name].type
        if kind != given.type:
            return f"attribute {name!r} is of the wrong type"
    missing = [name for name, one in form.attributes.items() if one.required and name not in attributes]
    return f"attribute {missing[0]!r} is missing" if missing else None


def refusing_integers(
    node: NodeProto, integers: Mapping[str, np.dtype[Any]], opset: int
) -> tuple[str | None, dict[str, np.dtype[Any]]]:
    """The first of the tensors of integers (or bool) that the operator's schema does not take, None where there is
    none; and its outputs that are of the same type as one of them."""
    try:
        form = schema(node.op_type, opset)
    except ModelError:  # said where the node is read
        return None, {}
    bound: dict[str, np.dtype[Any]] = {}
    for place, name in enumerate(node.input):
        if name in integers and form.inputs:
            formal = form.inputs[min(place, len(form.inputs) - 1)]
            if f"tensor({integers[name]})" not in formal.types:
                return name, {}
            bound[formal.type_str] = integers[name]
    kinds = [form.outputs[min(place, len(form.outputs) - 1)].type_str for place in range(len(node.output))]
    return None, {name: bound[kind] for name, kind in zip(node.output, kinds, strict=True) if kind in bound}
