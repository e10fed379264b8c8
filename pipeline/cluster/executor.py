"""A Dask client as an Executor: what goes wrong on the way is an error of ours, in one line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from functools import partial
from typing import Any
from uuid import uuid4

from pipeline.cluster.memory import MORE_MEMORY
from pipeline.cluster.versions import SAME_ON_WORKERS, Unfit, differences, facts, refusal, stamp, unable
from pipeline.errors import WORKER, ClusterError, LostTask, TerrasketchError
from pipeline.machine import keep_freed


class DaskExecutor(Executor):
    """Submits to the workers of a client; its futures can be waited for with concurrent.futures.

    Raises, from `result()`:
        ClusterError: the scheduler is gone, or a worker runs other versions.
        LostTask: every worker that took the task died.

    Workers that may be `elsewhere`, on other machines, are named by what goes wrong on them.
    """

    def __init__(self, client: Any, distributed: Any, name: str, *, elsewhere: bool = False) -> None:
        self._client = client
        self._elsewhere = elsewhere
        self._distributed = distributed
        self._name = name

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """function(*args) on some worker, if that runs the same versions."""
        outer: Future[Any] = Future()
        key = f"{getattr(function, '__name__', 'task')}-{uuid4().hex}"  # the name that dashboards show
        call = partial(function, *args, **kwargs)
        try:
            inner = self._client.submit(run_there, stamp(), call, self._elsewhere, key=key, pure=False)
        except Exception as error:  # Dask's client knows many ways to be closed
            self._settle(outer, None, self._gone(error))
            return outer
        outer.add_done_callback(lambda done: inner.cancel() if done.cancelled() else None)
        self._client.loop.add_callback(self._wait, outer, inner)
        return outer

    async def _wait(self, outer: Future[Any], inner: Any) -> None:
        try:
            result = await self._client.gather(inner, asynchronous=True)
        except self._distributed.scheduler.KilledWorker as killed:
            self._settle(outer, None, LostTask(_died(killed)))
        except BaseException as error:  # asyncio's cancellation too: nobody may wait for ever
            self._settle(outer, None, self._translated(error, inner.status))
        else:
            self._settle(outer, result, None)

    @staticmethod
    def _settle(outer: Future[Any], result: Any, error: BaseException | None) -> None:
        if not outer.set_running_or_notify_cancel():
            return
        if error is None:
            outer.set_result(result)
        else:
            outer.set_exception(error)

    def _translated(self, error: BaseException, status: str) -> BaseException:
        if isinstance(error, Unfit):
            told = json.loads(str(error))
            who = f"{self._name}: worker {told['address']}"
            return ClusterError(refusal(who, differences(told["facts"], SAME_ON_WORKERS)))
        if isinstance(error, ImportError):
            return ClusterError(unable(f"{self._name}: a worker", error))
        closed = isinstance(error, self._distributed.comm.CommClosedError)  # and no error of the task
        return self._gone(error) if closed or status in ("cancelled", "lost") else error

    def _gone(self, error: BaseException) -> ClusterError:
        reason = " ".join(str(error).split())
        told = f" ({reason})" if reason and not isinstance(error, CancelledError | asyncio.CancelledError) else ""
        return ClusterError(f"{self._name}: the scheduler is gone{told}; start it, and run again to resume")


def _died(killed: Any) -> str:
    """What Dask knows of workers that died one after the other; those that go beyond their memory are killed."""
    count, limit = killed.allowed_failures + 1, getattr(killed.last_worker, "memory_limit", 0)
    line = f"{count} {'worker' if count == 1 else 'workers'} died while they had it"
    if not limit:
        return line
    return f"{line}; if that was their memory limit ({limit >> 20} MiB), {MORE_MEMORY}"


def run_there(expected: str, call: Callable[[], Any], elsewhere: bool = False) -> Any:
    """The task on the worker: one that joined late has not been asked what it runs."""
    if stamp() != expected:
        raise Unfit(json.dumps({"address": _address(), "facts": facts()}))
    keep_freed()
    if not elsewhere:
        return call()
    token = WORKER.set(_address())
    try:
        return call()
    except TerrasketchError as error:
        error.worker = WORKER.get()
        raise
    finally:
        WORKER.reset(token)


def _address() -> str:
    from distributed import get_worker  # noqa: PLC0415  (optional dependency)

    return str(get_worker().address)
