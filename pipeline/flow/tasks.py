"""Batches of tiles in a bounded window of tasks: the only loop that drives a map over a scene.

Any executor will do (threads, processes, a Dask client's); it sees small picklable jobs and returns small receipts.
A tile that cannot be computed is a line in its receipt and the others go on; an output that cannot be written, or a
broken executor, ends the map. A map that ends early halts its tasks: each looks between two tiles, so what waits in a
queue is not begun, and the tiles that are being computed are finished.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from threading import Event
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from pipeline.errors import Interrupted, LostTask, OutputError, TerrasketchError
from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid, Tile, Window

Argument = TypeVar("Argument")
Result = TypeVar("Result")

WINDOW = 3
DRAIN_SECONDS, TELL_EVERY = 60.0, 2.0
"""How long an ending map waits for its tasks, and how often it says so to workers: new ones may have joined."""
KEPT = 1000
"""Failures of a map that are kept: all may fail, and the driver's memory stays bounded."""

_halted: set[str] = set()
"""The maps that were ended early, in every process that works."""


class Stop(Event):
    """A stop button, and how many tiles are being computed meanwhile."""

    busy = 0


def halt(name: str) -> None:
    """Let this process begin no other tile of a map."""
    _halted.add(name)


def tell_here(function: Callable[..., object], *args: object) -> None:
    """Call a function in every process that works, where that is this one."""
    function(*args)


@dataclass(frozen=True)
class Wrote:
    """What became of one tile: bytes read as raw pixels, bytes written, and whether it was there already."""

    raw: int = 0
    stored: int = 0
    resumed: bool = False
    clipped: int = 0
    """Values beyond the range that the output can hold."""


class Job(Protocol):
    """What every task of one map needs: picklable, a few kilobytes at most."""

    @property
    def grid(self) -> Grid:
        """The tiles of the map."""

    def run(self, tile: Tile) -> Wrote:
        """Compute one tile and write its chunk."""


@dataclass(frozen=True)
class Failure:
    """A tile that could not be computed, and the file that is to blame where one is."""

    tile: int
    window: Window
    error: str
    file: str | None = None

    def __str__(self) -> str:
        return f"tile {self.tile} ({self.window}): {self.error}"


@dataclass
class Receipt:
    """What tasks report and maps add up: counts, bytes, seconds of work, and the tiles that failed."""

    tiles: int = 0
    resumed: int = 0
    raw: int = 0
    stored: int = 0
    seconds: float = 0.0
    clipped: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    """The first of them, KEPT at most."""

    def add(self, other: Receipt) -> None:
        """Add another receipt to this one."""
        self.tiles += other.tiles
        self.resumed += other.resumed
        self.raw += other.raw
        self.stored += other.stored
        self.seconds += other.seconds
        self.clipped += other.clipped
        self.failed += other.failed
        self.failures += other.failures[: max(0, KEPT - len(self.failures))]


def run_batch(job: Job, first: int, last: int, name: str = "") -> Receipt:
    """The task: tiles first..last of the grid, one after the other, on one BLAS thread, until the map is halted."""
    receipt = Receipt()
    start = time.perf_counter()
    with one_blas_thread():
        for index in range(first, last):
            if name in _halted:
                break
            try:
                wrote = job.run(job.grid[index])
            except OutputError:
                raise
            except (TerrasketchError, MemoryError) as error:
                receipt.failed += 1
                receipt.failures.append(_failure(job, index, error))
                continue
            receipt.tiles += 1
            receipt.resumed += wrote.resumed
            receipt.raw += wrote.raw
            receipt.stored += wrote.stored
            receipt.clipped += wrote.clipped
    receipt.seconds = time.perf_counter() - start
    return receipt


