"""The stop button: the first SIGINT or SIGTERM asks a job to drain, the second ends the process at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread, current_thread, main_thread
from types import FrameType

from pipeline.flow.flight import Stop

_STOPPING = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTED = 130


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """Set `stop` at the first signal; at the second, end this process and the workers it started.

    A thread of its own reads the signals: the main one may be in compiled code for a while, where Python's handlers
    wait for it.
    """
    if current_thread() is not main_thread():  # Python's rule: signals are the main thread's
        yield
        return
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)
    listener = Thread(target=_listen, args=(ear, stop), daemon=True)
    before = {number: signal.signal(number, _let_pass) for number in _STOPPING}
    told_before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(told_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        mouth.close()  # the listener reads the end, and ends
        listener.join()
        ear.close()


def _let_pass(_number: int, _frame: FrameType | None) -> None:
    """Python writes to the wakeup socket of signals that have a handler alone."""


def _listen(ear: socket.socket, stop: Stop) -> None:
    while heard := ear.recv(1):
        if heard[0] not in _STOPPING:
            continue
        if stop.is_set():
            _end()
        stop.set()
        tiles = "1 tile is" if stop.busy == 1 else f"{stop.busy} tiles are"
        sys.stderr.write(f"stopping{f': {tiles} finished first' if stop.busy else ''} (again to stop at once)\n")
        sys.stderr.flush()


def _end() -> None:
    """Whatever threads are doing: chunks are written whole or not at all, so nothing needs to be tidied up."""
    for child in multiprocessing.active_children():
        child.kill()
    show_cursor = "\x1b[?25h" if os.isatty(2) else ""
    os.write(2, f"{show_cursor}Error: stopped at once; run the same command again to resume\n".encode())
    os._exit(_INTERRUPTED)
