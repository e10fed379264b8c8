"""A place in an object store: s3://, gs://, az://, and https:// to read from; the methods of a path that we use.

It pickles, being its address and nothing else. Objects are put whole, so whoever lists them sees them whole or not at
all. What goes wrong is an OSError whose `strerror` says it in one line.
"""

from __future__ import annotations

import errno
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, NamedTuple, cast
from urllib.parse import unquote

import obstore

from pipeline.errors import RangeError, StorageError
from pipeline.storage.clients import client, plainly

FIRST_BYTES = 64 << 10
"""Read when an object is opened: most of what we read parts of is no larger, or says there where its parts lie."""
PART_BYTES, LARGE_BYTES = 8 << 20, 32 << 20
"""Of a part of a large object, and from where on bytes are put in parts: each must be through in a request's time."""
MOST_BYTES = 8 * (1 << 28) + (1 << 16)
"""Of an object that is read as a whole: as many as a chunk may have."""
_URL = re.compile(r"(s3|gs|az|https?)://([^/?#]+)(?:/(.*))?", re.DOTALL)


def check_size(size: int, url: str) -> None:
    """Refuse an object larger than any of ours before it is fetched. Raises StorageError."""
    if size > MOST_BYTES:
        raise StorageError(errno.EFBIG, f"{size} bytes are more than any chunk or paper of ours has", url)


class Stat(NamedTuple):
    """Of an object: its size in bytes, when it was written by the store's clock (seconds), and its tag."""

    st_size: int
    st_mtime: float
    tag: str


def is_url(text: str) -> bool:
    """Whether this names a place in an object store or on a web server."""
    return _URL.fullmatch(text) is not None


