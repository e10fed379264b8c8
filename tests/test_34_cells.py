"""Where feature cells lie: on the coordinates of the scene they are made of, and on those of the command's store."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from rasterio.control import GroundControlPoint

import pipeline
from tests.scenes import call


def _plane(height: int = 12, width: int = 20, **coords: object) -> xr.DataArray:
    values = np.cumsum(np.random.default_rng([35]).normal(size=(2, height, width)), axis=2).astype("float32")
    named = {name: (name, values) for name, values in coords.items()}
    return xr.DataArray(values, dims=("band", "y", "x"), coords=named)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [0.00025, 1 / 3600, 0.1])
def test_cells_join_the_scene_and_the_store_of_the_command(tmp_path: Path, step: float) -> None:
    path, bank = tmp_path / "a.tif", tmp_path / "bank.npz"
    profile = {"driver": "GTiff", "count": 2, "height": 60, "width": 70, "dtype": "float32", "crs": "EPSG:4326"}
    with rasterio.open(path, "w", **profile, transform=Affine(step, 0, 11.3, 0, -step, 47.9)) as file:
        file.write(_plane(60, 70).values)
    assert call("fit", path, "-o", bank, "--bank", "classic").exit_code == 0
    scene = pipeline.open_scene(path)
    each = scene.terrasketch.features(bank, stride=1)
    with xr.set_options(arithmetic_join="exact"):
        assert (each[0] - scene[0]).shape == (60, 70)
    cells = scene.terrasketch.features(bank, stride=4)
    assert call("features", path, tmp_path / "f.zarr", "--bank", bank, "--stride", 4).exit_code == 0
    stored = pipeline.open_scene(tmp_path / "f.zarr")
    with xr.set_options(arithmetic_join="exact"):
        assert (cells - stored).shape == (len(cells), 15, 18)
    assert cells.rio.transform() == stored.rio.transform()


def test_coordinates_at_every_pixel_are_the_scene_s_own_whatever_they_are() -> None:
    odd = {"y": np.array(list("abcdefghijkl"), object), "x": np.arange(20, dtype="float32") ** 2}
    scene = _plane(**odd)
    scene["x"].attrs["units"] = "km"
    result = scene.terrasketch.features("classic", stride=1)
    for name in odd:
        assert result[name].identical(scene[name])


def test_equal_steps_of_few_digits_do_not_drift() -> None:
    longitudes = np.linspace(-180, 180, 7201)[:-1].astype("float32")
    cells = _plane(4, 7200, x=longitudes, y=np.arange(4)).terrasketch.features("classic", stride=4, pool=4)
    expected = longitudes.astype(float).reshape(-1, 4).mean(axis=1)
    assert np.abs(cells.x.values - expected).max() < 0.001 * 0.05


def test_a_row_of_one_pixel_has_the_step_of_its_transform() -> None:
    scene = _plane(1, 20, y=[47.85], x=11.35 + 0.1 * np.arange(20)).rio.write_crs(4326)
    placed = scene.rio.write_transform(Affine(0.1, 0, 11.3, 0, -0.1, 47.9)).terrasketch.features("classic", stride=4)
    assert placed.y.values == pytest.approx([47.9 - 0.2])
    assert placed.x.values == pytest.approx(11.5 + 0.4 * np.arange(5))
    assert scene.terrasketch.features("classic", stride=4).y.values == pytest.approx([47.85])


def test_unequal_steps_give_the_mean_of_the_labels_under_a_cell() -> None:
    ys = np.array([0, 1, 2, 3, 10, 20, 40, 70, 71, 71.5, 72, 79.5])[::-1]
    xs = np.arange(20.0) * 2 + 5
    cells = _plane(y=ys, x=xs).terrasketch.features("classic", stride=4)
    assert cells.y.values.tolist() == [73.5, 35.0, 1.5]
    assert cells.x.values.tolist() == [8.0, 16.0, 24.0, 32.0, 40.0]  # the other axis keeps its equal steps
    cells = _plane(y=ys).terrasketch.features("classic", stride=5)
    assert cells.y.values == pytest.approx([ys[:5].mean(), ys[5:10].mean(), ys[10:].mean()])


def test_dates_have_means_and_words_have_none() -> None:
    days = np.array("2020-01-01", "datetime64[ns]") + np.arange(12) * np.timedelta64(1, "D").astype("timedelta64[ns]")
    days[9] = np.datetime64("NaT")
    scene = _plane(y=days, x=np.array([f"c{number}" for number in range(20)], object))
    cells = scene.terrasketch.features("classic", stride=4)
    half = np.timedelta64(36, "h")
    assert (cells.y.values[:2] == days[[0, 4]] + half).all()
    assert np.isnat(cells.y.values[2])
    assert "x" not in cells.coords
    assert cells.sizes["x"] == 5


def test_the_transform_of_a_part_is_that_of_the_part() -> None:
    whole = _plane(y=np.arange(12.0)[::-1] + 0.5, x=np.arange(20) + 0.5).rio.write_crs(32633)
    part = whole.rio.write_transform().isel(x=slice(8, None))
    cells = part.terrasketch.features("classic", stride=4)
    assert cells.x.values.tolist() == [10.0, 14.0, 18.0]
    assert cells.spatial_ref.attrs["GeoTransform"] == "8.0 4.0 0.0 12.0 0.0 -4.0"


def test_ground_control_points_of_cells_count_cells(tmp_path: Path) -> None:
    path, bank = tmp_path / "swath.tif", tmp_path / "bank.npz"
    points = [GroundControlPoint(row, col, 11 + col / 100, 47 - row / 100) for row in (0, 50.5) for col in (0, 61)]
    profile = {"driver": "GTiff", "count": 2, "height": 60, "width": 70, "dtype": "float32", "crs": "EPSG:4326"}
    with rasterio.open(path, "w", **profile, gcps=points) as file:
        file.write(_plane(60, 70).values)
    assert call("fit", path, "-o", bank, "--bank", "classic").exit_code == 0
    assert call("features", path, tmp_path / "f.zarr", "--bank", bank, "--stride", 4).exit_code == 0
    cells = pipeline.open_scene(path).terrasketch.features(bank, stride=4)
    for placed in (cells, pipeline.open_scene(tmp_path / "f.zarr")):
        found = [(point.row, point.col, point.x, point.y) for point in placed.rio.get_gcps()]
        assert found == [(point.row / 4, point.col / 4, point.x, point.y) for point in points]


@pytest.mark.parametrize("stride", [1, 4])
def test_a_crs_of_another_name_goes_along(stride: int) -> None:
    scene = _plane(y=np.arange(12.0)[::-1] + 0.5, x=np.arange(20) + 0.5).rio.write_crs(32633, grid_mapping_name="crs")
    cells = scene.rio.write_transform(grid_mapping_name="crs").terrasketch.features("classic", stride=stride)
    assert cells.rio.crs.to_epsg() == 32633
    assert cells.rio.transform(recalc=False) == Affine(stride, 0, 0, 0, -stride, 12)
    assert "spatial_ref" not in cells.coords


@pytest.mark.parametrize("stride", [1, 4])
def test_crs_of_an_attribute_and_scalar_coordinates_stay(stride: int) -> None:
    scene = _plane(y=-np.arange(12.0), x=np.arange(20.0))
    scene = scene.assign_coords(epsg=32618, time=np.datetime64("2020-01-01", "ns"), feature=3)
    assert scene.terrasketch.features("classic", stride=stride).rio.crs is None
    assert scene.assign_attrs(crs="no such").terrasketch.features("classic", stride=stride).rio.crs is None
    result = scene.assign_attrs(crs="epsg:32618").terrasketch.features("classic", stride=stride)
    assert result.rio.crs == "EPSG:32618"
    assert int(result.epsg) == 32618
    assert result.time == scene.time
    assert result.sizes["feature"] > 3
