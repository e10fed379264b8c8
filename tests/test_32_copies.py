"""What xarray makes of our stores: netCDF, copies and parts, which keep our attributes and our codec."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from pipeline.errors import SourceError
from pipeline.raster.store_source import open_store
from pipeline.raster.zarr_store import read_attributes
from tests.scenes import call, read, small_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copies")
    small_scene(folder / "scene.tif")
    result = call("compress", folder / "scene.tif", folder / "scene.zarr", "--rmse", 5, "--tile", 64)
    assert result.exit_code == 0, result.stderr
    return folder / "scene.zarr"


def quietly(dataset: xr.Dataset, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)  # on consolidated metadata
        dataset.to_zarr(path)


def in_the_old_words(store: Path) -> None:
    """Our attribute as it was before: a mapping."""
    facts = json.loads((store / "zarr.json").read_text())
    facts["attributes"]["terrasketch"] = json.loads(facts["attributes"]["terrasketch"])
    (store / "zarr.json").write_text(json.dumps(facts))


def test_our_attribute_goes_into_netcdf(scene: Path, tmp_path: Path) -> None:
    opened = xr.open_zarr(scene)
    assert isinstance(opened.attrs["terrasketch"], str)
    assert json.loads(opened.attrs["terrasketch"]) == read_attributes(scene)
    # The netCDF of scipy has no uint16, no lists of words, and of some versions no words along an axis.
    plain = opened.drop_vars("band").astype("float32")
    plain["scene"].attrs.pop("long_name")
    plain.drop_attrs(deep=False).to_netcdf(tmp_path / "all.nc", engine="scipy")
    for name in ("zarr_conventions", "spatial:dimensions"):
        del plain.attrs[name]
    plain.to_netcdf(tmp_path / "ours.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "ours.nc", engine="scipy") as back:
        assert json.loads(back.attrs["terrasketch"]) == read_attributes(scene)
        assert "crs_wkt" in back.spatial_ref.attrs
        np.testing.assert_array_equal(back.scene, plain.scene)


def test_stores_of_before_are_read_and_gone_on_with(tmp_path: Path) -> None:
    small_scene(tmp_path / "scene.tif")
    words = ("compress", tmp_path / "scene.tif", tmp_path / "scene.zarr", "--rmse", 5, "--tile", 64)
    assert call(*words).exit_code == 0
    facts, said = read_attributes(tmp_path / "scene.zarr"), call("inspect", tmp_path / "scene.zarr").stdout
    in_the_old_words(tmp_path / "scene.zarr")
    assert read_attributes(tmp_path / "scene.zarr") == facts
    assert call("inspect", tmp_path / "scene.zarr").stdout == said


def test_a_copy_by_xarray_is_a_store_of_ours_and_a_part_says_what_it_is(scene: Path, tmp_path: Path) -> None:
    opened = xr.open_zarr(scene, mask_and_scale=False)
    quietly(opened, tmp_path / "copy.zarr")
    assert open_store(tmp_path / "copy.zarr").info == open_store(scene).info
    result = call("decompress", tmp_path / "copy.zarr", tmp_path / "copy.tif")
    assert result.exit_code == 0, result.stderr
    error = read(tmp_path / "copy.tif").astype(float) - read(scene.with_suffix(".tif"))
    assert np.sqrt(np.mean(error**2)) <= 10
    quietly(opened.isel(x=slice(0, 70), y=slice(0, 70)).chunk(x=64, y=64), tmp_path / "part.zarr")
    with pytest.raises(SourceError, match=r"it has shape .*; where another program .*terrasketch\.compress"):
        open_store(tmp_path / "part.zarr")


@pytest.mark.parametrize("place", [{"x": 5, "y": 7}, {"x": 5, "y": 7, "band": 0}])
def test_a_point_is_written_without_our_codec(scene: Path, tmp_path: Path, place: dict[str, Any]) -> None:
    point = xr.open_zarr(scene, mask_and_scale=False).isel(place)
    with pytest.raises(ValueError, match="drop_encoding"):
        quietly(point.load(), tmp_path / "p.zarr")
    quietly(point.drop_encoding(), tmp_path / "plain.zarr")
    xr.testing.assert_equal(xr.open_zarr(tmp_path / "plain.zarr", mask_and_scale=False), point)
