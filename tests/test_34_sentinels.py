"""A sentinel counts for arrays of the dtype that it was declared for: xarray takes it along through arithmetic, where
what is the same number is a value."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

import pipeline
from pipeline.errors import BlockError, ConfigError
from pipeline.flow.sentinels import nodata_of
from tests.scenes import write_tif

FOREIGN = r"nodata 0 is of uint16 and the array of {}: .*write_nodata\(0\).*drop_attrs\(deep=False\).*masked=True\)"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four bands of whole numbers about 500 with noise, often equal in two bands; a corner is nodata."""
    rng = np.random.default_rng(5)
    block = (500 + rng.integers(0, 5, (4, 64, 64))).astype("uint16")
    block[:, :20, :20] = 0
    return write_tif(tmp_path_factory.mktemp("sentinels") / "scene.tif", block, nodata=0)


@pytest.fixture(scope="module")
def scene(path: Path) -> xr.DataArray:
    return pipeline.open_scene(path)


def change(scene: xr.DataArray) -> xr.DataArray:
    """A difference with many exact zeros."""
    first, second = (scene.isel(band=slice(n, n + 2)).astype("int32") for n in (0, 2))
    result: xr.DataArray = first - second.values
    return result


def index(scene: xr.DataArray) -> xr.DataArray:
    """A normalised difference (y, x), NaN in the corner, with many exact zeros."""
    known = scene.astype("float32").where(scene > 0)
    red, near = known[0].drop_vars("band"), known[1].drop_vars("band")
    return (near - red) / (near + red)


@pytest.fixture
def strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


DERIVED = [(change, "int32"), (index, "float32")]


@pytest.mark.parametrize(("derive", "dtype"), DERIVED)
@pytest.mark.parametrize("lazy", [True, False])
def test_what_is_derived_keeps_its_zeros(
    scene: xr.DataArray, tmp_path: Path, derive: Callable[..., Any], dtype: str, lazy: bool
) -> None:
    given = derive(scene if lazy else scene.compute())
    if "_FillValue" not in given.attrs:
        given = given.assign_attrs(scene.attrs)  # an xarray of before 2025 drops them
    assert (given == 0).sum() > 400
    with pytest.warns(UserWarning, match=FOREIGN.format(dtype)) as told:
        stored = given.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert "\n" not in str(told[0].message)
    np.testing.assert_array_equal(stored.squeeze(), given)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr").scene, stored)
    assert "_FillValue" not in stored.attrs or np.isnan(stored.attrs["_FillValue"])
    with pytest.warns(UserWarning, match=FOREIGN.format(dtype)) as told:
        clean = given.terrasketch.denoise()
    assert told[0].filename == __file__
    np.testing.assert_array_equal(np.isnan(clean), np.isnan(given))
    zeros = (given == 0).any("band") if "band" in given.dims else given == 0
    assert ((clean != given) & zeros).sum() > 400  # pixels with a missing band would be left alone
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # what it gives back says nothing that is not so
        clean.terrasketch.compress(tmp_path / "b.zarr", lossless=True)
    with pytest.warns(UserWarning, match=FOREIGN.format(dtype)):
        features = given.terrasketch.features("classic", stride=4)
    assert np.isnan(features).any("feature").mean() < (0.2 if dtype == "float32" else 1e-9)


