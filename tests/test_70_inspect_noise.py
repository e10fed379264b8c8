"""The noise of many bands is one short line; all of it is in --json."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.scenes import call, call_json, write_tif


def test_the_noise_of_many_bands_is_one_short_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    level = np.arange(1, 41)[:, None, None]
    block = (1000 + level * rng.standard_normal((40, 96, 96))).astype("float32")
    block[4:11] = 7
    scene = write_tif(tmp_path / "many.tif", block)
    noise = call_json("inspect", scene)["noise"]
    assert len(noise) == 40
    assert sum(sigma == 0 for sigma in noise.values()) == 7
    (line,) = [line for line in call("inspect", scene).stdout.splitlines() if line.startswith("noise")]
    assert len(line) < 200
    assert f"least {noise['band_1']:g} (band_1), most {max(noise.values()):g} (band_" in line
    middle = np.median([sigma for sigma in noise.values() if sigma])
    assert f"median {middle:.5g}, " in line
    assert line.endswith("; 0 in 7 bands, constant or without noise: band_5, band_6, band_7, ...")


def test_the_noise_of_few_bands_is_told_of_each(tmp_path: Path) -> None:
    block = (1000 + np.random.default_rng(0).standard_normal((3, 96, 96))).astype("float32")
    block[1] = 7
    told = call("inspect", write_tif(tmp_path / "few.tif", block)).stdout
    assert "'band_2': 0.0" in told


def test_bands_that_are_constant_throughout(tmp_path: Path) -> None:
    told = call("inspect", write_tif(tmp_path / "flat.tif", np.full((17, 96, 96), 3, "uint8"))).stdout
    assert "0 in 17 bands, constant or without noise: band_1, band_2, band_3, ...\n" in told
