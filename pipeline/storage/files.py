"""What is done alike to local files and to objects: put whole, drafted, compared by where they lie."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar
from uuid import uuid4

from pipeline.errors import ConfigError
from pipeline.storage.objects import ObjectPath, is_url
from pipeline.untrusted import one_line

_SCHEMES = ("s3://", "gs://", "az://", "https://", "http://")
Place = Path | ObjectPath
"""A local path, or an address in an object store."""
AnyPlace = TypeVar("AnyPlace", Path, Place)


def at_home(word: str) -> str:
    """A local path whose ~ is the home folder, as a shell has it where none is between; addresses as they are."""
    return os.path.expanduser(word) if word.startswith("~") else word


def check_named(word: str) -> None:
    """Raise ConfigError for a path of blanks or nothing, which elsewhere is the present folder."""
    if not word.strip():
        raise ConfigError(f"{word!r} is an empty path; name a file or a folder, . for the present one")


def place(text: str | os.PathLike[str] | ObjectPath) -> Place:
    """The place that a user's word names. Raises ConfigError where it is empty, or has no bucket or host."""
    if isinstance(text, ObjectPath):
        return text
    if not isinstance(text, str | os.PathLike):
        raise ConfigError(f"{one_line(repr(text))[:60]} is no path; give a file, a folder or an address")
    word = os.fspath(text)
    if word.startswith("file://"):  # as rasters are opened by it, %20 being three letters
        word = re.sub("^localhost(?=/)", "", word.removeprefix("file://"))
    check_named(word)
    if word.startswith(_SCHEMES) and not is_url(word):
        raise ConfigError(f"{word}: the address names no bucket or host; give {word.partition('://')[0]}://NAME/...")
    return ObjectPath(word) if is_url(word) else Path(at_home(word))


def followed(path: AnyPlace) -> AnyPlace:
    """What a symbolic link names, whether it is there or not; anything else as it is.

    An output takes the place of that, and the link stays: a rename would put it in the place of the link.
    """
    return Path(os.path.realpath(path)) if isinstance(path, Path) and path.is_symlink() else path


def put_whole(path: Place, data: bytes) -> None:
    """Write a file or an object whole or not at all: of a file a draft beside it, brought to the disk, then renamed.

    A link is followed.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    if isinstance(path, ObjectPath):
        path.put(data)
        return
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def whole_file(path: Place) -> Iterator[BinaryIO]:
    """A file to write, which gets its place when the block ends well; an object's draft is a local file. A link is
    followed.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    if isinstance(path, ObjectPath):
        with tempfile.NamedTemporaryFile(prefix="terrasketch-", suffix=".partial") as file:
            yield file  # type: ignore[misc]
            file.flush()
            put_file(Path(file.name), path)
        return
    path = followed(path)
    draft = path.with_name(f".{path.name}.{uuid4().hex[:12]}.partial")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def put_file(draft: Path, path: Place) -> None:
    """Bring the bytes of a finished draft to the disk and give it its name, or that of what the name links to; or
    upload it, whole. Raises OSError."""
    if isinstance(path, ObjectPath):
        path.put(draft)
        return
    with open(draft, "rb") as file:
        os.fsync(file.fileno())
    os.replace(draft, followed(path))


@contextmanager
def scratch(path: Place, prefix: str) -> Iterator[Path]:
    """A folder for the drafts of `path`, gone in the end: beside a file (of a link: what it names), in the temporary
    folder for an object.

    Raises:
        OSError: it cannot be made, or nothing can be put at `path`.
    """
    if isinstance(path, ObjectPath):
        path.check_writable()
    where = None if isinstance(path, ObjectPath) else followed(path).parent
    folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=".partial", dir=where))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lies_in(inner: str | Place, outer: Place) -> bool:
    """Whether a place is another one, or lies in it."""
    inner = place(inner) if isinstance(inner, str) else inner
    if isinstance(inner, ObjectPath) or isinstance(outer, ObjectPath):
        return f"{inner}/".startswith(f"{outer}/")
    return inner.is_relative_to(outer)
