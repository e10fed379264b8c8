"""Object stores as Zarr sees them, through obstore: a missing chunk is an error there, and never a fill value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import obstore
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from pipeline.storage import ObjectPath
from pipeline.storage.clients import plainly
from pipeline.storage.objects import check_size

_HEAD = 64


if TYPE_CHECKING:
    _Store = ObjectStore[Any]
else:
    _Store = ObjectStore  # not generic before zarr 3.1.3


class StrictStore(_Store):
    """An array in an object store, to read; what cannot be read is an OSError of one line."""

    address = ""
    check: Callable[[bytes, int], None] = staticmethod(lambda start, size: None)
    """Looks at the first bytes of a chunk and at its size before it is decoded. Raises ValueError."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of a key; None where there are none and it is no chunk. Raises FileNotFoundError, OSError."""
        if byte_range is not None:  # none of our codecs asks for one
            return await super().get(key, prototype, byte_range)
        try:
            with plainly(self.address):
                result = await obstore.get_async(self.store, key)
                check_size(int(result.meta["size"]), f"{self.address}/{key}")
                data = bytes(await result.bytes_async())
        except FileNotFoundError:
            if key.startswith("c/"):
                raise
            return None
        if key.startswith("c/"):
            self.check(data[:_HEAD], len(data))
        return prototype.buffer.from_bytes(data)


def zarr_of(path: ObjectPath) -> StrictStore:
    """What `zarr.open_array` takes for the array at this place."""
    store = StrictStore(path.store(), read_only=True)
    store.address = str(path)
    return store
