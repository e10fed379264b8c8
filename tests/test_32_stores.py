"""Stores of ours as others open them: xarray, rioxarray; and as we read them back."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SourceError
from pipeline.flow import write
from pipeline.flow.read import open_scene
from pipeline.flow.write import store_to_cog, store_windows
from pipeline.grid import Grid, Tile, Window
from pipeline.raster import cache
from pipeline.raster.store_source import open_store
from pipeline.storage import place
from tests.scenes import CRS, TRANSFORM, call, read, small_scene, write_tif


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A scene with holes and its lossless store, in tiles that do not divide it."""
    folder = tmp_path_factory.mktemp("stores")
    scene = small_scene(folder / "scene.tif")
    assert call("compress", scene, folder / "scene.zarr", "--lossless", "--tile", 64).exit_code == 0
    return scene, folder / "scene.zarr"


def test_xarray_alone_opens_it_lazily_with_its_crs(stored: tuple[Path, Path]) -> None:
    scene, store = stored
    with xr.open_zarr(store) as opened:
        assert opened.scene.dims == ("band", "y", "x")
        assert opened.scene.chunks is not None
        assert opened.scene.rio.crs == CRS
        assert opened.scene.rio.transform() == rioxarray.open_rasterio(scene).rio.transform()
        pixels = read(scene)
        assert np.array_equal(opened.valid.values, (pixels != 0).all(axis=0))
        masked = opened.scene.values
        assert np.array_equal(np.isnan(masked), pixels == 0)
        assert np.array_equal(np.nan_to_num(masked).astype("uint16"), pixels)
        assert opened.scene.sel(band=str(opened.band.values[1])).shape == pixels.shape[1:]


