"""Resize and Upsample: one axis after the other, each output a weighted sum of a few inputs (ONNX's formulas).

Antialiasing widens the kernel by 1/scale where the axis shrinks. Beyond the border the last pixel is repeated.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.network.operators.call import Array, Call, Operator, axes_of, integers
from pipeline.network.operators.line_kernels import weighted
from pipeline.network.operators.window_kernels import plain
from pipeline.network.sizes import checked

F64 = NDArray[np.float64]


class Axis(NamedTuple):
    """One axis to resize: lengths before and after, the scale between, and the part [start, end] that is looked at."""

    axis: int
    length: int
    out: int
    scale: float
    start: float
    end: float


def resize(call: Call, x: Array, *rest: Array | None) -> Array:
    """x resized by scales or to sizes: nearest, linear or cubic."""
    if call.opset == 10:
        rest = (None, *rest)
    roi, scales, sizes = [*rest, None, None, None][:3]
    for axis in _axes(call, x, roi, scales, sizes):
        x = _along(call, x, axis)
    return x


def upsample(call: Call, x: Array, scales: Array | None = None) -> Array:
    """Resize of old: scales from the attributes or an input, pixels at i / scale."""
    given = call.attributes.get("scales") if scales is None else scales
    if given is None:
        given = [1.0, 1.0, call.attributes["height_scale"], call.attributes["width_scale"]]
    attributes = {**call.attributes, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if call.attributes["mode"] == "bilinear":
        attributes["mode"] = "linear"
    return resize(Call("Resize", attributes, 11), x, None, np.asarray(given, np.float32))


def _axes(call: Call, x: Array, roi: Array | None, scales: Array | None, sizes: Array | None) -> list[Axis]:
    """The axes that change, with their lengths checked."""
    named = call.attributes.get("axes")
    axes = list(range(x.ndim)) if named is None else list(axes_of(named, x.ndim))
    lengths = [x.shape[axis] for axis in axes]
    if 0 in x.shape:
        raise ModelError(f"an input {x.shape} without pixels")
    if sizes is not None and sizes.size:
        outs, factors = _by_sizes(call, integers(sizes, "its sizes"), lengths)
    elif scales is not None and scales.size == len(axes) and scales.dtype.kind == "f":
        factors = [float(scale) for scale in scales.ravel()]
        if not all(0 < factor < math.inf for factor in factors):
            raise ModelError(f"scales {factors[:8]} are not positive numbers")
        outs = [math.floor(factor * length) for factor, length in zip(factors, lengths, strict=True)]
    else:
        raise ModelError(f"neither its scales nor its sizes fit {len(axes)} axes")
    ends = [*[0.0] * len(axes), *[1.0] * len(axes)]
    crops = call.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if crops:
        if roi is None or roi.size != 2 * len(axes) or not np.isfinite(roi).all():
            raise ModelError("tf_crop_and_resize needs a roi with two numbers for each axis")
        ends = [float(value) for value in roi.ravel()]
    shape = list(x.shape)
    found = []
    for i, axis in enumerate(axes):
        shape[axis] = outs[i]
        start, end = ends[i], ends[i + len(axes)]
        if outs[i] != lengths[i] or factors[i] != 1 or (crops and (start, end) != (0, 1)):
            found.append(Axis(axis, lengths[i], outs[i], factors[i], start, end))
    checked(shape, np.float64)
    if min(shape) < 1:
        raise ModelError(f"an output of shape {shape} cannot be")
    # Rows go faster than columns, which are gathered: those that shrink come first, those that grow come last.
    return sorted(found, key=lambda one: (one.out / one.length, one.axis if one.out < one.length else -one.axis))


def _by_sizes(call: Call, sizes: list[int], lengths: list[int]) -> tuple[list[int], list[float]]:
    if len(sizes) != len(lengths):
        raise ModelError(f"{len(sizes)} sizes do not fit {len(lengths)} axes")
    factors = [size / length for size, length in zip(sizes, lengths, strict=True)]
    policy = call.attributes.get("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return sizes, factors
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [math.floor(factor * length + 0.5) for length in lengths], [factor] * len(lengths)


def _along(call: Call, x: Array, axis: Axis) -> Array:
    places = _places(call.attributes.get("coordinate_transformation_mode", "asymmetric"), axis)
    mode = call.attributes["mode"]
    if mode == "nearest":
        indices = _nearest(call.attributes.get("nearest_mode", "floor"), places, axis.length)
        if x.dtype == np.float32:
            result = _weighted(x, axis.axis, indices[:, None], np.ones((len(indices), 1)))
        else:
            result = np.take(x, indices, axis.axis)
    elif mode in ("linear", "cubic"):
        if x.dtype.kind != "f":
            raise ModelError(f"an input of {x.dtype} cannot be resized by mode {mode!r}")
        result = _weighted(x, axis.axis, *_kernel(call, places, axis))
    else:
        raise ModelError(f"mode {mode!r} is not supported")
    if call.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        outside = (places < 0) | (places > axis.length - 1)
        result[(slice(None),) * axis.axis + (outside,)] = call.attributes["extrapolation_value"]
    return result


def _places(mode: str, axis: Axis) -> F64:
    """Where each output lies among the inputs, in pixels from the first one's centre."""
    i = np.arange(axis.out, dtype=np.float64)
    exact = axis.scale * axis.length
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return np.zeros(1) if mode != "half_pixel" and axis.out == 1 else (i + 0.5) / axis.scale - 0.5
    if mode == "half_pixel_symmetric":
        return axis.length / 2 * (1 - axis.out / exact) + (i + 0.5) / axis.scale - 0.5
    if mode == "asymmetric":
        return i / axis.scale
    if mode == "align_corners":
        return i * 0 if exact == 1 else i * (axis.length - 1) / (exact - 1)
    if mode == "tf_half_pixel_for_nn":
        return (i + 0.5) / axis.scale
    if mode == "tf_crop_and_resize":
        steps = i / (exact - 1) if exact != 1 else i * 0 + 0.5
        return (axis.start + steps * (axis.end - axis.start)) * (axis.length - 1)
    raise ModelError(f"coordinates {mode!r} are not supported")


