"""Markdown tables, and the clock that matters: CPU seconds of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A Markdown table; floats with three figures."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")


def cpu_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Median CPU seconds of `work`, after one run that is not counted (compilation, caches)."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return median(times)


def interleaved(works: Sequence[Callable[[], object]], repeats: int = 5) -> list[float]:
    """Median CPU seconds of several works run in turn, A B A B ..., after one uncounted round."""
    times: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for work, spent in zip(works, times, strict=True):
            start = time.process_time()
            work()
            if turn:
                spent.append(time.process_time() - start)
    return [median(spent) for spent in times]
