"""Matrix products, by BLAS."""

from __future__ import annotations

import numpy as np

from pipeline.errors import ModelError
from pipeline.network.operators.call import Array, Call, Operator, same_dtype
from pipeline.network.sizes import checked


def gemm(call: Call, a: Array, b: Array, c: Array | None = None) -> Array:
    """alpha·A·B + beta·C, with A and B transposed where asked; C is broadcast."""
    a = a.T if call.attributes["transA"] else a
    b = b.T if call.attributes["transB"] else b
    product = _product(a, b, 2)
    if call.attributes["alpha"] != 1:
        product *= product.dtype.type(call.attributes["alpha"])
    if c is not None and call.attributes["beta"] != 0:
        same_dtype(product, c)
        product += c if call.attributes["beta"] == 1 else c * c.dtype.type(call.attributes["beta"])
    return product


def matmul(call: Call, a: Array, b: Array) -> Array:
    """A·B as np.matmul."""
    return _product(a, b)


def _product(a: Array, b: Array, ndim: int | None = None) -> Array:
    same_dtype(a, b)
    if min(a.ndim, b.ndim) < 1 or (ndim is not None and (a.ndim, b.ndim) != (ndim, ndim)):
        raise ModelError(f"shapes {a.shape} and {b.shape} are not matrices")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ModelError(f"matrices {a.shape} and {b.shape} cannot be multiplied")
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    checked((*batch, *a.shape[-2:-1], *(b.shape[-1:] if b.ndim > 1 else ())), a.dtype)
    return np.asarray(np.matmul(a, b))


MATRIX: dict[str, Operator] = {"Gemm": gemm, "MatMul": matmul}
