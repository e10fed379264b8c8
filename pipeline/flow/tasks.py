"""Batches of tiles in a bounded window of tasks: the only loop that drives a map over a scene.

Any executor will do (threads, processes, a Dask client's); it sees small picklable jobs and returns small receipts.
A tile that cannot be computed is a line in its receipt and the others go on; an output that cannot be written, or a
broken executor, ends the map.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from dataclasses import dataclass, field
from itertools import islice
from threading import Event
from typing import Any, Protocol, TypeVar

from pipeline.errors import ClusterError, Interrupted, OutputError, TerrasketchError
from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid, Tile

Argument = TypeVar("Argument")
Result = TypeVar("Result")

WINDOW = 3
DRAIN_SECONDS = 60.0


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

    def add(self, other: Receipt) -> None:
        """Add another receipt to this one."""
        self.tiles += other.tiles
        self.resumed += other.resumed
        self.raw += other.raw
        self.stored += other.stored
        self.seconds += other.seconds
        self.clipped += other.clipped
        self.failures += other.failures


def run_batch(job: Job, first: int, last: int) -> Receipt:
    """The task: tiles first..last of the job's grid, one after the other, on one BLAS thread."""
    receipt = Receipt()
    start = time.perf_counter()
    with one_blas_thread():
        for index in range(first, last):
            try:
                wrote = job.run(job.grid[index])
            except OutputError:
                raise
            except (TerrasketchError, MemoryError) as error:
                receipt.failures.append(f"tile {index} ({job.grid[index].window}): {_one_line(error)}")
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
) -> Receipt:
    """Run the job over every tile of its grid, `batch` tiles a task, at most 3 x workers tasks in flight.

    `check` is called while nothing comes back, and ends the map by raising where nobody is left to work.

    Raises:
        OutputError: a chunk cannot be written (disk full); tasks in flight are finished first.
        Interrupted: `stop` was set; tasks in flight are finished first.
        ClusterError: the scheduler is gone.
    """
    total = Receipt()
    pending: set[Future[Receipt]] = set()
    batches = _batches(len(job.grid), batch)
    try:
        for first, last in islice(batches, WINDOW * workers):
            pending.add(executor.submit(run_batch, job, first, last))
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                receipt = _result(future)
                total.add(receipt)
                progress(receipt)
            if not done:
                check()
            if stop is not None and stop.is_set():
                raise Interrupted(f"stopped with {total.tiles} tiles done")
            for first, last in islice(batches, WINDOW * workers - len(pending)):
                pending.add(executor.submit(run_batch, job, first, last))
    except BaseException:
        _drain(pending)
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
            yield _result(pending.popleft())
            pending.extend(executor.submit(function, argument) for argument in islice(rest, 1))
    except BaseException:
        _drain(set(pending))
        raise


def _result(future: Future[Result]) -> Result:
    """What a task answered. Nobody here cancels what is waited for: Dask does, where its scheduler is gone."""
    try:
        return future.result()
    except CancelledError as error:
        raise ClusterError("the scheduler is gone, with all in flight; start it, and run again to resume") from error


def _batches(tiles: int, batch: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + batch, tiles)) for first in range(0, tiles, batch))


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
