"""What the commands warn of is warned of in Python by who computes: `compress` of a lazy scene, the verbs of others."""

from __future__ import annotations

import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import pipeline
from tests.scenes import write_tif

LACK = r"^scene: 4800 pixels \(34.3 %\) lack a band and have others: stored as read, not denoised"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three bands of which one has nothing in the first 40 of 120 columns, and none has in a corner."""
    pixels = np.random.default_rng(35).normal(1000, 20, (3, 120, 120)).astype("uint16")
    pixels[2, :, :40] = 0
    pixels[:, 100:, 100:] = 0
    return write_tif(tmp_path / "scene.tif", pixels, nodata=0)


@pytest.mark.parametrize("masked", [False, True])
def test_pixels_that_lack_a_band_are_told_once_they_are_known(path: Path, tmp_path: Path, masked: bool) -> None:
    scene = pipeline.open_scene(path, tile=64, masked=masked)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        lazy = scene.terrasketch.denoise()
        scene.terrasketch.compress(tmp_path / "raw.zarr", rmse=1)  # nothing of it is denoised
    with pytest.warns(UserWarning, match=LACK) as told:
        lazy.terrasketch.compress(tmp_path / "a.zarr", rmse=1)
    assert [one.filename for one in told] == [__file__]
    with pytest.warns(UserWarning, match=LACK) as told:
        clean = scene.compute().terrasketch.denoise()
    assert [one.filename for one in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        clean.terrasketch.compress(tmp_path / "b.zarr", rmse=1)  # it has been told


def test_a_function_of_the_same_name_is_not_ours(path: Path, tmp_path: Path) -> None:
    def denoise(block: np.ndarray) -> np.ndarray:
        return block

    scene = pipeline.open_scene(path)
    other = scene.copy(data=da.map_blocks(denoise, scene.data, dtype=scene.dtype))  # type: ignore[no-untyped-call]
    assert other.data.name.startswith("denoise-")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        other.terrasketch.compress(tmp_path / "a.zarr", rmse=1)


@pytest.mark.parametrize(("share", "warns"), [(0.05, True), (0.0, False)])
def test_cells_without_features_are_told(share: float, warns: bool) -> None:
    rng = np.random.default_rng(8)
    pixels = rng.normal(100, 9, (3, 128, 128))
    pixels[:, rng.random((128, 128)) < share] = np.nan
    pixels[:, :60] = np.nan if not warns else pixels[:, :60]
    scene = xr.DataArray(pixels, dims=("band", "y", "x"), name="field")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        scene.terrasketch.features("classic", stride=4, pool=12)
    told = [one for one in told if one.category is UserWarning]
    assert [one.filename for one in told] == [__file__] * warns
    if warns:
        text = str(told[0].message)
        assert text.startswith("field: 1024 of 1024 cells (all) have no features: their windows of ")
        assert "give a smaller pool, " in text
