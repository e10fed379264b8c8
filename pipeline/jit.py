"""The one way this package compiles: numba kernels, serial, without the GIL, kept on disk.

`parallel=True` is never used: it refuses the on-disk cache and oversubscribes Dask's threads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def _package_stamp() -> tuple[int, int, int]:
    """Newest change, bytes and number of the sources of this package."""
    stats = [path.stat() for path in sorted(Path(__file__).parent.rglob("*.py"))]
    return max(one.st_mtime_ns for one in stats), sum(one.st_size for one in stats), len(stats)


_STAMP = _package_stamp()
_files: list[Any] = []
"""What numba knows of the files of our kernels."""


def jit(kernel: Kernel) -> Kernel:
    """Compile `kernel` in IEEE arithmetic: no reordering, so the same bytes on every run."""
    compiled = numba.njit(nogil=True, cache=True)(kernel)
    # Kernels are inlined across files, and Numba looks at the time of the one file alone: after an update in place it
    # would go on with what other files held before. Where Numba's insides have moved, its own stamp stays.
    held: Any = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if hasattr(held, "_source_stamp"):
        held._source_stamp = (held._source_stamp, _STAMP)
        _files.append(held)
    return cast(Kernel, compiled)


def any_compiled() -> bool:
    """Whether a kernel of this version is on the disk: where none is, the next run compiles them.

    Who does not know, since Numba's insides have moved, says no.
    """
    try:
        return any(held._load_index() for held in _files)
    except Exception:  # a torn index is no index
        return False