def _nearest(mode: str, places: F64, length: int) -> NDArray[np.intp]:
    if mode not in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        raise ModelError(f"nearest_mode {mode!r} is not supported")
    if mode == "round_prefer_floor":
        rounded = np.ceil(places - 0.5)
    elif mode == "round_prefer_ceil":
        rounded = np.floor(places + 0.5)
    else:
        rounded = np.floor(places) if mode == "floor" else np.ceil(places)
    return np.clip(rounded, 0, length - 1).astype(np.intp)


def _kernel(call: Call, places: F64, axis: Axis) -> tuple[NDArray[np.intp], F64]:
    """Inputs and weights of each output: two arrays (out, taps)."""
    cubic = call.attributes["mode"] == "cubic"
    squeeze = min(axis.scale, 1.0) if call.attributes.get("antialias") else 1.0
    first = math.floor(-(2 if cubic else 1) / squeeze) + 1
    taps = 2 - 2 * first
    checked((axis.out, taps), np.float64)
    whole = np.floor(places)
    indices = whole[:, None] + np.arange(first, first + taps)
    distances = np.abs(indices - places[:, None]) * squeeze
    weights = _cubic(distances, call.attributes.get("cubic_coeff_a", -0.75)) if cubic else np.clip(1 - distances, 0, 1)
    if call.attributes.get("exclude_outside"):
        weights = np.where((indices < 0) | (indices >= axis.length), 0.0, weights)
    if squeeze < 1 or call.attributes.get("exclude_outside"):
        weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(indices, 0, axis.length - 1).astype(np.intp), weights


def _cubic(x: F64, a: float) -> F64:
    """Keys 1981: the cubic convolution kernel with parameter a, at distances x ≥ 0."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _weighted(x: Array, axis: int, indices: NDArray[np.intp], weights: F64) -> Array:
    """Σ over taps t of weights[:, t] · x at indices[:, t] along an axis, in x's dtype."""
    shape, parts = [*x.shape[:axis], len(indices), *x.shape[axis + 1 :]], weights.astype(x.dtype)
    if x.dtype == np.float32:
        lines = plain(x).reshape(math.prod(x.shape[:axis]), x.shape[axis], -1)
        out = np.empty((len(lines), len(indices), lines.shape[2]), np.float32)
        weighted(lines, indices, parts, out)
        return out.reshape(shape)
    taken = np.take(x, indices, axis)
    return np.asarray((taken * parts.reshape(*parts.shape, *(1,) * (x.ndim - axis - 1))).sum(axis=axis + 1))


RESIZE: dict[str, Operator] = {"Resize": resize, "Upsample": upsample}
