"""Every chunk of a store, of its pixels and of what says which are valid, read and held against its checksum."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zarr

from pipeline.codec import check
from pipeline.errors import SourceError
from pipeline.grid import Grid
from pipeline.raster.chunks import check_crc32c, chunk_path, read_chunk
from pipeline.raster.store_check import LOW_RANK, check_chunk, codec_names
from pipeline.raster.store_source import StoreSource
from pipeline.storage import Place, place

NAMED = 4
"""Chunks that are named, of all that are damaged or missing."""


@dataclass
class Verdict:
    """What was found in the chunks of a store."""

    chunks: int = 0
    missing: int = 0
    damaged: int = 0
    first: list[str] = field(default_factory=list)
    """The first few that are damaged or missing, by their names in the store."""

    def to_json(self) -> dict[str, Any]:
        """The counts, and names where there are any."""
        counts = {"verified": self.chunks, "missing": self.missing, "damaged": self.damaged}
        return counts | ({"damaged_or_missing": self.first} if self.first else {})


def verify(source: StoreSource) -> Verdict:
    """Read all chunks of a store, one at a time, and compute their checksums; nothing is decoded.

    Raises:
        SourceError: the store's metadata are damaged, or the object store does not answer.
    """
    found, store = Verdict(), place(source.path)
    for name, array in source.arrays.items():
        for tile in Grid(source.info.height, source.info.width, source.tile):
            index = (0, tile.row, tile.column)[3 - array.ndim :]
            path = chunk_path(store, name, *index)
            found.chunks += 1
            try:
                _check(store, path, array)
                continue
            except FileNotFoundError:
                found.missing += 1
            except (OSError, ValueError) as error:  # a FormatError is a ValueError
                if isinstance(error, OSError) and not isinstance(path, Path):  # who does not answer damages nothing
                    raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
                found.damaged += 1
            if len(found.first) < NAMED:
                found.first.append("/".join(map(str, (name, "c", *index))))
    return found


def _check(store: Place, path: Place, array: zarr.Array[Any]) -> None:
    """Raise FileNotFoundError, OSError or ValueError unless the chunk is there, whole, and as it was written."""
    if isinstance(path, Path) and isinstance(store, Path):
        check_chunk(store, path, array)
    data = read_chunk(path)
    (check if LOW_RANK in codec_names(array) else check_crc32c)(data)
