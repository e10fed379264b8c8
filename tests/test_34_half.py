"""Scenes of float16 are denoised and stored as float32."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pipeline
from pipeline.flow.half import widened


@pytest.mark.parametrize("lazy", [False, True])
def test_half_floats_are_denoised_and_stored_as_float32(tmp_path: Path, lazy: bool) -> None:
    block = np.random.default_rng(2).normal(300, 4, (3, 48, 48)).astype("float16")
    block[0, 3, 3], block[:, 9, 9] = np.nan, -9999
    scene = xr.DataArray(block, dims=("band", "y", "x"), attrs={"_FillValue": -9999, "title": "half"})
    wide = xr.DataArray(block.astype("float32"), dims=scene.dims, attrs={"_FillValue": np.float32(-10000)})
    if lazy:
        scene, wide = scene.chunk(x=32, y=32), wide.chunk(x=32, y=32)
    clean = scene.terrasketch.denoise()
    assert clean.dtype == "float32"
    assert clean.compute().dtype == "float32"
    assert clean.attrs == {"_FillValue": -10000, "title": "half"}  # -9999 is no number of float16
    np.testing.assert_array_equal(clean, wide.terrasketch.denoise())
    stored = scene.terrasketch.compress(tmp_path / "s.zarr", lossless=True)
    assert stored.dtype == "float32"
    np.testing.assert_array_equal(stored.isel(band=1), wide.isel(band=1))
    assert pipeline.open_scene(str(tmp_path / "s.zarr"), masked=True).isel(x=9, y=9).isnull().all()


def test_other_dtypes_stay() -> None:
    scene = xr.DataArray(np.zeros((2, 3, 4), "float64"), dims=("band", "y", "x"))
    assert widened(scene) is scene
