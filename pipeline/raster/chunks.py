"""Chunks of a Zarr v3 store as files: put whole, found whole, never half.

A chunk is written under a temporary name inside the store and renamed, so whoever lists the store sees it whole or
not at all. Plain variables are coded as `bytes, blosc, crc32c`; the checksum is what makes resuming safe.
"""

from __future__ import annotations

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

from pipeline.errors import FormatError, OutputError

PARTIAL = ".partial"
_LEVEL = 3


def chunk_path(store: Path, variable: str, *index: int) -> Path:
    """Where the chunk of this index lies in a store with Zarr's default chunk keys."""
    return store.joinpath(variable, "c", *map(str, index))


def put_chunk(store: Path, path: Path, data: bytes) -> None:
    """Write a chunk whole: a temporary file in the store's own `.partial` folder, then a rename.

    Raises:
        OutputError: the disk is full or the folder cannot be written; nothing half-written is left.
    """
    temporary = store / PARTIAL / uuid.uuid4().hex
    try:
        temporary.parent.mkdir(exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OutputError(f"{path}: cannot be written: {error.strerror}; free some space and run again") from error


def sweep(store: Path) -> None:
    """Remove what killed writers left behind."""
    shutil.rmtree(store / PARTIAL, ignore_errors=True)


def is_whole(path: Path, check: Callable[[bytes], None]) -> bool:
    """True where the chunk is there and `check` finds nothing wrong with its bytes."""
    try:
        check(path.read_bytes())
    except (OSError, FormatError):
        return False
    return True


def check_crc32c(data: bytes) -> None:
    """Raise FormatError unless the last four bytes are the CRC-32C of the rest (Zarr's crc32c codec)."""
    if len(data) < 4 or struct.unpack("<I", data[-4:])[0] != google_crc32c.value(data[:-4]):
        raise FormatError(f"a chunk of {len(data)} bytes fails its checksum; delete it and run again")


def plain_codecs(dtype: np.dtype[Any]) -> list[Any]:
    """The Zarr codecs of a plain variable: what `pack` writes."""
    shuffle: Literal["bitshuffle", "shuffle"] = "bitshuffle" if dtype.itemsize == 1 else "shuffle"
    blosc = BloscCodec(typesize=dtype.itemsize, cname="zstd", clevel=_LEVEL, shuffle=shuffle, blocksize=0)
    return [blosc, Crc32cCodec()]


def pack(block: NDArray[Any], chunk: tuple[int, ...], fill: object) -> bytes:
    """The bytes of one chunk of a plain variable; a block clipped at the scene's edge is filled up to the chunk."""
    full = block
    if block.shape != chunk:
        full = np.full(chunk, fill, block.dtype)
        full[tuple(slice(0, extent) for extent in block.shape)] = block
    little = np.ascontiguousarray(full, dtype=full.dtype.newbyteorder("<"))
    shuffle = BITSHUFFLE if little.itemsize == 1 else SHUFFLE
    data: bytes = Blosc(cname="zstd", clevel=_LEVEL, shuffle=shuffle).encode(little)
    return data + struct.pack("<I", google_crc32c.value(data))


def remove_tree(path: Path) -> None:
    """Remove a file or a folder that is ours, if it is there. A folder loses its name first, so that who is killed on
    the way leaves no half of it; what he leaves goes with the next."""
    going = path.with_name(f".{path.name}.removed.partial")
    if going.is_dir():
        shutil.rmtree(going)
    if path.is_dir() and not path.is_symlink():
        path.replace(going)
        shutil.rmtree(going)
    elif path.exists() or path.is_symlink():
        path.unlink()


def publish(partial: Path, final: Path) -> None:
    """Give a finished store or file its own name, replacing what stood there."""
    sweep(partial)
    if final.exists():
        remove_tree(final)
    os.replace(partial, final)
