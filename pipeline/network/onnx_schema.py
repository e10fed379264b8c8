"""What ONNX itself says of its operators: which versions, inputs, attributes and defaults each has."""

from __future__ import annotations

from functools import cache
from typing import Any

from onnx import AttributeProto, defs

from pipeline.errors import ModelError
from pipeline.network.onnx_tensor import attribute

NEWEST_OPSET: int = min(28, defs.onnx_opset_version())
"""Later ones may give operators a meaning that ours do not have."""


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


def problem(op: str, opset: int, inputs: int, outputs: int, attributes: dict[str, AttributeProto]) -> str | None:
    """What is wrong with a use of an operator, None where nothing is: counts, unknown or missing attributes, types."""
    form = schema(op, opset)
    if not form.min_input <= inputs <= form.max_input or not form.min_output <= outputs <= form.max_output:
        return f"it has {inputs} inputs and {outputs} outputs, which the operator does not allow"
    for name, given in attributes.items():
        if name not in form.attributes:
            return f"attribute {name!r} is not supported"
        kind: Any = form.attributes[name].type
        if kind != given.type:
            return f"attribute {name!r} is of the wrong type"
    missing = [name for name, one in form.attributes.items() if one.required and name not in attributes]
    return f"attribute {missing[0]!r} is missing" if missing else None
