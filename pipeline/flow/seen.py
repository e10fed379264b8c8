"""Before a store is whole: what the workers of a cluster say that they wrote is looked for from here."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from pipeline.errors import OutputError
from pipeline.flow.tasks import Job, Receipt
from pipeline.storage import Place

PATIENCE = 10.0
"""Seconds until a chunk must be seen: a network's file system may tell of new files a little later."""
_AT_A_TIME = 16


def check_seen(job: Job, receipt: Receipt) -> None:
    """Look for one chunk of each worker, the one it wrote last; nothing where all work was done on this machine.

    Raises:
        OutputError: it is not there, or another one is: the worker writes elsewhere.
    """
    if not receipt.there:
        return
    end = time.monotonic() + PATIENCE

    def missing(one: tuple[str, tuple[int, int]]) -> str | None:
        worker, (index, size) = one
        path = job.chunk(job.grid[index])
        while (found := _size(path)) != size:
            if time.monotonic() > end:
                got = "is not seen from here" if found is None else f"has {found} bytes here, not its {size}"
                return (
                    f"{path}: was written by worker {worker} and {got}: that worker writes elsewhere; give a path that "
                    "all machines share, and the same endpoint to all"
                )
            time.sleep(0.5)
        return None

    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="terrasketch-seen") as pool:
        lines = [line for line in pool.map(missing, receipt.there.items()) if line is not None]
    if lines:
        more = f" (and {len(lines) - 1} more like it)" if len(lines) > 1 else ""
        raise OutputError(lines[0] + more)


def _size(path: Place) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from error
