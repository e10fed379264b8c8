"""What a terminal sees while a job runs: a bar per stage, and with -v one line per chapter; all on stderr."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipeline.cluster import open_cluster
from pipeline.flow.crew import Crew
from pipeline.flow.tasks import Receipt
from pipeline.untrusted import printable


class Terminal:
    """A Watch that draws bars where stderr is a terminal, and is silent elsewhere."""

    def __init__(self, verbose: bool, quiet: bool) -> None:
        self._verbose = verbose
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:>10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._raw = 0

    def __enter__(self) -> Terminal:
        if not self._progress.disable:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._progress.disable:  # some versions of rich end a bar that never was with an empty line
            self._progress.stop()

    def begin(self, stage: str, tiles: int) -> None:
        """A bar for this stage."""
        self._raw = 0
        self._task = self._progress.add_task(stage, total=tiles, rate="")

    def advance(self, receipt: Receipt) -> None:
        """The bar moves by the tiles of one task, failed ones included."""
        if self._task is None:
            return
        self._raw += receipt.raw
        elapsed = self._progress.tasks[-1].elapsed or 0.0
        rate = f"{self._raw / 1e6 / elapsed:.0f} MB/s" if elapsed > 0 else ""
        self._progress.update(self._task, advance=receipt.tiles + len(receipt.failures), rate=rate)

    def note(self, text: str) -> None:
        """One line, with -v."""
        if self._verbose:
            self._progress.console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


@contextmanager
def crew(scheduler: str, workers: int | None, verbose: bool, quiet: bool) -> Iterator[Crew]:
    """A cluster, a terminal and a stop button: the first SIGINT or SIGTERM drains, the second stops at once."""
    stop = Event()
    with (
        _stop_on_signals(stop),
        open_cluster(scheduler, workers) as cluster,
        Terminal(verbose, quiet) as terminal,
    ):
        terminal.note(f"work on {cluster.name}")
        yield Crew(cluster.executor, cluster.workers, terminal, stop, cluster.check)


@contextmanager
def _stop_on_signals(stop: Event) -> Iterator[None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        click.echo("stopping: tasks in flight are finished first (again to stop at once)", err=True)

    before: dict[signal.Signals, Any] = {}
    for caught in (signal.SIGINT, signal.SIGTERM):
        before[caught] = signal.signal(caught, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def print_bytes(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def stdin_lines() -> list[str]:
    """The scene paths on standard input, one a line."""
    return [line.strip() for line in sys.stdin if line.strip()]
