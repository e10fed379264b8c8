"""Forks what is to be killed from one process that has loaded everything: it starts in milliseconds, and warm.

    python -m tests.faults.nursery

reads an order a line, as JSON. A driver does what `terrasketch` does with the words of the order; a scheduler or a
worker what `dask scheduler` and `dask worker` do. Each in a session of its own. Answers `pid N`, and of drivers
`exit CODE`.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import sys
from contextlib import redirect_stdout
from typing import Any

from distributed.cli import dask_scheduler, dask_worker

from pipeline.cli.main import main
from pipeline.flow import batches
from tests.faults import counting

counting.install()
_ASK_EVERY = 0.005


def serve() -> None:
    """Do the orders, and tell of each driver's end."""
    drivers: set[int] = set()
    rest = b""
    while True:
        ready, _, _ = select.select([0], [], [], _ASK_EVERY if drivers else 1.0)
        _reap(drivers)
        if not ready:
            continue
        more = os.read(0, 1 << 16)
        if not more:
            return
        *lines, rest = (rest + more).split(b"\n")
        for line in lines:
            _obey(json.loads(line), drivers)


def _obey(order: dict[str, Any], drivers: set[int]) -> None:
    if order["do"] == "here":
        _answer(f"exit {_here(order)}")
        return
    gc.freeze()  # a collection in the child would copy all that lies here
    pid = os.fork()
    if pid == 0:
        _live(order)
        sys.exit()
    if order["do"] == "driver":
        drivers.add(pid)
    _answer(f"pid {pid}")


def _reap(drivers: set[int]) -> None:
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid in drivers:
                drivers.discard(pid)
                _answer(f"exit {os.waitstatus_to_exitcode(status)}")
    except ChildProcessError:
        return


def _here(order: dict[str, Any]) -> object:
    """A run in this process, so that those to come find all kernels loaded."""
    try:
        _set(order)
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            main(order["words"])
    except SystemExit as ended:
        return ended.code
    raise AssertionError("the command line exits")


def _live(order: dict[str, Any]) -> None:
    """What the forked process does. It ends as any Python program does: what hangs at exit shall hang."""
    os.setsid()
    for number, name in ((0, os.devnull), (1, order["stdout"]), (2, order["stderr"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if order.get("largest"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], order["largest"]))
    if order["do"] == "driver":
        _set(order)
        main(order["words"])
    os.chdir(order["folder"])
    {"scheduler": dask_scheduler, "worker": dask_worker}[order["do"]].main(order["words"])


def _set(order: dict[str, Any]) -> None:
    os.chdir(order["folder"])
    assert hasattr(batches, "MOST_TILES")
    batches.MOST_TILES = order["batch"]  # a second of work holds all tiles of a small scene


def _answer(text: str) -> None:
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    serve()
