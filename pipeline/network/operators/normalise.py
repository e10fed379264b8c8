"""Normalisations: by stored statistics, or by those of the input itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.network.operators.call import Array, Call, Operator, axis_of
from pipeline.network.operators.reduction import mean
from pipeline.network.sizes import checked

FLOAT = 1


def batch_norm(call: Call, x: Array, gamma: Array, beta: Array, centre: Array, variance: Array) -> Array:
    """γ·(x − μ)/√(σ² + ε) + β for each channel, by stored statistics (Ioffe, Szegedy 2015, in evaluation)."""
    if call.attributes.get("training_mode") or not call.attributes.get("spatial", 1) or call.outputs > 1:
        raise ModelError("training mode, and statistics of each pixel, are not supported")
    factor = gamma / np.sqrt(variance.astype(np.float64) + call.attributes["epsilon"])
    offset = beta - centre * factor
    return _scaled(x, factor.astype(x.dtype), offset.astype(x.dtype))


def instance_norm(call: Call, x: Array, gamma: Array, beta: Array) -> Array:
    """γ·(x − μ)/√(σ² + ε) + β for each channel, by the statistics of each image's channel."""
    return _scaled(_whitened(x, tuple(range(2, x.ndim)), call.attributes["epsilon"])[0], gamma, beta)


def group_norm(call: Call, x: Array, gamma: Array, beta: Array) -> Array:
    """γ·(x − μ)/√(σ² + ε) + β for each channel, by the statistics of its group (Wu, He 2018)."""
    groups = call.attributes["num_groups"]
    if groups < 1 or x.ndim < 2 or x.shape[1] % groups:
        raise ModelError(f"{groups} groups do not divide the channels of an input {x.shape}")
    parts = x.reshape(x.shape[0], groups, -1)
    return _scaled(_whitened(parts, (2,), call.attributes["epsilon"])[0].reshape(x.shape), gamma, beta)


def layer_norm(call: Call, x: Array, scale: Array, bias: Array | None = None) -> Any:
    """scale·(x − μ)/√(σ² + ε) + bias by the statistics of all axes from `axis` on; μ and 1/√ where asked for."""
    if call.attributes["stash_type"] != FLOAT:
        raise ModelError("statistics in other types than float32 are not supported")
    axes = tuple(range(axis_of(call.attributes["axis"], x.ndim), x.ndim))
    white, middle, inverse = _whitened(x, axes, call.attributes["epsilon"])
    checked(np.broadcast_shapes(white.shape, scale.shape), x.dtype)
    result = white * scale
    result = result if bias is None else result + bias
    return result if call.outputs == 1 else (result, middle, inverse)[: call.outputs]


def local_response_norm(call: Call, x: Array) -> Array:
    """x / (bias + alpha/size · Σ x² over `size` channels around)^beta (Krizhevsky, Sutskever, Hinton 2012)."""
    size, kind = call.attributes["size"], x.dtype.type
    if size < 1 or x.ndim < 3:
        raise ModelError(f"{size} channels of an input {x.shape} cannot be summed")
    before, after, squares = (size - 1) // 2, -(-(size - 1) // 2), np.square(x)
    total = np.zeros_like(x)
    for shift in range(-min(before, x.shape[1]), min(after, x.shape[1]) + 1):
        total[:, max(0, -shift) : x.shape[1] - max(0, shift)] += squares[:, max(0, shift) : x.shape[1] + min(0, shift)]
    total *= kind(call.attributes["alpha"] / size)
    total += kind(call.attributes["bias"])
    return np.asarray(x / total ** kind(call.attributes["beta"]))


def lp_norm(call: Call, x: Array) -> Array:
    """x over its p-norm along an axis; 0 where that is 0."""
    axis, p = axis_of(call.attributes["axis"], x.ndim), call.attributes["p"]
    if p not in (1, 2):
        raise ModelError(f"p {p} is not 1 or 2")
    powers = np.abs(x) if p == 1 else np.square(x)
    norm = powers.sum(axis=axis, keepdims=True)
    norm = norm if p == 1 else np.sqrt(norm)
    return np.asarray(np.where(norm == 0, x.dtype.type(0), x / norm))


def _scaled(x: Array, factor: Array, offset: Array) -> Array:
    """x (N, C, ...) times factor (C,) plus offset (C,)."""
    if x.ndim < 2 or factor.shape != (x.shape[1],) or offset.shape != factor.shape:
        raise ModelError(f"{factor.shape} factors and {offset.shape} offsets do not fit an input {x.shape}")
    each = (-1, *(1,) * (x.ndim - 2))
    result = x * factor.reshape(each)
    result += offset.reshape(each)
    return result


def _whitened(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """(x − μ)/√(σ² + ε), μ and 1/√(σ² + ε) over axes."""
    middle = mean(x, axes)
    centred = x - middle
    inverse = 1 / np.sqrt(mean(np.square(centred), axes) + x.dtype.type(epsilon))
    return centred * inverse, middle, inverse


NORMALISE: dict[str, Operator] = {
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LayerNormalization": layer_norm,
    "LRN": local_response_norm,
    "LpNormalization": lp_norm,
}
