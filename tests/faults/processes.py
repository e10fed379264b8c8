"""What runs and is killed: drivers, a Dask cluster; and who is left of a session."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from distributed import Client

ROOT = Path(__file__).parents[2]
WORKERS = 2
MARK = f"FAULTS_NURSERY={uuid4().hex}"
"""In the environment of all that we start: numbers of processes are given again, and a stranger must not be hit."""
_PATIENCE = 120.0


def children(parent: int, word: bytes = b"spawn_main") -> list[int]:
    """The worker processes below a nanny or a driver."""
    found = []
    for pid, own, _ in _processes():
        if own == parent and alive(pid):
            with suppress(OSError):
                if word in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
    return sorted(found)


def alive(pid: int) -> bool:
    """Whether a process of ours lives: one that waits to be buried does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX" and MARK.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def send(pid: int, number: int) -> bool:
    """Send a signal; whether there was somebody to send it to."""
    if not alive(pid):
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def linger(sessions: list[int], seconds: float) -> list[int]:
    """Who is left of some sessions after so many seconds; they are killed."""
    until = time.monotonic() + seconds
    while True:
        left = [pid for pid, _, own in _processes() if own in sessions and alive(pid)]
        if not left or time.monotonic() > until:
            break
        time.sleep(0.05)
    for pid in left:
        send(pid, signal.SIGKILL)
    return left


class Nursery:
    """Starts processes; one driver at a time."""

    def __init__(self) -> None:
        words = [sys.executable, "-m", "tests.faults.nursery"]
        name, _, value = MARK.partition("=")
        known = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", name: value}
        # Dask asks a worker that has gone for its results for so long; half a minute by default.
        known["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"] = "8s"
        self._server = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=known, start_new_session=True
        )
        self.driver = 0
        self._ends: list[str] = []
        self._rest = b""

    def here(self, order: dict[str, Any]) -> int:
        """Run an order in the server itself; the exit code."""
        self._order(order | {"do": "here"})
        return int(self._line(900.0).split()[1])

    def start(self, what: str, order: dict[str, Any]) -> int:
        """Start a driver, a scheduler or a worker: the leader of a session."""
        self._order(order | {"do": what})
        while (line := self._line(_PATIENCE)).startswith("exit"):  # of a driver that has just ended
            self._ends.append(line)
        pid = int(line.split()[1])
        if what == "driver":
            self.driver = pid
        return pid

    def ended(self, seconds: float) -> int | None:
        """The exit code of the driver, negative for a signal; None where it still runs after so many seconds."""
        line = self._ends.pop() if self._ends else self._line(seconds)
        return int(line.split()[1]) if line else None

    def close(self) -> None:
        """No more of them."""
        send(self.driver, signal.SIGKILL)
        linger([self.driver], 20.0)
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(60)
        self._server.stdout.close()

    def _order(self, order: dict[str, Any]) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        self._server.stdin.flush()

    def _line(self, seconds: float) -> str:
        assert self._server.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._server.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return ""
            more = os.read(self._server.stdout.fileno(), 1 << 12)
            if not more:
                raise RuntimeError("the nursery has ended")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


class Cluster:
    """A scheduler and two workers of one thread, each in a session of its own, under nannies or bare."""

    def __init__(self, folder: Path, nursery: Nursery) -> None:
        self.folder = folder
        self._nursery = nursery
        self._starts = 0
        self._scheduler = 0
        self._workers: list[int] = []
        self._sessions: list[int] = []
        self._nannies = False

    @property
    def file(self) -> Path:
        """The scheduler file of the cluster that runs now."""
        return self.folder / f"scheduler{self._starts}.json"

    def ready(self, nannies: bool) -> list[int]:
        """Two workers at a scheduler, whoever of them has to be started for it; who outlived an older one."""
        orphans = []
        if not alive(self._scheduler) or nannies != self._nannies:
            orphans = self.stop()
            self._starts += 1
            self._nannies = nannies
            self._scheduler = self._start("scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0")
            until = time.monotonic() + _PATIENCE
            while not (self.file.exists() and self.file.stat().st_size):
                if time.monotonic() > until:
                    raise RuntimeError("no scheduler file")
                time.sleep(0.02)
        until = time.monotonic() + _PATIENCE
        with Client(scheduler_file=str(self.file), timeout="60s") as client:
            while True:
                self.replace()  # who was told to go may still have been there a moment ago
                with suppress(TimeoutError):
                    client.wait_for_workers(WORKERS, timeout=_PATIENCE / 20)
                    return orphans
                if time.monotonic() > until:
                    raise RuntimeError("no workers")

    def replace(self) -> None:
        """Start a worker for each that has gone."""
        self._workers = [pid for pid in self._workers if alive(pid)]
        while len(self._workers) < WORKERS:
            words = ["--nthreads", "1", "--memory-limit", "0", "--preload", "tests.faults.counting"]
            self._workers.append(self._start("worker", *words, "--nanny" if self._nannies else "--no-nanny"))

    def victim(self, kind: str, number: int) -> int | None:
        """The process of the scheduler, a worker, or the nanny above it."""
        if kind == "scheduler":
            return self._scheduler
        if not self._workers:
            return None
        leader = self._workers[number % len(self._workers)]
        return leader if kind == "nanny" or not self._nannies else next(iter(children(leader)), None)

    def stop(self) -> list[int]:
        """End everybody; who of them outlived a nanny that had been killed."""
        orphans = linger([pid for pid in self._sessions if not alive(pid)], 20.0)
        for pid in [*self._workers, self._scheduler]:
            send(pid, signal.SIGTERM)
        linger(self._sessions, 20.0)
        self._scheduler, self._workers, self._sessions = 0, [], []
        return orphans

    def _start(self, what: str, *words: str) -> int:
        log = str(self.folder / f"{what}{len(self._sessions)}.log")
        given = ["--scheduler-file", str(self.file), "--host", "127.0.0.1", "--no-dashboard", *words]
        pid = self._nursery.start(
            what, {"words": given, "folder": str(self.folder), "stdout": log, "stderr": f"{log}.err"}
        )
        self._sessions.append(pid)
        return pid


def _processes() -> list[tuple[int, int, int]]:
    """(process, parent, session) of all that live."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, ValueError):
                state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if state not in "ZX":
                    found.append((int(entry.name), int(parent), int(session)))
    return found
