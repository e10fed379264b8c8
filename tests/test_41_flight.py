"""The tasks of a map in flight: halted between tiles, as many as there are workers by now, suspects alone."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Interrupted, LostTask
from pipeline.flow import batches, flight, tasks
from pipeline.flow.flight import WINDOW, Stop, gather, run_map
from pipeline.flow.tasks import Receipt, Wrote, run_one
from pipeline.grid import Grid, Tile


@dataclass
class Pressing:
    """A job that presses the stop button at one of its tiles."""

    grid: Grid
    at: int
    stop: Stop = field(default_factory=Stop)
    done: list[int] = field(default_factory=list)

    def run(self, tile: Tile) -> Wrote:
        if tile.column == self.at:
            self.stop.set()
            threading.Event().wait(0.7)  # longer than the map looks away
        self.done.append(tile.column)
        return Wrote(raw=1)


def test_a_task_stops_between_two_tiles_and_all_that_is_done_counts() -> None:
    job = Pressing(Grid(1, 1000, 1), 7)
    progress: list[Receipt] = []
    with ThreadPoolExecutor(1) as pool, pytest.raises(Interrupted) as caught:
        run_map(job, pool, 1, stop=job.stop, progress=progress.append)
    assert job.done == list(range(8))
    assert str(caught.value) == "stopped with 8 of 1000 tiles done"
    assert sum(receipt.tiles for receipt in progress) == 8


def test_the_halt_is_told_again_to_those_that_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight, "DRAIN_SECONDS", 0.2)
    monkeypatch.setattr(flight, "TELL_EVERY", 0.05)
    told: list[tuple[Callable[..., object], str, int]] = []
    stop = Stop()
    stop.set()

    class Silent(Executor):
        def submit(self, fn, /, *args, **kwargs):
            return Future()

    with pytest.raises(Interrupted):
        run_map(
            Pressing(Grid(1, 9, 1), -1),
            Silent(),
            1,
            stop=stop,
            tell=lambda function, name: told.append((function, name, stop.busy)),
        )
    assert len(told) > 1
    assert {function for function, _, _ in told} == {tasks.halt}
    assert (told[0][2], stop.busy) == (1, 0)


def test_what_is_gathered_is_not_begun_once_halted() -> None:
    begun: list[int] = []
    stop = Stop()

    def look(number: int) -> int:
        begun.append(number)
        stop.set()
        return number

    with ThreadPoolExecutor(1) as pool, pytest.raises(Interrupted):
        list(gather(look, range(50), pool, 4, stop=stop))
    assert len(begun) < 50
    tasks.halt("halted")
    with pytest.raises(Interrupted):
        run_one(look, 51, "halted")
    assert 51 not in begun


class Deadly(Executor):
    """Loses every task that holds one of the bad tiles, and remembers what was in flight with what."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.ran: list[tuple[int, int]] = []
        self.most = 0
        self._out: list[tuple[Future[Receipt], tuple[object, ...]]] = []

    def submit(self, fn, /, *args, **kwargs):
        future: Future[Receipt] = Future()
        self._out.append((future, args))
        threading.Timer(0.001, self._finish).start()
        return future

    def _finish(self) -> None:
        self.most = max(self.most, len(self._out))
        future, (job, first, last, seconds, name) = self._out.pop(0)
        self.ran.append((first, last))
        if self.bad & set(range(first, last)):
            future.set_exception(LostTask("4 workers died"))
        else:
            future.set_result(tasks.run_batch(job, first, last, seconds, name))


@given(st.sets(st.integers(0, 29), max_size=4))
def test_tiles_that_kill_their_workers_alone_are_failures(bad: set[int]) -> None:
    job = Pressing(Grid(1, 30, 1), -1)
    executor = Deadly(bad)
    receipt = run_map(job, executor, 2)
    assert sorted(failure.tile for failure in receipt.failures) == sorted(bad)
    assert receipt.tiles == 30 - len(bad)
    assert sorted(job.done) == sorted(set(range(30)) - bad)
    assert all(1 <= executor.ran.count((tile, tile + 1)) <= 2 for tile in bad)


def test_the_window_follows_the_workers_that_are_there_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST_TILES", 1)  # or a few tasks would hold all tiles
    executor = Deadly(set())
    room = iter([1, 1, 1] + [4] * 500)
    run_map(Pressing(Grid(1, 200, 1), -1), executor, 1, room=lambda: next(room))
    assert WINDOW < executor.most <= WINDOW * 4
