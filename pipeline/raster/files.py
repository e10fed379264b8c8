"""Files that appear whole or not at all: a draft beside them, brought to the disk, then given its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import OutputError


def publish_file(draft: Path, path: Path) -> None:
    """Bring the bytes to the disk, then give the file its name."""
    with open(draft, "rb") as file:
        os.fsync(file.fileno())
    os.replace(draft, path)


@contextmanager
def writing(
    path: Path, errors: tuple[type[BaseException], ...], reason: Callable[[BaseException], str]
) -> Iterator[None]:
    """Turn what a library and the system raise into one line about the output `path`. Raises OutputError."""
    try:
        yield
    except errors as error:
        free = shutil.disk_usage(path.parent).free >> 20
        raise OutputError(
            f"{path}: cannot be written: {reason(error)} ({free} MiB free there); free some space or write elsewhere"
        ) from error
