"""One BLAS thread per worker thread, whoever started the worker.

threadpoolctl's limits belong to the process, and two threads that enter and leave one after the other would restore
them too early. So the first task in sets them and the last task out takes them back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock, Thread
from typing import TypeVar

import scipy.linalg  # noqa: F401  (brings a BLAS of its own: loaded within a task it would escape the limits)
import threadpoolctl
from threadpoolctl import threadpool_limits

Result = TypeVar("Result")


class _Limits:
    """How many tasks run in this process, and the limits the first of them set."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.tasks = 0
        self.limits: threadpool_limits | None = None


_limits = _Limits()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread while any task of this process runs: the same bytes on every scheduler."""
    with _limits.lock:
        if _limits.tasks == 0:
            _take_control()
            _limits.limits = threadpool_limits(limits=1, user_api="blas")
        _limits.tasks += 1
    try:
        yield
    finally:
        with _limits.lock:
            _limits.tasks -= 1
            if _limits.tasks == 0 and _limits.limits is not None:
                _take_control()
                _limits.limits.restore_original_limits()
                _limits.limits = None


def _take_control() -> None:
    """Since 3.8 threadpoolctl heeds one thread alone, as long as it lives; ours take turns, behind the lock."""
    controller = getattr(threadpoolctl, "OpenBLASController", None)
    if controller is not None and hasattr(controller, "clear_controlling_thread"):
        controller.clear_controlling_thread(force=True)


def in_background(function: Callable[[], Result]) -> Future[Result]:
    """What the function gives, computed beside us. The process need not wait for it to end, as a pool would have it."""
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=work, name="terrasketch-finish", daemon=True).start()
    return future
