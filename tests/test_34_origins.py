"""Where lazy arrays come from: addresses in their graphs, of whatever library."""

from __future__ import annotations

import threading
from typing import Any

import dask.array as da
import numpy as np
import obstore.store
import pytest
import zarr
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


@pytest.mark.parametrize(
    "word",
    [
        *(
            'ZARR:"/vsis3/bucket/folder/a.zarr"',
            'ZARR:"/vsis3/bucket/folder/a.zarr":/scene',
            "/vsizip//vsis3/bucket/folder",
        ),
        *("/vsis3_streaming/bucket/folder/a.zarr/x.tif", "simplecache::s3://bucket/folder/a.zarr", "s3://bucket"),
        *("https://bucket.s3.eu-west-1.amazonaws.com/folder/a.zarr", "http://localhost:9000/bucket/folder/a.zarr/c"),
        "/vsicurl?url=https%3A%2F%2Fbucket.s3.amazonaws.com%2Ffolder%2Fa.zarr",
    ],
)
def test_an_address_inside_a_word_is_found(word: str) -> None:
    assert reads_from(made_of(word), TARGET)
    other = word.replace("bucket", "pail")
    assert not reads_from(made_of(other), TARGET)
    assert "a.zarr" not in word or not reads_from(made_of(word.replace("a.zarr", "a.zarr2")), TARGET)


def test_azure_names_the_account_after_the_container() -> None:
    target = ObjectPath("az://box/a.zarr")
    assert reads_from(made_of("abfss://box@account.dfs.core.windows.net/a.zarr/scene"), target)
    assert reads_from(made_of("https://account.blob.core.windows.net/box/a.zarr"), target)
    assert not reads_from(made_of("abfss://box@account.dfs.core.windows.net/b.zarr"), target)


def test_keys_may_hold_what_ends_addresses() -> None:
    target = ObjectPath("s3://bucket/my folder/a, b.zarr")
    assert all(reads_from(made_of(word), target) for word in ("bucket/my folder", str(target), f"{target}/scene"))
    assert not reads_from(made_of("bucket/my folders", "bucket: my/folder"), target)


def test_bucket_and_key_may_be_two_words() -> None:
    assert reads_from(made_of("bucket", "folder/a.zarr/scene"), TARGET)
    assert reads_from(made_of({"group": "folder/a.zarr"}, ("bucket",)), TARGET)
    assert not reads_from(made_of("bucket", "folder/b.zarr/scene", "folder/a.zarr2"), TARGET)
    assert not reads_from(made_of("pail", "folder/a.zarr/scene"), TARGET)


@pytest.mark.parametrize("prefix", ["", "folder"])
@pytest.mark.parametrize("kind", ["path", "array"])
def test_a_store_s_root_and_the_path_in_it_are_one_address(prefix: str, kind: str) -> None:
    root = obstore.store.S3Store("bucket", prefix=prefix or None, region="us-east-1")
    memory = zarr.create_array(zarr.storage.MemoryStore(), shape=(4, 6), chunks=(2, 3), dtype="u1")

    def at(path: str) -> Any:
        place = zarr.storage.StorePath(zarr.storage.ObjectStore(root), path)
        return place if kind == "path" else zarr.Array(zarr.AsyncArray(memory.metadata, place))

    above = "" if prefix else "folder/"
    assert reads_from(made_of(at(f"{above}a.zarr/scene")), TARGET)
    assert reads_from(made_of(at(above)), TARGET)
    assert not reads_from(made_of(at(f"{above}b.zarr/scene")), TARGET)
    assert reads_from(made_of(zarr.storage.ObjectStore(root)), TARGET)  # whatever is read from it
    assert not reads_from(made_of(zarr.storage.ObjectStore(obstore.store.S3Store("pail", region="x"))), TARGET)
    assert not reads_from(made_of(obstore.store.MemoryStore(), zarr.storage.MemoryStore()), TARGET)


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
