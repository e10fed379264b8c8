"""Cheap identity of input files, for resuming: sizes and both ends of each, whatever their names and dates."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress

from rasterio.io import DatasetReader

from pipeline.errors import StorageError
from pipeline.storage import ObjectPath, Place, is_url, place

_END = 1 << 20
_SAMPLED = 64
_CORNER = 64
NOT_PIXELS = (".aux.xml", ".ovr")
"""How the files end that viewers leave beside a raster."""


def fingerprint(paths: Iterable[str]) -> str:
    """`SIZE-CRC` over the sizes of all files or objects and the first and last MiB of the first 64 of them.

    Statistics and overviews that viewers leave beside a file do not count.
    """
    total, crc = 0, 0
    pixels = [path for path in paths if not path.lower().endswith(NOT_PIXELS)]
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


def dataset_fingerprint(path: str, dataset: DatasetReader) -> str:
    """That of the files behind a dataset, or of two corners of its pixels where they are no files that can be read."""
    if dataset.files and all(map(os.path.isfile, dataset.files)):
        return fingerprint(dataset.files)
    if is_url(path) and "?" not in path and len(dataset.files) == 1:
        with suppress(StorageError):
            return fingerprint([path])
    height, width = min(_CORNER, dataset.height), min(_CORNER, dataset.width)
    first = dataset.read(window=((0, height), (0, width)), out_dtype="float64")
    last = dataset.read(
        window=((dataset.height - height, dataset.height), (dataset.width - width, dataset.width)),
        out_dtype="float64",
    )
    return content_fingerprint(repr((dataset.shape, dataset.dtypes)).encode(), first.tobytes(), last.tobytes())
