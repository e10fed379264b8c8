"""Cheap identity of input files, for resuming: sizes and both ends of each, whatever their names and dates."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from pipeline.storage import ObjectPath, Place, place

_END = 1 << 20
_SAMPLED = 64
_NOT_PIXELS = (".aux.xml", ".ovr")


def fingerprint(paths: Iterable[str]) -> str:
    """`SIZE-CRC` over the sizes of all files or objects and the first and last MiB of the first 64 of them.

    Statistics and overviews that viewers leave beside a file do not count.
    """
    total, crc = 0, 0
    pixels = [path for path in paths if not path.lower().endswith(_NOT_PIXELS)]
    for number, path in enumerate(pixels):
        where = place(path)
        size = where.stat().st_size
        total += size
        crc = zlib.crc32(str(size).encode(), crc)
        if number < _SAMPLED:
            for part in _ends(where, size):
                crc = zlib.crc32(part, crc)
    return f"{total}-{crc:08x}"


def _ends(path: Place, size: int) -> Iterator[bytes]:
    """The first and the last MiB."""
    length, last = min(_END, size), max(0, size - _END)
    if isinstance(path, ObjectPath):
        first = path.read_range(0, length) if size else b""
        yield first
        yield path.read_range(last, length) if last else first
        return
    with path.open("rb") as file:
        yield file.read(_END)
        file.seek(last)
        yield file.read(_END)


def content_fingerprint(*parts: bytes) -> str:
    """The same form for what is no local file: over bytes that were read from it."""
    total, crc = 0, 0
    for part in parts:
        total += len(part)
        crc = zlib.crc32(part, crc)
    return f"{total}-{crc:08x}"