@dataclass(frozen=True, order=True)
class ObjectPath:
    """A bucket and a key, or a prefix of keys, as one address."""

    url: str

    def __post_init__(self) -> None:
        assert is_url(self.url), self.url
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(f"{self.url}/{name}")

    @property
    def scheme(self) -> str:
        """s3, gs, az, https or http."""
        return self._parts[0]

    @property
    def key(self) -> str:
        """The object's name in its bucket."""
        _, _, key = self._parts
        return unquote(key) if self.scheme.startswith("http") else key

    @property
    def name(self) -> str:
        """The last part of the key, or the bucket."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def suffix(self) -> str:
        """The ending of the name."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> ObjectPath:
        """What the last part lies in; the bucket in itself."""
        return ObjectPath(self.url.rsplit("/", 1)[0]) if self._parts[2] else self

    def with_name(self, name: str) -> ObjectPath:
        """The same place with another last part."""
        return self.parent / name

    def joinpath(self, *parts: str) -> ObjectPath:
        """A place below this one."""
        return ObjectPath("/".join((self.url, *parts)))

    def absolute(self) -> ObjectPath:
        """Itself."""
        return self

    def resolve(self) -> ObjectPath:
        """Itself."""
        return self

    def exists(self) -> bool:
        """Whether there is an object of this name, or any below it."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether there is an object of this name. Raises OSError where that cannot be told."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether there is any object below this prefix. Raises OSError where that cannot be told."""
        return next(self._list(1), None) is not None

    def stat(self) -> Stat:
        """Size, time and tag. Raises FileNotFoundError, OSError."""
        meta = self._ask(lambda store: obstore.head(store, self.key))
        return _stat(meta)

    def read_bytes(self) -> bytes:
        """The whole object, of at most MOST_BYTES. Raises FileNotFoundError, OSError."""

        def whole(store: Any) -> bytes:
            result = obstore.get(store, self.key)
            check_size(int(result.meta["size"]), self.url)
            return bytes(result.bytes())

        found: bytes = self._ask(whole)
        return found

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole object as text. Raises FileNotFoundError, OSError, UnicodeDecodeError."""
        return self.read_bytes().decode(encoding)

    def read_range(self, start: int, length: int) -> bytes:
        """So many bytes from `start` on, which must lie in the object. Raises FileNotFoundError, OSError."""
        return bytes(self._ask(lambda store: obstore.get_range(store, self.key, start=start, length=length)))

    def read_first(self, length: int) -> tuple[bytes, int]:
        """At most the first `length` bytes, and the size of the whole, in one request."""

        def first(store: Any) -> tuple[bytes, int]:
            result = obstore.get(store, self.key, options={"range": (0, length)})
            return bytes(result.bytes()), int(result.meta["size"])

        try:
            found: tuple[bytes, int] = self._ask(first)
        except RangeError:  # none lies in an empty object
            return b"", 0
        return found

    def open(self, mode: Literal["rb"] = "rb") -> BinaryIO:
        """The object to read parts of; nothing but its beginning is fetched before it is asked for."""
        assert mode == "rb", mode
        return cast(BinaryIO, io.BufferedReader(_Ranges(self), FIRST_BYTES))

    def write_bytes(self, data: bytes) -> int:
        """Put the object, whole. Raises OSError."""
        self.put(data)
        return len(data)

    def put(self, data: bytes | Path, *, only: str | None = None) -> str:
        """Put bytes or a file, whole; large files in parts. Returns the tag.

        Args:
            only: "" = where there is no such object, a tag = where this is the object's.

        Raises:
            FileExistsError: `only` does not hold.
            OSError: it cannot be written.
        """
        self.check_writable()
        mode: Any = "overwrite" if only is None else ("create" if only == "" else {"e_tag": only})
        # A put in parts knows no conditions; chunks and papers go in one.
        words: Any = {"chunk_size": PART_BYTES}
        if isinstance(data, bytes):
            words["use_multipart"] = only is None and len(data) > LARGE_BYTES
        result = self._ask(lambda store: obstore.put(store, self.key, data, mode=mode, **words), writing=True)
        return str(result["e_tag"] or "")

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object. Raises OSError."""
        try:
            self._remove([self.key])
        except FileNotFoundError:
            if not missing_ok:
                raise

    def names(self) -> set[str]:
        """The names directly below this prefix, of objects and of prefixes. Raises OSError."""
        found = self._ask(lambda store: obstore.list_with_delimiter(store, self.key or None))
        paths = [*(str(meta["path"]) for meta in found["objects"]), *map(str, found["common_prefixes"])]
        return {path.rstrip("/").rpartition("/")[2] for path in paths}

    def below(self) -> Iterator[tuple[str, int]]:
        """The names of all objects below this prefix, from there on, and their sizes. Raises OSError."""
        start = len(self.key) + 1 if self.key else 0
        return ((str(meta["path"])[start:], int(meta["size"])) for meta in self._list())

    def remove_below(self, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Remove the objects below this prefix whose names from there on are wanted. Raises OSError."""
        names = (f"{self.key}/{name}" for name, _ in self.below() if wanted(name))
        while batch := list(islice(names, 1000)):
            self._remove(batch)

    def check_writable(self) -> None:
        """Raise OSError unless objects can be put here."""
        if self.scheme.startswith("http"):
            what = "web addresses can only be read; give a folder, or s3://, gs:// or az://"
            raise StorageError(errno.EROFS, what, self.url)
        if not self.key:
            raise StorageError(errno.EINVAL, "the address names a bucket and nothing in it", self.url)

    def store(self) -> Any:
        """obstore's store whose keys begin here: what zarr's ObjectStore takes."""
        scheme, bucket, _ = self._parts
        return client(scheme, bucket, self.key)

    @property
    def _parts(self) -> tuple[str, str, str]:
        found = _URL.fullmatch(self.url)
        assert found is not None, self.url
        return found[1], found[2], found[3] or ""

    def _ask(self, request: Callable[[Any], Any], *, writing: bool = False) -> Any:
        scheme, bucket, _ = self._parts
        with plainly(self.url, writing=writing):
            return request(client(scheme, bucket))

    def _remove(self, keys: list[str]) -> None:
        self.check_writable()
        if keys:
            self._ask(lambda store: obstore.delete(store, keys if len(keys) > 1 else keys[0]))

    def _list(self, chunk: int = 1000) -> Iterator[Any]:
        stream = self._ask(lambda store: obstore.list(store, self.key or None, chunk_size=chunk))
        while True:
            metas = self._ask(lambda _store: next(stream, None))
            if metas is None:
                return
            yield from metas


class _Ranges(io.RawIOBase):
    """An object as a file: its beginning read when it is opened, the rest by ranges."""

    def __init__(self, path: ObjectPath) -> None:
        super().__init__()
        self._path, self._at = path, 0
        self._first, self._size = path.read_first(FIRST_BYTES)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._size - self._at))
        if length and self._at + length <= len(self._first):
            data = self._first[self._at : self._at + length]
        else:
            data = self._path.read_range(self._at, length) if length else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _stat(meta: Any) -> Stat:
    return Stat(int(meta["size"]), meta["last_modified"].timestamp(), str(meta["e_tag"] or ""))
