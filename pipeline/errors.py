"""Every error this package raises on purpose.

    TerrasketchError
    ├── InputError          the caller's input cannot be used as it is       (exit 1)
    │   ├── SourceError     a raster, store or item cannot be opened or read
    │   ├── BlockError      an array of the wrong shape, dtype or content
    │   ├── BankError       a bank cannot be loaded or does not fit the scene
    │   ├── ModelError      a network cannot be read, or not run on these inputs
    │   └── ConfigError     a workflow or an option is wrong                  (exit 2)
    ├── OutputError         an output exists, or cannot be written           (exit 1)
    │   └── ResumeError     a store was begun under another configuration
    ├── StorageError        an object store does not do what is asked        (exit 1)
    │   ├── MissingObjectError      there is no such object
    │   ├── RangeError              it has no bytes there
    │   ├── AccessError             it may not be done
    │   └── ConditionError          an object is there already, or is another one
    ├── FormatError         bytes that are not a whole container of ours     (exit 1)
    ├── ClusterError        no scheduler answers, or no worker is left        (exit 1)
    │   └── LostTask        every worker that took a task died
    ├── Interrupted         told to stop; resumable                          (exit 130)
    └── TileError           a tile cannot be computed; names scene and window (exit 1)

A message says what, where, got and remedy, in one line. Every class pickles: workers raise them.
"""

from __future__ import annotations

import errno
import resource
from contextvars import ContextVar
from typing import Self

WORKER: ContextVar[str] = ContextVar("WORKER", default="")
"""The address of the cluster's worker that computes here; empty where all is on the user's machine."""
NOT_SHARED = "this worker does not see it: give a path that all machines share"
ELSEWHERE = "check its rights, or write elsewhere"
"""The remedy where an output cannot be written."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Where space is what lacks."""


def elsewhere(why: object) -> str:
    """Why an output cannot be written, and the remedy: ours, unless the reason brings one, as object stores' do."""
    return str(why) if "; " in str(why) else f"{why}; {ELSEWHERE}"


def unwritable(error: OSError) -> str:
    """Why a part of an output cannot be written, and the remedy that this reason has."""
    if error.errno == errno.ENOENT:
        return f"{error.strerror}; {NOT_SHARED if WORKER.get() else 'its folder is gone; run again'}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return elsewhere(error.strerror)
    if error.errno == errno.EFBIG:
        return f"{error.strerror}: {size_limit()}"
    if error.errno in FULL:
        return f"{error.strerror}; free some space and run again"
    return f"{error.strerror}; write elsewhere, or run again"


def size_limit() -> str:
    """What keeps files from growing though there is space, and what to do."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit == resource.RLIM_INFINITY:
        return "the file system takes no larger file; write elsewhere"
    return f"files may have no more than {limit >> 10} KiB here (ulimit -f); raise it, or write elsewhere"


class TerrasketchError(Exception):
    """Root of the tree: what went wrong, where, what was got, and what to do about it."""

    exit_code = 1
    file: str | None = None
    """The file that is to blame, where one is, and which part of it; receipts name them."""
    window: dict[str, int] | None = None
    worker: str = ""
    """The worker of a cluster on which it happened: what it sees need not be what is seen here."""

    def __str__(self) -> str:
        return f"{self._who()}{super().__str__()}"

    def _who(self) -> str:
        return f"worker {self.worker}: " if self.worker else ""

    def of(self, file: str | None, window: dict[str, int] | None = None) -> Self:
        """The same error, which knows its file and window (`Window.to_json`)."""
        self.file, self.window = file, window
        return self


class InputError(TerrasketchError, ValueError):
    """The caller's input cannot be used as it is."""


class SourceError(InputError):
    """A raster, a store or a STAC item cannot be opened or read."""


class BlockError(InputError):
    """An array of the wrong shape, dtype or content."""


class BankError(InputError):
    """A bank of filters cannot be loaded, or does not fit the scene."""


class ModelError(InputError):
    """A network cannot be read, uses what is not supported, or does not fit its inputs."""


class ConfigError(InputError):
    """A workflow file or an option of the command line is wrong."""

    exit_code = 2


class OutputError(TerrasketchError):
    """An output exists already, or cannot be written."""


class ResumeError(OutputError):
    """An unfinished store was begun under another configuration."""


class StorageError(TerrasketchError, OSError):
    """An object store does not do what is asked: (errno, what and remedy, address)."""

    def __str__(self) -> str:
        return f"{self._who()}{self.filename}: {self.strerror}" if self.filename else super().__str__()


class MissingObjectError(StorageError, FileNotFoundError):
    """There is no such object."""


class AccessError(StorageError, PermissionError):
    """Credentials are missing, wrong, or not enough."""


class ConditionError(StorageError, FileExistsError):
    """An object is there already, or is not the one that was to be replaced."""


class RangeError(StorageError):
    """An object has no bytes there."""


class FormatError(TerrasketchError, ValueError):
    """Bytes that are not a whole container of ours: wrong magic, version, checksum or sizes."""


class TileError(TerrasketchError):
    """A tile cannot be computed; the message names the scene and the window."""


class ClusterError(TerrasketchError):
    """A scheduler cannot be reached, has no workers left, or runs other versions."""


class LostTask(ClusterError):
    """Every worker that took a task died under it."""


class Interrupted(TerrasketchError):
    """A job was told to stop; what was in flight is written, and the same command resumes it."""

    exit_code = 130
