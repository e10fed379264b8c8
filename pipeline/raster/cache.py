"""What was decoded last, for all threads of a process: blocks of files and chunks of stores, bounded in bytes."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from threading import Event, Lock
from typing import Any, Protocol, TypeVar, cast

CACHE_BYTES = 96 << 20


class Sized(Protocol):
    """What a cache can hold."""

    @property
    def nbytes(self) -> int:
        """Bytes it keeps in memory."""


Held = TypeVar("Held", bound=Sized)


class Cache:
    """The blocks used last. What one thread is decoding, the others wait for."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._begin()
        os.register_at_fork(after_in_child=self._begin)  # a child has none of the threads that it would wait for

    def _begin(self) -> None:
        self._lock = Lock()
        self._blocks: OrderedDict[object, Any] = OrderedDict()
        self._loading: dict[object, Event] = {}
        self._size = 0

    def get(self, key: object, load: Callable[[], Held]) -> Held:
        """The block of this key, loaded where it is not here; `load` calls no `get` of its own.

        What `load` raises is this caller's alone: whoever waited loads again.
        """
        while True:
            found, other = self._find(key)
            if found is not None:
                return cast(Held, found)
            if other is None:
                return self._load(key, load)
            other.wait()

    def take(self, key: object, load: Callable[[], Held]) -> Held | None:
        """As `get`, but None where another thread is loading it: there may be other work meanwhile."""
        found, other = self._find(key)
        if found is None and other is None:
            return self._load(key, load)
        return cast(Held | None, found)

    def _find(self, key: object) -> tuple[Any, Event | None]:
        """The block, or who is loading it; neither where that is the caller's to do from now on."""
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key], None
            other = self._loading.get(key)
            if other is None:
                self._loading[key] = Event()
            return None, other

    def _load(self, key: object, load: Callable[[], Held]) -> Held:
        try:
            block = load()
            self._keep(key, block)
            return block
        finally:
            with self._lock:
                self._loading.pop(key).set()

    def _keep(self, key: object, block: Held) -> None:
        """One that is larger than all the room is not kept."""
        if block.nbytes > self._limit:
            return
        with self._lock:
            self._blocks[key] = block
            self._size += block.nbytes
            while self._size > self._limit:
                self._size -= self._blocks.popitem(last=False)[1].nbytes


shared = Cache()
"""That of the process."""
