"""Operators that move elements and compute none: shapes, axes, parts, joins, repeats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.network.onnx_tensor import dtype_of
from pipeline.network.operators.call import Array, Call, Operator, axes_of, axis_of, integers, same_dtype
from pipeline.network.sizes import checked

FIRST_RESHAPE_BY_TENSOR = 5
FIRST_AXES_BY_TENSOR = 13
FIRST_SLICE_BY_TENSOR = 10
FIRST_DROPOUT_BY_TENSOR = 12
MOST_PIECES = 65536


def identity(call: Call, x: Array) -> Array:
    """x itself."""
    return x


def dropout(call: Call, x: Array, ratio: Array | None = None, training: Array | None = None) -> Any:
    """x itself, and a mask that keeps all of it: networks are not trained here."""
    if training is not None and training.any():
        raise ModelError("training mode is not supported; export the network in evaluation mode")
    if call.outputs == 1:
        return x
    return x, np.ones(x.shape, np.bool_ if call.opset >= FIRST_DROPOUT_BY_TENSOR - 2 else x.dtype)


def reshape(call: Call, x: Array, shape: Array | None = None) -> Array:
    """x in another shape: −1 for what is left over, 0 for as it was (unless allowzero)."""
    wanted = list(call.attributes["shape"]) if shape is None else integers(shape, "its shape")
    if not call.attributes.get("allowzero"):
        if any(size == 0 and axis >= x.ndim for axis, size in enumerate(wanted)):
            raise ModelError(f"shape {wanted} keeps an axis that {x.shape} does not have")
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    checked([max(size, 0) for size in wanted], x.dtype)
    return x.reshape(wanted)


def flatten(call: Call, x: Array) -> Array:
    """A matrix: axes before `axis` are its rows."""
    axis = call.attributes["axis"]
    if not -x.ndim <= axis <= x.ndim:
        raise ModelError(f"axis {axis} is not one of {x.ndim}")
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def transpose(call: Call, x: Array) -> Array:
    """x with its axes in another order, reversed where none is given."""
    order = call.attributes.get("perm")
    return np.ascontiguousarray(x.transpose(order)) if x.ndim else x


def _axes(call: Call, axes: Array | None) -> list[int] | None:
    if axes is not None:
        return integers(axes, "its axes")
    named: list[int] | None = call.attributes.get("axes")
    return named


def squeeze(call: Call, x: Array, axes: Array | None = None) -> Array:
    """x without its axes of length 1, all of them or those named."""
    named = _axes(call, axes)
    return np.squeeze(x, None if named is None else axes_of(named, x.ndim))


def unsqueeze(call: Call, x: Array, axes: Array | None = None) -> Array:
    """x with axes of length 1, at the places they have in the result."""
    named = _axes(call, axes) or []
    total = x.ndim + len(named)
    checked([1] * total, x.dtype)
    return np.expand_dims(x, axes_of(named, total))


def concat(call: Call, *arrays: Array) -> Array:
    """Tensors joined along an axis."""
    same_dtype(*arrays)
    axis = axis_of(call.attributes.get("axis", 1), arrays[0].ndim)
    joined = list(arrays[0].shape)
    joined[axis] = sum(array.shape[axis] for array in arrays)
    return np.concatenate(arrays, axis, out=np.empty(checked(joined, arrays[0].dtype), arrays[0].dtype))


def split(call: Call, x: Array, sizes: Array | None = None) -> tuple[Array, ...]:
    """x cut along an axis into the sizes given, or into equal parts with a smaller last one."""
    axis = axis_of(call.attributes["axis"], x.ndim)
    length = x.shape[axis]
    wanted = call.attributes.get("split") if sizes is None else integers(sizes, "its sizes")
    if wanted is None:
        count = call.attributes.get("num_outputs", call.outputs)
        part = -(-length // max(count, 1))
        wanted = [max(0, min(part, length - i * part)) for i in range(min(count, MOST_PIECES))]
    if min(wanted, default=0) < 0 or sum(wanted) != length or len(wanted) != call.outputs:
        raise ModelError(f"parts {wanted[:12]} do not make up {length} and {call.outputs} outputs")
    return tuple(np.split(x, np.cumsum(wanted)[:-1], axis))


def slice_(call: Call, x: Array, *bounds: Array | None) -> Array:
    """Parts of axes from start to end by a step, as Python's slices."""
    if call.opset < FIRST_SLICE_BY_TENSOR:
        given: list[Any] = [call.attributes.get(name) for name in ("starts", "ends", "axes")]
    else:
        given = [None if part is None else integers(part, "its bounds") for part in bounds]
    starts, ends, axes, steps = [*given, None, None][:4]
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ModelError("its starts, ends, axes and steps are not equally many")
    parts = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes_of(axes, x.ndim), starts, ends, steps, strict=True):
        if step < 0 and end < -x.shape[axis]:
            parts[axis] = slice(start, None, step)
        else:
            parts[axis] = slice(start, end, step)
    return x[tuple(parts)]


