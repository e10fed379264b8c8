"""Chunks of features are large: how often one is in memory while it is made, read back and written out."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from weakref import ref

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pipeline.flow.feature_job import FeatureJob
from pipeline.flow.read import open_scene
from pipeline.flow.report import feature_picture
from pipeline.flow.write import store_to_cog, store_windows
from pipeline.grid import Window
from pipeline.network import Bank
from pipeline.raster.cog_options import BLOCK
from pipeline.raster.handed import with_block
from pipeline.raster.store_source import open_store
from pipeline.storage import place
from tests.scenes import call_json, read, small_scene

TILE, COUNT, BANDS = 256, 60, 4
CHUNK = 4 * TILE**2 * (2 * COUNT + 2 * BANDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of two tiles, a bank, and the features of all its pixels."""
    folder = tmp_path_factory.mktemp("memory")
    scene = small_scene(folder / "scene.tif", height=250, width=400, bands=BANDS)
    call_json("fit", scene, "-o", folder / "bank.npz", "--count", COUNT)
    call_json("features", scene, folder / "features.zarr", "--bank", folder / "bank.npz", "--tile", TILE)
    return folder


def chunks_at_once(work: Callable[[], object]) -> float:
    """The most that is allocated while it works, in chunks."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / CHUNK
    finally:
        tracemalloc.stop()


def test_a_chunk_of_features_is_coded_without_copies(folder: Path, tmp_path: Path) -> None:
    bank = Bank.load(folder / "bank.npz")
    (tmp_path / "f.zarr").mkdir()
    source = open_scene([str(folder / "scene.tif")])
    job = FeatureJob(source, str(tmp_path / "f.zarr"), TILE, str(folder / "bank.npz"), bank.digest(), bank.pool, 1)
    assert chunks_at_once(lambda: job.run(job.grid[0])) < 2.25
    made, whole = (
        (store / "features" / "c" / "0" / "0" / "0") for store in (tmp_path / "f.zarr", folder / "features.zarr")
    )
    assert made.read_bytes() == whole.read_bytes()


def test_a_cog_is_made_with_one_chunk_of_features_at_a_time(folder: Path, tmp_path: Path) -> None:
    store = place(folder / "features.zarr")
    assert chunks_at_once(lambda: store_to_cog(store, tmp_path / "f.tif")) < 2.6
    whole, _ = open_store(store).read(Window(0, 250, 0, 400))
    assert_array_equal(read(tmp_path / "f.tif"), whole)
    shapes = [window.shape for window, _, _ in store_windows(open_store(store))]
    assert shapes == [(128, 256), (122, 256), (128, 144), (122, 144)]


def test_the_picture_of_features_has_one_chunk_at_a_time(folder: Path) -> None:
    store = open_store(place(folder / "features.zarr"))
    feature_picture(store)  # what is made once in a process is no part of it
    assert chunks_at_once(lambda: feature_picture(store)) < 3.1  # the picture is as large as a chunk here


def test_windows_that_were_handed_over_are_not_held() -> None:
    def windows():  # type: ignore[no-untyped-def]
        for x in range(0, 4 * BLOCK, BLOCK):
            yield Window(0, 4, x, x + 4), np.zeros((1, 4, 4)), None

    held = []
    for _, block, _ in with_block(windows(), BLOCK)[0]:
        held.append(ref(block))
        del block
        assert all(one() is None for one in held[:-1])
    assert len(held) == 4
