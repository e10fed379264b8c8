"""A scene without one valid pixel is warned of, once: its outputs look like any other's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import DatasetWriter

from tests.scenes import call, write_tif

JOB = "version: 1\nsources: [s.tif]\nread: {tile: 32}\nfeatures: null\nwrite: {cog: []}\n"


def _warnings(*words: object) -> list[str]:
    result = call(*words)
    assert result.exit_code == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    return [line for line in lines if "nothing tells when it was taken" not in line]


def _told(by: str) -> list[str]:
    return [
        f"Warning: s: none of its pixels is valid in all bands: all are missing by {by}; "
        "if they are not, say --nodata, or choose bands"
    ]


@pytest.mark.parametrize(
    ("value", "dtype", "nodata", "by"),
    [(0, "uint8", 0, "nodata 0"), (-9999, "float32", -9999, "nodata -9999 or NaN"), (np.nan, "float32", None, "NaN")],
)
def test_a_scene_of_nothing_is_told_once(tmp_path: Path, value: float, dtype: str, nodata: Any, by: str) -> None:
    scene = write_tif(tmp_path / "s.tif", np.full((2, 64, 96), value, dtype), nodata=nodata)
    (tmp_path / "w.yaml").write_text(JOB)
    run = ("run", tmp_path / "w.yaml", "--out", tmp_path / "out")
    for words in (("denoise", scene, tmp_path / "d.tif", "--tile", 32), ("compress", scene, tmp_path / "c.zarr"), run):
        assert _warnings(*words) == _told(by)
    assert _warnings(*run) == []  # nothing was read again


def test_an_alpha_band_that_hides_everything_is_named(tmp_path: Path) -> None:
    block = np.arange(4 * 64 * 64).reshape(4, 64, 64).astype("uint8")
    block[3] = 0
    scene = write_tif(tmp_path / "s.tif", block)
    file: DatasetWriter
    with rasterio.open(scene, "r+") as file:
        file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    assert _warnings("compress", scene, tmp_path / "c.zarr") == _told("its alpha band")


def test_one_valid_pixel_is_something(tmp_path: Path) -> None:
    block = np.zeros((2, 64, 96), "uint8")
    block[:, 40, 50] = 7
    scene = write_tif(tmp_path / "s.tif", block, nodata=0)
    assert _warnings("compress", scene, tmp_path / "c.zarr", "--tile", 32) == []
