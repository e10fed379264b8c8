"""`pipeline.zarr_encoding`: xarray's own `to_zarr` through our codec, and what was missing stays missing."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray
import xarray as xr
import zarr

import pipeline
from pipeline.errors import BlockError, ConfigError


def cube(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Sums of noise about 1000, with holes of two kinds: in all bands, and in one."""
    steps = np.random.default_rng(4).normal(0, 12, shape)
    data = (1000 + np.cumsum(np.cumsum(steps, -1) / 9, -2)).astype("float32")
    data[..., 5:20, 8:30] = np.nan
    data.reshape(-1, *shape[-2:])[0, 40:, 3] = np.nan
    return data


def written(array: xr.DataArray, path: Path, **options: Any) -> tuple[xr.DataArray, Any]:
    """The array as it comes back, and the metadata that Zarr holds of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)  # on consolidated metadata
        array.to_dataset(name="a").to_zarr(path, encoding={"a": pipeline.zarr_encoding(array, **options)})
    return xr.open_zarr(path).a, json.loads((path / "a" / "zarr.json").read_text())


@pytest.mark.parametrize(
    ("encoding", "units"),
    [
        ({}, 1.0),
        ({"_FillValue": np.float32(-9999)}, 1.0),
        ({"_FillValue": -9999.9}, 1.0),
        ({"missing_value": 1e20}, 1.0),
        ({"_FillValue": np.inf}, 1.0),
        ({"_FillValue": float(str(np.finfo("f4").min))}, 1.0),  # a digit beyond it, until it is rounded
        ({"dtype": "uint16", "_FillValue": 0}, 1.0),
        ({"dtype": "uint16", "_FillValue": 65535, "scale_factor": 0.5, "add_offset": 100.0}, 0.5),
        ({"dtype": "int16", "_FillValue": np.int16(-32768), "scale_factor": 0.25}, 0.25),
    ],
)
@pytest.mark.parametrize("bound", ["rmse", "max_error", "snr"])
def test_what_is_missing_stays_missing_and_nothing_else(
    tmp_path: Path, encoding: dict[str, Any], units: float, bound: str
) -> None:
    array = xr.DataArray(cube(3, 60, 50), dims=("band", "y", "x"))
    array.encoding = dict(encoding)
    back, _ = written(array, tmp_path / "a.zarr", **{bound: 5.0 if bound != "snr" else 40.0}, tile=32)
    np.testing.assert_array_equal(back.isnull(), array.isnull())
    rounding = 0.0 if "dtype" not in encoding else units / 2
    assert 0 < float(np.sqrt(((back - array) ** 2).mean())) <= (5 * units + rounding if bound != "snr" else 15)
    assert array.encoding == encoding


PACKED: dict[str, Any] = {"dtype": "uint16", "_FillValue": 0, "scale_factor": 0.5}


@pytest.mark.parametrize("before", [{}, {"_FillValue": np.float32(-9999)}])
@pytest.mark.parametrize("way", ["or", "in place", "one by one", "update"])
def test_packing_that_is_said_later_is_told_to_the_codec(tmp_path: Path, before: dict[str, Any], way: str) -> None:
    array = xr.DataArray(cube(3, 60, 50), dims=("band", "y", "x"), name="a")
    array.encoding = before
    given = encoding = pipeline.zarr_encoding(array, rmse=5)
    if way == "or":
        encoding = given | PACKED
        assert "scale_factor" not in given
    elif way == "in place":
        encoding |= PACKED
    elif way == "update":
        encoding.update(PACKED)
    else:
        for key, value in reversed(PACKED.items()):
            encoding[key] = value
    array.to_dataset().to_zarr(tmp_path / "a.zarr", encoding={"a": encoding}, consolidated=False)
    back = xr.open_zarr(tmp_path / "a.zarr", consolidated=False).a
    np.testing.assert_array_equal(back.isnull(), array.isnull())
    assert back.encoding["serializer"].nodata == 0
    assert back.encoding["serializer"].promise == given["serializer"].promise


def test_integers_that_stand_for_unsigned_ones(tmp_path: Path) -> None:
    array = xr.DataArray(np.rint(cube(3, 60, 50)) % 250, dims=("band", "y", "x"))
    array.encoding = {"dtype": "int8", "_Unsigned": "true", "_FillValue": 255}
    back, held = written(array, tmp_path / "a.zarr", lossless=True)
    np.testing.assert_array_equal(back, array)
    assert held["data_type"] == "int8"
    with pytest.raises(ConfigError, match="give dtype 'uint8' and no _Unsigned"):
        pipeline.zarr_encoding(array, max_error=2)


def test_the_nodata_of_rioxarray(sample_scene: Path, tmp_path: Path) -> None:
    opened = rioxarray.open_rasterio(sample_scene)
    scene = opened.isel(x=slice(64), y=slice(64)).load()
    scene[:, 3:9, 4:40] = 0
    scene.attrs["_FillValue"] = 0
    back, held = written(scene, tmp_path / "a.zarr", rmse=5)
    np.testing.assert_array_equal(back.isnull(), scene == 0)
    assert held["codecs"][0]["configuration"] == {"bound": "rmse", "value": 5.0, "nodata": 0, "effort": "fast"}


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        ((60, 50), (32, 32)),
        ((12, 60, 20), (12, 32, 20)),
        ((3, 12, 60, 50), (1, 12, 32, 32)),
        ((2, 3, 2, 60, 50), (1, 1, 2, 32, 32)),
    ],
)
def test_chunks_hold_all_bands_and_one_of_what_stands_before(
    tmp_path: Path, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> None:
    array = xr.DataArray(np.nan_to_num(cube(*shape), nan=1000), dims=("c", "time", "band", "y", "x")[-len(shape) :])
    back, held = written(array, tmp_path / "a.zarr", tile=32)
    assert tuple(held["chunk_grid"]["configuration"]["chunk_shape"]) == chunks
    assert [codec["name"] for codec in held["codecs"]] == ["terrasketch.lowrank"]
    assert float((array**2).sum() / ((back - array) ** 2).sum()) >= 1e4


@pytest.mark.parametrize(
    ("size", "dask", "side"), [(600, 300, 150), (512, 256, 128), (60, 60, 60), (509, 503, 503), (600, 600, 200)]
)
def test_dask_chunks_hold_whole_ones(tmp_path: Path, size: int, dask: int, side: int) -> None:
    array = xr.DataArray(np.zeros((2, 9, size), "float32"), dims=("band", "y", "x")).chunk(y=9, x=dask)
    tile = {150: 200, 128: 128, 200: 200}.get(side, 256)
    back, held = written(array, tmp_path / "a.zarr", tile=tile)
    assert held["chunk_grid"]["configuration"]["chunk_shape"] == [2, 9, side]
    xr.testing.assert_equal(back, array)


@pytest.mark.parametrize(
    ("array", "options", "error", "says"),
    [
        (xr.DataArray(np.zeros(3), dims="x"), {}, BlockError, "last two axes"),
        (xr.DataArray(np.zeros((3, 4, 2)), dims=("y", "x", "band")), {}, BlockError, "transpose"),
        (xr.DataArray(np.zeros((3, 4)), dims=("lon", "lat")), {}, BlockError, "transpose"),
        (xr.DataArray(np.zeros((3, 4), complex), dims=("y", "x")), {}, BlockError, "cast"),
        (xr.DataArray(np.zeros((3, 4), int), dims=("y", "x")), {}, BlockError, "without loss only"),
        (xr.DataArray(np.zeros((3, 4)), dims=("y", "x")), {"snr": 3, "rmse": 2}, ConfigError, "one bound"),
        (xr.DataArray(np.zeros((3, 4)), dims=("y", "x")), {"rmse": -2}, ConfigError, "negative"),
        (xr.DataArray(np.zeros((3, 4)), dims=("y", "x")), {"tile": 0}, ConfigError, "tile"),
        (xr.DataArray(np.zeros((3, 4)), dims=("y", "x")), {"effort": "most"}, ConfigError, "effort"),
        (xr.DataArray(np.zeros((3, 4, 5)), dims=("band", "y", "x")).chunk(band=1), {}, BlockError, "'band'"),
        (xr.DataArray(np.zeros((9, 9)), dims=("y", "x")).chunk(y=(2, 4, 3)), {}, BlockError, "several sizes"),
        (
            xr.DataArray(np.zeros((3, 4), "u1"), dims=("y", "x"), attrs={"_FillValue": -1}),
            {},
            ConfigError,
            "not a value of uint8",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    array: xr.DataArray, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        pipeline.zarr_encoding(array, **options)
    assert "\n" not in str(caught.value)


def test_lossless_keeps_every_bit(tmp_path: Path) -> None:
    array = xr.DataArray(cube(3, 60, 50), dims=("band", "y", "x"))
    back, _ = written(array, tmp_path / "a.zarr", lossless=True)
    np.testing.assert_array_equal(back, array)
