"""One node of a graph made ready to be called: defaults filled in, whatever goes wrong told in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.network.graph import Node
from pipeline.network.onnx_schema import defaults
from pipeline.network.operators.call import Array, Call
from pipeline.network.operators.table import FUSED, OPERATORS, PREPARED

Bound = Callable[..., tuple[Array, ...]]
FUSED_FROM = {"FusedConv": "Conv"}
DAMAGE = (ValueError, TypeError, AttributeError, IndexError, KeyError, ArithmeticError, MemoryError)
"""What NumPy raises where tensors do not fit an operator."""


def bind(node: Node, opset: int, constants: Mapping[str, Array] | None = None) -> Bound:
    """The operator of `node`, called with an array for each of its inputs, None where one is left out.

    With `constants`, what can be done before any input is known is done here, once. Raises ModelError, here and when
    called, with the operator's name and its first output's.
    """
    call = Call(
        node.op, {**defaults(FUSED_FROM.get(node.op, node.op), opset), **node.attributes}, opset, len(node.outputs)
    )
    operator = {**OPERATORS, **FUSED}[node.op]
    if constants is not None and node.op in PREPARED:
        known = tuple(constants.get(name) if name else None for name in node.inputs)
        given = tuple(not name or name in constants for name in node.inputs)
        prepared = told(node, PREPARED[node.op])(call, known, given)
        if prepared is not None:
            return told(node, prepared, tuple)
    return told(node, lambda *arrays: operator(call, *arrays), tuple)


def told(node: Node, function: Callable[..., Any], kind: type | None = None) -> Callable[..., Any]:
    """`function` with its errors told as the node's; with `kind` tuple, one array becomes a tuple of one."""

    def guarded(*arguments: Any) -> Any:
        try:
            with np.errstate(all="ignore"):
                result = function(*arguments)
        except DAMAGE as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            name = node.outputs[0] if node.outputs else ""
            raise ModelError(f"operator {node.op} that makes {name[:80]!r}: {reason}") from error
        return result if kind is None or isinstance(result, tuple) else (result,)

    return guarded
