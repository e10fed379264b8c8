"""threads | processes | tcp://... | FILE.json -> an executor to submit tasks to, and how many of them run at once."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ClusterError, ConfigError

_TIMEOUT = "15s"
_IGNORE_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""Ctrl-C reaches every process of a terminal's job; the client alone decides what becomes of it."""
_ASK_EVERY, _PATIENCE = 5.0, 60.0
"""Seconds between two looks at the workers, and without any before a job is given up."""


@dataclass(frozen=True)
class Cluster:
    """Where tasks go: `executor.submit`, `workers` of them at a time, described by `name`."""

    executor: Executor
    workers: int
    name: str
    check: Callable[[], None] = lambda: None
    """Raises ClusterError where nobody is left to do the work; to be called while nothing comes back."""


def cores() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def open_cluster(scheduler: str = "threads", workers: int | None = None) -> Iterator[Cluster]:
    """Open the executor that `--scheduler` names, and close it again.

    Args:
        scheduler: `threads` (in this process), `processes` (local Dask workers), an address such as
            `tcp://host:8786`, or a scheduler file.
        workers: threads or processes to start; of a running scheduler, how many of its threads to keep busy.

    Raises:
        ConfigError: the scheduler is none of these.
        ClusterError: it does not answer, has no workers, or runs other versions.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {workers}")
    if scheduler == "threads":
        count = workers or cores()
        with ThreadPoolExecutor(count, thread_name_prefix="terrasketch") as pool:
            try:
                yield Cluster(pool, count, f"{count} threads")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # what is queued is not worth waiting for
                raise
    elif scheduler == "processes":
        with _local_cluster(workers or cores()) as cluster:
            yield cluster
    elif "://" in scheduler or scheduler.endswith(".json"):
        with _remote_cluster(scheduler, workers) as cluster:
            yield cluster
    else:
        raise ConfigError(
            f"--scheduler {scheduler}: not a scheduler; give threads, processes, an address such as "
            "tcp://host:8786, or a scheduler file ending in .json"
        )


def _distributed() -> Any:
    try:
        import distributed  # noqa: PLC0415  (optional dependency)
    except ImportError as error:
        raise ConfigError(
            "this --scheduler needs Dask's distributed; install it with: pip install 'terrasketch[cluster]'"
        ) from error
    # What goes wrong comes back as an exception, of which we make one line: the log says it again, with tracebacks.
    for name in ["distributed", *logging.root.manager.loggerDict]:
        if name.partition(".")[0] in ("distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return distributed


class _Pulse:
    """Whether a Dask cluster still has workers. New ones may join, so an empty one is given some time."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name
        self._asked = self._alive = time.monotonic()

    def check(self) -> None:
        now = time.monotonic()
        if now - self._asked < _ASK_EVERY:
            return
        self._asked = now
        try:
            workers = self._client.nthreads() if self._client.status == "running" else {}
        except (OSError, ValueError, TimeoutError):
            workers = {}
        if workers:
            self._alive = now
        elif now - self._alive > _PATIENCE:
            raise ClusterError(
                f"{self._name}: no worker has answered for {_PATIENCE:.0f} s; start some and run again to resume"
            )


@contextmanager
def _local_cluster(workers: int) -> Iterator[Cluster]:
    distributed = _distributed()
    try:
        # The work of a task is bounded by its tile, so Dask's own memory limits would only get in the way.
        started = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            preload=[_IGNORE_SIGINT],
        )
    except (RuntimeError, OSError) as error:  # a worker that is killed before it has come up, too
        reason = " ".join(str(error).split())
        raise ClusterError(f"the local workers cannot be started ({reason}); run again to resume") from error
    with started as cluster, distributed.Client(cluster) as client:
        pulse = _Pulse(client, "the local workers")
        yield Cluster(client.get_executor(pure=False), workers, f"{workers} processes", pulse.check)


@contextmanager
def _remote_cluster(scheduler: str, workers: int | None) -> Iterator[Cluster]:
    distributed = _distributed()
    with _connect(distributed, scheduler) as client:
        threads = sum(client.nthreads().values())
        if threads == 0:
            raise ClusterError(f"{scheduler}: the scheduler has no workers; start some with `dask worker {scheduler}`")
        try:
            client.get_versions(check=True)
        except ValueError as error:
            raise ClusterError(f"{scheduler}: {' '.join(str(error).split())}") from error
        yield Cluster(
            client.get_executor(pure=False),
            workers or threads,
            f"{threads} threads at {scheduler}",
            _Pulse(client, scheduler).check,
        )


def _connect(distributed: Any, scheduler: str) -> Any:
    try:
        if scheduler.endswith(".json"):
            if not Path(scheduler).is_file():
                raise ClusterError(f"{scheduler}: no such scheduler file; `dask scheduler --scheduler-file` writes one")
            return distributed.Client(scheduler_file=scheduler, timeout=_TIMEOUT)
        return distributed.Client(scheduler, timeout=_TIMEOUT)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ClusterError(f"{scheduler}: no scheduler answers ({reason}); is `dask scheduler` running?") from error
