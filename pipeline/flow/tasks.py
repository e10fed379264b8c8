"""Batches of tiles in a bounded window of tasks: the only loop that drives a map over a scene.

Any executor will do (threads, processes, a Dask client's); it sees small picklable jobs and returns small receipts.
A tile that cannot be computed is a line in its receipt and the others go on; an output that cannot be written, or a
broken executor, ends the map.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any, Protocol, TypeVar

from pipeline.errors import Interrupted, OutputError, TerrasketchError
from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid, Tile

Argument = TypeVar("Argument")
Result = TypeVar("Result")

WINDOW = 3
DRAIN_SECONDS = 60.0
TASK_SECONDS = 1.0
"""A task hands back what it has after so long, so that a batch may be as large as tiles are cheap."""
TASKS_A_SECOND = 100
"""Of all workers together; many workers get longer tasks. A Dask scheduler and its driver take some hundreds."""
GROWTH, MOST_TILES = 8, 16384


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


@dataclass
class Receipt:
    """What tasks report and maps add up: counts, bytes, seconds of work, and the tiles that failed."""

    tiles: int = 0
    resumed: int = 0
    raw: int = 0
    stored: int = 0
    seconds: float = 0.0
    clipped: int = 0
    failures: list[str] = field(default_factory=list)
    cpu: float = 0.0
    """Seconds of processor, of the threads that ran the tasks."""

    @property
    def met(self) -> int:
        """Tiles that were tried."""
        return self.tiles + len(self.failures)

    def add(self, other: Receipt) -> None:
        """Add another receipt to this one."""
        self.tiles += other.tiles
        self.resumed += other.resumed
        self.raw += other.raw
        self.stored += other.stored
        self.seconds += other.seconds
        self.clipped += other.clipped
        self.failures += other.failures
        self.cpu += other.cpu


def run_batch(job: Job, first: int, last: int, seconds: float = float("inf")) -> Receipt:
    """The task: tiles first..last of the job's grid, one after the other, on one BLAS thread.

    No tile is begun after `seconds`; the receipt tells how many were `met`.
    """
    receipt = Receipt()
    grid, run = job.grid, job.run
    start, cpu = time.perf_counter(), time.thread_time()
    with one_blas_thread():
        for index in range(first, last):
            if index > first and time.perf_counter() - start > seconds:
                break
            tile = grid[index]
            try:
                wrote = run(tile)
            except OutputError:
                raise
            except (TerrasketchError, MemoryError) as error:
                receipt.failures.append(f"tile {index} ({tile.window}): {_one_line(error)}")
                continue
            receipt.tiles += 1
            receipt.resumed += wrote.resumed
            receipt.raw += wrote.raw
            receipt.stored += wrote.stored
            receipt.clipped += wrote.clipped
    receipt.seconds = time.perf_counter() - start
    receipt.cpu = time.thread_time() - cpu
    return receipt


def tasks_for(tiles: int, seconds: float, workers: int) -> int:
    """About how many tasks a map makes of tiles that take `seconds` each."""
    fitting = max(1, min(MOST_TILES, int(task_seconds(workers) / max(seconds, 1e-9))))
    return max(min(tiles, 2 * workers), -(-tiles // fitting))


def task_seconds(workers: int) -> float:
    """How long a task works before it hands back what it has: no more than TASKS_A_SECOND end, of all workers."""
    return max(TASK_SECONDS, workers / TASKS_A_SECOND)


class Batches:
    """Which tiles go into the next task: about `seconds` of work by what tiles took until now, and what came back.

    The first tasks take a tile each; a task at the end takes its share of what is left, so that workers end
    together. Which tiles share a task changes no byte.
    """

    def __init__(self, tiles: int, workers: int) -> None:
        self.seconds = task_seconds(workers)
        self._share = 2 * workers
        self._size = 1
        self._next, self._end = 0, tiles
        self._back: list[tuple[int, int]] = []

    def take(self) -> tuple[int, int] | None:
        """First tile of a task and the one after its last; None where none is left."""
        if self._back:
            return self._back.pop()
        left = self._end - self._next
        if left == 0:
            return None
        first = self._next
        self._next += min(self._size, max(1, left // self._share))
        return first, self._next

    def done(self, batch: tuple[int, int], receipt: Receipt) -> None:
        """A task came back; what it left goes into another."""
        first, last = batch[0] + receipt.met, batch[1]
        if first < last:
            self._back.append((first, last))
        fitting = self.seconds * receipt.met / max(receipt.seconds, 1e-9)
        self._size = max(1, min(int(fitting), GROWTH * self._size, MOST_TILES))


def run_map(
    job: Job,
    executor: Executor,
    workers: int,
    *,
    progress: Callable[[Receipt], None] = lambda receipt: None,
    stop: Event | None = None,
    check: Callable[[], None] = lambda: None,
) -> Receipt:
    """Run the job over every tile of its grid, at most 3 x workers tasks in flight.

    `check` is called while nothing comes back, and ends the map by raising where nobody is left to work.

    Raises:
        OutputError: a chunk cannot be written (disk full); tasks in flight are finished first.
        Interrupted: `stop` was set; tasks in flight are finished first.
    """
    total = Receipt()
    batches = Batches(len(job.grid), workers)
    pending: dict[Future[Receipt], tuple[int, int]] = {}
    arrived: SimpleQueue[Future[Receipt]] = SimpleQueue()

    def submit() -> None:
        while len(pending) < WINDOW * workers and (tiles := batches.take()):
            future = executor.submit(run_batch, job, *tiles, batches.seconds)
            pending[future] = tiles
            future.add_done_callback(arrived.put)

    try:
        submit()
        while pending:
            try:
                future = arrived.get(timeout=0.5)
            except Empty:
                check()
            else:
                receipt = future.result()
                batches.done(pending.pop(future), receipt)
                total.add(receipt)
                progress(receipt)
            if stop is not None and stop.is_set():
                raise Interrupted(f"stopped with {total.tiles} tiles done")
            submit()
    except BaseException:
        _drain(set(pending))
        raise
    return total


def gather(
    function: Callable[[Argument], Result],
    arguments: Iterable[Argument],
    executor: Executor,
    workers: int,
    *,
    stop: Event | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """function(argument) for each of the arguments, in their order, at most 3 x workers of them in flight.

    Raises:
        Interrupted: `stop` was set.
    """
    rest = iter(arguments)
    pending = deque(executor.submit(function, argument) for argument in islice(rest, WINDOW * workers))
    try:
        while pending:
            done, _ = wait([pending[0]], timeout=0.5)
            if stop is not None and stop.is_set():
                raise Interrupted("stopped before the first tile")
            if not done:
                check()
                continue
            yield pending.popleft().result()
            pending.extend(executor.submit(function, argument) for argument in islice(rest, 1))
    except BaseException:
        _drain(set(pending))
        raise


def _drain(pending: set[Future[Any]]) -> None:
    """Wait for what is in flight, so that nobody writes after the map has ended; its errors no longer matter.

    Not cancelled first: a Dask future reports itself cancelled while its task still runs on a worker. Workers may be
    gone, so the patience ends.
    """
    _, lost = wait(pending, timeout=DRAIN_SECONDS)
    for future in lost:
        future.cancel()


def _one_line(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return " ".join(text.split())
