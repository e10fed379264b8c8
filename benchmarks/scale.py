"""What a million tiles cost beside their work: a Dask scheduler and two workers on loopback, driven by `run_map`.

The driver, the scheduler and the workers are processes of their own; memory is the most that each ever held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.scale_jobs import TILE, peak_mb
from benchmarks.scene import ROOT
from benchmarks.tables import print_table

TILES = {"nothing": 1_000_000, "tasks": 5_000, "chunks": 100_000}
NAMES = {
    "nothing": ["no work"],
    "tasks": ["no work, a task for each"],
    "chunks": [f"{TILE} x {TILE} read and written", "the same, all there"],
}
WORKERS = 2


def main(smoke: bool, tiles: int | None = None) -> None:
    """Overhead a tile, tasks a second, and the memory of driver and scheduler."""
    rows = []
    for kind, most in TILES.items():
        wanted = min(most, 300 if smoke else tiles or most)
        with tempfile.TemporaryDirectory() as folder, servers(Path(folder)) as (address, scheduler):
            found = driven(str(address), kind, wanted, folder)
            memory = peak_mb(scheduler)
        rows += [row(name, one, memory) for name, one in zip(NAMES[kind], found, strict=True)]
    print(f"{WORKERS} workers of one thread; overhead: wall x workers less the work in tasks, a tile\n")
    head = ["stage", "tiles", "tasks", "wall, s", "work, s", "overhead, ms a tile", "driver's CPU, ms a tile"]
    print_table([*head, "tasks a second", "driver's peak, MB", "scheduler's peak, MB"], rows)


def row(name: str, found: dict[str, Any], scheduler: float) -> list[object]:
    """A line of the table."""
    tiles, seconds = found["tiles"], found["seconds"]
    lost = max(0.0, WORKERS * seconds - found["work"]) / tiles
    return [
        name,
        tiles,
        found["tasks"],
        f"{seconds:.1f}",
        f"{found['work']:.1f}",
        f"{1e3 * lost:.4f}",
        f"{1e3 * found['driver_cpu'] / tiles:.4f}",
        f"{found['tasks'] / seconds:.0f}",
        f"{found['peak']:.0f}",
        f"{scheduler:.0f}",
    ]


def driven(address: str, kind: str, tiles: int, folder: str) -> list[dict[str, Any]]:
    """What the driver found, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale_jobs", address, kind, str(tiles), folder]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def servers(folder: Path) -> Iterator[tuple[Path, int]]:
    """A scheduler and its workers, listening on loopback alone: the scheduler's file, and its process."""
    file = folder / "scheduler.json"
    loopback = ["--host", "127.0.0.1", "--no-dashboard"]
    with ExitStack() as stack:
        scheduler = stack.enter_context(server(["scheduler", "--port", "0", "--scheduler-file", str(file), *loopback]))
        while not file.is_file():
            time.sleep(0.1)
        words = ["--scheduler-file", str(file), "--nthreads", "1", "--nworkers", str(WORKERS)]
        words += ["--memory-limit", "0", "--local-directory", str(folder)]
        stack.enter_context(server(["worker", *words, *loopback]))
        time.sleep(5)
        yield file, scheduler.pid


@contextmanager
def server(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Dask's that stops when this ends."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", "dask", *words], cwd=ROOT, env=environment, **quiet)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
