"""What a process of ours takes of its machine: processors, and memory by way of glibc.

By default each thread allocates from an arena of its own and keeps there what it freed: `python -m benchmarks whole`
has a tenth more memory so. And Dask's nannies have every worker give back all but 64 kB to the system as soon as it is
free, so that each array of each tile is faulted in anew, which may be a quarter of a worker's time.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_THREADS = 4
"""That share an arena: allocations are few and large beside the work on them, so none is seen to wait."""
_TRIM, _MMAP = 64 << 20, 32 << 20
"""Where glibc's own thresholds end up in a process that works with large arrays, unless they are set."""
_OF_NANNIES = "65536"
"""distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"""


def cores() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def few_arenas(threads: int) -> bool:
    """Let a process that works with so many threads have one arena for every four; whether glibc was asked.

    Not where the environment says its own, nor where the C library is another. glibc heeds the first who asks, and
    nobody once there are eight.
    """
    return not _told("MALLOC_ARENA_MAX") and _set(_M_ARENA_MAX, max(1, threads // _THREADS))


@cache
def keep_freed() -> bool:
    """In a worker of Dask's, keep up to 64 MiB of what was freed, as other processes do; whether it was done.

    A threshold that somebody else has set stays.
    """
    if os.environ.get("MALLOC_TRIM_THRESHOLD_") != _OF_NANNIES or _told("MALLOC_MMAP_THRESHOLD_"):
        return False
    return _set(_M_MMAP_THRESHOLD, _MMAP) and _set(_M_TRIM_THRESHOLD, _TRIM)


def give_back() -> bool:
    """Give the system what is free, wherever in the heap it lies; whether that was done."""
    return platform.libc_ver()[0] == "glibc" and bool(ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0)))


def _told(name: str) -> bool:
    return name in os.environ or "GLIBC_TUNABLES" in os.environ


def _set(parameter: int, value: int) -> bool:
    return platform.libc_ver()[0] == "glibc" and bool(ctypes.CDLL(None).mallopt(parameter, value))
