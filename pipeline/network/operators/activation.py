"""Activations, in the float type they are given."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erf

from pipeline.errors import ModelError
from pipeline.network.operators.call import Array, Call, Operator, axis_of, same_dtype

FIRST_CLIP_OF_TENSORS = 11
FIRST_SOFTMAX_OF_ONE_AXIS = 13
FIRST_BROADCASTING_OPSET = 7


def relu(call: Call, x: Array) -> Array:
    """max(x, 0)."""
    return np.asarray(np.maximum(x, x.dtype.type(0)))


def clip(call: Call, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    """min(max(x, low), high): attributes before opset 11, tensors of one number since."""
    floor, ceiling = bounds(call, low, high)
    if floor is not None:
        x = np.maximum(x, x.dtype.type(floor))
    if ceiling is not None:
        x = np.minimum(x, x.dtype.type(ceiling))
    return x


def bounds(call: Call, low: Array | None, high: Array | None) -> tuple[float | None, float | None]:
    """The two numbers of a Clip, None where a side is open."""
    if call.opset < FIRST_CLIP_OF_TENSORS:
        return call.attributes.get("min"), call.attributes.get("max")
    if any(side is not None and side.size != 1 for side in (low, high)):
        raise ModelError("its bounds are not single numbers")
    return None if low is None else low.item(), None if high is None else high.item()


def leaky_relu(call: Call, x: Array) -> Array:
    """x where it is positive, alpha·x elsewhere."""
    alpha = call.attributes["alpha"]
    if 0 <= alpha <= 1:
        return np.asarray(np.maximum(x, x * x.dtype.type(alpha)))
    return np.where(x < 0, x * x.dtype.type(alpha), x)


def prelu(call: Call, x: Array, slope: Array) -> Array:
    """x where it is positive, slope·x elsewhere; before opset 7, slope is one for each channel."""
    same_dtype(x, slope)
    if call.opset < FIRST_BROADCASTING_OPSET and slope.ndim == 1 and slope.size > 1:
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
    slope = np.broadcast_to(slope, x.shape)
    return np.where(x < 0, x * slope, x)


def sigmoid(call: Call, x: Array) -> Array:
    """1 / (1 + exp(−x))."""
    result = np.exp(-x)
    result += 1
    return np.asarray(np.reciprocal(result, out=result) if result.ndim else np.reciprocal(result))


def hard_sigmoid(call: Call, x: Array) -> Array:
    """max(0, min(1, alpha·x + beta))."""
    kind = x.dtype.type
    return np.asarray(np.clip(x * kind(call.attributes["alpha"]) + kind(call.attributes["beta"]), kind(0), kind(1)))


def hard_swish(call: Call, x: Array) -> Array:
    """x · max(0, min(1, x/6 + 1/2))."""
    kind = x.dtype.type
    return np.asarray(x * np.clip(x * kind(1 / 6) + kind(0.5), kind(0), kind(1)))


def swish(call: Call, x: Array) -> Array:
    """x · sigmoid(alpha·x)."""
    return x * sigmoid(call, x * x.dtype.type(call.attributes["alpha"]))


def tanh(call: Call, x: Array) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(x)


def elu(call: Call, x: Array) -> Array:
    """x where it is positive, alpha·(exp(x) − 1) elsewhere."""
    return np.where(x < 0, x.dtype.type(call.attributes["alpha"]) * np.expm1(np.minimum(x, 0)), x)


def celu(call: Call, x: Array) -> Array:
    """max(0, x) + min(0, alpha·(exp(x/alpha) − 1))."""
    alpha = x.dtype.type(call.attributes["alpha"])
    return np.asarray(np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha)))


def selu(call: Call, x: Array) -> Array:
    """gamma·x where x is positive, gamma·alpha·(exp(x) − 1) elsewhere."""
    kind = x.dtype.type
    below = kind(call.attributes["alpha"]) * np.expm1(np.minimum(x, 0))
    return np.asarray(kind(call.attributes["gamma"]) * np.where(x > 0, x, below))


def softplus(call: Call, x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return np.asarray(np.logaddexp(x, x.dtype.type(0)))


def softsign(call: Call, x: Array) -> Array:
    """x / (1 + |x|)."""
    return np.asarray(x / (1 + np.abs(x)))


def mish(call: Call, x: Array) -> Array:
    """x · tanh(softplus(x))."""
    return x * np.tanh(softplus(call, x))


def gelu(call: Call, x: Array) -> Array:
    """x times the normal distribution function of x, or its approximation by tanh."""
    kind = x.dtype.type
    if call.attributes["approximate"] == "tanh":
        return np.asarray(
            kind(0.5) * x * (1 + np.tanh(kind(math.sqrt(2 / math.pi)) * (x + kind(0.044715) * x * x * x)))
        )
    return np.asarray(kind(0.5) * x * (1 + erf(x * kind(math.sqrt(0.5)))))


def thresholded_relu(call: Call, x: Array) -> Array:
    """x where it is above alpha, 0 elsewhere."""
    return np.where(x > call.attributes["alpha"], x, x.dtype.type(0))


def softmax(call: Call, x: Array) -> Array:
    """exp(x) over its sum along an axis; before opset 13, along all axes from that one on."""
    parts, axes = _parted(call, x)
    powers = np.exp(parts - parts.max(axis=axes, keepdims=True))
    return np.asarray((powers / powers.sum(axis=axes, keepdims=True)).reshape(x.shape))


def log_softmax(call: Call, x: Array) -> Array:
    """The logarithm of softmax."""
    parts, axes = _parted(call, x)
    below = parts - parts.max(axis=axes, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(axis=axes, keepdims=True))).reshape(x.shape)


def _parted(call: Call, x: Array) -> tuple[Array, int]:
    axis = axis_of(call.attributes["axis"], x.ndim)
    if call.opset >= FIRST_SOFTMAX_OF_ONE_AXIS:
        return x, axis
    return x.reshape(int(np.prod(x.shape[:axis])), -1), 1


ACTIVATION: dict[str, Operator] = {
    "Relu": relu,
    "Clip": clip,
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "Sigmoid": sigmoid,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Swish": swish,
    "Tanh": tanh,
    "Elu": elu,
    "Celu": celu,
    "Selu": selu,
    "Softplus": softplus,
    "Softsign": softsign,
    "Mish": mish,
    "Gelu": gelu,
    "ThresholdedRelu": thresholded_relu,
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
}
