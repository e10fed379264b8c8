"""What ONNX itself says of its operators: which versions, inputs, attributes and defaults each has."""

from __future__ import annotations

from functools import cache
from typing import Any

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
