"""What runs: drivers, a Dask cluster, and who is left of a session."""

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

from distributed import Client

ROOT = Path(__file__).parents[2]
WORKERS = 2
_PATIENCE = 60.0


def environment() -> dict[str, str]:
    """The tree's own package for everybody, and one thread of BLAS for each."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}


def members(session: int) -> list[int]:
    """The processes of a session that live."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                state, _, _, own = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(own) == session and state not in "ZX":
                    found.append(int(entry.name))
    return found


def children(parent: int, word: bytes = b"spawn_main") -> list[int]:
    """The worker processes below a nanny or a driver."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                own = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if own == parent and word in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return sorted(found)


def send(pid: int, number: int) -> bool:
    """Send a signal; whether there was somebody to send it to."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


class Drivers:
    """Starts one driver at a time."""

    def __init__(self) -> None:
        words = [sys.executable, "-m", "tests.faults.driver"]
        self._server = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment(), start_new_session=True
        )
        self.pid = 0
        self._rest = b""

    def here(self, order: dict[str, Any]) -> int:
        """Do an order in the server itself."""
        self._order(order | {"here": True})
        return int(self._line(600.0).split()[1])

    def start(self, order: dict[str, Any]) -> None:
        """Start a driver; its process is the leader of a session."""
        self._order(order)
        self.pid = int(self._line(60.0).split()[1])

    def ended(self, seconds: float) -> int | None:
        """The exit code of the driver, negative for a signal; None where it still runs after so many seconds."""
        line = self._line(seconds)
        return int(line.split()[1]) if line else None

    def close(self) -> None:
        """No more drivers."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(60)

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
                raise RuntimeError("the server of drivers has ended")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


class Cluster:
    """A scheduler and two workers of one thread, each under a nanny, each in a session of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.starts = 0
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.nannies: list[subprocess.Popen[bytes]] = []
        self._all: list[int] = []

    @property
    def file(self) -> Path:
        """The scheduler file of the cluster that runs now."""
        return self.folder / f"scheduler{self.starts}.json"

    def ready(self) -> None:
        """Two workers at a scheduler, whoever of them has to be started for it."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.stop()
            self.starts += 1
            self.scheduler = self._start("scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0")
            _wait(lambda: self.file.exists() and self.file.stat().st_size > 0, "no scheduler file")
        self.replace()
        with Client(scheduler_file=str(self.file), timeout="30s") as client:
            client.wait_for_workers(WORKERS, timeout=_PATIENCE)

    def replace(self) -> None:
        """Start a worker for each that has gone."""
        self.nannies = [nanny for nanny in self.nannies if nanny.poll() is None]
        while len(self.nannies) < WORKERS:
            words = ("--nthreads", "1", "--memory-limit", "0", "--preload", "tests.faults.counting")
            self.nannies.append(self._start("worker", *words))

    def victim(self, kind: str, number: int) -> int | None:
        """The process of the scheduler, a nanny, or the worker below it."""
        if kind == "scheduler":
            return self.scheduler.pid if self.scheduler else None
        if not self.nannies:
            return None
        nanny = self.nannies[number % len(self.nannies)].pid
        return nanny if kind == "nanny" else next(iter(children(nanny)), None)

    def stop(self) -> list[int]:
        """End everybody; who of them had to be killed though its parent was gone."""
        for process in self._processes():
            process.terminate()
        for process in self._processes():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
        orphans = linger(self._all, 20.0)
        self.scheduler, self.nannies, self._all = None, [], []
        return orphans

    def _processes(self) -> list[subprocess.Popen[bytes]]:
        return [*self.nannies, *([self.scheduler] if self.scheduler else [])]

    def _start(self, what: str, *words: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{what}.log").open("ab")
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--scheduler-file", str(self.file)]
        command += ["--host", "127.0.0.1", "--no-dashboard", *words]
        with log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        self._all.append(process.pid)
        return process


def linger(sessions: list[int], seconds: float) -> list[int]:
    """Who is left of some sessions after so many seconds; they are killed."""
    until = time.monotonic() + seconds
    while True:
        left = [pid for session in sessions for pid in members(session)]
        if not left or time.monotonic() > until:
            break
        time.sleep(0.05)
    for pid in left:
        send(pid, signal.SIGKILL)
    return left


def _wait(ready: Any, complaint: str) -> None:
    until = time.monotonic() + _PATIENCE
    while not ready():
        if time.monotonic() > until:
            raise RuntimeError(complaint)
        time.sleep(0.02)
