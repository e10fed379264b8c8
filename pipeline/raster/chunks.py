"""Chunks of a Zarr v3 store as files or objects: put whole, found whole, never half.

A chunk is written under a temporary name inside the store and renamed, so whoever lists the store sees it whole or
not at all; an object is put whole as it is. Plain variables are coded as `bytes, blosc, crc32c`; the checksum is what
makes resuming safe.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import numpy as np
from numcodecs.blosc import BITSHUFFLE, SHUFFLE, Blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from pipeline.errors import FormatError, OutputError, unwritable
from pipeline.storage import ObjectPath, Place
from pipeline.untrusted import is_inside, read_file

PARTIAL = ".partial"
JOURNAL = "journal.json"
"""In PARTIAL, of a store that is being filled in an object store (flow/journal.py)."""
MOST_ELEMENTS = 1 << 28
"""Of a chunk: as many as a container of our codec may hold."""
MOST_BYTES = 8 * MOST_ELEMENTS + (1 << 16)
"""Of a chunk's file."""
_LEVEL = 3
_PIECE = 1 << 20


def chunk_path(store: Place, variable: str, *index: int) -> Place:
    """Where the chunk of this index lies in a store with Zarr's default chunk keys."""
    return store.joinpath(variable, "c", *map(str, index))


