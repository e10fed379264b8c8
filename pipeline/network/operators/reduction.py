"""Operators that make one number of many along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.network.operators.call import Array, Call, Operator, axes_of, axis_of, integers

Reduce = Callable[[Array, tuple[int, ...]], Any]


def reduction(function: Reduce) -> Operator:
    """An operator over the axes of its attribute or its second input, all of them unless named; x's dtype is kept."""

    def operator(call: Call, x: Array, axes: Array | None = None) -> Array:
        named = call.attributes.get("axes") if axes is None else integers(axes, "its axes")
        if not named and call.attributes.get("noop_with_empty_axes"):
            over: tuple[int, ...] = ()
        else:
            over = axes_of(named, x.ndim) if named else tuple(range(x.ndim))
        result = np.asarray(function(x, over)).astype(x.dtype, copy=False)
        return result.reshape([1 if i in over else size for i, size in enumerate(x.shape)]) if _kept(call) else result

    return operator


def _kept(call: Call) -> bool:
    return bool(call.attributes["keepdims"])


def mean(x: Array, axes: tuple[int, ...]) -> Any:
    """The mean over axes, which stay with length 1. Raises ModelError where there is nothing to average."""
    if x.size == 0:
        raise ModelError(f"a tensor of shape {x.shape} has no mean")
    return np.mean(x, axes, keepdims=True)


def _largest(x: Array, axes: tuple[int, ...]) -> Any:
    return np.max(x, axes, initial=_least(x.dtype))


def _smallest(x: Array, axes: tuple[int, ...]) -> Any:
    return np.min(x, axes, initial=_most(x.dtype))


def _least(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min if dtype.kind in "iu" else False


def _most(dtype: np.dtype[Any]) -> Any:
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max if dtype.kind in "iu" else True


def _log_sum_exp(x: Array, axes: tuple[int, ...]) -> Any:
    most = np.max(x, axes, keepdims=True, initial=-np.inf)
    most = np.where(np.isfinite(most), most, 0)
    return np.squeeze(most, axes) + np.log(np.sum(np.exp(x - most), axes))


def argmax(call: Call, x: Array) -> Array:
    """Where the largest value along an axis lies."""
    return _place(call, x, np.argmax)


def argmin(call: Call, x: Array) -> Array:
    """Where the smallest value along an axis lies."""
    return _place(call, x, np.argmin)


def _place(call: Call, x: Array, find: Callable[..., Any]) -> Array:
    axis = axis_of(call.attributes["axis"], x.ndim)
    if x.shape[axis] == 0:
        raise ModelError(f"axis {axis} is empty")
    if call.attributes.get("select_last_index"):
        places = x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis)
    else:
        places = find(x, axis=axis)
    places = np.asarray(places).astype(np.int64)
    return np.expand_dims(places, axis) if _kept(call) else places


REDUCTION: dict[str, Operator] = {
    "ReduceMean": reduction(lambda x, axes: np.squeeze(mean(x, axes), axes)),
    "ReduceSum": reduction(np.sum),
    "ReduceProd": reduction(np.prod),
    "ReduceMax": reduction(_largest),
    "ReduceMin": reduction(_smallest),
    "ReduceL1": reduction(lambda x, axes: np.sum(np.abs(x), axes)),
    "ReduceL2": reduction(lambda x, axes: np.sqrt(np.sum(np.square(x), axes))),
    "ReduceSumSquare": reduction(lambda x, axes: np.sum(np.square(x), axes)),
    "ReduceLogSum": reduction(lambda x, axes: np.log(np.sum(x, axes))),
    "ReduceLogSumExp": reduction(_log_sum_exp),
    "ArgMax": argmax,
    "ArgMin": argmin,
}
