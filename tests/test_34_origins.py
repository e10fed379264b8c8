"""Where lazy arrays come from: addresses in their graphs, of whatever library."""

from __future__ import annotations

import threading
from typing import Any

import dask.array as da
import numpy as np
import obstore.store
import pytest
import zarr.storage

from pipeline.flow.origins import reads_from
from pipeline.storage import ObjectPath

TARGET = ObjectPath("s3://bucket/folder/a.zarr")


def made_of(*things: Any) -> da.Array:
    """A lazy array whose graph holds these things."""

    def fill(block: np.ndarray, held: Any) -> np.ndarray:
        return block if held else block + len(things)

    return da.map_blocks(fill, da.zeros((4, 6), chunks=3), held=list(things)) + 1


@pytest.mark.parametrize(
    "word",
    [
        *("s3://bucket/folder/a.zarr", "s3://bucket/folder/a.zarr/", "s3://bucket/folder/a.zarr/scene/c/0/0/0"),
        *("bucket/folder/a.zarr", "/vsis3/bucket/folder/a.zarr", "s3a://bucket/folder/a.zarr", "s3://bucket/folder"),
    ],
)
def test_an_address_of_the_target_is_found(word: str) -> None:
    assert reads_from(made_of(word), TARGET)
    assert reads_from(made_of(ObjectPath(word)) if word.startswith("s3:") else made_of({"path": (word,)}), TARGET)


@pytest.mark.parametrize(
    "word",
    [
        *(
            "s3://bucket/folder/a.zarr2",
            "s3://bucket/folder/b.zarr",
            "s3://other/folder/a.zarr",
            "/bucket/folder/a.zarr",
        ),
        *("gs://bucket/folder/a.zarr", "/vsigs/bucket/folder/a.zarr", "folder/a.zarr", "a.zarr", "bucket", "s3", ""),
    ],
)
def test_other_words_are_not(word: str) -> None:
    assert not reads_from(made_of(word), TARGET)


def test_stores_locks_and_functions_are_gone_through() -> None:
    store = obstore.store.S3Store("bucket", prefix="folder/a.zarr", region="us-east-1")
    other = obstore.store.S3Store("bucket", prefix="folder/b.zarr", region="us-east-1")
    assert reads_from(made_of(store), TARGET)
    assert reads_from(made_of(zarr.storage.ObjectStore(store)), TARGET)
    assert not reads_from(made_of(other, threading.Lock(), np.float32, np), TARGET)

    class Held:
        def __init__(self) -> None:
            self.lock, self.path = threading.Lock(), str(TARGET)

        def __call__(self, block: np.ndarray) -> np.ndarray:
            return block

    address = str(TARGET)
    assert reads_from(made_of(Held()), TARGET)
    assert reads_from(made_of(Held().__call__), TARGET)
    assert reads_from(made_of(lambda block: block + len(address)), TARGET)
    assert not reads_from(np.zeros((4, 6)), TARGET)
