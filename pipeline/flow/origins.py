"""What a lazy array is made of: whether its graph reads from a place that is about to be overwritten."""

from __future__ import annotations

import io
import pickle
import re
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any
from urllib.parse import unquote

import numpy as np
from dask.base import is_dask_collection
from zarr.storage import FsspecStore, ObjectStore, StorePath

from pipeline.storage import ObjectPath

_SCHEME = re.compile(r"([a-z][a-z0-9+]*)://|/vsi([a-z0-9]+?)(?:_streaming)?/")
_SAME = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "adls": "az"}
_END = re.compile(r"""["'?#,:;|&<>\s]""")


def reads_from(data: Any, target: ObjectPath) -> bool:
    """Whether a Dask array has the address of `target`, of what lies in it or of what holds it, anywhere in its graph.

    Addresses are those of our own sources, of zarr's stores over fsspec and obstore, and what stands in any other word.
    In doubt it is True: for a whole bucket, and where bucket and key are words of their own.
    """
    if not is_dask_collection(data):
        return False
    walk = _Walk(target)
    walk.dump(data.__dask_graph__())
    return walk.found


class _Walk(pickle.Pickler):
    """Goes through all that pickling would, and looks at words; what cannot be pickled is passed by."""

    def __init__(self, target: ObjectPath) -> None:
        super().__init__(_Nowhere(), protocol=5)
        self._target = target
        self._bucket, _, self._key = str(target).partition("://")[2].partition("/")
        self._met = self._saw_bucket = self._saw_key = False

    @property
    def found(self) -> bool:
        """Whether the target was met, as one word or in two."""
        return self._met or (self._saw_bucket and self._saw_key)

    def persistent_id(self, value: Any) -> str | None:
        """Look at a value; pixels are not gone through."""
        if isinstance(value, StorePath):
            root = _root(value.store)
            self._met = self._met or (root is not None and _lies(f"{root.rstrip('/')}/{value.path}", self._target))
            # Its store is the whole bucket, maybe; fsspec's says more than its root.
            return "place" if root is not None and isinstance(value.store, ObjectStore) else None
        if isinstance(value, ObjectStore):
            value = value.store  # it pickles its store to bytes
        if isinstance(value, str):
            self._look(value)
        elif isinstance(value, np.ndarray | np.generic | bytes | bytearray | memoryview):
            return "numbers"
        elif type(value).__module__.startswith("obstore"):
            root = _root(value)
            self._met = self._met or (root is not None and _lies(root, self._target))
        return None

    def _look(self, word: str) -> None:
        self._met = self._met or _meet(word, self._target)
        word = word.strip("/")
        self._saw_bucket = self._saw_bucket or word == self._bucket
        self._saw_key = self._saw_key or f"{word}/".startswith(f"{self._key}/")

    def reducer_override(self, value: Any) -> Any:
        """How to go on from a value: a function holds what it closes over, any other object what it says."""
        if value is list:
            return NotImplemented
        if isinstance(value, FunctionType):
            held = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
            return list, ([*held, value.__defaults__, value.__kwdefaults__],)
        if isinstance(value, MethodType):
            return list, ([value.__self__, value.__func__],)
        if isinstance(value, type | ModuleType | BuiltinFunctionType):
            return list, ()
        try:
            value.__reduce_ex__(5)
        except Exception:  # whatever an object that does not travel raises
            return list, ([getattr(value, "__dict__", None)],)
        return NotImplemented


class _Nowhere(io.RawIOBase):
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        """Forget it."""
        return len(data)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # the function is not yet there
        return False


def _root(store: Any) -> str | None:
    """Where a store of zarr or obstore lies: bucket/prefix or an address of the web; None where it does not say."""
    if isinstance(store, FsspecStore):
        return store.path
    if isinstance(store, ObjectStore):
        store = store.store
    config = getattr(store, "config", None) or {}
    bucket = config.get("bucket") or config.get("container_name")
    if bucket:
        prefix = str(getattr(store, "prefix", None) or "").strip("/")
        return f"{bucket}/{prefix}" if prefix else str(bucket)
    url = getattr(store, "url", None)
    return url if isinstance(url, str) else None


def _lies(address: str, target: ObjectPath) -> bool:
    """Whether an address, which is one, is the target's, of what lies in it, or of what holds it, its bucket too."""
    return _meet(address, target) or _around(address, str(target).partition("://")[2])


def _meet(word: str, target: ObjectPath) -> bool:
    """Whether an address of the target, of what lies in it, or of what holds it stands anywhere in a word.

    A word that names no scheme is one as a whole, and a bucket alone is then none.
    """
    there = str(target).partition("://")[2]
    for text in {word, unquote(word)}:
        found = list(_SCHEME.finditer(text))
        if not found and "/" in _END.split(text)[0].rstrip("/") and _around(text, there):
            return True
        for match in found:
            scheme, rest = match[1] or match[2], text[match.end() :]
            if scheme in ("http", "https"):
                host, _, path = rest.partition("/")
                # The bucket is the first part of the path, or of the host's name.
                bucket = there.partition("/")[0]
                hosted = host.startswith(f"{bucket}.") and _around(f"{bucket}/{path}", there)
                if hosted or _around(path, there):
                    return True
            elif _SAME.get(scheme, scheme) == target.scheme and _around(rest, there):
                return True
    return False


def _around(address: str, there: str) -> bool:
    """Whether bucket/key is `there`, in it or around it; what may follow an address in a longer word is left out."""
    address = re.sub(r"^([^/@]+)@[^/]+", r"\1", address)  # Azure's container@account
    if re.match(rf"{re.escape(there)}(?![\w.~-])", address):
        return True
    heads = address.rstrip("/"), _END.split(address)[0].rstrip("/")
    return any(head and there.startswith(f"{head}/") for head in heads)
