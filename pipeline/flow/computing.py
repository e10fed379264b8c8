"""Who computes the blocks of a lazy array that are asked for one by one: the user's cluster, or whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dask.base import get_scheduler, is_dask_collection

Scheduler = Any
"""What Dask's `compute` takes as `scheduler`."""


@contextmanager
def who_computes(cube: Any) -> Iterator[Scheduler]:
    """The scheduler for blocks of a cube that several threads ask for, and leave to ask it as long as this lasts.

    That of the `distributed.Client` by which Dask would compute the cube: what is persisted on a cluster is known there
    alone. Everywhere else a thread computes its blocks by itself. It is asked for where the client is known, which
    another thread need not know. In a task of a worker its thread is given free, or the cluster may have no other.
    """
    get = _client_s(cube) if is_dask_collection(cube) else None
    if get is None:
        yield "synchronous"
        return
    from distributed import rejoin, secede  # noqa: PLC0415  (optional dependency)

    try:
        secede()  # type: ignore[no-untyped-call]
        left = True
    except Exception:  # no task of a worker, or one that has left its pool before
        left = False
    try:
        yield get
    finally:
        if left:
            rejoin()  # type: ignore[no-untyped-call]


def _client_s(cube: Any) -> Any:
    try:
        get = get_scheduler(collections=[cube])  # type: ignore[no-untyped-call]
    except RuntimeError:  # an asynchronous client computes nothing for those who wait
        return None
    return get if "Client" in type(getattr(get, "__self__", None)).__name__ else None
