"""The one way this package compiles: numba kernels, serial, without the GIL, kept on disk.

`parallel=True` is never used: it refuses the on-disk cache and oversubscribes Dask's threads.

Numba keeps them in NUMBA_CACHE_DIR, beside the package or in the user's home, and where none can be written it refuses
to compile. Then a folder for temporary files takes them, or nothing does.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def _package_stamp() -> tuple[int, int, int]:
    """Newest change, bytes and number of the sources of this package."""
    stats = [path.stat() for path in sorted(Path(__file__).parent.rglob("*.py"))]
    return max(one.st_mtime_ns for one in stats), sum(one.st_size for one in stats), len(stats)


_STAMP = _package_stamp()
_files: list[Any] = []
"""What numba knows of the files of our kernels."""


def jit(kernel: Kernel) -> Kernel:
    """Compile `kernel` in IEEE arithmetic: no reordering, so the same bytes on every run."""
    try:
        compiled = numba.njit(nogil=True, cache=True)(kernel)
    except RuntimeError:
        compiled = _compiled_elsewhere(kernel)
    # Kernels are inlined across files, and Numba looks at the time of the one file alone: after an update in place it
    # would go on with what other files held before. Where Numba's insides have moved, its own stamp stays.
    held: Any = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if hasattr(held, "_source_stamp"):
        held._source_stamp = (held._source_stamp, _STAMP)
        _files.append(held)
    return cast(Kernel, compiled)


def any_compiled() -> bool:
    """Whether a kernel of this version is on the disk: where none is, the next run compiles them.

    Who does not know, since Numba's insides have moved, says no.
    """
    try:
        return any(held._load_index() for held in _files)
    except Exception:  # a torn index is no index
        return False


def _compiled_elsewhere(kernel: Callable[..., Any]) -> Any:
    """`kernel`, kept where the other places cannot be written; Numba's own setting is as it was afterwards."""
    config: Any = numba.config
    folder, before = _own_folder(), config.CACHE_DIR
    _say_where(folder)
    if folder is not None:
        try:
            config.CACHE_DIR = str(folder)
            return numba.njit(nogil=True, cache=True)(kernel)
        except RuntimeError:
            pass
        finally:
            config.CACHE_DIR = before
    return numba.njit(nogil=True)(kernel)


@cache
def _own_folder() -> Path | None:
    """A folder among the temporary files that nobody else can write, since what lies there is unpickled; or None."""
    try:
        folder = Path(tempfile.gettempdir()) / f"terrasketch-kernels-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o022
    return folder if ours else None


@cache
def _say_where(folder: Path | None) -> None:
    what = "compiled anew by every process, which takes a minute" if folder is None else f"kept in {folder}"
    logging.getLogger("terrasketch").warning(
        "terrasketch: compiled kernels cannot be kept beside the package nor in the home folder and are %s; "
        "set NUMBA_CACHE_DIR to a folder that can be written and lasts",
        what,
    )
