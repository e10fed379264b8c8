"""Zarr stores in object stores, which cannot rename: filled where they will be, without metadata until all is there.

A store is begun on disk, empty. Its coordinates are put under their own names, and the texts of all its `zarr.json` in
one object, the journal, under a name that nothing opens. In the end each `zarr.json` is put, the group's last.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.errors import OutputError
from pipeline.raster.chunks import JOURNAL, PARTIAL, put_object
from pipeline.storage import ObjectPath, Place

METADATA = "zarr.json"


def is_begun(path: Place) -> bool:
    """Whether a store is there, whole or being filled. Raises OutputError where that cannot be told."""
    try:
        if (path / METADATA).is_file():
            return True
        return isinstance(path, ObjectPath) and (path / PARTIAL / JOURNAL).is_file()
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from error


def group_metadata(path: Place) -> bytes:
    """The bytes of a store's own `zarr.json`, from the journal where it is being filled.

    Raises:
        OSError: there is neither, or it cannot be read.
        ValueError, KeyError: the journal is none of ours.
    """
    try:
        return (path / METADATA).read_bytes()
    except FileNotFoundError:
        if not isinstance(path, ObjectPath):
            raise
        return str(json.loads((path / PARTIAL / JOURNAL).read_bytes())[METADATA]).encode()


def put_empty(draft: Path, path: ObjectPath) -> None:
    """Put an empty store that was made on disk: its coordinates, then the journal. Raises OutputError.

    Who is killed between them leaves a first object, by which the next run knows that one of ours was at work.
    """
    put_object(path / PARTIAL / "begun", b"1")
    texts: dict[str, str] = {}
    for file in sorted(draft.rglob("*")):
        name = file.relative_to(draft).as_posix()
        if file.name == METADATA:
            texts[name] = file.read_text("utf-8")
        elif file.is_file():
            put_object(path.joinpath(*name.split("/")), file.read_bytes())
    put_object(path / PARTIAL / JOURNAL, json.dumps(texts, ensure_ascii=False).encode())


def finish_objects(path: ObjectPath) -> None:
    """Every chunk is there: put the metadata, the group's last, and remove the journal. Raises OutputError."""
    try:
        texts = json.loads((path / PARTIAL / JOURNAL).read_bytes())
        for name in sorted(texts, key=lambda name: (name == METADATA, name)):
            path.joinpath(*name.split("/")).put(texts[name].encode())
    except FileNotFoundError:
        pass  # whole already
    except (OSError, ValueError, AttributeError) as error:
        raise OutputError(f"{path}: cannot be finished: {getattr(error, 'strerror', error)}") from error
    try:
        (path / PARTIAL).remove_below()
    except OSError as error:
        raise OutputError(f"{path}: cannot be finished: {error.strerror}") from error
