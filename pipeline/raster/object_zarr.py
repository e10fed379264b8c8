"""Object stores as Zarr sees them, through obstore: a missing chunk is an error there, and never a fill value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import obstore
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from pipeline.storage import ObjectPath, Place
from pipeline.storage.clients import plainly
from pipeline.storage.objects import check_size


class StrictStore(ObjectStore[Any]):
    """An array in an object store, to read; what cannot be read is an OSError of one line."""

    address = ""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of a key; None where there are none and it is no chunk. Raises FileNotFoundError, OSError."""
        if byte_range is not None:  # none of our codecs asks for one
            return await super().get(key, prototype, byte_range)
        try:
            with plainly(self.address):
                result = await obstore.get_async(self.store, key)
                check_size(int(result.meta["size"]), f"{self.address}/{key}")
                return prototype.buffer.from_bytes(bytes(await result.bytes_async()))
        except FileNotFoundError:
            if key.startswith("c/"):
                raise
            return None


def zarr_of(path: Place) -> Path | StrictStore:
    """What `zarr.open_array` takes for the array at this place."""
    if isinstance(path, Path):
        return path
    assert isinstance(path, ObjectPath)
    store = StrictStore(path.store(), read_only=True)
    store.address = str(path)
    return store
