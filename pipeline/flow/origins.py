"""What a lazy array is made of: whether its graph reads from a place that is about to be overwritten."""

from __future__ import annotations

import io
import pickle
import re
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from dask.base import is_dask_collection
from zarr.storage import ObjectStore

from pipeline.storage import ObjectPath

_SCHEME = re.compile(r"(?:([a-z][a-z0-9+]*)://|/vsi([a-z0-9]+)/)(.*)", re.DOTALL)
_SAME = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}


def reads_from(data: Any, target: ObjectPath) -> bool:
    """Whether a Dask array has the address of `target`, of what lies in it or of what holds it, anywhere in its graph.

    Addresses are those of our own sources, of zarr's stores over fsspec and obstore, and any other word.
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
        self.found = False
        self._target = target

    def persistent_id(self, value: Any) -> str | None:
        """Look at a value; pixels are not gone through."""
        if isinstance(value, ObjectStore):
            value = value.store  # it pickles its store to bytes
        if isinstance(value, str):
            self.found = self.found or _meet(value, self._target)
        elif isinstance(value, np.ndarray | np.generic | bytes | bytearray | memoryview):
            return "numbers"
        elif type(value).__module__.startswith("obstore"):
            config = getattr(value, "config", None) or {}
            bucket = config.get("bucket") or config.get("container_name")
            self.found = self.found or _meet(f"{bucket}/{getattr(value, 'prefix', None) or ''}", self._target)
        return None

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


def _meet(word: str, target: ObjectPath) -> bool:
    """Whether a word is the address of the target, of what lies in it, or of what holds it below its bucket."""
    _, _, there = str(target).partition("://")
    found = _SCHEME.match(word)
    if found is not None:
        scheme = found[1] or found[2]
        if _SAME.get(scheme, scheme) != target.scheme:
            return False
        word = found[3]
    word = word.rstrip("/")
    return "/" in word and (f"{word}/".startswith(f"{there}/") or f"{there}/".startswith(f"{word}/"))
