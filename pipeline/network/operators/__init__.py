"""ONNX's operators as small pure functions on arrays, by kind, and the table of them."""

from pipeline.network.operators.bind import DAMAGE, Bound, bind, told
from pipeline.network.operators.table import OPERATORS

__all__ = ["DAMAGE", "OPERATORS", "Bound", "bind", "told"]
