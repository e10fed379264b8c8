"""Is a TIFF whole? Its directories and the extents of its blocks, checked against the size of the file.

GDAL closes a file without an error when the disk filled up under the last bytes; this finds out. TIFF 6.0, section 2;
BigTIFF has the same structure with wider numbers.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import FormatError

_OFFSETS = (273, 324)  # StripOffsets, TileOffsets
_COUNTS = (279, 325)  # StripByteCounts, TileByteCounts
_SIZES = {3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # SHORT, LONG, IFD, LONG8, IFD8
_MOST_DIRECTORIES = 1000


def check_whole(path: Path, *, sparse: bool = False, trailer: int = 0, bare: bool = False) -> None:
    """Walk the directories of a TIFF and find every block inside the file.

    Args:
        sparse: blocks that were never written are in order.
        trailer: bytes that follow every block; GDAL's COGs repeat its last four.
        bare: none may follow the last, as where GDAL does not compress.

    Raises:
        FormatError: the file is cut short, or is no TIFF.
        OSError: it cannot be read.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        order = {b"II": "<", b"MM": ">"}.get(file.read(2))
        if order is None:
            raise FormatError(f"{path} is no TIFF")
        (version,) = _numbers(file, order + "H")
        big = version == 43
        if big:
            _numbers(file, order + "HH")
        (at,) = _numbers(file, order + ("Q" if big else "I"))
        for _ in range(_MOST_DIRECTORIES):
            if not at:
                return
            offsets, counts, at = _directory(file, order, at, big)
            _check_blocks(path, offsets, counts, size - trailer, size if bare else 0, sparse)
    raise FormatError(f"{path} has more than {_MOST_DIRECTORIES} directories")


def _directory(file: BinaryIO, order: str, at: int, big: bool) -> tuple[NDArray[np.uint64], NDArray[np.uint64], int]:
    """Offsets and byte counts of one directory's blocks, and where the next directory is (0: nowhere)."""
    file.seek(at)
    (entries,) = _numbers(file, order + ("Q" if big else "H"))
    form = order + ("HHQ8s" if big else "HHI4s")
    found: dict[int, tuple[str, int, bytes]] = {}
    for _ in range(entries):
        tag, kind, count, value = _numbers(file, form)
        if tag in _OFFSETS + _COUNTS and kind in _SIZES:
            found[tag] = (order + _SIZES[kind], count, value)
    (following,) = _numbers(file, order + ("Q" if big else "I"))
    arrays = []
    for tags in (_OFFSETS, _COUNTS):
        of_tag = [found[tag] for tag in tags if tag in found]
        arrays.append(_array(file, order, *of_tag[0]) if of_tag else np.zeros(0, np.uint64))
    return arrays[0], arrays[1], following


def _array(file: BinaryIO, order: str, dtype: str, count: int, value: bytes) -> NDArray[np.uint64]:
    length = count * np.dtype(dtype).itemsize
    if length <= len(value):
        return np.frombuffer(value[:length], dtype).astype(np.uint64)
    (at,) = struct.unpack(order + ("Q" if len(value) == 8 else "I"), value)
    file.seek(at)
    data = file.read(length)
    if len(data) < length:
        raise FormatError(f"{file.name} is cut short: its list of blocks is missing")
    return np.frombuffer(data, dtype).astype(np.uint64)


def _numbers(file: BinaryIO, form: str) -> tuple[Any, ...]:
    data = file.read(struct.calcsize(form))
    if len(data) < struct.calcsize(form):
        raise FormatError(f"{file.name} is cut short: a directory is missing")
    return struct.unpack(form, data)


def _check_blocks(
    path: Path, offsets: NDArray[np.uint64], counts: NDArray[np.uint64], size: int, end: int, sparse: bool
) -> None:
    """Find every block within `size` bytes; one may end at `end`."""
    if offsets.size != counts.size or not offsets.size:
        raise FormatError(f"{path} has a directory without a list of blocks")
    missing = (offsets == 0) | (counts == 0)
    ends = offsets + counts
    beyond = (ends > size) & (ends != end)
    bad = beyond if sparse else beyond | missing
    if bad.any():
        raise FormatError(f"{path} is cut short: {int(bad.sum())} of {offsets.size} blocks are not in it")
