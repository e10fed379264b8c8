"""A real scheduler and workers in processes of their own, and jobs that are slow, deadly or curious."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.env import get_gdal_config
from threadpoolctl import threadpool_info

from pipeline.flow.tasks import Wrote
from pipeline.grid import Grid, Tile
from pipeline.jit import jit
from pipeline.raster.gdal import gdal_env

ROOT = Path(__file__).parents[1]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LOOPBACK = ("--host", "127.0.0.1", "--no-dashboard")


def environment(**more: str) -> dict[str, str]:
    """This process's, with the repository importable and no word about threads."""
    kept = {key: value for key, value in os.environ.items() if key not in THREADS}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH", "")]))
    return kept | {"PYTHONPATH": path} | more


@dataclass
class Hosts:
    """A scheduler at `address`, and the workers started so far."""

    folder: Path
    scheduler: subprocess.Popen[bytes]
    address: str
    workers: list[subprocess.Popen[bytes]]

    def start_worker(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """A worker of one thread that has joined."""
        count = len(self.workers) + 1
        before = self.count()
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--nthreads", "1", *LOOPBACK]
        process = subprocess.Popen(
            [*command, "--name", f"w{count}", *words],
            cwd=self.folder,
            env=environment(**more),
            stderr=subprocess.DEVNULL,
        )
        self.workers.append(process)
        until(lambda: self.count() > before, 60)
        return process

    def count(self) -> int:
        """How many workers the scheduler knows."""
        from distributed import Client  # noqa: PLC0415  (an extra)

        with Client(self.address, timeout="30s", set_as_default=False) as client:
            return len(client.nthreads())


@contextmanager
def hosts(folder: Path, *words: str, **more: str) -> Iterator[Hosts]:
    """A scheduler without workers; all that was started is stopped in the end."""
    path = folder / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--scheduler-file", str(path), "--port", "0"]
    process = subprocess.Popen(
        [*command, *LOOPBACK, *words], cwd=folder, env=environment(**more), stderr=subprocess.DEVNULL
    )
    found = Hosts(folder, process, "", [])
    try:
        until(lambda: path.exists() and path.stat().st_size > 0, 60)
        found.address = path.read_text().partition('"address": "')[2].partition('"')[0]
        yield found
    finally:
        for one in (*found.workers, process):
            one.terminate()
        for one in (*found.workers, process):
            try:
                one.wait(20)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


def until(condition: Any, seconds: float = 30) -> None:
    """Wait for something that happens in another process."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@dataclass(frozen=True)
class Slow:
    """A job whose tiles take some seconds each and write a file, whole or not at all; one of them may be deadly."""

    grid: Grid
    folder: str
    seconds: float = 0.05
    deadly: int = -1

    def run(self, tile: Tile) -> Wrote:
        index = tile.row * self.grid.columns + tile.column
        begun = Path(self.folder, f"{index}.begun")
        begun.touch()
        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        path = Path(self.folder, f"{index}.done")
        if path.exists():
            return Wrote(resumed=True)
        time.sleep(self.seconds)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(str(index * index))
        partial.replace(path)
        return Wrote(raw=1, stored=1)


@jit
def _summed(values: Any) -> Any:
    total = 0.0
    for value in values:
        total += value
    return total


def settings(_number: int) -> dict[str, Any]:
    """What a task finds where it runs."""
    _summed(np.ones(3))
    with gdal_env():
        gdal = {key: get_gdal_config(key) for key in ("GDAL_NUM_THREADS", "GDAL_TIFF_INTERNAL_MASK", "GDAL_CACHEMAX")}
    return {"pid": os.getpid(), "blas": blas_threads(), "gdal": gdal}


def blas_threads() -> list[int]:
    """How many threads each BLAS of this process uses."""
    return sorted({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})


def listeners(pid: int) -> set[str]:
    """The addresses (as the kernel writes them) on which a process and its descendants listen over TCP."""
    found = set()
    for one in [pid, *descendants(pid)]:
        sockets = set()
        for link in Path(f"/proc/{one}/fd").glob("*"):
            try:
                sockets.add(os.readlink(link))
            except OSError:
                continue
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{one}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                    found.add(fields[1].partition(":")[0])
    return found


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and theirs."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = list(parents.get(pid, []))
    for child in found:
        found += parents.get(child, [])
    return found
