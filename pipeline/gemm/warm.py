"""Have the kernels compiled, or read from numba's cache on disk, before anybody waits for them."""

from __future__ import annotations

import numpy as np

from pipeline.gemm.convolution import Convolution
from pipeline.gemm.pool import average_pool
from pipeline.gemm.pooled import pooled_responses


def compile_kernels() -> None:
    """Run every kernel of this package once, on a few pixels. A second with a warm cache, ten without."""
    x = np.zeros((32, 24, 80), np.float32)
    filters = np.ones((64, 32, 3, 3), np.float32)
    for exact in (False, True):
        convolution = Convolution(filters, exact=exact)
        convolution(x)
        pooled_responses(x, convolution, 5, 5, np.empty((128, 4, 15), np.float32), both=True)
    average_pool(x, 3)
