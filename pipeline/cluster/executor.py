"""A Dask client as an Executor: what goes wrong on the way is an error of ours, in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any
from uuid import uuid4

from pipeline.cluster.versions import SAME_ON_WORKERS, Unfit, differences, facts, refusal, stamp, unable
from pipeline.errors import ClusterError, LostTask
from pipeline.machine import keep_freed


class DaskExecutor(Executor):
    """Submits to the workers of a client; its futures can be waited for with concurrent.futures.

    Raises, from `result()`:
        ClusterError: the scheduler is gone, or a worker runs other versions.
        LostTask: every worker that took the task died.
    """

    def __init__(self, client: Any, distributed: Any, name: str) -> None:
        self._client = client
        self._distributed = distributed
        self._name = name

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """function(*args) on some worker, if that runs the same versions."""
        outer: Future[Any] = Future()
        key = f"{getattr(function, '__name__', 'task')}-{uuid4().hex}"  # the name that dashboards show
        call = partial(function, *args, **kwargs)
        try:
            inner = self._client.submit(run_there, stamp(), call, key=key, pure=False)
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
            self._settle(outer, None, LostTask(f"{killed.allowed_failures + 1} workers died while they had it"))
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
        reason = " ".join(str(error).split()) or type(error).__name__
        return ClusterError(f"{self._name}: the scheduler is gone ({reason}); start it, and run again to resume")


def run_there(expected: str, call: Callable[[], Any]) -> Any:
    """The task on the worker: one that joined late has not been asked what it runs."""
    if stamp() != expected:
        raise Unfit(json.dumps({"address": _address(), "facts": facts()}))
    keep_freed()
    return call()


def _address() -> str:
    from distributed import get_worker  # noqa: PLC0415  (optional dependency)

    return str(get_worker().address)
