"""What stays in memory of a store that is read: the chunks that the next window touches again, and no others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.grid import Halo, Tile
from pipeline.raster import cache
from pipeline.raster.cache import Cache
from pipeline.raster.store_source import StoreSource, open_store
from tests.scenes import call, read, small_scene


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 x 170 pixels without loss, in 3 x 3 chunks of 64."""
    folder = tmp_path_factory.mktemp("store")
    small_scene(folder / "scene.tif")
    result = call("compress", folder / "scene.tif", folder / "scene.zarr", "--lossless", "--tile", 64)
    assert result.exit_code == 0, result.stderr
    return folder / "scene.zarr"


@pytest.mark.parametrize(("halo", "times"), [(0, 2), (8, 1)])
def test_chunks_are_kept_for_halos_alone(store: Path, halo: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "shared", Cache())
    opened, loads = open_store(store), Counter[Any]()
    load = Cache._load

    def counting(self: Cache, key: Any, make: Any) -> Any:
        loads[key] += 1
        return load(self, key, make)

    monkeypatch.setattr(Cache, "_load", counting)
    raw = read(store.with_name("scene.tif"))
    for tile in opened.info.grid(64):
        check_window(opened, tile, halo, raw)
        check_window(opened, tile, halo, raw)
    assert len(loads) == 2 * 9  # `scene` and `valid`
    assert set(loads.values()) == {times}


def check_window(store: StoreSource, tile: Tile, halo: int, raw: Any) -> None:
    window = tile.window.expand(Halo.even(halo), store.info.height, store.info.width)
    np.testing.assert_array_equal(store.read(window)[0], raw[:, *window.slices])


def test_parts_of_a_chunk_decode_it_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "shared", Cache())
    loads = Counter[Any]()
    load = Cache._load

    def counting(self: Cache, key: Any, make: Any) -> Any:
        loads[key] += 1
        return load(self, key, make)

    monkeypatch.setattr(Cache, "_load", counting)
    opened = open_store(store)
    for tile in opened.info.grid(16):
        if tile.row < 4 and tile.column < 4:
            opened.read(tile.window)
    assert set(loads.values()) == {1}