def expand(call: Call, x: Array, shape: Array) -> Array:
    """x repeated along axes of length 1, as NumPy broadcasts."""
    wanted = np.broadcast_shapes(x.shape, checked(integers(shape, "its shape"), x.dtype))
    return np.broadcast_to(x, checked(wanted, x.dtype)).copy()


def tile(call: Call, x: Array, repeats: Array, axis: Array | None = None) -> Array:
    """x repeated whole along each axis; opset 1 names one axis."""
    counts = integers(repeats, "its repeats")
    if axis is not None:
        along = axis_of(int(axis.item()), x.ndim)
        counts = [int(repeats.item()) if i == along else 1 for i in range(x.ndim)]
    if len(counts) != x.ndim or min(counts, default=0) < 0:
        raise ModelError(f"repeats {counts[:12]} do not fit {x.ndim} axes")
    checked([size * count for size, count in zip(x.shape, counts, strict=True)], x.dtype)
    return np.tile(x, counts)


def gather(call: Call, x: Array, indices: Array) -> Array:
    """Slices of an axis at indices, negative ones from its end."""
    axis = axis_of(call.attributes["axis"], x.ndim)
    if indices.dtype.kind not in "iu":
        raise ModelError(f"its indices are {indices.dtype}")
    length = x.shape[axis]
    if indices.size and not -length <= int(indices.min()) <= int(indices.max()) < length:
        raise ModelError(f"an index is beyond the {length} of axis {axis}")
    checked((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)
    return np.asarray(np.take(x, indices, axis))


def shape(call: Call, x: Array) -> Array:
    """The lengths of x's axes from start to end."""
    return np.array(x.shape[call.attributes.get("start", 0) : call.attributes.get("end")], np.int64)


def size(call: Call, x: Array) -> Array:
    """The number of x's elements."""
    return np.array(x.size, np.int64)


def constant(call: Call) -> Array:
    """The value in the node."""
    kinds = {"value": None, "value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}
    if len(call.attributes) != 1 or not kinds.keys() >= call.attributes.keys():
        raise ModelError(f"a constant given by {', '.join(call.attributes) or 'nothing'} is not supported")
    name, value = next(iter(call.attributes.items()))
    return np.asarray(value, kinds[name])


def constant_of_shape(call: Call, shape: Array) -> Array:
    """A tensor full of one value, 0 in float32 unless given."""
    value = call.attributes.get("value", np.zeros(1, np.float32))
    if value.size != 1:
        raise ModelError(f"its value has {value.size} elements, not one")
    return np.full(checked(integers(shape, "its shape"), value.dtype), value.item(), value.dtype)


def range_(call: Call, start: Array, limit: Array, step: Array) -> Array:
    """start, start + step, ... before limit."""
    dtype = same_dtype(start, limit, step)
    first, last, by = start.item(), limit.item(), step.item()
    count = max(0, math.ceil((last - first) / by))
    checked([count], dtype)
    return np.asarray(first + np.arange(count) * by).astype(dtype)


def cast(call: Call, x: Array) -> Array:
    """x in another element type."""
    to = call.attributes["to"]
    if isinstance(to, str):
        raise ModelError("types by name, of opset 1 to 5, are not supported")
    return x.astype(dtype_of(to))


def cast_like(call: Call, x: Array, other: Array) -> Array:
    """x in another tensor's element type."""
    return x.astype(other.dtype)


def depth_to_space(call: Call, x: Array) -> Array:
    """Groups of channels become blocks of pixels."""
    block = call.attributes["blocksize"]
    n, c, height, width = x.shape
    if block < 1 or c % (block * block):
        raise ModelError(f"{c} channels do not make blocks of {block}")
    if _by_depth(call):
        parts = x.reshape(n, block, block, -1, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, -1, block, block, height, width).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // (block * block), height * block, width * block)


def space_to_depth(call: Call, x: Array) -> Array:
    """Blocks of pixels become groups of channels."""
    block = call.attributes["blocksize"]
    n, c, height, width = x.shape
    if block < 1 or height % block or width % block:
        raise ModelError(f"{height} x {width} pixels are not whole blocks of {block}")
    parts = x.reshape(n, c, height // block, block, width // block, block)
    order = (0, 3, 5, 1, 2, 4) if _by_depth(call) else (0, 1, 3, 5, 2, 4)
    return parts.transpose(order).reshape(n, c * block * block, height // block, width // block)


def _by_depth(call: Call) -> bool:
    """Whether the place in a block counts before the channel (DCR), or after it (CRD)."""
    mode = call.attributes.get("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise ModelError(f"mode {mode!r} is not supported")
    return bool(mode == "DCR")


ARRANGEMENT: dict[str, Operator] = {
    "Identity": identity,
    "Dropout": dropout,
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "Expand": expand,
    "Tile": tile,
    "Gather": gather,
    "Shape": shape,
    "Size": size,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Range": range_,
    "Cast": cast,
    "CastLike": cast_like,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