def test_a_lossy_index_is_missing_where_it_was(scene: xr.DataArray, tmp_path: Path) -> None:
    given = index(scene).assign_attrs(scene.attrs)
    with pytest.warns(UserWarning, match=FOREIGN.format("float32")):
        stored = given.terrasketch.compress(tmp_path / "a.zarr", rmse=0.001)
    np.testing.assert_array_equal(np.isnan(stored).squeeze(), np.isnan(given))


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(
    "declare",
    [
        lambda scene: scene,
        lambda scene: scene.astype("float32").rio.write_nodata(0),
        lambda scene: scene.astype("int32").rio.write_nodata(0),
        lambda scene: scene.assign_attrs(_FillValue=0),
        lambda scene: scene.assign_attrs(_FillValue=np.int64(0)),
        lambda scene: scene.assign_attrs(_FillValue=np.array([0], "uint16")),
        lambda scene: scene.drop_attrs(deep=False).assign_attrs(nodata=0.0),
        lambda scene: scene.drop_attrs(deep=False).assign_attrs(nodatavals=(0.0,) * 4),
        lambda scene: scene.astype(">u2"),
    ],
)
def test_what_is_declared_counts(scene: xr.DataArray, tmp_path: Path, declare: Callable[..., Any]) -> None:
    given = declare(scene)
    assert nodata_of(given) == 0
    clean = given.terrasketch.denoise()
    assert (clean[:, :20, :20] == 0).all()
    np.testing.assert_allclose(clean, scene.terrasketch.denoise(), atol=0.6)  # whole numbers were rounded
    features = given.terrasketch.features("classic", stride=4)
    assert np.isnan(features[:, :5, :5]).all()
    if given.dtype.byteorder != ">":
        given.terrasketch.compress(tmp_path / "a.zarr", rmse=1)
        read = xr.open_zarr(tmp_path / "a.zarr").scene
        np.testing.assert_array_equal(read.isnull(), scene == 0)


@pytest.mark.usefixtures("strict")
def test_of_masked_floats_nan_is_missing_and_nothing_else(path: Path, tmp_path: Path) -> None:
    known = pipeline.open_scene(path, masked=True)
    given = known[0].drop_vars("band") - known[1].drop_vars("band")
    assert str(nodata_of(known)) == "nan"
    stored = given.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    np.testing.assert_array_equal(stored.squeeze(), given)
    given.rename("a").to_dataset().to_zarr(
        tmp_path / "b.zarr", encoding={"a": pipeline.zarr_encoding(given, lossless=True)}, consolidated=False
    )
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "b.zarr", consolidated=False).a, given)


@pytest.mark.parametrize(
    ("value", "dtype", "counts"),
    [
        (0, "float32", False),  # of a Zarr store of integers, as of one of floats: what is derived is more frequent
        (-9999, "float32", True),
        (-9999.0, "float32", True),
        (np.float32(-9999), "float64", True),
        (np.int16(-9999), "float32", False),
        (np.uint8(255), "uint16", False),
        (255, "uint16", True),
        (np.float32(-9999), "int16", True),
        (1e20, "float32", True),  # to the digits of it
        (-1, "uint8", False),
        ("none", "float32", False),
    ],
)
def test_which_count(value: Any, dtype: str, counts: bool) -> None:
    given = xr.DataArray(np.ones((8, 8), dtype), dims=("y", "x"), attrs={"_FillValue": value})
    assert nodata_of(given) == (value if counts else None)


@pytest.mark.parametrize(("derive", "dtype"), DERIVED)
def test_an_encoding_whose_store_would_say_otherwise_is_refused(
    scene: xr.DataArray, derive: Callable[..., Any], dtype: str
) -> None:
    given = derive(scene).assign_attrs(scene.attrs)
    with pytest.raises(ConfigError, match=FOREIGN.format(dtype)) as caught:
        pipeline.zarr_encoding(given, lossless=True)
    assert "\n" not in str(caught.value)
    assert pipeline.zarr_encoding(given.drop_attrs(deep=False), lossless=True)["serializer"].nodata is None
    assert pipeline.zarr_encoding(given.rio.write_nodata(0), lossless=True)["serializer"].nodata == 0
    packed = scene.astype("float32")
    packed.encoding = {"dtype": "uint16", "scale_factor": 0.5}
    assert pipeline.zarr_encoding(packed, lossless=True)["serializer"].nodata == 0


@pytest.mark.parametrize(
    "attributes", [{"nodata": 0}, {"fill_value": 0}, {"nodata": 0.0}, {"nodatavals": (0.0,) * 4}, {"_FillValue": 0}]
)
def test_an_encoding_knows_what_every_verb_knows(
    scene: xr.DataArray, tmp_path: Path, attributes: dict[str, Any]
) -> None:
    given = scene.compute().drop_attrs(deep=False).assign_attrs(attributes)
    encoding = pipeline.zarr_encoding(given, rmse=2)
    assert encoding["serializer"].nodata == 0
    given.rename("a").to_dataset().to_zarr(tmp_path / "a.zarr", encoding={"a": encoding}, consolidated=False)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr", consolidated=False).a.isnull(), given == 0)


