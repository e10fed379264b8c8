"""A lock in an object store: an object that can be made once, and is made again every minute while its run lives.

Time is the store's own. A lock is let go by its run in the end; one whose process is gone is taken at once by a run on
the same host, and by any other when it has not been made again for five minutes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

from pipeline.errors import OutputError, elsewhere
from pipeline.storage import ObjectPath, Place

BEAT_SECONDS, STALE_SECONDS = 60.0, 300.0


@contextmanager
def hold(lock: ObjectPath, output: Place) -> Iterator[None]:
    """Keep other runs off `output`, which lies beside `lock`. A server that knows no conditions keeps nobody off.

    Raises:
        OutputError: another run holds it, or it cannot be made.
    """
    holder = {"host": socket.gethostname(), "machine": _machine(), "pid": os.getpid(), "run": uuid.uuid4().hex}
    try:
        tag = _take(lock, holder, output)
    except OSError as error:
        raise OutputError(f"{lock.parent}: cannot be written: {elsewhere(error.strerror)}") from error
    if tag is None:
        yield
        return
    keeper = _Keeper(lock, holder, tag)
    keeper.start()
    try:
        yield
    finally:
        keeper.let_go()


class _Keeper(Thread):
    """Makes the lock again every minute, as long as it is ours."""

    def __init__(self, lock: ObjectPath, holder: dict[str, Any], tag: str) -> None:
        super().__init__(name="terrasketch-lock", daemon=True)
        self._lock, self._holder, self._tag = lock, holder, tag
        self._stopped = Event()
        self._beats = 0

    def run(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            self._beats += 1
            try:
                self._tag = self._lock.put(_text(self._holder | {"beats": self._beats}), only=self._tag)
            except FileExistsError:
                return  # another run has taken it
            except OSError:
                continue

    def let_go(self) -> None:
        """Remove the lock, unless it is another's by now."""
        self._stopped.set()
        self.join()
        with suppress(OSError, ValueError):
            if json.loads(self._lock.read_bytes()).get("run") == self._holder["run"]:
                self._lock.unlink(missing_ok=True)


def _take(lock: ObjectPath, holder: dict[str, Any], output: Place) -> str | None:
    """The tag of the lock, now ours; None where the server knows no conditions. Raises OutputError, OSError."""
    try:
        return lock.put(_text(holder), only="")
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return None
        raise
    with suppress(FileExistsError):
        try:
            found, other = lock.stat(), _holder(lock.read_bytes())
        except FileNotFoundError:  # let go in this moment
            return lock.put(_text(holder), only="")
        if _is_gone(other) or _now(lock, holder["run"]) - found.st_mtime > STALE_SECONDS:
            return lock.put(_text(holder), only=found.tag)
        raise OutputError(
            f"{output}: another run is writing here (process {other.get('pid')} on {other.get('host')}); wait for "
            f"it, or give another output; one that was killed is let go after {STALE_SECONDS / 60:.0f} minutes"
        )
    raise OutputError(f"{output}: another run is writing here; wait for it, or give another output")


def _is_gone(other: dict[str, Any]) -> bool:
    """Whether the holder was a process of this host that is no more."""
    if other.get("machine") != _machine() or not isinstance(other.get("pid"), int):
        return False
    try:
        os.kill(other["pid"], 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _now(lock: ObjectPath, run: str) -> float:
    """The time by the store's clock."""
    probe = lock.with_name(f"{lock.name}.{run}")
    probe.put(b"")
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _holder(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(holder: dict[str, Any]) -> bytes:
    return json.dumps(holder, sort_keys=True).encode()


def _machine() -> str:
    return hashlib.sha256(f"{socket.gethostname()} {uuid.getnode()}".encode()).hexdigest()[:12]
