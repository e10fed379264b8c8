"""Every operator that is supported, by ONNX's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.network.operators.activation import ACTIVATION
from pipeline.network.operators.arithmetic import ARITHMETIC
from pipeline.network.operators.arrangement import ARRANGEMENT
from pipeline.network.operators.border import BORDER
from pipeline.network.operators.call import Operator
from pipeline.network.operators.convolve import CONVOLVE, conv, prepare_conv
from pipeline.network.operators.matrix import MATRIX
from pipeline.network.operators.normalise import NORMALISE
from pipeline.network.operators.pool import POOL
from pipeline.network.operators.reduction import REDUCTION
from pipeline.network.operators.resize import RESIZE

OPERATORS: dict[str, Operator] = {
    **CONVOLVE,
    **POOL,
    **MATRIX,
    **ACTIVATION,
    **NORMALISE,
    **RESIZE,
    **BORDER,
    **ARITHMETIC,
    **REDUCTION,
    **ARRANGEMENT,
}
"""Of ONNX's default domain."""

FUSED: dict[str, Operator] = {"FusedConv": conv}
"""What our own passes make of several of them."""

PREPARED: dict[str, Callable[..., Any]] = {"Conv": prepare_conv, "FusedConv": prepare_conv}
"""Of operators that do part of their work once: (call, inputs known, whether each is known) to the rest, or None."""
