"""ONNX's tensors and attributes as arrays and plain values, where the file may be hostile.

Sizes are decided from the declared shape before anything is allocated, and no other file is ever opened.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto

from pipeline.errors import ModelError
from pipeline.network.sizes import checked

Array = NDArray[Any]

DTYPES: dict[int, np.dtype[Any]] = {
    TensorProto.FLOAT: np.dtype("<f4"),
    TensorProto.DOUBLE: np.dtype("<f8"),
    TensorProto.BOOL: np.dtype("?"),
    TensorProto.UINT8: np.dtype("u1"),
    TensorProto.UINT16: np.dtype("<u2"),
    TensorProto.UINT32: np.dtype("<u4"),
    TensorProto.UINT64: np.dtype("<u8"),
    TensorProto.INT8: np.dtype("i1"),
    TensorProto.INT16: np.dtype("<i2"),
    TensorProto.INT32: np.dtype("<i4"),
    TensorProto.INT64: np.dtype("<i8"),
}
FIELDS: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}
VALUES: dict[int, str] = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
    AttributeProto.STRINGS: "strings",
}


def dtype_of(kind: int) -> np.dtype[Any]:
    """NumPy's dtype of one of ONNX's element types. Raises ModelError with its name for those not supported."""
    if kind in DTYPES:
        return DTYPES[kind]
    name = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else str(kind)
    raise ModelError(f"elements of type {name} are not supported; export the network in float32")


def array(tensor: TensorProto) -> Array:
    """A tensor of the file as a read-only array. Raises ModelError for what it does not hold itself."""
    if tensor.data_location != TensorProto.DEFAULT or tensor.external_data:
        raise ModelError("its data lies in another file, which is not opened; save the model as one file")
    if tensor.HasField("segment"):
        raise ModelError("it is a segment of a tensor, which is not supported")
    dtype = dtype_of(tensor.data_type)
    shape = checked(tensor.dims, dtype)
    if tensor.HasField("raw_data"):
        found, wanted = len(tensor.raw_data), math.prod(shape) * dtype.itemsize
    else:
        field = getattr(tensor, FIELDS.get(tensor.data_type, "int32_data"))
        found, wanted = len(field), math.prod(shape)
    if found != wanted:
        raise ModelError(f"it declares the shape {shape} of {dtype} but holds {found} values or bytes for {wanted}")
    if tensor.HasField("raw_data"):
        values = np.frombuffer(tensor.raw_data, dtype)
    else:
        values = np.array(field, np.int64 if dtype.kind in "ib" else None).astype(dtype)
    values = values.reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    values.setflags(write=False)
    return values


def attribute(proto: AttributeProto) -> Any:
    """The value of an attribute: int, float, str, a list of these, or an array. Raises ModelError for others."""
    field = VALUES.get(proto.type)
    if proto.ref_attr_name or field is None:
        kind = AttributeProto.AttributeType.Name(proto.type) if proto.type <= AttributeProto.TYPE_PROTOS else "unknown"
        raise ModelError(f"attribute {proto.name!r} of type {kind} is not supported")
    value = getattr(proto, field)
    if field == "t":
        return array(value)
    if field == "s":
        return _text(value, proto.name)
    if field == "strings":
        return [_text(one, proto.name) for one in value]
    return list(value) if field in ("floats", "ints") else value


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"attribute {name!r} is not text") from error