def test_an_encoding_of_packed_values_wants_their_sentinel(scene: xr.DataArray) -> None:
    given = scene.astype("float32").drop_attrs(deep=False).assign_attrs(nodata=-9999.0)
    assert pipeline.zarr_encoding(given, rmse=2)["_FillValue"] == -9999
    given.encoding = {"dtype": "int16", "scale_factor": 0.5}
    with pytest.raises(ConfigError, match=r"nodata -9999.0 is of the values before .*where\(scene != -9999.0\)"):
        pipeline.zarr_encoding(given, rmse=2)
    given.encoding["_FillValue"] = 0
    assert pipeline.zarr_encoding(given, rmse=2)["serializer"].nodata == 0


def test_an_encoding_of_floats_warns_of_a_nodata_that_does_not_count(scene: xr.DataArray) -> None:
    given = scene.astype("float32").drop_attrs(deep=False).assign_attrs(nodata=0)
    with pytest.warns(UserWarning, match=r"nodata 0 is of whole numbers and the array of float32: .*NaN alone"):
        encoding = pipeline.zarr_encoding(given, rmse=2)
    assert encoding["serializer"].nodata is None
    assert "_FillValue" not in encoding


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("lazy", [True, False])
def test_what_the_encoding_of_integers_declares_counts(scene: xr.DataArray, tmp_path: Path, lazy: bool) -> None:
    plain = scene.drop_attrs(deep=False)
    given = (plain if lazy else plain.compute()).rio.write_nodata(0, encoded=True)
    assert not given.attrs
    assert nodata_of(given) == 0
    assert nodata_of(given.isel(band=[0])) == 0
    assert nodata_of(given.rio.write_nodata(7)) == 7
    np.testing.assert_array_equal(given.terrasketch.denoise(), scene.terrasketch.denoise())
    assert np.isnan(given.terrasketch.features("classic", stride=4)[:, :5, :5]).all()
    given.terrasketch.compress(tmp_path / "a.zarr", rmse=1)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr").scene.isnull(), scene == 0)
    assert pipeline.zarr_encoding(given, rmse=1)["serializer"].nodata == 0


def test_what_the_encoding_declares_of_others_does_not(scene: xr.DataArray) -> None:
    given = change(scene.compute()).drop_attrs(deep=False)
    given.encoding = {"_FillValue": np.uint16(0)}
    text = r"nodata 0 is of uint16 and the array of int32: .*\.drop_encoding\(\)\.rio\.write_nodata\(0\)"
    with pytest.warns(UserWarning, match=text):
        clean = given.terrasketch.denoise()
    assert "_FillValue" not in clean.encoding
    assert ((clean != given) & (given == 0)).any()
    with pytest.raises(ConfigError, match=text):
        pipeline.zarr_encoding(given, lossless=True)
    pipeline.zarr_encoding(given.drop_encoding(), lossless=True)
    given.encoding = {"_FillValue": 0, "scale_factor": 0.5}  # of packed numbers
    assert nodata_of(given) is None


@pytest.mark.parametrize(("nodata", "said"), [(-np.inf, "-inf"), (np.finfo("f4").min, "-3.40282347e+38"), (0.5, "0.5")])
def test_a_nodata_that_the_packed_numbers_have_not_is_refused(nodata: float, said: str) -> None:
    """It was a traceback, or a number of 39 digits."""
    scene = xr.DataArray(np.ones((2, 20, 20), "f4"), dims=("band", "y", "x"), attrs={"nodata": nodata})
    scene.encoding["dtype"] = "int16"
    says = rf"nodata {re.escape(said)} is no number of int16, as which it is stored; give"
    with pytest.raises(ConfigError, match=says):
        pipeline.zarr_encoding(scene, max_error=1)


def test_booleans_are_refused_before_their_nodata() -> None:
    scene = xr.DataArray(np.ones((2, 20, 20), bool), dims=("band", "y", "x"), attrs={"nodata": 0})
    with pytest.raises(BlockError, match="a chunk cannot hold bool; cast"):
        pipeline.zarr_encoding(scene)