def put_chunk(store: Place, path: Place, *parts: bytes) -> None:
    """Write a chunk whole: a temporary file in the store's own `.partial` folder, then a rename; one put of an object.

    parts: of the chunk's bytes, in order: large ones need not be put together in memory.

    Raises:
        OutputError: the disk is full or the folder cannot be written; nothing half-written is left.
    """
    if isinstance(path, ObjectPath):
        put_object(path, parts[0] if len(parts) == 1 else b"".join(parts))
        return
    assert isinstance(store, Path)
    temporary = store / PARTIAL / uuid.uuid4().hex
    if not (is_inside(path, store) and is_inside(temporary, store)):
        raise OutputError(f"{path}: lies outside of its store by a link; give another output, or --overwrite")
    try:
        temporary.parent.mkdir(exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.writelines(parts)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OutputError(f"{path}: cannot be written: {unwritable(error)}") from error


def put_object(path: ObjectPath, data: bytes | Path) -> None:
    """Put bytes or a file as an object, whole. Raises OutputError."""
    try:
        path.put(data)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def sweep(store: Place) -> None:
    """Remove what killed writers left behind; the journal of a store in an object store stays."""
    if isinstance(store, Path):
        shutil.rmtree(store / PARTIAL, ignore_errors=True)
        return
    (store / PARTIAL).remove_below(lambda name: name != JOURNAL)


def read_chunk(path: Place, most: int = MOST_BYTES) -> bytes:
    """The bytes of a chunk. Raises OSError, and ValueError where they are more than `most`."""
    if not isinstance(path, ObjectPath):
        return read_file(path, most)
    data, size = path.read_first(most)
    if size > most:
        raise ValueError(f"{size} bytes are more than the {most} that it can take")
    return data


def whole_size(path: Place, check: Callable[[bytes], None]) -> int | None:
    """Bytes of a chunk that is there and in whose bytes `check` finds nothing wrong; None for any other.

    Raises:
        OutputError: the object store does not say.
    """
    try:
        data = read_chunk(path)
        check(data)
    except (FileNotFoundError, PermissionError, ValueError):  # a FormatError is a ValueError
        return None
    except OSError as error:
        if isinstance(path, Path):
            return None
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from error
    return len(data)


def is_whole(path: Place, check: Callable[[bytes], None]) -> bool:
    """True where the chunk is there and `check` finds nothing wrong with its bytes. Raises as `whole_size`."""
    return whole_size(path, check) is not None


def check_crc32c(data: bytes) -> None:
    """Raise FormatError unless the last four bytes are the CRC-32C of the rest (Zarr's crc32c codec)."""
    if len(data) < 4 or struct.unpack("<I", data[-4:])[0] != crc32c(data, len(data) - 4):
        raise FormatError(f"a chunk of {len(data)} bytes fails its checksum; delete it and run again")


def crc32c(data: bytes, length: int) -> int:
    """The CRC-32C of the first `length` bytes, piece by piece: a slice of them would be a copy."""
    found = 0
    for start in range(0, length, _PIECE):
        found = google_crc32c.extend(found, data[start : min(start + _PIECE, length)])
    return int(found)


def plain_codecs(dtype: np.dtype[Any]) -> list[Any]:
    """The Zarr codecs of a plain variable: what `pack` writes."""
    shuffle: Literal["bitshuffle", "shuffle"] = "bitshuffle" if dtype.itemsize == 1 else "shuffle"
    blosc = BloscCodec(typesize=dtype.itemsize, cname="zstd", clevel=_LEVEL, shuffle=shuffle, blocksize=0)
    return [blosc, Crc32cCodec()]


def pack(block: NDArray[Any], chunk: tuple[int, ...], fill: object) -> bytes:
    """The bytes of one chunk of a plain variable; a block clipped at the scene's edge is filled up to the chunk."""
    return b"".join(pack_whole(filled_up(block, chunk, fill)))


def filled_up(block: NDArray[Any], chunk: tuple[int, ...], fill: object) -> NDArray[Any]:
    """A block clipped at the scene's edge as a whole chunk; one that is whole as it is."""
    if block.shape == chunk:
        return block
    full = np.full(chunk, fill, block.dtype)
    full[tuple(slice(0, extent) for extent in block.shape)] = block
    return full


def pack_whole(full: NDArray[Any]) -> tuple[bytes, bytes]:
    """The bytes of a whole chunk of a plain variable in two parts: together they would be in memory twice."""
    little = np.ascontiguousarray(full, dtype=full.dtype.newbyteorder("<"))
    shuffle = BITSHUFFLE if little.itemsize == 1 else SHUFFLE
    data: bytes = Blosc(cname="zstd", clevel=_LEVEL, shuffle=shuffle).encode(little)
    return data, struct.pack("<I", crc32c(data, len(data)))


def unpack(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The whole chunk (of little-endian numbers) that these bytes hold, decoded to where it stays.

    Raises FormatError where the checksum does not fit. Whoever calls has looked at the lengths within.
    """
    check_crc32c(data)
    full = np.empty(shape, dtype.newbyteorder("<"))
    Blosc().decode(memoryview(data)[:-4], out=full)
    return full


def remove_tree(path: Place) -> None:
    """Remove a file or a folder that is ours, if it is there.

    A folder loses its name first, so that who is killed on the way leaves no half of it; what he leaves goes with the
    next. Of a store in an object store the metadata go first, the group's before the arrays', and last what says that
    it is ours.

    Raises:
        OutputError: it cannot be removed.
    """
    if isinstance(path, ObjectPath):
        _remove_objects(path)
        return
    going = path.with_name(f".{path.name}.removed.partial")
    try:
        if going.is_dir():
            shutil.rmtree(going)
        if path.is_dir() and not path.is_symlink():
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            path.replace(going)
            shutil.rmtree(going)
        elif path.exists() or path.is_symlink():
            path.unlink()
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed: {error.strerror}; remove it, or give another output") from error


def _remove_objects(path: ObjectPath) -> None:
    try:
        path.unlink(missing_ok=True)
        if not path.is_dir():
            return
        if (path / "zarr.json").is_file() or (path / PARTIAL / JOURNAL).is_file():
            (path / PARTIAL / "removed").put(b"")
            (path / "zarr.json").unlink(missing_ok=True)
            (path / PARTIAL / JOURNAL).unlink(missing_ok=True)
        path.remove_below(lambda name: name.endswith("/zarr.json"))
        path.remove_below(lambda name: not name.startswith(f"{PARTIAL}/"))
        path.remove_below()
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed: {error.strerror}") from error


def is_unfinished(path: Place) -> bool:
    """Whether a store of ours is being filled or removed at this place of an object store. Raises OSError."""
    return isinstance(path, ObjectPath) and (path / PARTIAL).is_dir()


def publish(partial: Path, final: Path) -> None:
    """Give a finished store or file its own name, replacing what stood there."""
    sweep(partial)
    if final.exists():
        remove_tree(final)
    os.replace(partial, final)
