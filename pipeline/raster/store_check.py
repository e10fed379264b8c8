"""Arrays of a store that may come from anywhere: looked at before Zarr is asked to open them, or to decode a chunk.

Only what we write is read: these codecs in this order, plain numbers, whole regular files inside the store.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.grid import MOST_SIDE, Window
from pipeline.raster.cache import CACHE_BYTES
from pipeline.raster.chunks import MOST_ELEMENTS, read_chunk, unpack
from pipeline.raster.object_zarr import zarr_of
from pipeline.storage import ObjectPath, Place
from pipeline.untrusted import MOST_METADATA_BYTES, is_inside, parse_json

LOW_RANK = "terrasketch.lowrank"
CODINGS = ([LOW_RANK], ["bytes", "blosc", "crc32c"])
DTYPES = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float32", "float64"}
_COPIED = "; where another program copied or cut the store: xarray.open_zarr(STORE).scene.terrasketch.compress(NEW)"
"""What xarray writes of a store keeps its attributes, ours too."""
_SLACK = 1 << 16
"""Bytes that coding may add to a chunk."""
_CHECKSUM = 4
_FRAME = struct.Struct("<4sIII")
"""Of Blosc: versions and flags, bytes decoded, of a block, coded (c-blosc, README_CHUNK_FORMAT)."""


def open_array(path: Place, shape: tuple[int, ...], chunks: tuple[int, ...]) -> zarr.Array[Any]:
    """Open an array of a store, of this shape in these chunks, if it is one that we write.

    Raises:
        SourceError: it is another, or its metadata cannot be read.
    """
    try:
        facts = parse_json(read_chunk(path / "zarr.json", MOST_METADATA_BYTES))
        problem = _problem(facts, shape, chunks)
        array = None if problem else _opened(path)
    except Exception as error:  # whatever zarr makes of damaged metadata
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise SourceError(f"{path}: the store's metadata are damaged: {reason}") from error
    if array is None:
        raise SourceError(f"{path}: {problem}, not what we wrote{_COPIED}")
    return array


def _opened(path: Place) -> zarr.Array[Any]:
    if isinstance(path, Path):
        return zarr.open_array(path, mode="r", zarr_format=3)
    store = zarr_of(path)
    array = zarr.open_array(store, mode="r", zarr_format=3)
    store.check = partial(_check_bytes, array)
    return array


def _check_bytes(array: zarr.Array[Any], start: bytes, size: int) -> None:
    """Refuse a chunk, by its first bytes and its size, that would not decode to one of the array. Raises ValueError."""
    decoded = math.prod(array.chunks) * array.dtype.itemsize
    if size > 2 * decoded + _SLACK:
        raise ValueError(f"{size} bytes are more than its {decoded} bytes of numbers can take")
    if "blosc" in codec_names(array):
        # Blosc believes both lengths: a wrong one makes it read, or write, beyond its buffers.
        lengths = _FRAME.unpack(start[: _FRAME.size])[1::2] if len(start) >= _FRAME.size else ()
        if lengths != (decoded, size - _CHECKSUM):
            raise ValueError(f"it does not unpack to the {decoded} bytes of a chunk")


def _problem(facts: Any, shape: tuple[int, ...], chunks: tuple[int, ...]) -> str | None:
    """What is not as we write it, None where all is."""
    if (facts["zarr_format"], facts["node_type"]) != (3, "array") or facts.get("storage_transformers"):
        return "it is no plain Zarr v3 array"
    if facts["data_type"] not in DTYPES:
        return f"it holds {facts['data_type']!r}"
    codecs = [codec["name"] for codec in facts["codecs"]]
    if codecs not in CODINGS:
        return f"{facts['data_type']} coded by {', '.join(map(str, codecs))} is"
    grid, keys = facts["chunk_grid"], facts["chunk_key_encoding"]
    if keys["name"] != "default" or keys.get("configuration", {}).get("separator", "/") != "/":
        return f"its chunks are named by {keys}"
    given = (facts["shape"], grid["configuration"]["chunk_shape"])
    if grid["name"] != "regular" or given != (list(shape), list(chunks)):
        return f"it has shape {given[0]} in chunks of {given[1]}"
    if math.prod(chunks) > MOST_ELEMENTS or max(shape[-2:]) > MOST_SIDE:
        return f"it has shape {given[0]} in chunks of {given[1]}, beyond what we write; it is"
    return None


def check_chunk(store: Path, path: Path, array: zarr.Array[Any]) -> os.stat_result:
    """Look at a chunk's file before it is read and decoded.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no file, lies elsewhere, or would not decode to a chunk of the array.
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("it is no file")
    if not is_inside(path, store):
        raise ValueError("it is a link to what lies outside of the store")
    with path.open("rb") as file:
        _check_bytes(array, file.read(_FRAME.size), facts.st_size)
    return facts


def decoded(array: zarr.Array[Any], path: Place, window: Window) -> NDArray[Any]:
    """The numbers of the chunk at `path`, which are those of a window (y, x) of the array.

    A plain one is decoded to where it stays: Zarr has it in memory once more beside the coded one, and a chunk of
    features may be half a gigabyte. Raises what codecs do.
    """
    if isinstance(path, ObjectPath) or not _is_plain(array):
        return np.asarray(array[(..., *window.slices)])
    data = read_chunk(path)
    _check_bytes(array, data, len(data))
    full = unpack(data, array.chunks, array.dtype)
    own = full[..., : window.shape[0], : window.shape[1]]
    # Of a part that may be kept nobody would see that it holds the whole.
    return own if own.shape == full.shape or full.nbytes > CACHE_BYTES else own.copy()


def _is_plain(array: zarr.Array[Any]) -> bool:
    """Whether chunks are what `unpack` takes: Blosc and a checksum, no big-endian numbers."""
    first: Any = array.metadata.codecs[0]  # type: ignore[union-attr]
    return (
        "blosc" in codec_names(array) and first.to_dict().get("configuration", {}).get("endian", "little") == "little"
    )


def check_head(store: Place, path: Place, array: zarr.Array[Any]) -> None:
    """Look at the size of a chunk and at its first bytes alone; of an object by one request.

    Raises:
        OSError, ValueError: as `check_chunk`.
    """
    if isinstance(path, Path) and isinstance(store, Path):
        check_chunk(store, path, array)
    elif isinstance(path, ObjectPath):
        _check_bytes(array, *path.read_first(_FRAME.size))


def codec_names(array: zarr.Array[Any]) -> set[str]:
    """Names of an array's codecs."""
    return {str(codec.to_dict()["name"]) for codec in array.metadata.codecs}  # type: ignore[union-attr]
