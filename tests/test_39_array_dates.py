"""Dates as one scene in Python: the coordinates, stores and pixels that the commands have."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr

import pipeline
from pipeline.flow.by_date import dates_of
from pipeline.flow.read import open_scene
from tests.scenes import call, call_json, read
from tests.test_39_time_stack import dates


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return dates(tmp_path_factory.mktemp("dates"))


def test_a_store_of_dates_is_that_of_the_command(paths: list[Path], tmp_path: Path) -> None:
    opened = pipeline.open_scene(paths, stack=True)
    stored = opened.terrasketch.compress(tmp_path / "py.zarr", lossless=True)
    assert call("compress", *paths, tmp_path / "cmd.zarr", "--stack", "--lossless").exit_code == 0
    with xr.open_zarr(tmp_path / "py.zarr") as ours, xr.open_zarr(tmp_path / "cmd.zarr") as wanted:
        assert np.array_equal(ours.scene, wanted.scene)
        for one in (ours.scene, opened, stored, pipeline.open_scene(tmp_path / "cmd.zarr")):
            for name in ("time", "band_name"):
                assert one[name].dims == ("band",)
                assert one[name].values.tolist() == wanted[name].values.tolist()
                assert one[name].attrs == wanted[name].attrs
            assert one.time.dtype == "M8[ns]"
        cube = ours.scene.set_index(band=["time", "band_name"]).unstack("band")
        assert cube.sizes["time"] == 3
    facts = [dict(zarr.open_group(tmp_path / f"{name}.zarr", mode="r")["time"].attrs) for name in ("py", "cmd")]
    assert facts[0] == facts[1]
    python, command = (open_scene(str(tmp_path / f"{name}.zarr")).info for name in ("py", "cmd"))
    assert (python.name, python.bands) == (command.name, command.bands)
    times = [[tags["STACK_TIME"] for tags in info.band_tags] for info in (python, command)]
    assert times[0] == times[1]


def test_what_was_stored_from_python_comes_out_with_its_dates(paths: list[Path], tmp_path: Path) -> None:
    opened = pipeline.open_scene(paths[::-1], stack=True)
    opened.terrasketch.compress(tmp_path / "py.zarr", lossless=True)
    assert call("decompress", tmp_path / "py.zarr", tmp_path / "t.tif").exit_code == 0
    with rasterio.open(tmp_path / "t.tif") as file:
        assert file.tags(3)["STACK_TIME"] == "2016-02-06T00:00:00Z"
        assert file.tags(4)["STACK_BAND"] == "B03"
        assert file.descriptions[0] == "2016-01-17 B02"
    part = opened[2:5].terrasketch.compress(tmp_path / "part.zarr")
    assert part.band_name.values.tolist() == ["B02", "B03", "B02"]
    assert dates_of(open_scene(str(tmp_path / "part.zarr")).info)
    assert dates_of(open_scene(str(_one_date(opened, tmp_path / "one.zarr"))).info) is None


def _one_date(opened: xr.DataArray, path: Path) -> Path:
    opened[:2].terrasketch.compress(path)
    return path


def test_dates_are_denoised_as_by_the_command_from_files_and_from_its_store(paths: list[Path], tmp_path: Path) -> None:
    opened = pipeline.open_scene(paths, stack=True)
    bright = opened.copy(data=opened.values)
    bright[2:4, 20, 25] += 9000  # on one date alone: no impulse
    stored = bright.terrasketch.compress(tmp_path / "py.zarr", lossless=True)
    assert call("denoise", tmp_path / "py.zarr", tmp_path / "clean.tif").exit_code == 0
    clean = stored.terrasketch.denoise()
    assert np.array_equal(clean, read(tmp_path / "clean.tif"))
    assert np.array_equal(clean, stored.terrasketch.denoise(repair="stripes"))
    assert call("denoise", *paths, tmp_path / "raw.tif", "--stack").exit_code == 0
    assert np.array_equal(opened.terrasketch.denoise(), read(tmp_path / "raw.tif"))


def test_times_of_ones_own_are_dates_in_a_store_too(tmp_path: Path) -> None:
    days = np.array(["2020-01-01", "2020-02-01T03:04:05.678", "NaT"], "M8[ns]")
    pixels = np.random.default_rng(1).normal(100, 5, (3, 40, 40)).astype("float32")
    plain = xr.DataArray(pixels, dims=("time", "y", "x"), coords={"time": days})
    stored = plain.terrasketch.compress(tmp_path / "t.zarr")
    assert np.array_equal(stored.time, days, equal_nan=True)
    tags = open_scene(str(tmp_path / "t.zarr")).info.band_tags
    assert [dict(one) for one in tags] == [
        {"STACK_TIME": "2020-01-01T00:00:00Z"},
        {"STACK_TIME": "2020-02-01T03:04:05Z"},
        {},
    ]
    assert call_json("inspect", tmp_path / "t.zarr")["bands"]
