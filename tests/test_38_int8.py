"""Features in one byte: back to half a scale, clipped values counted, the same decode for xarray, GDAL and us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (gives arrays their .rio)
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pipeline.flow import quantise
from pipeline.flow.quantise import coding_of
from pipeline.flow.read import open_scene
from pipeline.flow.report import feature_picture
from pipeline.grid import Window
from pipeline.network.int8 import MARGIN, MOST, NODATA, Coding
from tests.scenes import call, call_json, read, small_scene, snapshot

WORDS = ("--bank", "rcf-mixed", "--count", 4, "--stride", 3, "--tile", 64)


def slow_encode(value: float, scale: float, offset: float) -> tuple[int, bool]:
    """One value by the definition: the nearest step, and whether it lies beyond the last."""
    if np.isnan(value):
        return NODATA, False
    step = round((value - offset) / scale)
    return max(-MOST, min(MOST, step)), abs(step) > MOST


@given(
    values=st.lists(st.one_of(st.floats(-1e4, 1e4, width=32), st.just(np.nan)), min_size=1, max_size=30),
    low=st.floats(-1e3, 1e3, width=32),
    span=st.floats(0, 1e3, width=32),
)
def test_codes_are_the_nearest_steps(values: list[float], low: float, span: float) -> None:
    high = np.float32(low + span)
    coding = Coding.over(np.array([low], np.float32), np.array([high], np.float32))
    features = np.array(values, np.float32).reshape(1, 1, -1)
    codes, clipped = coding.encode(features)
    expected = [slow_encode(float(value), coding.scale[0], coding.offset[0]) for value in features.ravel()]
    ties = np.abs(np.abs((features.ravel() - coding.offset[0]) / coding.scale[0]) % 1 - 0.5) < 1e-3
    differs = np.abs(codes.ravel().astype(int) - [code for code, _ in expected])
    assert (differs <= ties).all()
    assert abs(clipped - sum(beyond for _, beyond in expected)) <= ties.sum()
    back = coding.decode(codes)
    assert back.dtype == np.float32
    assert_array_equal(np.isnan(back), np.isnan(features))
    inside = (features >= low) & (features <= high)
    error = np.abs(back - features)[inside]
    assert (error <= 0.5001 * coding.scale[0] + 1e-6 * np.abs(features[inside])).all()


def test_features_that_do_not_vary_or_are_not_there_have_scale_one() -> None:
    low, high = np.array([3, np.inf, 0], np.float32), np.array([3, -np.inf, 254], np.float32)
    coding = Coding.over(low, high)
    assert coding.scale == pytest.approx((1, 1, 1 + 2 * MARGIN))
    assert coding.offset == (3, 0, 127)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene with holes, its features in float32 and int8, as stores and COGs."""
    folder = tmp_path_factory.mktemp("int8")
    small_scene(folder / "scene.tif")
    for dtype in ("float32", "int8"):
        for ending in ("zarr", "tif"):
            result = call("features", folder / "scene.tif", folder / f"{dtype}.{ending}", *WORDS, "--dtype", dtype)
            assert result.exit_code == 0, result.stderr
    return folder


def test_xarray_decodes_by_the_documented_line(written: Path) -> None:
    with xr.open_zarr(written / "int8.zarr") as coded, xr.open_zarr(written / "float32.zarr") as plain:
        decoded = coded.features * coded.scale + coded.offset
        assert_array_equal(np.isnan(decoded), np.isnan(plain.features))
        assert float((np.abs(decoded - plain.features) / coded.scale).max()) <= 0.5001
        assert coded.features.rio.crs == plain.features.rio.crs
    with xr.open_zarr(written / "int8.zarr", mask_and_scale=False) as raw:
        assert raw.features.dtype == np.int8


def test_gdal_reads_scale_and_offset_of_each_band(written: Path) -> None:
    with rasterio.open(written / "int8.tif") as file:
        assert set(file.dtypes) == {"int8"}
        assert file.nodata == NODATA
        codes = file.read()
        decoded = codes * np.array(file.scales)[:, None, None] + np.array(file.offsets)[:, None, None]
        names = file.descriptions
    plain = read(written / "float32.tif")
    assert_array_equal((codes == NODATA).any(axis=0), np.isnan(plain).any(axis=0))
    valid = np.isfinite(plain)
    assert (np.abs(decoded - plain) / np.array(file.scales)[:, None, None])[valid].max() <= 0.5001
    with rasterio.open(written / "float32.tif") as file:
        assert names == file.descriptions
    assert (written / "int8.tif").stat().st_size < 0.4 * (written / "float32.tif").stat().st_size


