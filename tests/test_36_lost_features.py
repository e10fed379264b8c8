"""Cells without features: told where holes that are few take most of them, and a band that has no value at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scenes import call, call_json, read, write_tif


def _scene(path: Path, share: float = 0.0, **holes: Any) -> Path:
    """Three bands of 128 x 128 of which a share of the pixels, scattered, is nodata."""
    rng = np.random.default_rng(8)
    block = rng.integers(1, 900, (3, 128, 128)).astype(np.uint16)
    block[:, rng.random((128, 128)) < share] = 0
    block[:, : holes.get("rows", 0)] = 0
    return write_tif(path, block, nodata=0)


@pytest.mark.parametrize("name", ["f.zarr", "f.parquet", "f.tif"])
def test_few_holes_that_leave_no_features_are_warned_of(tmp_path: Path, name: str) -> None:
    scene = _scene(tmp_path / "a.tif", 0.05)
    result = call("features", scene, tmp_path / name, "--bank", "classic", "--stride", 4, "--pool", 12)
    assert result.exit_code == 0, result.stderr
    assert "a: 1024 of 1024 cells (all) have no features: their windows of " in result.stderr
    assert "meet missing pixels (5." in result.stderr
    assert "--pool" in result.stderr


@pytest.mark.parametrize("rows", [0, 60, 128])
def test_what_is_missing_in_one_piece_is_not(tmp_path: Path, rows: int) -> None:
    scene = _scene(tmp_path / "a.tif", rows=rows)
    whole = _scene(tmp_path / "b.tif")
    assert call("fit", whole, "-o", tmp_path / "bank.npz", "--bank", "classic").exit_code == 0
    result = call("features", scene, tmp_path / "f.zarr", "--bank", tmp_path / "bank.npz", "--stride", 4)
    assert result.exit_code == 0, result.stderr
    assert "no features" not in result.stderr


def test_run_warns_too_and_its_item_says_that_nothing_is_valid(tmp_path: Path) -> None:
    _scene(tmp_path / "a.tif", 0.05)
    (tmp_path / "job.yaml").write_text(
        "version: 1\nsources: [a.tif]\nout: out\nread: {tile: 64}\ndenoise: {quality: none}\n"
        "compress: {lossless: true}\nfeatures: {bank: classic, stride: 4, pool: 12}\n"
        "write: {cog: [features], report: true}\n"
    )
    result = call("run", tmp_path / "job.yaml")
    assert result.exit_code == 0, result.stderr
    assert "a: 1024 of 1024 cells (all) have no features" in result.stderr
    out = tmp_path / "out/a"
    assert np.isnan(read(out / "features.tif")).all()
    bands = json.loads((out / "item.json").read_text())["assets"]["features_cog"]["bands"]
    assert {json.dumps(band["statistics"]) for band in bands} == {'{"valid_percent": 0.0}'}
    assert "No cell in the middle of the scene has features" in (out / "report.html").read_text()


def test_a_band_without_any_value_is_named(tmp_path: Path) -> None:
    block = np.random.default_rng(1).normal(size=(3, 64, 64)).astype(np.float32)
    block[1] = np.nan
    scene = write_tif(tmp_path / "a.tif", block)
    result = call("fit", scene, "-o", tmp_path / "bank.npz", "--bank", "classic")
    assert result.exit_code == 1
    assert "no sample of a has a value in band_2 (1 of 3 bands)" in result.stderr
    assert "-b" in result.stderr
    assert call("fit", scene, "-o", tmp_path / "bank.npz", "--bank", "classic", "-b", "1,3").exit_code == 0
    block[:] = np.nan
    write_tif(scene, block)
    assert "no valid pixel in any sample" in call("fit", scene, "-o", tmp_path / "n.npz", "--bank", "classic").stderr


def test_inspect_gives_scale_and_offset_of_each_band(tmp_path: Path) -> None:
    path = _scene(tmp_path / "a.tif")
    facts = call_json("inspect", path)
    assert (facts["scales"], facts["offsets"]) == ([1.0] * 3, [0.0] * 3)
    assert "[1.0]" in call("inspect", path).stdout
