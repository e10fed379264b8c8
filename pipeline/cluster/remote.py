"""Dask's side: local workers on the loopback, a scheduler that runs already, and whether its workers are alive."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from threading import Thread
from typing import Any

from dask import config

from pipeline.cluster.where import Where
from pipeline.errors import ClusterError, ConfigError, Interrupted

_TIMEOUT = 15
"""Seconds for a scheduler to answer; its port may be another program's, which answers for ever in its own way."""
_FIRST_WORKER = 120.0
"""Seconds in which the first worker must join a scheduler that runs: images are pulled, queues move."""
_LEAVE_SIGNALS = "import signal; [signal.signal(one, signal.SIG_IGN) for one in (signal.SIGINT, signal.SIGTERM)]"
"""Ctrl-C reaches every process of a terminal's job, SIGTERM those of a service; the client alone decides what becomes
of them. They end with it, however it ends."""
_EARLY = "stopped before the first tile"
_READY = "import pipeline.flow.compress, pipeline.flow.feature_job"
"""What every task needs, all workers at a time, before the first."""
_ASK_EVERY = 5.0
"""Seconds between two looks at the workers."""
PATIENCE, LOCAL_PATIENCE = 60.0, 240.0
"""Seconds without any worker before a job is given up; of ours on this host, which a nanny starts anew: where memory or
time is short they are long in coming."""


def distributed() -> Any:
    """Dask's distributed, which is an extra.

    Raises:
        ConfigError: it is not installed.
    """
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


class Pulse:
    """How many threads a Dask cluster has. New workers may join, so an empty one is given some time."""

    def __init__(self, client: Any, name: str, patience: float = PATIENCE) -> None:
        self._client = client
        self._name = name
        self._patience = patience
        self._threads = 1
        self._asked = time.monotonic() - _ASK_EVERY
        self._missed: float | None = None

    def threads(self) -> int:
        """The threads of all workers, as they were some seconds ago at most."""
        now = time.monotonic()
        if now - self._asked >= _ASK_EVERY:
            before, self._asked = self._asked, now
            try:
                found = sum(self._client.nthreads().values()) if self._client.status == "running" else 0
            except (OSError, ValueError, TimeoutError):
                found = 0
            # From the first look that found nobody: any look before may be long ago, where nobody asked since.
            if found:
                self._threads, self._missed = found, None
            elif self._missed is None or now - before > self._patience:
                self._missed = now
        return self._threads

    def check(self) -> None:
        """Look whether anybody is there.

        Raises:
            ClusterError: nobody has been, for a while.
        """
        self.threads()
        if self._missed is not None and self._asked - self._missed > self._patience:
            raise ClusterError(
                f"{self._name}: no worker has answered for {self._patience:.0f} s; start some and run again to resume"
            )


def tell_workers(client: Any, function: Callable[..., object], *args: object) -> None:
    """Call a function on every worker without waiting: some may not answer."""

    def tell() -> None:
        with suppress(Exception):  # a worker that is gone need not be told
            client.run(function, *args, on_error="ignore")

    Thread(target=tell, daemon=True).start()


def dashboard(client: Any) -> str | None:
    """The address of the scheduler's page; None where it has none."""
    try:
        return str(client.dashboard_link) or None
    except (KeyError, AttributeError, ValueError):
        return None


