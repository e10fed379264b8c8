"""conv2d: one call, one image."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm.axes import Pair, Sides
from pipeline.gemm.convolution import Convolution

F32 = NDArray[np.float32]


def conv2d(
    x: NDArray[Any],
    filters: NDArray[Any],
    bias: NDArray[Any] | None = None,
    *,
    stride: Pair = 1,
    padding: Sides = 0,
    dilation: Pair = 1,
    groups: int = 1,
    relu: bool = False,
    exact: bool = False,
    out: F32 | None = None,
    threads: int | None = None,
) -> F32:
    """Cross-correlate one array with a set of filters, as torch.nn.functional.conv2d does with one image.

    x (C, H, W), of any strides, and filters (N, C/groups, kh, kw) are real and computed in float32; bias (N,). stride
    and dilation are an int or (y, x); padding, by zeros, an int, (y, x) or (top, left, bottom, right). Returns
    (N, Ho, Wo) float32: a new array, or `out` where it is given (rows contiguous). exact: never by Winograd's
    algorithm, whose error is about 2e-5 of the outputs' spread. Memory: output + one panel for each thread.
    Raises BlockError for shapes that do not fit, groups that do not divide, filters larger than the padded input.
    """
    floor = 0.0 if relu else -inf
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    convolution = Convolution(filters, bias, **options, floor=floor, exact=exact)  # type: ignore[arg-type]
    return convolution(x, out=out, threads=threads)
