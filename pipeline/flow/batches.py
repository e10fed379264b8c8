"""How many tiles go into a task: about a second of work, as measured. Which tiles share a task changes no byte."""

from __future__ import annotations

from pipeline.flow.tasks import Receipt

TASK_SECONDS = 1.0
"""A task hands back what it has after so long, so that a batch may be as large as tiles are cheap."""
TASKS_A_SECOND = 100
"""Of all workers together; many workers get longer tasks. A Dask scheduler and its driver take some hundreds."""
GROWTH, MOST_TILES = 8, 16384


def tasks_for(tiles: int, seconds: float, workers: int) -> int:
    """About how many tasks a map makes of tiles that take `seconds` each."""
    fitting = max(1, min(MOST_TILES, int(task_seconds(workers) / max(seconds, 1e-9))))
    return max(min(tiles, 2 * workers), -(-tiles // fitting))


def task_seconds(workers: int) -> float:
    """How long a task works before it hands back what it has: no more than TASKS_A_SECOND end, of all workers."""
    return max(TASK_SECONDS, workers / TASKS_A_SECOND)


class Batches:
    """Which tiles go into the next task: about `seconds` of work by what tiles took until now, and what came back.

    The first tasks take a tile each; a task at the end takes its share of what is left, so that workers end
    together. Which tiles share a task changes no byte.
    """

    def __init__(self, tiles: int, workers: int) -> None:
        self.seconds = task_seconds(workers)
        self._share = 2 * workers
        self._size = 1
        self._next, self._end = 0, tiles
        self._back: list[tuple[int, int]] = []

    def take(self) -> tuple[int, int] | None:
        """First tile of a task and the one after its last; None where none is left."""
        if self._back:
            first, last = self._back.pop()
            end = min(last, first + self._size)
            if end < last:
                self._back.append((end, last))
            return first, end
        left = self._end - self._next
        if left == 0:
            return None
        first = self._next
        self._next += min(self._size, max(1, left // self._share))
        return first, self._next

    def done(self, batch: tuple[int, int], receipt: Receipt) -> None:
        """A task came back; what it left goes into another."""
        first, last = batch[0] + receipt.met, batch[1]
        if first < last:
            self._back.append((first, last))
        fitting = self.seconds * receipt.met / max(receipt.seconds, 1e-9)
        self._size = max(1, min(int(fitting), GROWTH * self._size, MOST_TILES))
