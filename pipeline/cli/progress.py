"""What a terminal sees while a job runs: a bar per stage, and with -v one line per chapter; all on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipeline.cli.options import PERFORMANCE_REPORT
from pipeline.cli.signals import stop_on_signals
from pipeline.cluster import open_cluster
from pipeline.flow.at_rest import base_memory
from pipeline.flow.crew import Crew
from pipeline.flow.flight import Stop
from pipeline.flow.tasks import Receipt
from pipeline.untrusted import printable

_BARS = 4


class Terminal:
    """A Watch that draws bars where stderr is a terminal, and is silent elsewhere."""

    def __init__(self, verbose: bool, quiet: bool) -> None:
        self._verbose, self._quiet = verbose, quiet
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
        for old in self._progress.task_ids[: 1 - _BARS]:  # of many scenes, the last are shown
            self._progress.remove_task(old)
        self._task = self._progress.add_task(stage, total=tiles, rate="")

    def advance(self, receipt: Receipt) -> None:
        """The bar moves by the tiles of one task, failed ones included."""
        if self._task is None:
            return
        self._raw += receipt.raw
        elapsed = self._progress.tasks[-1].elapsed or 0.0
        rate = f"{self._raw / 1e6 / elapsed:.0f} MB/s" if elapsed > 0 else ""
        self._progress.update(self._task, advance=receipt.tiles + receipt.failed, rate=rate)

    def note(self, text: str) -> None:
        """One line, with -v."""
        if self._verbose:
            self._print(text)

    def warn(self, text: str) -> None:
        """One line, with -q too: it may be the one that saves a scene."""
        self._print(f"Warning: {text}")

    def say(self, text: str) -> None:
        """One line, unless -q."""
        if not self._quiet:
            self._print(text)

    def _print(self, text: str) -> None:
        self._progress.console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


@contextmanager
def crew(scheduler: str | None, workers: int | None, verbose: bool, quiet: bool) -> Iterator[Crew]:
    """A cluster, a terminal and a stop button: the first SIGINT or SIGTERM drains, the second stops at once."""
    stop = Stop()
    context = click.get_current_context(silent=True)
    report = context.meta.get(PERFORMANCE_REPORT) if context else None
    with ExitStack() as stack:
        stack.enter_context(stop_on_signals(stop))
        terminal = stack.enter_context(Terminal(verbose, quiet))
        cluster = stack.enter_context(
            open_cluster(
                scheduler,
                workers,
                say=terminal.say,
                stopped=stop.is_set,
                report=report,
                warn=terminal.warn,
                need=base_memory,
            )
        )
        terminal.note(f"work on {cluster.name}")
        yield Crew(cluster.executor, cluster.workers, terminal, stop, cluster.check, cluster.room, cluster.tell)


def print_warning(text: str) -> None:
    """Something that is most likely not meant, in one line, where no bars are drawn yet."""
    click.echo(f"Warning: {printable(text)}", err=True)


def print_bytes(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
