"""Scenes and stores on a web server: only the ranges that are needed are fetched."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.flow.read import open_scene
from pipeline.grid import Window
from pipeline.storage import objects
from tests.scenes import call, call_json, read, small_scene
from tests.servers import range_server


def test_a_cog_is_read_by_ranges_alone(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif", height=2048, width=2048, bands=3)
    assert call("denoise", scene, tmp_path / "cog.tif", "--quality", "none", "--co", "BLOCKSIZE=256").exit_code == 0
    size, pixels = (tmp_path / "cog.tif").stat().st_size, read(tmp_path / "cog.tif")
    with range_server(tmp_path) as (url, log):
        source = open_scene(f"{url}/cog.tif")
        begun = sum(sent for _, _, sent in log)
        block, _ = source.read(Window(600, 700, 1000, 1100))
        np.testing.assert_array_equal(block, pixels[:, 600:700, 1000:1100])
        fetched = [sent for method, path, sent in log if method == "GET" and path == "/cog.tif"]
        assert max(fetched) <= 1 << 20
        assert sum(fetched) - begun < size / 8
        assert source.info.fingerprint == open_scene(str(tmp_path / "cog.tif")).info.fingerprint


def test_a_store_on_a_web_server_is_read_chunk_by_chunk(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif")
    assert call("compress", scene, tmp_path / "s.zarr", "--lossless", "--tile", 64).exit_code == 0
    with range_server(tmp_path) as (url, log):
        source = open_scene(f"{url}/s.zarr")
        block, valid = source.read(Window(60, 70, 3, 9))
        np.testing.assert_array_equal(block, read(scene)[:, 60:70, 3:9])
        np.testing.assert_array_equal(valid, (block != 0).all(axis=0))
        chunks = sorted(path for _, path, _ in log if "/c/" in path)
        assert chunks == [
            f"/s.zarr/{name}" for name in ("scene/c/0/0/0", "scene/c/0/1/0", "valid/c/0/0", "valid/c/1/0")
        ]
        assert call_json("compare", f"{url}/s.zarr", scene)["overall"]["rmse"] == 0
        assert call("decompress", f"{url}/s.zarr", tmp_path / "back.tif").exit_code == 0
        assert call("fit", f"{url}/s.zarr", "-o", tmp_path / "b.npz", "--bank", "classic").exit_code == 0
        assert call("inspect", f"{url}/b.npz").exit_code == 0
    np.testing.assert_array_equal(read(tmp_path / "back.tif"), read(scene))


def test_an_object_larger_than_any_chunk_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = small_scene(tmp_path / "scene.tif", height=64, width=64)
    assert call("compress", scene, tmp_path / "s.zarr", "--tile", 64).exit_code == 0
    with range_server(tmp_path) as (url, _):
        source = open_scene(f"{url}/s.zarr")
        monkeypatch.setattr(objects, "MOST_BYTES", 2000)
        with pytest.raises(SourceError, match="more than any chunk"):
            source.read(Window(0, 9, 0, 9))


@pytest.mark.parametrize("name", ["nothing.tif", "nothing.zarr", "nothing.npz"])
def test_what_is_not_there_is_one_line(tmp_path: Path, name: str) -> None:
    with range_server(tmp_path) as (url, _):
        result = call("inspect", f"{url}/{name}")
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert f"{url}/{name}" in result.stderr
