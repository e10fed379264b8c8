"""Masks of clouds in Python: the words, the pixels and the bytes of the commands."""

import pickle
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr

import pipeline
from pipeline.errors import BankError, BlockError, ConfigError, SourceError
from tests.scenes import call, read, write_tif
from tests.test_25_masks import cloudy

TILE = 64


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four bands of 128 x 128 with a cloud and its shadow, and the classes that say so."""
    _, block, clear = cloudy(bands=4)
    path = tmp_path_factory.mktemp("clear") / "scene.tif"
    write_tif(path, np.concatenate([block, np.where(clear, 4, 9)[None].astype("uint16")]))
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("B02", "B03", "B04", "B08", "SCL")
    write_tif(path.with_name("flags.tif"), np.where(clear, 64, 8)[None].astype("uint8"))
    return path


def clear_of(scene: Path) -> np.ndarray:
    return read(scene)[4] == 4


@pytest.mark.parametrize("mask", [{"mask_band": "SCL"}, {"mask_band": 5, "mask_values": np.array([9])}])
def test_denoising_under_a_mask_equals_the_command(scene: Path, tmp_path: Path, mask: dict[str, object]) -> None:
    opened = pipeline.open_scene(scene, tile=TILE, **mask)
    assert opened.band.values.tolist() == ["B02", "B03", "B04", "B08"]
    assert dask.is_dask_collection(opened.clear.data)
    assert np.array_equal(opened.clear, clear_of(scene))
    words = ["--mask-band", mask["mask_band"], *(["--mask-values", 9] if "mask_values" in mask else [])]
    assert call("denoise", scene, tmp_path / "clean.tif", "--tile", TILE, *words).exit_code == 0
    wanted = read(tmp_path / "clean.tif")
    clean = opened.terrasketch.denoise()
    assert clean.rio.crs == opened.rio.crs is not None
    assert np.array_equal(clean, wanted)
    assert np.array_equal(clean.clear, opened.clear)
    assert np.array_equal(opened.compute().terrasketch.denoise(tile=TILE), wanted)
    assert not np.array_equal(opened.drop_vars("clear").terrasketch.denoise(), wanted)


def test_chunks_of_the_mask_may_be_others_and_its_own_numpys(scene: Path) -> None:
    opened = pipeline.open_scene(scene, tile=TILE, mask_band="SCL")
    wanted = opened.terrasketch.denoise().compute()
    for own in (opened.clear.chunk(50), opened.clear.compute()):
        assert np.array_equal(opened.assign_coords(clear=own).terrasketch.denoise(), wanted)
    shifted = opened.assign_coords(clear=opened.clear[:, ::-1].variable)
    assert shifted.terrasketch.denoise().name == wanted.name
    assert not np.array_equal(shifted.terrasketch.denoise(), wanted)
    assert np.array_equal(pickle.loads(pickle.dumps(opened)).terrasketch.denoise(), wanted)


def test_a_bank_is_fitted_where_it_is_clear_as_by_the_command(scene: Path, tmp_path: Path) -> None:
    flags = scene.with_name("flags.tif")
    bands = ["B02", "B03", "B04", "B08"]
    words = ("--bands", ",".join(bands), "--bank", "classic", "--stride", 8, "--mask-band", flags, "--mask-bits", 3)
    assert call("features", scene, tmp_path / "f.zarr", *words).exit_code == 0
    opened = pipeline.open_scene(scene, bands=bands, mask_band=flags, mask_bits=[3])
    features = opened.terrasketch.features("classic", stride=8)
    stored = pipeline.open_scene(tmp_path / "f.zarr")
    assert np.array_equal(features, stored, equal_nan=True)
    assert "clear" not in features.coords
    assert not np.array_equal(opened.drop_vars("clear").terrasketch.features("classic", stride=8), stored)
    assert np.array_equal(opened.compute().terrasketch.features("classic", stride=8), stored, equal_nan=True)


def test_what_is_stored_is_what_the_command_stores_and_no_mask(scene: Path, tmp_path: Path) -> None:
    opened = pipeline.open_scene(scene, mask_band="SCL")
    stored = opened.terrasketch.compress(tmp_path / "py.zarr", lossless=True)
    assert call("compress", scene, tmp_path / "cmd.zarr", "--lossless", "--mask-band", "SCL").exit_code == 0
    assert np.array_equal(stored, pipeline.open_scene(tmp_path / "cmd.zarr"))
    assert "clear" not in stored.coords
    again = pipeline.open_scene(tmp_path / "py.zarr", mask_band=f"scl:{scene.with_name('flags.tif')}", mask_bits=[3])
    assert np.array_equal(again.clear, clear_of(scene))
    assert np.array_equal(again.terrasketch.denoise(), opened.terrasketch.denoise())


def test_dates_are_clear_where_each_is(tmp_path: Path) -> None:
    for number, day in enumerate(("20160117", "20160206")):
        block = np.random.default_rng(number).normal(900, 9, (2, 32, 32)).astype("uint16")
        block[1] = 4
        block[1, number] = 9
        write_tif(tmp_path / f"a_{day}.tif", block)
    opened = pipeline.open_scene(tmp_path, stack=True, mask_band=2, mask_values=[9])
    rows = np.arange(32)[:, None].repeat(32, 1)
    assert opened.clear.dims == opened.dims
    assert np.array_equal(opened.clear, [rows != 0, rows != 1])
    assert opened.sizes["band"] == 2
    features = opened.terrasketch.features("classic", stride=8)
    joint = opened.assign_coords(clear=opened.clear.all("band"))
    np.testing.assert_array_equal(features, joint.terrasketch.features("classic", stride=8))
    assert "clear" not in features.coords


def test_masks_of_dates_denoise_as_the_command_does(tmp_path: Path) -> None:
    (folder := tmp_path / "dates").mkdir()
    for number, day in enumerate(("20160117", "20160206")):
        _, block, clear = cloudy(bands=6)
        mask = np.where(np.roll(clear, 40 * number, 0), 4, 9 if number else 4)[None].astype("uint16")
        write_tif(folder / f"a_{day}.tif", np.concatenate([np.roll(block, 40 * number, 1), mask]))
    opened = pipeline.open_scene(folder, stack=True, tile=TILE, mask_band=7, mask_values=[9])
    words = ("--stack", "--tile", TILE, "--mask-band", 7, "--mask-values", 9)
    assert call("denoise", folder, tmp_path / "out.tif", *words).exit_code == 0
    wanted = read(tmp_path / "out.tif")
    clean = opened.terrasketch.denoise()
    np.testing.assert_array_equal(clean, wanted)
    np.testing.assert_array_equal(opened.compute().terrasketch.denoise(tile=TILE), wanted)
    np.testing.assert_array_equal(clean.clear, opened.clear)
    last = opened[6:]
    assert not last.clear.all()
    np.testing.assert_array_equal(last.terrasketch.denoise(), wanted[6:])
    assert opened[:6].clear.all()
    assert "clear" not in clean.terrasketch.compress(tmp_path / "clean.zarr").coords


@pytest.mark.parametrize(
    ("mask", "kind", "text"),
    [
        ({"mask_band": "nope"}, ConfigError, "no mask band or file nope; the bands of scene are B02"),
        ({"mask_band": "nope.tif"}, SourceError, "no mask band or file nope.tif"),
        ({"mask_band": "B02"}, ConfigError, "give mask_band scl:B02"),
        ({"mask_values": [3]}, ConfigError, "mask_values without mask_band"),
        ({"mask_band": ""}, ConfigError, "mask_band is empty"),
        ({"mask_band": "SCL", "mask_bits": [77]}, ConfigError, "mask_bits 77: give whole numbers from 0 to 31"),
        ({"mask_band": "SCL", "bands": ["SCL"]}, ConfigError, "SCL is the mask"),
    ],
)
def test_a_mask_that_means_nothing_is_refused_in_words_of_python(
    scene: Path, mask: dict[str, object], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as caught:
        pipeline.open_scene(scene, **mask)
    assert text in str(caught.value)
    assert "--" not in str(caught.value)


def test_a_coordinate_clear_that_is_no_mask_is_refused_and_one_beside_the_pixels_is_none(
    scene: Path, tmp_path: Path
) -> None:
    opened = pipeline.open_scene(scene, mask_band="SCL")
    for wrong in (opened.clear.astype(int), opened.clear.T, opened.clear[0]):
        given = opened.drop_vars("clear").assign_coords(clear=wrong.drop_vars("clear", errors="ignore").variable)
        for verb in (given.terrasketch.denoise, given.terrasketch.features):
            with pytest.raises(
                BlockError, match=r"'clear' says where .*: bool along \('y', 'x'\) or \('band', 'y', 'x'\), got"
            ):
                verb()
    mean = opened.coarsen(y=2, x=2).mean()
    assert mean.terrasketch.compress(tmp_path / "m.zarr").clear.dtype == float  # the user's own, kept as it is
    beside = opened.assign_coords(clear=0.87)
    assert np.array_equal(beside.terrasketch.denoise(), opened.drop_vars("clear").terrasketch.denoise())


def test_a_mask_that_leaves_nothing_is_named(scene: Path) -> None:
    opened = pipeline.open_scene(scene, mask_band="SCL", mask_values=[4, 9])
    with pytest.raises(BankError, match="'clear' leaves no valid pixel to learn from"):
        opened.terrasketch.features("classic")
    nowhere = xr.full_like(opened.drop_vars("clear").astype("float32"), np.nan)
    with pytest.raises(BankError, match="no valid pixel"):
        nowhere.terrasketch.features("classic")
