"""Batches of tiles in a bounded window of tasks: the only loop that drives a map over a scene.

Any executor will do (threads, processes, a Dask client's); it sees small picklable jobs and returns small receipts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any
from uuid import uuid4

from pipeline.errors import Interrupted, LostTask, TileError
from pipeline.flow.batches import Batches
from pipeline.flow.tasks import Argument, Failure, Job, Receipt, Result, halt, run_batch, run_one

WINDOW = 3
DRAIN_SECONDS, TELL_EVERY = 60.0, 2.0
"""How long an ending map waits for its tasks, and how often it says so to workers: new ones may have joined."""


class Stop(Event):
    """A stop button, and how many tiles are being computed meanwhile."""

    busy = 0


def tell_here(function: Callable[..., object], *args: object) -> None:
    """Call a function in every process that works, where that is this one."""
    function(*args)


def run_map(
    job: Job,
    executor: Executor,
    workers: int,
    *,
    progress: Callable[[Receipt], None] = lambda receipt: None,
    stop: Event | None = None,
    check: Callable[[], None] = lambda: None,
    room: Callable[[], int] | None = None,
    tell: Callable[..., None] = tell_here,
) -> Receipt:
    """Run the job over every tile of its grid, at most 3 x workers tasks in flight.

    `check` is called while nothing comes back, and ends the map by raising where nobody is left to work. `room` says
    how many workers there are by now; `tell` calls a function in every process that works.

    Raises:
        OutputError: a chunk cannot be written (disk full); tiles in flight are finished first.
        Interrupted: `stop` was set; tiles in flight are finished first.
        ClusterError: the scheduler is gone, or all workers.
    """
    flight = _Flight(job, executor, workers, progress)
    try:
        while flight.send(WINDOW * (most := room() if room else workers)):
            if isinstance(stop, Stop):
                stop.busy = min(most, len(flight.pending))
            if not flight.wait(0.5):
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
    finally:
        if isinstance(stop, Stop):
            stop.busy = 0
    return flight.total


class _Flight:
    """The tasks of one map that are out, and the sum of what came back.

    Workers may die because of a tile or of something else, and with all that they hold. So the tiles of a lost task are
    suspects: they are tried again alone, one at a time, and those whose workers die once more are failures.
    """

    def __init__(self, job: Job, executor: Executor, workers: int, progress: Callable[[Receipt], None]) -> None:
        self.name = uuid4().hex
        self.total = Receipt()
        self.pending: dict[Future[Receipt], tuple[int, int]] = {}
        self._job, self._executor, self._progress = job, executor, progress
        self._batches = Batches(len(job.grid), workers)
        self._arrived: SimpleQueue[Future[Receipt]] = SimpleQueue()
        self._suspects: deque[int] = deque()
        self._tried: Future[Receipt] | None = None

    def send(self, most: int) -> bool:
        """Fill up to so many tasks; whether any is out."""
        while len(self.pending) < most and (tiles := self._batches.take()):
            self._submit(*tiles)
        if self._suspects and self._tried not in self.pending:
            suspect = self._suspects.popleft()
            self._tried = self._submit(suspect, suspect + 1)
        return bool(self.pending)

    def wait(self, seconds: float) -> bool:
        """Take one task that came back; False where none did in so many seconds."""
        try:
            future = self._arrived.get(timeout=seconds)
        except Empty:
            return False
        self.take(future)
        return True

    def take(self, future: Future[Receipt]) -> None:
        """Add what came back; what a task left goes into another."""
        first, last = self.pending.pop(future)
        try:
            receipt = future.result()
        except LostTask as lost:
            if future is not self._tried:
                self._suspects.extend(range(first, last))
                return
            receipt = Receipt(failed=1, failures=[Failure.of(self._job, first, lost)])
        self._batches.done((first, last), receipt)
        self.total.add(receipt)
        self._progress(receipt)

    def _submit(self, first: int, last: int) -> Future[Receipt]:
        future = self._executor.submit(run_batch, self._job, first, last, self._batches.seconds, self.name)
        self.pending[future] = (first, last)
        future.add_done_callback(self._arrived.put)
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
        ClusterError: the scheduler is gone, or all workers.
        TileError: every worker that took an argument died.
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
            yield _settled(pending.popleft(), function)
            pending.extend(executor.submit(run_one, function, argument, name) for argument in islice(rest, 1))
    except BaseException:
        _drain(set(pending), name, tell)
        raise


def _settled(future: Future[Result], function: Callable[..., Result]) -> Result:
    """The result of a task; what kills the workers that take it is the fault of this scene, not of the cluster."""
    try:
        return future.result()
    except LostTask as lost:
        raise TileError(f"{getattr(function, '__name__', 'task')}: {lost}") from lost


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
