"""The loop that drives a map: bounded window, failures by tile, stops that drain."""

import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from pipeline.errors import ClusterError, Interrupted, OutputError, SourceError
from pipeline.flow import tasks
from pipeline.flow.tasks import WINDOW, Receipt, Wrote, run_map
from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid, Tile


@dataclass
class Recorder:
    """A job that remembers its tiles, and fails where it is told to."""

    grid: Grid
    bad: frozenset[int] = frozenset()
    full: int = -1
    seen: list[int] = field(default_factory=list)

    def run(self, tile: Tile) -> Wrote:
        index = tile.row * self.grid.columns + tile.column
        if index == self.full:
            raise OutputError("disk full")
        if index in self.bad:
            raise SourceError(f"tile\n{index} is torn")
        self.seen.append(index)
        return Wrote(raw=10, stored=4, resumed=index % 2 == 0)


class Counting(Executor):
    """Runs tasks one by one, and remembers how many were in flight at most."""

    def __init__(self) -> None:
        self.waiting = 0
        self.most = 0
        self._inner = ThreadPoolExecutor(1)
        self._lock = threading.Lock()

    def submit(self, fn, /, *args, **kwargs):
        # Counted before it is handed over: a task may be done before `submit` returns.
        with self._lock:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        return self._inner.submit(self._run, fn, *args)

    def _run(self, fn, *args):
        try:
            return fn(*args)
        finally:
            with self._lock:
                self.waiting -= 1


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 4))
def test_every_tile_runs_once_and_sums_add_up(tiles: int, batch: int, workers: int) -> None:
    job = Recorder(Grid(1, tiles, 1))
    progress: list[Receipt] = []
    with ThreadPoolExecutor(workers) as pool:
        total = run_map(job, pool, workers, batch=batch, progress=progress.append)
    assert sorted(job.seen) == list(range(tiles))
    assert (total.tiles, total.raw, total.stored) == (tiles, 10 * tiles, 4 * tiles)
    assert total.resumed == len(range(0, tiles, 2))
    assert sum(receipt.tiles for receipt in progress) == tiles


def test_the_window_is_bounded() -> None:
    executor = Counting()
    run_map(Recorder(Grid(1, 100, 1)), executor, 2)
    assert 0 < executor.most <= WINDOW * 2


def test_a_failing_tile_is_one_line_and_the_others_go_on() -> None:
    job = Recorder(Grid(1, 9, 1), bad=frozenset({3, 7}))
    with ThreadPoolExecutor(2) as pool:
        total = run_map(job, pool, 2, batch=4)
    assert total.tiles == 7
    assert sorted(total.failures) == [
        "tile 3 (rows 0:1, columns 3:4): tile 3 is torn",
        "tile 7 (rows 0:1, columns 7:8): tile 7 is torn",
    ]


def test_an_output_that_cannot_be_written_ends_the_map() -> None:
    job = Recorder(Grid(1, 500, 1), full=5)
    with ThreadPoolExecutor(1) as pool, pytest.raises(OutputError, match="disk full"):
        run_map(job, pool, 1)
    assert len(job.seen) < 500


def test_a_stopped_map_finishes_what_is_in_flight_and_no_more() -> None:
    stop = Event()
    job = Recorder(Grid(1, 500, 1))

    def press(_receipt: Receipt) -> None:
        stop.set()

    with ThreadPoolExecutor(1) as pool, pytest.raises(Interrupted, match="stopped with") as caught:
        run_map(job, pool, 1, progress=press, stop=stop)
    assert caught.value.exit_code == 130
    before = len(job.seen)
    assert before < 500


def test_a_map_whose_workers_are_gone_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "DRAIN_SECONDS", 0.1)

    class Nobody(Executor):
        def submit(self, fn, /, *args, **kwargs):
            return Future()

    def check() -> None:
        raise SourceError("no worker is left")

    with pytest.raises(SourceError, match="no worker is left"):
        run_map(Recorder(Grid(1, 5, 1)), Nobody(), 1, check=check)


def test_a_scheduler_that_is_gone_is_one_clear_line() -> None:
    class Gone(Executor):
        """Dask cancels what waits at a scheduler that it loses."""

        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with pytest.raises(ClusterError, match="the scheduler is gone"):
        run_map(Recorder(Grid(1, 5, 1)), Gone(), 1)
    with pytest.raises(ClusterError, match="the scheduler is gone"):
        list(tasks.gather(abs, [1, 2], Gone(), 1))


def _blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_blas_keeps_to_one_thread_until_the_last_task_is_out() -> None:
    with threadpool_limits(2, user_api="blas"):
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert _blas_threads() == {1}
        second.__exit__(None, None, None)
        assert _blas_threads() == {2}


def test_blas_keeps_to_one_thread_whichever_thread_is_first_in() -> None:
    def inside() -> set[int]:
        with one_blas_thread():
            return _blas_threads()

    with threadpool_limits(2, user_api="blas"), ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        assert one.submit(inside).result() == {1}
        assert other.submit(inside).result() == {1}
        assert inside() == {1}
        assert _blas_threads() == {2}
