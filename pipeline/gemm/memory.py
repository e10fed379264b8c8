"""Arrays where kernels like them: aligned to cache lines; and their place in memory, as kernels are told it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm.panel import Image

F32 = NDArray[np.float32]
LINE_BYTES = 64


def aligned(shape: tuple[int, ...]) -> F32:
    """A new float32 array that starts with a cache line, its content undefined."""
    count = math.prod(shape)
    memory = np.empty(count + LINE_BYTES // 4, np.float32)
    skipped = (-memory.ctypes.data % LINE_BYTES) // 4
    return memory[skipped : skipped + count].reshape(shape)


def image(array: F32) -> Image:
    """Where a (C, H, W) array lies. The caller keeps it alive."""
    return Image(array.ctypes.data, *array.strides)


def nowhere() -> Image:
    """No array."""
    return Image(0, 0, 0, 0)
