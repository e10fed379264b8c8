"""Files that appear whole or not at all: drafts in a folder of their own, and what fails said in one line."""

from __future__ import annotations

import errno
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.errors import ELSEWHERE, FULL, OutputError, size_limit
from pipeline.raster.chunks import put_object
from pipeline.storage import ObjectPath, Place, put_file, scratch


@contextmanager
def drafts(path: Place) -> Iterator[Path]:
    """A folder for the drafts of the output `path`, gone in the end. Raises OutputError where it cannot be made."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch(path, f".{path.name}."))
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}; check its folder") from error
        yield folder


@contextmanager
def writing(
    path: Place, errors: tuple[type[BaseException], ...], reason: Callable[[BaseException], str]
) -> Iterator[None]:
    """Turn what a library and the system raise into one line about the output `path`. Raises OutputError."""
    try:
        yield
    except errors as error:
        folder = tempfile.gettempdir() if isinstance(path, ObjectPath) else path.parent
        where = f"in {folder}, where it is drafted" if isinstance(path, ObjectPath) else "there"
        raise OutputError(f"{path}: cannot be written: {reason(error)}{_remedy(error, folder, where)}") from error


def _remedy(error: BaseException, folder: str | Path, where: str) -> str:
    """What is known of the space in the folder, and what to do. GDAL does not say which error of the system's it met:
    where files may not grow, that it is."""
    number: int | None = None
    cause: BaseException | None = error
    while cause is not None:
        number = cause.errno if isinstance(cause, OSError) and cause.errno else number
        cause = cause.__cause__
    limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
    if number == errno.EFBIG or (number is None and limited):
        return f": {size_limit()}"
    if number is not None and number not in FULL:
        return f"; {ELSEWHERE}"
    free = shutil.disk_usage(folder).free >> 20
    return f" ({free} MiB free {where}); free some space or write elsewhere"


def give(draft: Path, path: Place, reason: Callable[[BaseException], str]) -> None:
    """Give a finished draft its name, or upload it. Raises OutputError."""
    if isinstance(path, ObjectPath):
        put_object(path, draft)
        return
    with writing(path, (OSError,), reason):
        put_file(draft, path)