@contextmanager
def local_cluster(
    dask: Any, workers: int, stopped: Callable[[], bool] = lambda: False, *, profile: bool = False
) -> Iterator[Any]:
    """A client of that many processes of one thread on this host, which listen on the loopback alone.

    Dask samples what its workers do a hundred times a second where somebody will look at the `profile`.

    Raises:
        ClusterError: they do not come up.
        Interrupted: `stopped` meanwhile.
    """
    try:
        # The work of a task is bounded by its tile, so Dask's own memory limits would only get in the way.
        with config.set({"distributed.worker.profile.enabled": profile}), _deaf_children():
            started = dask.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
                silence_logs=logging.CRITICAL,  # as here: what goes wrong comes back as an exception
                preload=[_LEAVE_SIGNALS, _READY],
            )
    except (RuntimeError, OSError) as error:  # a worker that is killed before it has come up, too
        if stopped():
            raise Interrupted(_EARLY) from error
        reason = " ".join(str(error).split())
        raise ClusterError(f"the local workers cannot be started ({reason}); run again to resume") from error
    with started as cluster, dask.Client(cluster) as client:
        if stopped():
            raise Interrupted(_EARLY)
        yield client


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that are started inside do not hear SIGINT and SIGTERM while they import: they inherit what this thread
    blocks, as the threads do that start them. Another thread of this process hears for all."""
    resource_tracker.ensure_running()  # its start would unblock them in the thread that needs it first
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def connected(dask: Any, place: Where, say: Callable[[str], None], stopped: Callable[[], bool]) -> Iterator[Any]:
    """A client of a scheduler that has workers; the process's own where it is connected there already.

    Raises:
        ClusterError: the scheduler does not answer, or nobody joins it.
        Interrupted: `stopped` while nobody has joined.
    """
    current = _current(dask, place)
    if current is not None:  # whoever made it may hold credentials that no address tells
        _wait_for_workers(current, place, say, stopped)
        yield current
        return
    with _connect(dask, place, stopped) as client:
        _wait_for_workers(client, place, say, stopped)
        yield client


def _current(dask: Any, place: Where) -> Any:
    try:
        client = dask.Client.current()
    except ValueError:
        return None
    known = {str(getattr(of, name, None)) for of, name in _addresses(client)}
    return client if place.word in known else None


def _addresses(client: Any) -> list[tuple[Any, str]]:
    return [(client.scheduler, "address"), (client.cluster, "scheduler_address")]


def _connect(dask: Any, place: Where, stopped: Callable[[], bool]) -> Any:
    if place.is_file or place.word.endswith(".json"):
        if not Path(place.word).is_file():
            raise ClusterError(f"{place.word}: no such scheduler file; `dask scheduler --scheduler-file` writes one")
        address, words = _address_in(place.word), {"scheduler_file": place.word}
    else:
        address, words = place.word, {"address": place.word}
    try:
        _greet(dask, address, stopped)
        with warnings.catch_warnings():  # Dask's table of versions; ours is one line
            warnings.simplefilter("ignore", dask.versions.VersionMismatchWarning)
            return dask.Client(timeout=f"{_TIMEOUT}s", **words)
    except TimeoutError as error:
        raise ClusterError(
            f"{place.word}: something answers, but not as a Dask scheduler; check host and port"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ClusterError(f"{place.word}: no scheduler answers ({reason}); is `dask scheduler` running?") from error


def _greet(dask: Any, address: str, stopped: Callable[[], bool]) -> None:
    """Exchange the first words with a scheduler, for which Dask's client has no deadline: it would wait for ever.

    Raises:
        TimeoutError: somebody is there, and says nothing that Dask says.
        OSError, ValueError: nobody is there.
        Interrupted: `stopped` meanwhile.
    """

    async def greet() -> None:
        secret = dask.Security().get_connection_args("client")
        comm = await dask.comm.connect(address, timeout=_TIMEOUT, **secret)
        await comm.close()

    def run() -> None:
        try:
            done.set_result(asyncio.run(asyncio.wait_for(greet(), _TIMEOUT + 3)))
        except BaseException as error:  # told where it is waited for
            done.set_exception(error)

    done: Future[None] = Future()
    Thread(target=run, daemon=True).start()  # the caller's thread may have a loop of its own
    while not wait([done], timeout=0.2).done:
        if stopped():
            raise Interrupted(_EARLY)
    done.result()


def _address_in(word: str) -> str:
    """The address that a scheduler file tells. Raises ClusterError."""
    try:
        address = json.loads(Path(word).read_bytes())["address"]
        if isinstance(address, str):
            return address
        why = f"its address is {address!r}"
    except OSError as error:
        raise ClusterError(f"{word}: the scheduler file cannot be read: {error.strerror}; check its rights") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        why = "it is no JSON" if isinstance(error, ValueError) else "it names no address"
    raise ClusterError(f"{word} is no scheduler file: {why}; `dask scheduler --scheduler-file` writes one")


def _wait_for_workers(client: Any, place: Where, say: Callable[[str], None], stopped: Callable[[], bool]) -> None:
    if client.nthreads():
        return
    say(f"{place.word}: waiting for a first worker")
    end = time.monotonic() + _FIRST_WORKER
    while not client.nthreads():
        if stopped():
            raise Interrupted(_EARLY)
        if time.monotonic() > end:
            raise ClusterError(
                f"{place.word}: no worker has joined this scheduler in {_FIRST_WORKER:.0f} s; "
                f"start some with `dask worker {place.word}`"
            )
        time.sleep(0.5)
