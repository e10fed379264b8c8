"""What was decoded last, for all threads of a process: blocks of files and chunks of stores, bounded in bytes."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from threading import Event, Lock, get_ident
from typing import Any, Protocol, TypeVar, cast

CACHE_BYTES = 80 << 20
TURNS = 256
"""So many windows of other files and stores later nothing is kept for one that is no longer read."""


class Sized(Protocol):
    """What a cache can hold."""

    @property
    def nbytes(self) -> int:
        """Bytes it keeps in memory."""


Held = TypeVar("Held", bound=Sized)


class Cache:
    """The blocks used last, as many as their files need and the limit allows. What one thread decodes, others wait for.

    A map goes over a scene row by row, so a file needs the rows of blocks that a window touches; see `rows_of`.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self.clear()

    def clear(self) -> None:
        """Begin anew, with nobody loading anything."""
        self._lock = Lock()
        self._loading: dict[object, Event] = {}
        self._turn = 0
        self.drop()

    def drop(self) -> None:
        """Keep nothing, until somebody reserves room again."""
        with self._lock:
            self._blocks: OrderedDict[object, Any] = OrderedDict()
            self._rooms: OrderedDict[object, tuple[int, int]] = OrderedDict()
            self._size = 0

    @property
    def room(self) -> int:
        """What it may hold by what is reserved."""
        with self._lock:
            return self._room()

    @property
    def nbytes(self) -> int:
        """What it holds now."""
        return self._size

    def reserve(self, owner: object, nbytes: int) -> None:
        """Room for so much of a file, the most that this thread asked for it, as long as it reads it.

        Threads may be at different places of a scene.
        """
        mine = owner, get_ident()
        with self._lock:
            self._turn += 1
            self._rooms[mine] = self._turn, max(nbytes, self._rooms.pop(mine, (0, 0))[1])
            while next(iter(self._rooms.values()))[0] <= self._turn - TURNS:
                self._rooms.popitem(last=False)

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

    def _room(self) -> int:
        return min(self._limit, sum(nbytes for _, nbytes in self._rooms.values()))

    def _keep(self, key: object, block: Held) -> None:
        """One that is larger than all the room is not kept."""
        with self._lock:
            room = self._room()
            if block.nbytes > room:
                return
            self._blocks[key] = block
            self._size += block.nbytes
            while self._size > room:
                self._size -= self._blocks.popitem(last=False)[1].nbytes


def rows_of(window_height: int, block_height: int, row_bytes: int) -> int:
    """Bytes of the rows of blocks that a window can touch, and that the next row of windows touches again."""
    return (-(-window_height // block_height) + 1) * block_height * row_bytes


shared = Cache()
"""That of the process."""
os.register_at_fork(after_in_child=shared.clear)  # a child has none of the threads that it would wait for