def test_a_process_that_imports_only_xarray_opens_it(stored: tuple[Path, Path]) -> None:
    script = (
        "import sys, xarray; s = xarray.open_zarr(sys.argv[1], mask_and_scale=False);"
        "assert 'pipeline' not in sys.modules or 'dask.array' in sys.modules;"
        "print(int(s.scene[:, 60:70, 60:70].values.astype('int64').sum()))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(stored[1])], capture_output=True, text=True, check=True)
    assert int(done.stdout) == int(read(stored[0])[:, 60:70, 60:70].astype("int64").sum())


def test_windows_of_a_store_are_whole_chunks_together_where_they_are_small(
    stored: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_store(place(stored[1]))
    assert [window.shape for window, _, _ in store_windows(source)] == [(150, 170)]
    monkeypatch.setattr(write, "PIECE_BYTES", 128 * 128 * 2 * len(source.info.bands))
    expected = [window for window, _, _ in store_windows(source)]
    assert [window.shape for window in expected] == [(128, 128), (128, 42), (22, 128), (22, 42)]
    assert [window for window, _, _ in store_windows(source, ahead=True)] == expected
    monkeypatch.setattr(write, "AHEAD_BYTES", 1)
    assert [window for window, _, _ in store_windows(source, ahead=True)] == expected


@pytest.mark.parametrize(("ahead", "most"), [(False, 1), (True, 2)])
def test_no_more_tiles_are_made_than_are_read(
    stored: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, ahead: bool, most: int
) -> None:
    made: list[Tile] = []

    class Counting(Grid):
        def __iter__(self) -> Iterator[Tile]:
            for tile in super().__iter__():
                made.append(tile)
                yield tile

    monkeypatch.setattr(write, "Grid", Counting)
    monkeypatch.setattr(write, "PIECE_BYTES", 1)
    with closing(store_windows(open_store(place(stored[1])), ahead=ahead)) as windows:
        next(windows)
        assert len(made) == most


def test_chunks_that_are_read_once_are_not_kept(stored: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "shared", cache.Cache())
    source = open_store(place(stored[1]))
    source.read(Window(0, 128, 0, 128), once=True)
    source.read(Window(64, 128, 64, 128))
    assert cache.shared.nbytes == 0
    source.read(Window(0, 128, 0, 128))  # as a tile with its halo may be
    assert cache.shared.nbytes > 0


def test_a_cog_is_the_same_whoever_reads_ahead(
    stored: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "PIECE_BYTES", 1)
    for threads in (1, 2):
        store_to_cog(place(stored[1]), tmp_path / f"{threads}.tif", threads=threads)
    assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()
    assert np.array_equal(read(tmp_path / "2.tif"), read(stored[0]))


def test_a_damaged_chunk_that_is_read_ahead_ends_the_cog(
    stored: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "PIECE_BYTES", 1)
    store = shutil.copytree(stored[1], tmp_path / "s.zarr")
    (store / "scene" / "c" / "0" / "1" / "1").write_bytes(b"damaged")
    with pytest.raises(SourceError, match="damaged chunk"):
        store_to_cog(place(store), tmp_path / "out.tif", threads=2)
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


@given(st.data())
def test_windows_across_chunks_equal_the_file(stored: tuple[Path, Path], data: st.DataObject) -> None:
    source, pixels = open_scene(str(stored[1])), read(stored[0])
    y0, x0 = data.draw(st.integers(0, 149)), data.draw(st.integers(0, 169))
    window = Window(y0, data.draw(st.integers(y0 + 1, 150)), x0, data.draw(st.integers(x0 + 1, 170)))
    block, valid = source.read(window)
    assert np.array_equal(block, pixels[:, *window.slices])
    assert np.array_equal(valid, (pixels != 0).all(axis=0)[window.slices])


def test_a_missing_or_damaged_chunk_is_named(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "s.tif", holes=0.0)
    for variable, words in (("--rmse", ["compress", scene, tmp_path / "s.zarr", "--rmse", 5]), ("plain", None)):
        store = tmp_path / "s.zarr"
        if words is None:
            store = tmp_path / "p.zarr"
            words = ["denoise", scene, store, "--quality", "none"]
        assert call(*words, "--tile", 64).exit_code == 0, variable
        chunk = store / "scene" / "c" / "0" / "1" / "2"
        good = chunk.read_bytes()
        chunk.write_bytes(good[:-9] + b"x" + good[-8:])
        source = open_scene(str(store))
        assert source.read(Window(0, 64, 0, 64))[1].all()
        with pytest.raises(SourceError, match=r"scene/c/0/1/2: damaged chunk \(rows 64:128, columns 128:170\)"):
            source.read(Window(60, 70, 120, 140))
        chunk.unlink()
        with pytest.raises(SourceError, match="missing chunk"):
            source.read(Window(60, 70, 120, 140))


def test_scale_and_offset_reach_xarray(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "r.tif", np.arange(1200, dtype="int16").reshape(1, 30, 40), nodata=-1)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.5,), (10.0,)
    assert call("compress", path, tmp_path / "r.zarr", "--lossless").exit_code == 0
    with xr.open_zarr(tmp_path / "r.zarr") as opened:
        assert np.allclose(opened.scene.values[0], np.arange(1200).reshape(30, 40) * 0.5 + 10)
        assert opened.scene.rio.transform() == TRANSFORM


@pytest.mark.parametrize("nodata", [np.inf, -np.inf])
def test_an_infinite_nodata_goes_there_and_back(tmp_path: Path, nodata: float) -> None:
    block = (1000 + np.random.default_rng(0).normal(0, 3, (3, 90, 80)).cumsum(-1)).astype("float32")
    block[:, :20] = nodata
    write_tif(tmp_path / "s.tif", block, nodata=nodata)
    for words in (
        ("compress", "s.tif", "s.zarr", "--rmse", 2),
        ("inspect", "s.zarr"),
        ("decompress", "s.zarr", "b.tif"),
    ):
        result = call(*(tmp_path / str(word) if "." in str(word) else word for word in words))
        assert result.exit_code == 0, result.stderr
    back = read(tmp_path / "b.tif")
    np.testing.assert_array_equal(back == nodata, block == nodata)
    assert 0 < np.sqrt(np.mean((back[:, 20:] - block[:, 20:]) ** 2)) <= 2


def test_a_foreign_store_is_one_clear_line(tmp_path: Path) -> None:
    xr.Dataset({"a": ("x", [1])}).to_zarr(tmp_path / "foreign.zarr", consolidated=False)
    with pytest.raises(SourceError, match="not a store of terrasketch"):
        open_scene(str(tmp_path / "foreign.zarr"))


def test_a_dtype_that_cannot_be_stored_so_leaves_nothing(tmp_path: Path) -> None:
    scene = write_tif(tmp_path / "wide.tif", np.random.default_rng(0).integers(0, 2**40, (2, 40, 50)))
    result = call("compress", scene, tmp_path / "wide.zarr")
    assert result.exit_code == 1
    assert "int64 is stored without loss only" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["wide.tif"]
