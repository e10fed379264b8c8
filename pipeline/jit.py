"""The one way this package compiles: numba kernels, serial, without the GIL, kept on disk.

`parallel=True` is never used: it refuses the on-disk cache and oversubscribes Dask's threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def jit(kernel: Kernel) -> Kernel:
    """Compile `kernel` in IEEE arithmetic: no reordering, so the same bytes on every run."""
    return cast(Kernel, numba.njit(nogil=True, cache=True)(kernel))
