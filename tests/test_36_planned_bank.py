"""Banks to plan with have the shapes of fitted ones, whatever is asked for, and are had at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Features
from pipeline.flow.banks import planned_bank
from pipeline.flow.read import open_scene
from pipeline.network.fit import BANKS, fit_bank
from tests.scenes import call, small_scene, snapshot


@pytest.mark.parametrize("size", [None, 1, 5])
@pytest.mark.parametrize("name", BANKS)
def test_shapes_and_names_are_those_of_a_fitted_bank(tmp_path: Path, name: str, size: int | None) -> None:
    info = open_scene([str(small_scene(tmp_path / "scene.tif", holes=0.0))]).info
    count, size = (None, size and 5) if name == "classic" else (20, size)
    planned = planned_bank(Features(bank=name, count=count, size=size), info)
    block = np.random.default_rng(1).normal(100, 9, (len(info.bands), 60, 60))
    fitted = fit_bank(name, [(block, np.ones((60, 60), bool))], bands=info.bands, count=count, size=size)
    assert isinstance(planned, type(fitted))
    assert planned.features == fitted.features
    for part in ("filters", "bias", "hidden", "projection"):
        assert getattr(planned, part).shape == getattr(fitted, part).shape
    assert planned.sees(9, 4) == fitted.sees(9, 4)


@pytest.mark.parametrize(("count", "size"), [(4096, 3), (1500, 31)])
def test_many_and_large_filters_are_not_refused_before_the_scene_is_read(tmp_path: Path, count: int, size: int) -> None:
    scene = small_scene(tmp_path / "scene.tif", holes=0.0)
    words = ["--bank", "torchgeo-rcf-empirical", "--count", count, "--size", size, "--stride", 32, "--tile", 128]
    result = call("features", scene, tmp_path / "f.zarr", *words)
    assert result.exit_code == 0, result.stderr


def test_overwriting_by_what_cannot_be_made_takes_nothing_away(tmp_path: Path) -> None:
    scene, job = small_scene(tmp_path / "scene.tif", holes=0.0), tmp_path / "job.yaml"
    text = "version: 1\nout: out\nread: {tile: 64}\nfeatures: {bank: classic, stride: 8}\nwrite: {cog: []}\n"
    job.write_text(text)
    assert call("run", job, scene, "--out", tmp_path / "out").exit_code == 0
    before = snapshot(tmp_path / "out" / "scene", ("receipt.json",))
    job.write_text(text.replace("tile: 64", "tile: 16384"))
    assert call("run", job, scene, "--out", tmp_path / "out", "--overwrite").exit_code != 0
    assert snapshot(tmp_path / "out" / "scene", ("receipt.json",)) == before
