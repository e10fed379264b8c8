"""One convolution over the workers of a Dask cluster, cut along m, n and k as `gemm.partition.cuts` has it.

    parts of m: rows of output pixels, with the rows of input that they see
    parts of n: groups of filters, side by side
    parts of k: channels; their products are summed as a tree, neighbours first, always in the same order

Each product is a lowered convolution: what travels is the input, never its patches, which are kh·kw times as many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BlockError
from pipeline.flow.threads import one_blas_thread
from pipeline.gemm import conv2d
from pipeline.gemm.partition import Cuts

F32 = NDArray[np.float32]
Blocks = list[list[Any]]
"""Futures of (N of a group, rows of a part, Wo) float32, by part of m and by part of n."""


def spread(client: Any, x: F32, filters: F32, bias: F32 | None, cut: Cuts, *, relu: bool = False) -> Blocks:
    """Convolve x (C, H, W) with filters (N, C, kh, kw), stride 1, no padding, on the workers of a Dask client.

    Returns futures; what they hold stays with the workers until `collect` fetches it. Raises BlockError where the cut
    is not one of this convolution.
    """
    (n, channels, height, _), rows = filters.shape, x.shape[1] - filters.shape[2] + 1
    if (cut.n, cut.k) != (n, channels * cut.taps) or len(x) != channels or rows < cut.rows:
        raise BlockError(f"{cut} does not cut filters {filters.shape} over {x.shape}; make it from these shapes")
    shared = cut.groups > 1
    inputs = [
        [
            client.scatter(np.ascontiguousarray(x[part, band.start : band.stop + height - 1]), broadcast=shared)
            for part in cut.channels
        ]
        for band in cut.bands(rows)
    ]
    weights = [
        [client.scatter(np.ascontiguousarray(filters[own, part])) for part in cut.channels] for own in cut.filters
    ]
    offsets = [None if bias is None else np.ascontiguousarray(bias[own]) for own in cut.filters]
    whole = cut.slices == 1
    return [
        [
            client.submit(_product, *slabs, *taps, offset, relu, pure=False)
            if whole
            else client.submit(_finish, _tree(client, slabs, taps), offset, relu, pure=False)
            for taps, offset in zip(weights, offsets, strict=True)
        ]
        for slabs in inputs
    ]


def collect(blocks: Blocks) -> F32:
    """The feature map (N, Ho, Wo) of `spread`, in the memory of this process."""
    return np.concatenate([np.concatenate([block.result() for block in row]) for row in blocks], axis=1)


def tree_sum(parts: list[Any], add: Callable[[Any, Any], Any]) -> Any:
    """Neighbours first, then neighbouring sums, and so on: an order that depends on how many there are alone."""
    while len(parts) > 1:
        pairs = [add(*parts[first : first + 2]) for first in range(0, len(parts) - 1, 2)]
        parts = pairs + parts[2 * len(pairs) :]
    return parts[0]


def _tree(client: Any, slabs: list[Any], taps: list[Any]) -> Any:
    """A future of the sum of the products of all channel slices."""
    products = [
        client.submit(_product, slab, part, None, False, pure=False) for slab, part in zip(slabs, taps, strict=True)
    ]
    return tree_sum(products, lambda one, other: client.submit(_add, one, other, pure=False))


def _product(x: F32, filters: F32, bias: F32 | None, relu: bool) -> F32:
    with one_blas_thread():
        return conv2d(x, filters, bias, relu=relu)


def _add(one: F32, other: F32) -> F32:
    return one + other


def _finish(total: F32, bias: F32 | None, relu: bool) -> F32:
    if bias is not None:
        total = total + bias[:, None, None]
    return np.maximum(total, 0.0) if relu else total
