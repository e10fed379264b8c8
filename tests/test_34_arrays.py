"""The verbs for xarray: lazy where the input is lazy, equal to the commands, CRS kept."""

from pathlib import Path

import dask
import numpy as np
import pytest
import rioxarray
import xarray as xr

import pipeline
from pipeline.errors import BlockError, ConfigError
from pipeline.flow.read import open_scene
from pipeline.flow.sentinels import nodata_of
from pipeline.grid import Window
from pipeline.network import Bank
from tests.scenes import CRS, band_psnr, call, read, small_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene with its truth beside it."""
    folder = tmp_path_factory.mktemp("arrays")
    path = folder / "scene.tif"
    small_scene(path, height=140, width=150, truth_path=folder / "truth.tif")
    return path


def test_denoise_is_lazy_equals_the_command_and_keeps_labels(scene: Path, tmp_path: Path) -> None:
    lazy = rioxarray.open_rasterio(scene, chunks={"band": -1, "y": 64, "x": 64})
    result = pipeline.denoise(lazy)
    assert dask.is_dask_collection(result.data)
    assert result.dims == lazy.dims
    assert result.rio.crs == CRS
    assert result.rio.nodata == lazy.rio.nodata
    assert call("denoise", scene, tmp_path / "clean.tif", "--tile", 64).exit_code == 0
    computed = result.compute().values
    assert computed.dtype == lazy.dtype
    assert np.array_equal(computed, read(tmp_path / "clean.tif"))


def test_denoise_of_plain_arrays_and_single_planes(scene: Path) -> None:
    whole = rioxarray.open_rasterio(scene).load()
    result = pipeline.denoise(whole)
    assert isinstance(result.data, np.ndarray)
    truth, valid = read(scene.with_name("truth.tif")), (whole.values != 0).all(axis=0)
    assert band_psnr(truth[:, valid], result.values[:, valid]) > band_psnr(truth[:, valid], whole.values[:, valid]) + 2
    plane = pipeline.denoise(whole[0])
    assert plane.shape == whole[0].shape
    assert pipeline.denoise(whole, quality="none") is whole


@pytest.mark.parametrize("words", [{"quality": "bad"}, {"sigma": -1.0}, {"sigma": float("nan")}])
def test_words_that_mean_nothing_are_refused_before_anything_is_computed(scene: Path, words: dict[str, object]) -> None:
    lazy = rioxarray.open_rasterio(scene, chunks={"band": -1, "y": 64, "x": 64})
    for call_it in (lazy.terrasketch.denoise, lambda **given: pipeline.denoise(lazy, **given)):
        with pytest.raises(ConfigError, match=next(iter(words))):
            call_it(**words)


def test_features_are_lazy_and_equal_the_command(scene: Path, tmp_path: Path) -> None:
    bank = tmp_path / "bank.npz"
    assert call("fit", scene, "-o", bank, "--count", 8).exit_code == 0
    words = ["features", scene, tmp_path / "f.zarr", "--bank", bank, "--stride", 4, "--tile", 64]
    assert call(*words).exit_code == 0
    lazy = rioxarray.open_rasterio(scene, chunks={"band": -1, "y": 48, "x": 60})
    result = pipeline.features(lazy, bank, stride=4)
    assert dask.is_dask_collection(result.data)
    with xr.open_zarr(tmp_path / "f.zarr") as stored:
        assert result.dims == stored.features.dims
        assert result.rio.crs == stored.rio.crs == CRS
        assert result.rio.transform() == stored.features.rio.transform()
        assert np.allclose(result.x, stored.x)
        assert np.allclose(result.y, stored.y)
        expected = stored.features.values
    computed = result.compute().values
    assert np.array_equal(np.isnan(computed), np.isnan(expected))
    assert np.nanmax(np.abs(computed - expected)) < 1e-5 * np.nanmax(np.abs(expected))


def test_a_bank_can_be_fitted_on_the_way(scene: Path) -> None:
    whole = rioxarray.open_rasterio(scene).load()
    result = pipeline.features(whole, "classic", stride=10)
    assert result.shape[1:] == (14, 15)
    assert result.attrs["bank"] == "classic"
    with pytest.raises(Exception, match="no-such-bank"):
        pipeline.features(whole, "no-such-bank")


def test_a_bank_is_that_of_the_command_whatever_the_chunks(scene: Path, tmp_path: Path) -> None:
    words = ["features", scene, tmp_path / "f.zarr", "--bank", "rcf-mixed", "--stride", 4]
    assert call(*words).exit_code == 0
    expected = xr.open_zarr(tmp_path / "f.zarr").features.values
    for chunks in ({}, {"y": 48, "x": 60}, {"y": 1}):
        given = pipeline.open_scene(scene).chunk(chunks).terrasketch.features("rcf-mixed", stride=4)
        assert dask.is_dask_collection(given.data)
        np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-3)


def test_what_is_no_scene_is_refused() -> None:
    with pytest.raises(BlockError, match="complex"):
        pipeline.denoise(xr.DataArray(np.ones((2, 3, 3), complex)))
    with pytest.raises(BlockError, match="'t'"):
        pipeline.features(xr.DataArray(np.ones((2, 2, 3, 3)), dims=("t", "band", "y", "x")))
    for verb in (pipeline.denoise, pipeline.features):
        with pytest.raises(BlockError, match=r"has pixels, got .*'y': 0"):
            verb(xr.DataArray(np.ones((2, 0, 3)), dims=("band", "y", "x")))


def test_the_room_is_still_a_room() -> None:
    from pipeline.denoise import denoise_block  # noqa: PLC0415

    assert pipeline.denoise.denoise_block is denoise_block
    assert callable(pipeline.denoise)
    assert Bank.__module__.startswith("pipeline.network")
    with pytest.raises(AttributeError, match="nothing"):
        pipeline.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("dtype", "nodata", "near"),
    [
        ("int64", 2**53 + 1, 2**53),
        ("uint64", 2**64 - 1, 2**64 - 2),
        ("int64", -9223372036854775806, -9223372036854775807),
        ("uint64", 18446744073709551614, 18446744073709551615),
    ],
)
def test_a_sentinel_that_is_no_float_takes_its_own_pixels_out(
    tmp_path: Path, dtype: str, nodata: int, near: int
) -> None:
    block = np.random.default_rng([17]).integers(0, 100, (2, 20, 20)).astype(dtype)
    block[0, 0, 0], block[0, 0, 1] = nodata, near
    scene = xr.DataArray(block, dims=("band", "y", "x"), attrs={"_FillValue": np.dtype(dtype).type(nodata)})
    with pytest.warns(UserWarning, match=f"nodata {nodata} is no float64.*missing") as told:
        scene.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    assert len(told) == 1
    expected = np.ones((20, 20), bool)
    expected[0, 0] = False
    kept, valid = open_scene(str(tmp_path / "a.zarr")).read(Window(0, 20, 0, 20))
    assert np.array_equal(valid, expected)
    assert np.array_equal(kept[:, expected], block[:, expected])
    assert nodata_of(scene) == nodata  # by which denoise and features go


@pytest.mark.parametrize("words", [{}, {"lossless": True}])
def test_floats_of_more_digits_than_a_store_has_are_refused(tmp_path: Path, words: dict[str, bool]) -> None:
    scene = xr.DataArray(np.ones((2, 20, 20), np.longdouble), dims=("band", "y", "x"))
    with pytest.raises(BlockError, match=r"cast to .*float64"):
        scene.terrasketch.compress(tmp_path / "a.zarr", **words)
    assert list(tmp_path.iterdir()) == []
