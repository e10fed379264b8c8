"""Operators of one element, or of elements at one place of several tensors, broadcast as in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from scipy.special import erf

from pipeline.errors import ModelError
from pipeline.network.operators.call import Array, Call, Operator, same_dtype
from pipeline.network.sizes import checked

FIRST_BROADCASTING_OPSET = 7


def unary(ufunc: Callable[[Array], Any]) -> Operator:
    """An operator of one tensor that keeps its dtype."""

    def operator(call: Call, x: Array) -> Array:
        return np.asarray(ufunc(x)).astype(x.dtype, copy=False)

    return operator


def binary(ufunc: Callable[[Array, Array], Any]) -> Operator:
    """An operator of two tensors of one dtype."""

    def operator(call: Call, x: Array, y: Array) -> Array:
        x, y = _aligned(call, x, y)
        dtype = same_dtype(x, y)
        checked(np.broadcast_shapes(x.shape, y.shape), dtype)
        return np.asarray(ufunc(x, y))

    return operator


def many(ufunc: Callable[[Array, Array], Any]) -> Operator:
    """An operator of any number of tensors of one dtype, from left to right."""

    def operator(call: Call, *arrays: Array) -> Array:
        checked(np.broadcast_shapes(*(array.shape for array in arrays)), same_dtype(*arrays))
        return np.array(arrays[0]) if len(arrays) == 1 else np.asarray(reduce(ufunc, arrays))

    return operator


def _aligned(call: Call, x: Array, y: Array) -> tuple[Array, Array]:
    """Before opset 7, y's axes lie in x's from `axis` on, and nothing is broadcast unasked."""
    if call.opset >= FIRST_BROADCASTING_OPSET or x.shape == y.shape:
        return x, y
    if not call.attributes.get("broadcast"):
        raise ModelError(f"shapes {x.shape} and {y.shape} differ and broadcast is not set")
    if "axis" in call.attributes:
        after = x.ndim - call.attributes["axis"] % max(x.ndim, 1) - y.ndim
        y = y.reshape(y.shape + (1,) * max(after, 0))
    return x, y


def divide(x: Array, y: Array) -> Array:
    """x / y; for integers rounded towards zero, as in C."""
    if x.dtype.kind == "f":
        return np.asarray(np.true_divide(x, y))
    quotient = np.floor_divide(x, y)
    return np.asarray(quotient + ((quotient < 0) & (quotient * y != x)).astype(x.dtype))


def power(call: Call, x: Array, y: Array) -> Array:
    """x to the power y, in x's dtype, whatever y's."""
    x, y = _aligned(call, x, y)
    checked(np.broadcast_shapes(x.shape, y.shape), x.dtype)
    if y.size == 1 and y.ndim <= x.ndim and x.dtype.kind == "f":
        return np.asarray(x ** float(y.item())).reshape(np.broadcast_shapes(x.shape, y.shape))
    return np.asarray(np.power(x, y)).astype(x.dtype)


def remainder(call: Call, x: Array, y: Array) -> Array:
    """x mod y with y's sign, or with x's where fmod is set."""
    same_dtype(x, y)
    checked(np.broadcast_shapes(x.shape, y.shape), x.dtype)
    return np.asarray(np.fmod(x, y) if call.attributes.get("fmod") else np.mod(x, y))


def mean(call: Call, *arrays: Array) -> Array:
    """The mean of several tensors."""
    total = ADDITION(call, *arrays)
    assert isinstance(total, np.ndarray)
    return np.asarray(total / total.dtype.type(len(arrays)))


def where(call: Call, condition: Array, x: Array, y: Array) -> Array:
    """x where the condition holds, y elsewhere."""
    if condition.dtype != np.bool_:
        raise ModelError(f"its condition is {condition.dtype}, not boolean")
    checked(np.broadcast_shapes(condition.shape, x.shape, y.shape), same_dtype(x, y))
    return np.where(condition, x, y)


ADDITION = many(np.add)
ARITHMETIC: dict[str, Operator] = {
    "Add": binary(np.add),
    "Sub": binary(np.subtract),
    "Mul": binary(np.multiply),
    "Div": binary(divide),
    "Mod": remainder,
    "Pow": power,
    "Sum": ADDITION,
    "Mean": mean,
    "Max": many(np.maximum),
    "Min": many(np.minimum),
    "Neg": unary(np.negative),
    "Abs": unary(np.abs),
    "Sign": unary(np.sign),
    "Sqrt": unary(np.sqrt),
    "Reciprocal": unary(np.reciprocal),
    "Exp": unary(np.exp),
    "Log": unary(np.log),
    "Sin": unary(np.sin),
    "Cos": unary(np.cos),
    "Floor": unary(np.floor),
    "Ceil": unary(np.ceil),
    "Round": unary(np.rint),
    "Erf": unary(erf),
    "Equal": binary(np.equal),
    "Less": binary(np.less),
    "LessOrEqual": binary(np.less_equal),
    "Greater": binary(np.greater),
    "GreaterOrEqual": binary(np.greater_equal),
    "And": binary(np.logical_and),
    "Or": binary(np.logical_or),
    "Not": unary(np.logical_not),
    "Where": where,
}
