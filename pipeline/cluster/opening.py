"""Opens the executor that `--scheduler` names, and closes it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.cluster.executor import DaskExecutor
from pipeline.cluster.memory import Paused, too_small
from pipeline.cluster.remote import (
    LOCAL_PATIENCE,
    PATIENCE,
    Pulse,
    connected,
    dashboard,
    distributed,
    local_cluster,
    tell_workers,
)
from pipeline.cluster.report import check_report, performance_report
from pipeline.cluster.versions import check_all
from pipeline.cluster.where import Where, where
from pipeline.errors import ConfigError
from pipeline.machine import cores, few_arenas


@dataclass(frozen=True)
class Cluster:
    """Where tasks go: `executor.submit`, `workers` of them at a time, described by `name`."""

    executor: Executor
    workers: int
    name: str
    check: Callable[[], None] = lambda: None
    """Raises ClusterError where nobody is left to do the work; to be called while nothing comes back."""
    room: Callable[[], int] | None = None
    """How many tasks the cluster works on at a time by now: workers come and go."""
    tell: Callable[..., None] = lambda function, *args: function(*args)
    """Calls a function in every process that works, and does not wait for it."""


@contextmanager
def open_cluster(
    scheduler: str | None = None,
    workers: int | None = None,
    *,
    say: Callable[[str], None] = lambda line: None,
    stopped: Callable[[], bool] = lambda: False,
    report: Path | None = None,
    warn: Callable[[str], None] = lambda line: None,
    need: Callable[[], int] = lambda: 0,
) -> Iterator[Cluster]:
    """Open the executor that `--scheduler` names, and close it again.

    Args:
        scheduler: `threads` (in this process), `processes` (local Dask workers), an address such as
            `tcp://host:8786`, or a scheduler file; by default what Dask's environment says, or threads.
        workers: threads or processes to start; of a running scheduler, how many of its threads to keep busy.
        say: takes lines for people: the dashboard's address, what they wait for.
        stopped: whether to wait no longer for a first worker.
        report: where Dask's performance report is to be written.
        warn: takes lines about what is most likely not meant: workers with too little memory.
        need: the bytes of a process before its first tile.

    Raises:
        ConfigError: the scheduler is none of these, or threads, of which Dask has no report.
        ClusterError: it does not answer, has no workers, or runs other versions.
        Interrupted: `stopped` while it has no workers.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {workers}")
    place = where(scheduler)
    if report is not None:
        check_report(report, place.word)
    with ExitStack() as stack:
        if place.word == "threads":
            yield stack.enter_context(_threads(workers or cores()))
        else:
            yield stack.enter_context(_dask(place, workers, say, stopped, report, warn, need))


@contextmanager
def _threads(count: int) -> Iterator[Cluster]:
    few_arenas(count)
    with ThreadPoolExecutor(count, thread_name_prefix="terrasketch") as pool:
        try:
            yield Cluster(pool, count, f"{count} threads")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # what is queued is not worth waiting for
            raise


@contextmanager
def _dask(
    place: Where,
    workers: int | None,
    say: Callable[[str], None],
    stopped: Callable[[], bool],
    report: Path | None,
    warn: Callable[[str], None],
    need: Callable[[], int],
) -> Iterator[Cluster]:
    dask = distributed()
    with ExitStack() as stack:
        if place.word == "processes":
            count = workers or cores()
            client = stack.enter_context(local_cluster(dask, count, stopped, profile=report is not None))
            name, words = "the local workers", f"{count} processes"
        else:
            client = stack.enter_context(connected(dask, place, say, stopped))
            for note in check_all(client, place.word):
                say(note)
            for warning in too_small(client, place.word, need()):
                warn(warning)
            threads = sum(client.nthreads().values())
            count, name, words = workers or threads, place.word, f"{threads} threads at {place.word}"
        if link := dashboard(client):
            say(f"dashboard: {link}")
        local = place.word == "processes"
        pulse, paused = Pulse(client, name, LOCAL_PATIENCE if local else PATIENCE), Paused(client, name, warn)
        stack.enter_context(performance_report(dask, client, report))

        def check() -> None:
            pulse.check()
            paused.check()

        yield Cluster(
            DaskExecutor(client, dask, name, elsewhere=not local),
            count,
            words,
            check,
            None if workers else pulse.threads,
            lambda function, *args: tell_workers(client, function, *args),
        )
