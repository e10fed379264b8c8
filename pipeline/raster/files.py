"""Files that appear whole or not at all: drafts in a folder of their own, and what fails said in one line."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.errors import OutputError
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
        free = shutil.disk_usage(folder).free >> 20
        where = f"in {folder}, where it is drafted" if isinstance(path, ObjectPath) else "there"
        raise OutputError(
            f"{path}: cannot be written: {reason(error)} ({free} MiB free {where}); free some space or write elsewhere"
        ) from error


def give(draft: Path, path: Place, reason: Callable[[BaseException], str]) -> None:
    """Give a finished draft its name, or upload it. Raises OutputError."""
    if isinstance(path, ObjectPath):
        put_object(path, draft)
        return
    with writing(path, (OSError,), reason):
        put_file(draft, path)
