"""Workers whose memory is too small: told at the start, and where Dask lets them take no task or kills them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline.errors import ClusterError

MORE_MEMORY = "give workers more memory, or take a smaller --tile; `terrasketch plan` says what tasks need"
ASK_EVERY, TELL_AFTER, PATIENCE = 5.0, 10.0, 60.0
"""Seconds between two looks; of a worker that is paused and idle until somebody is told; of all of them, to the end."""


class Memory(NamedTuple):
    """Of a worker: its limit in bytes (0: none), whether Dask has paused it, and how many tasks it is at."""

    limit: int
    paused: bool
    busy: int


def look(dask_scheduler: Any) -> dict[str, Memory]:
    """What a scheduler knows of its workers; to be run there."""
    return {
        address: Memory(int(worker.memory_limit or 0), worker.status.name == "paused", len(worker.executing))
        for address, worker in dask_scheduler.workers.items()
    }


def too_small(client: Any, name: str, need: int) -> list[str]:
    """A warning where workers have less memory than a process of ours takes at rest. Raises ClusterError."""
    try:
        found = client.run_on_scheduler(look)
    except Exception as error:  # whatever its own process raised, or Dask's client, which knows many ways to be closed
        raise ClusterError(f"{name}: the scheduler does not answer ({type(error).__name__}: {error})") from error
    small = {address: worker.limit for address, worker in found.items() if 0 < worker.limit < need}
    if not small:
        return []
    return [
        f"{_first_of(small)}, less than the {need >> 20} MiB of a process before its first tile: "
        f"Dask will pause or kill it; {MORE_MEMORY}"
    ]


class Paused:
    """Looks for workers that Dask has paused, as memory is nearly full: they begin no task until some is free."""

    def __init__(self, client: Any, name: str, warn: Callable[[str], None]) -> None:
        self._client, self._name, self._warn = client, name, warn
        self._asked = time.monotonic()
        self._since: dict[str, float] = {}
        self._all: float | None = None
        self._told = False

    def check(self) -> None:
        """Look, to be called while nothing comes back.

        Raises:
            ClusterError: every worker is paused, and idle, for a while.
        """
        now = time.monotonic()
        if now - self._asked < ASK_EVERY:
            return
        self._asked = now
        try:
            found = self._client.run_on_scheduler(look)
        except Exception:  # a scheduler that is gone is told of by others
            return
        stuck = {address: worker.limit for address, worker in found.items() if worker.paused and not worker.busy}
        self._since = {address: self._since.get(address, now) for address in stuck}
        old = {address: stuck[address] for address, since in self._since.items() if now - since >= TELL_AFTER}
        if old and not self._told:
            self._told = True
            self._warn(f"{_first_of(old)}, and is paused by Dask, its memory being nearly full; {MORE_MEMORY}")
        if not stuck or len(stuck) < len(found):
            self._all = None
        elif self._all is None:
            self._all = now
        elif now - self._all > PATIENCE:
            raise ClusterError(
                f"{self._name}: no worker has been running for {PATIENCE:.0f} s, all are paused: {_first_of(stuck)}; "
                f"{MORE_MEMORY}, and run again to resume"
            )


def _first_of(limits: dict[str, int]) -> str:
    address, limit = next(iter(limits.items()))
    more = f" (and {len(limits) - 1} more like it)" if len(limits) > 1 else ""
    return f"worker {address}{more} has a memory limit of {limit >> 20} MiB"
