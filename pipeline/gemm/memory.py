"""Arrays where kernels like them: aligned to cache lines, and over memory that was touched before.

A page of new memory costs its first writer a fault, which for a map of filters is more than the convolution itself.
So large arrays that are given up leave their memory here for the next one, up to KEPT bytes in a process.
"""

from __future__ import annotations

import math
from collections import deque
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm.panel import Image

F32 = NDArray[np.float32]
LINE_BYTES = 64
LARGE = 1 << 20
"""Bytes from which memory is kept."""
KEPT = 320 << 20
"""Bytes kept in all; 0 keeps none."""

_kept: list[F32] = []
_returned: deque[F32] = deque()
_lock = Lock()


class _Lease:
    """Memory in use by an array, which goes back when the last view of the array is gone."""

    def __init__(self, memory: F32, shape: tuple[int, ...]) -> None:
        self._memory = memory
        address = memory.ctypes.data + -memory.ctypes.data % LINE_BYTES
        self.__array_interface__: dict[str, Any] = {
            "shape": shape,
            "typestr": np.dtype(np.float32).str,
            "data": (address, False),
            "version": 3,
        }

    def __del__(self) -> None:
        give_back(self._memory)


def aligned(shape: tuple[int, ...]) -> F32:
    """A new float32 array that starts with a cache line, its content undefined."""
    size = 4 * math.prod(shape) + LINE_BYTES
    if size < LARGE:
        memory = np.empty(size // 4, np.float32)
        skipped = (-memory.ctypes.data % LINE_BYTES) // 4
        return memory[skipped : skipped + math.prod(shape)].reshape(shape)
    return np.asarray(_Lease(_take(size), shape))


def _take(size: int) -> F32:
    """Memory of at least `size` bytes: the smallest that is kept and not much too large, or new."""
    with _lock:
        _tidy()
        fitting = [number for number, memory in enumerate(_kept) if size <= memory.nbytes <= 2 * size]
        if fitting:
            return _kept.pop(min(fitting, key=lambda number: _kept[number].nbytes))
    return np.empty(size // 4, np.float32)


def give_back(memory: F32) -> None:
    """Keep the memory for the next array; the oldest goes where it gets too much.

    Never waits: an array may be collected in the middle of anything, also while this thread holds the lock.
    """
    _returned.append(memory)
    if _lock.acquire(blocking=False):
        try:
            _tidy()
        finally:
            _lock.release()


def _tidy() -> None:
    while _returned:
        _kept.append(_returned.popleft())
    while sum(one.nbytes for one in _kept) > KEPT:
        _kept.pop(0)


def let_go() -> None:
    """Keep nothing: whoever comes next is another."""
    with _lock:
        _tidy()
        _kept.clear()


def image(array: F32) -> Image:
    """Where a (C, H, W) array lies. The caller keeps it alive."""
    return Image(array.ctypes.data, *array.strides)


def nowhere() -> Image:
    """No array."""
    return Image(0, 0, 0, 0)