def test_we_read_it_with_its_holes_and_draw_it(written: Path) -> None:
    source, plain = (open_scene(str(written / f"{dtype}.zarr")) for dtype in ("int8", "float32"))
    window = Window(5, 50, 0, source.info.width)
    codes, valid = source.read(window)
    features, expected = plain.read(window)
    assert not valid.all()
    assert_array_equal(valid, expected)
    coding = coding_of(source.info)
    assert coding is not None
    assert_array_equal(np.isnan(coding.decode(codes)), np.isnan(features))
    assert_array_equal(np.isnan(feature_picture(source).sample), np.isnan(feature_picture(plain).sample))  # type: ignore[arg-type]


def test_the_same_bytes_whoever_computes(written: Path, tmp_path: Path) -> None:
    words = ("--dtype", "int8", "--scheduler", "processes", "--workers", 2)
    assert call("features", written / "scene.tif", tmp_path / "f.zarr", *WORDS, *words).exit_code == 0
    assert snapshot(tmp_path / "f.zarr") == snapshot(written / "int8.zarr")


def test_values_beyond_the_sampled_range_are_counted(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantise, "WINDOWS", 1)
    monkeypatch.setattr(quantise, "CELLS", 5)
    words = ("--dtype", "int8", "--scheduler", "threads")
    result = call_json("features", written / "scene.tif", tmp_path / "f.zarr", *WORDS, *words)
    info = open_scene(str(tmp_path / "f.zarr")).info
    with xr.open_zarr(written / "float32.zarr") as plain:
        steps = (plain.features.values - np.array(info.offsets)[:, None, None]) / np.array(info.scales)[:, None, None]
    assert 0 < result["clipped"] == np.count_nonzero(np.abs(np.rint(steps)) > MOST)
    assert call_json("features", written / "scene.tif", tmp_path / "g.zarr", *WORDS)["clipped"] == 0


def test_columns_of_a_table_stay_float32(written: Path, tmp_path: Path) -> None:
    refused = call("features", written / "scene.tif", tmp_path / "f.parquet", *WORDS, "--dtype", "int8")
    assert refused.exit_code == 2
    assert "--dtype int8 is for .zarr and .tif" in refused.stderr


def test_a_run_writes_plans_and_resumes_them(tmp_path: Path) -> None:
    small_scene(tmp_path / "scene.tif")
    text = "version: 1\nread: {tile: 64}\nfeatures: {count: 4, stride: 3, dtype: DTYPE}\nwrite: {report: true}\n"
    (tmp_path / "job.yaml").write_text(text.replace("DTYPE", "int8"))
    words = ("run", tmp_path / "job.yaml", tmp_path / "scene.tif", "--out", tmp_path / "out")
    stages: Any = call_json("plan", *words[1:3])["scenes"][0]["stages"]
    assert call(*words).exit_code == 0
    folder = tmp_path / "out" / "scene"
    (tmp_path / "float.yaml").write_text(text.replace("DTYPE", "float32"))
    floats = call_json("plan", tmp_path / "float.yaml", tmp_path / "scene.tif")["scenes"][0]["stages"]
    assert stages[1]["bytes_out"] * 4 == floats[1]["bytes_out"]
    receipt = json.loads((folder / "receipt.json").read_text())
    assert stages[1]["bytes_out"] >= receipt["stages"][1]["stored_bytes"]
    assert receipt["stages"][1]["clipped"] >= 0
    before = snapshot(folder / "features.zarr")
    (folder / "features.zarr").rename(folder / "features.zarr.partial")
    (folder / "features.zarr.partial" / "features" / "c" / "0" / "1" / "1").unlink()
    assert call(*words).exit_code == 0
    assert snapshot(folder / "features.zarr") == before
    refused = call("run", tmp_path / "float.yaml", *words[2:])
    assert "features.dtype: int8 -> float32" in refused.stderr
