"""The loop that drives a map: bounded window, failures by tile, stops that drain."""

import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from pipeline.errors import Interrupted, OutputError, SourceError
from pipeline.flow import batches, flight
from pipeline.flow.batches import MOST_TILES, Batches, task_seconds, tasks_for
from pipeline.flow.flight import WINDOW, run_map
from pipeline.flow.tasks import Receipt, Wrote, run_batch
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


@given(st.integers(1, 60), st.integers(1, 4))
def test_every_tile_runs_once_and_sums_add_up(tiles: int, workers: int) -> None:
    job = Recorder(Grid(1, tiles, 1))
    progress: list[Receipt] = []
    with ThreadPoolExecutor(workers) as pool:
        total = run_map(job, pool, workers, progress=progress.append)
    assert sorted(job.seen) == list(range(tiles))
    assert (total.tiles, total.raw, total.stored) == (tiles, 10 * tiles, 4 * tiles)
    assert total.resumed == len(range(0, tiles, 2))
    assert sum(receipt.tiles for receipt in progress) == tiles


@given(st.integers(1, 3000), st.integers(1, 9), st.lists(st.tuples(st.floats(0, 9), st.integers(1, 99)), max_size=40))
def test_batches_hold_every_tile_once_however_long_tiles_take(
    tiles: int, workers: int, tasks: list[tuple[float, int]]
) -> None:
    """Tasks of any length, each of which may hand back what it has not met."""
    batches = Batches(tiles, workers)
    seen: list[int] = []
    turns = iter(tasks)
    while batch := batches.take():
        first, last = batch
        assert 0 < last - first <= MOST_TILES
        seconds, met = next(turns, (0.5, last - first))
        met = min(met, last - first)
        seen += range(first, first + met)
        batches.done(batch, Receipt(tiles=met, seconds=seconds))
    assert sorted(seen) == list(range(tiles))


def test_tasks_grow_to_the_seconds_that_they_should_take_and_shrink_where_tiles_are_dear() -> None:
    batches = Batches(1_000_000, 2)
    sizes = []
    for seconds in (0.01,) * 6 + (2.0,) * 3:
        first, last = batches.take() or (0, 0)
        sizes.append(last - first)
        batches.done((first, last), Receipt(tiles=last - first, seconds=seconds * (last - first)))
    assert sizes == [1, 8, 64, 100, 100, 100, 100, 1, 1]


def test_many_workers_get_longer_tasks_and_the_last_tasks_are_short() -> None:
    assert task_seconds(2) == 1
    assert task_seconds(500) == 5
    assert tasks_for(1_000_000, 1e-7, 2) == -(-1_000_000 // MOST_TILES)
    assert tasks_for(1000, 10.0, 4) == 1000
    assert tasks_for(5, 1e-3, 4) == 5
    batches = Batches(100, 2)
    for _ in range(2):
        batches.done((0, 0), Receipt(tiles=64, seconds=1e-3))
    assert [batches.take() for _ in range(3)] == [(0, 25), (25, 43), (43, 57)]


class Slow(Recorder):
    """A job whose tiles take time."""

    def run(self, tile: Tile) -> Wrote:
        time.sleep(0.02)
        return super().run(tile)


def test_a_task_hands_back_what_it_has_after_its_time() -> None:
    job = Slow(Grid(1, 50, 1), bad=frozenset({0}))
    receipt = run_batch(job, 0, 50, seconds=0.05)
    assert 1 <= receipt.met < 50
    assert receipt.met == len(job.seen) + 1
    assert run_batch(job, 40, 50, seconds=0.0).met == 1  # or nothing would ever be done
    assert 0 <= receipt.cpu < receipt.seconds


def test_what_a_task_handed_back_is_done_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(self: Batches) -> tuple[int, int] | None:
        if self._back:
            return self._back.pop()
        first, self._next = self._next, self._end
        return (first, self._end) if first < self._end else None

    monkeypatch.setattr(batches, "TASK_SECONDS", 0.03)
    monkeypatch.setattr(Batches, "take", greedy)
    job = Slow(Grid(1, 12, 1))
    progress: list[Receipt] = []
    with ThreadPoolExecutor(2) as pool:
        total = run_map(job, pool, 2, progress=progress.append)
    assert total.tiles == 12
    assert sorted(job.seen) == list(range(12))
    assert len(progress) > 1


def test_the_window_is_bounded() -> None:
    executor = Counting()
    run_map(Recorder(Grid(1, 100, 1)), executor, 2)
    assert 0 < executor.most <= WINDOW * 2


def test_a_failing_tile_is_one_line_and_the_others_go_on() -> None:
    job = Recorder(Grid(1, 9, 1), bad=frozenset({3, 7}))
    with ThreadPoolExecutor(2) as pool:
        total = run_map(job, pool, 2)
    assert total.tiles == 7
    assert sorted(map(str, total.failures)) == [
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
    monkeypatch.setattr(flight, "DRAIN_SECONDS", 0.1)

    class Nobody(Executor):
        def submit(self, fn, /, *args, **kwargs):
            return Future()

    def check() -> None:
        raise SourceError("no worker is left")

    with pytest.raises(SourceError, match="no worker is left"):
        run_map(Recorder(Grid(1, 5, 1)), Nobody(), 1, check=check)


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
