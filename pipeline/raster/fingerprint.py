"""Cheap identity of input files, for resuming: sizes and both ends of each, whatever their names and dates."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable

_END = 1 << 20
_SAMPLED = 64
_NOT_PIXELS = (".aux.xml", ".ovr")


def fingerprint(paths: Iterable[str]) -> str:
    """`SIZE-CRC` over the sizes of all files and the first and last MiB of the first 64 of them.

    Statistics and overviews that viewers leave beside a file do not count.
    """
    total, crc = 0, 0
    pixels = [path for path in paths if not path.lower().endswith(_NOT_PIXELS)]
    for number, path in enumerate(pixels):
        size = os.path.getsize(path)
        total += size
        crc = zlib.crc32(str(size).encode(), crc)
        if number < _SAMPLED:
            with open(path, "rb") as file:
                crc = zlib.crc32(file.read(_END), crc)
                file.seek(max(0, size - _END))
                crc = zlib.crc32(file.read(_END), crc)
    return f"{total}-{crc:08x}"


def content_fingerprint(*parts: bytes) -> str:
    """The same form for what is no local file: over bytes that were read from it."""
    total, crc = 0, 0
    for part in parts:
        total += len(part)
        crc = zlib.crc32(part, crc)
    return f"{total}-{crc:08x}"
