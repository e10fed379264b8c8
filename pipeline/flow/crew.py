"""Who does the work of a stage, and who looks on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.flow.flight import Stop, gather, run_map, tell_here
from pipeline.flow.tasks import Job, Receipt
from pipeline.gemm import parallel
from pipeline.gemm.warm import compile_kernels


class Watch(Protocol):
    """Who looks on: progress bars, logs, or nobody."""

    def begin(self, stage: str, tiles: int) -> None:
        """A map over so many tiles begins."""

    def advance(self, receipt: Receipt) -> None:
        """A task of it came back."""

    def note(self, text: str) -> None:
        """A chapter of the job, in one line."""

    def warn(self, text: str) -> None:
        """Something that is most likely not meant, in one line."""


class Nobody:
    """A Watch that does not look."""

    def begin(self, stage: str, tiles: int) -> None:
        """Look away."""

    def advance(self, receipt: Receipt) -> None:
        """Look away."""

    def note(self, text: str) -> None:
        """Look away."""

    def warn(self, text: str) -> None:
        """Look away."""


@dataclass
class Counting:
    """A Watch that passes all on, and knows of a map that was ended early what had come back."""

    watch: Watch
    total: Receipt = field(default_factory=Receipt)

    def begin(self, stage: str, tiles: int) -> None:
        """Pass it on."""
        self.watch.begin(stage, tiles)

    def advance(self, receipt: Receipt) -> None:
        """Add it up, and pass it on."""
        self.total.add(receipt)
        self.watch.advance(receipt)

    def note(self, text: str) -> None:
        """Pass it on."""
        self.watch.note(text)

    def warn(self, text: str) -> None:
        """Pass it on."""
        self.watch.warn(text)


@dataclass(frozen=True)
class Crew:
    """Who does the work and who looks on."""

    executor: Executor
    workers: int
    watch: Watch = field(default_factory=Nobody)
    stop: Stop = field(default_factory=Stop)
    check: Callable[[], None] = lambda: None
    """Raises where nobody is left to do the work."""
    room: Callable[[], int] | None = None
    """How many workers there are by now, where they come and go."""
    tell: Callable[..., None] = tell_here
    """Calls a function in every process that works."""

    def run(self, stage: str, job: Job) -> Receipt:
        """Run one map to its end. Threads that would have no tile of their own share the others' convolutions."""
        self.watch.begin(stage, len(job.grid))
        alone = isinstance(self.executor, ThreadPoolExecutor) and 0 < 2 * len(job.grid) <= self.workers
        with parallel(self.workers // len(job.grid) if alone else 1):
            return run_map(
                job,
                self.executor,
                self.workers,
                progress=self.watch.advance,
                stop=self.stop,
                check=self.check,
                room=self.room,
                tell=self.tell,
            )

    def warm(self) -> None:
        """Have the kernels of the features compiled where the work will be, so that no clock counts it."""
        for _ in self.gather(_compile, range(self.workers)):
            pass

    def gather(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterator[Any]:
        """The results of a function, in the order of its arguments."""
        return gather(
            function, arguments, self.executor, self.workers, stop=self.stop, check=self.check, tell=self.tell
        )


def _compile(_number: int) -> None:
    compile_kernels()
