"""Every operator that is supported, by ONNX's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.network.operators.activation import ACTIVATION
from pipeline.network.operators.arithmetic import ARITHMETIC
from pipeline.network.operators.arrangement import ARRANGEMENT
from pipeline.network.operators.call import Operator

OPERATORS: dict[str, Operator] = {**ARITHMETIC, **ACTIVATION, **ARRANGEMENT}

PREPARED: dict[str, Callable[..., Any]] = {}
"""Of operators that do part of their work once: (call, inputs known, whether each is known) to the rest, or None."""
