"""Object stores as Zarr sees them, through obstore: a missing chunk is an error there, and never a fill value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from pipeline.storage import ObjectPath
from pipeline.storage.clients import plainly

_HEAD = 64


class StrictStore(ObjectStore[Any]):
    """An array in an object store, to read; what cannot be read is an OSError of one line."""

    address = ""
    check: Callable[[bytes, int], None] = staticmethod(lambda start, size: None)
    """Looks at the first bytes of a chunk and at its size before it is decoded. Raises ValueError."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of a key; None where there are none and it is no chunk. Raises FileNotFoundError, OSError."""
        with plainly(self.address):
            value = await super().get(key, prototype, byte_range)
        if key.startswith("c/"):
            if value is None:
                raise FileNotFoundError(key)
            data = value.to_bytes()
            self.check(data[:_HEAD], len(data))
        return value


def zarr_of(path: ObjectPath) -> StrictStore:
    """What `zarr.open_array` takes for the array at this place."""
    store = StrictStore(path.store(), read_only=True)
    store.address = str(path)
    return store