def run_map(
    job: Job,
    executor: Executor,
    workers: int,
    *,
    batch: int = 1,
    progress: Callable[[Receipt], None] = lambda receipt: None,
    stop: Event | None = None,
    check: Callable[[], None] = lambda: None,
    room: Callable[[], int] | None = None,
    tell: Callable[..., None] = tell_here,
) -> Receipt:
    """Run the job over every tile of its grid, `batch` tiles a task, at most 3 x workers tasks in flight.

    `check` is called while nothing comes back, and ends the map by raising where nobody is left to work. `room` says
    how many workers there are by now; `tell` calls a function in every process that works.

    Raises:
        OutputError: a chunk cannot be written (disk full); tiles in flight are finished first.
        Interrupted: `stop` was set; tiles in flight are finished first.
    """
    flight = _Flight(job, executor, batch, progress)
    try:
        while flight.send(WINDOW * (most := room() if room else workers)):
            if isinstance(stop, Stop):
                stop.busy = min(most, len(flight.pending))
            done, _ = wait(flight.pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                flight.take(future)
            if not done:
                check()
            if stop is not None and stop.is_set():
                raise Interrupted("stopped")
    except BaseException as error:
        for future in _drain(set(flight.pending), flight.name, tell):
            with suppress(Exception):  # the first error is the one to tell
                flight.take(future)
        if isinstance(error, Interrupted):
            raise Interrupted(f"stopped with {flight.total.tiles} of {len(job.grid)} tiles done") from None
        raise
    return flight.total


class _Flight:
    """The tasks of one map that are out, and the sum of what came back.

    Workers may die because of a tile or of something else, and with all that they hold. So the tiles of a lost task are
    suspects: they are tried again alone, one at a time, and those whose workers die once more are failures.
    """

    def __init__(self, job: Job, executor: Executor, batch: int, progress: Callable[[Receipt], None]) -> None:
        self.name = uuid4().hex
        self.total = Receipt()
        self.pending: dict[Future[Receipt], tuple[int, int]] = {}
        self._job, self._executor, self._progress = job, executor, progress
        tiles = len(job.grid)
        self._batches = ((first, min(first + batch, tiles)) for first in range(0, tiles, batch))
        self._suspects: deque[int] = deque()
        self._tried: Future[Receipt] | None = None

    def send(self, most: int) -> bool:
        """Fill up to so many tasks; whether any is out."""
        for first, last in islice(self._batches, max(most - len(self.pending), 0)):
            self._submit(first, last)
        if self._suspects and self._tried not in self.pending:
            suspect = self._suspects.popleft()
            self._tried = self._submit(suspect, suspect + 1)
        return bool(self.pending)

    def take(self, future: Future[Receipt]) -> None:
        """Add what came back."""
        first, last = self.pending.pop(future)
        try:
            receipt = future.result()
        except LostTask as lost:
            if future is not self._tried:
                self._suspects.extend(range(first, last))
                return
            receipt = Receipt(failed=1, failures=[_failure(self._job, first, lost)])
        self.total.add(receipt)
        self._progress(receipt)

    def _submit(self, first: int, last: int) -> Future[Receipt]:
        future = self._executor.submit(run_batch, self._job, first, last, self.name)
        self.pending[future] = (first, last)
        return future


def gather(
    function: Callable[[Argument], Result],
    arguments: Iterable[Argument],
    executor: Executor,
    workers: int,
    *,
    stop: Event | None = None,
    check: Callable[[], None] = lambda: None,
    tell: Callable[..., None] = tell_here,
) -> Iterator[Result]:
    """function(argument) for each of the arguments, in their order, at most 3 x workers of them in flight.

    Raises:
        Interrupted: `stop` was set.
    """
    rest, name = iter(arguments), uuid4().hex
    pending = deque(executor.submit(run_one, function, argument, name) for argument in islice(rest, WINDOW * workers))
    try:
        while pending:
            done, _ = wait([pending[0]], timeout=0.5)
            if stop is not None and stop.is_set():
                raise Interrupted("stopped before the first tile")
            if not done:
                check()
                continue
            yield pending.popleft().result()
            pending.extend(executor.submit(run_one, function, argument, name) for argument in islice(rest, 1))
    except BaseException:
        _drain(set(pending), name, tell)
        raise


def run_one(function: Callable[[Argument], Result], argument: Argument, name: str) -> Result:
    """The task of `gather`: function(argument) on one BLAS thread, unless `name` is halted."""
    if name in _halted:
        raise Interrupted("stopped")
    with one_blas_thread():
        return function(argument)


def _drain(pending: set[Future[Any]], name: str, tell: Callable[..., None]) -> set[Future[Any]]:
    """Halt the tasks in flight and wait for them, so that nobody writes after the map has ended.

    Not cancelled first: a Dask future reports itself cancelled while its task still runs on a worker. Workers may be
    gone, so the patience ends.
    """
    done: set[Future[Any]] = set()
    end = time.monotonic() + DRAIN_SECONDS
    while pending and (left := end - time.monotonic()) > 0:
        tell(halt, name)
        ended, pending = wait(pending, timeout=min(left, TELL_EVERY))
        done |= ended
    for future in pending:
        future.cancel()
    return done


def _failure(job: Job, index: int, error: BaseException) -> Failure:
    return Failure(index, job.grid[index].window, _one_line(error), getattr(error, "file", None))


def _one_line(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return " ".join(text.split())
