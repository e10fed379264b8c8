"""Drivers in processes of their own, forked from one that has loaded everything: a run starts in milliseconds.

    python -m tests.faults.driver

reads an order a line, as JSON, and answers `pid N`, then `exit N`. The forked process does what `terrasketch` does
with the words of the order, in a session of its own.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from contextlib import redirect_stdout
from typing import Any

import distributed  # noqa: F401  (loaded once, for all drivers)

import pipeline.run
from pipeline.cli.main import main
from tests.faults import counting

counting.install()


def serve() -> None:
    """Fork a driver for each order, and wait for its end."""
    for line in sys.stdin:
        order = json.loads(line)
        if order.get("here"):
            _answer(f"exit {_here(order)}")
            continue
        pid = os.fork()
        if pid == 0:
            _drive(order)
        _answer(f"pid {pid}")
        _, status = os.waitpid(pid, 0)
        _answer(f"exit {os.waitstatus_to_exitcode(status)}")


def _here(order: dict[str, Any]) -> object:
    """An order done in this process, so that those to come find all kernels loaded."""
    try:
        _set(order)
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            main(order["words"])
    except SystemExit as ended:
        return ended.code
    raise AssertionError("the command line exits")


def _drive(order: dict[str, Any]) -> None:
    """The driver itself. It ends as any Python program does: what must not hang at exit has its chance to."""
    os.setsid()
    for number, name in ((0, os.devnull), (1, order["stdout"]), (2, order["stderr"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if order.get("largest"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], order["largest"]))
    _set(order)
    main(order["words"])


def _set(order: dict[str, Any]) -> None:
    os.chdir(order["folder"])
    batch = order["batch"]
    assert hasattr(pipeline.run, "batch_size")
    pipeline.run.batch_size = lambda *_: batch  # a second of work holds all tiles of a small scene


def _answer(text: str) -> None:
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    serve()
