"""Chunks beyond the largest are refused by `plan`, and before anything is computed, in the same words."""

from pathlib import Path

import pytest

from pipeline.codec.container import MAX_ELEMENTS
from pipeline.errors import ConfigError
from pipeline.flow.chunk_size import check_scene_chunk
from pipeline.raster.chunks import MOST_ELEMENTS
from pipeline.raster.scene import SceneInfo
from tests.scenes import call, small_scene

FEATURES = (
    "scene: a chunk of 26 features of classic x 3500 x 3500 cells is 318,500,000 numbers, at most 268,435,456; give "
)
REMEDY = "a smaller --tile (read.tile), a larger --stride (features.stride) or fewer features"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A workflow whose features are too many for a tile, and a scene of one band."""
    small_scene(tmp_path / "scene.tif", bands=1)
    (tmp_path / "job.yaml").write_text("version: 1\nread: {tile: 3500}\nfeatures: {bank: classic}\n")
    return tmp_path


def test_the_plan_refuses_what_the_run_would(job: Path) -> None:
    for words in ((), ("--scenes", 3)):
        planned = call("plan", job / "job.yaml", job / "scene.tif", *words)
        assert planned.exit_code != 0
        assert planned.stderr == f"Error: {FEATURES}{REMEDY}\n"


def test_nothing_is_computed_before_it_is_refused(job: Path) -> None:
    ran = call("run", job / "job.yaml", job / "scene.tif", "--out", job / "out")
    assert ran.exit_code == 1
    assert FEATURES + REMEDY in ran.stderr
    assert sorted(path.name for path in (job / "out/scene").iterdir()) == ["receipt.json"]


@pytest.mark.parametrize("end", [".zarr", ".tif"])
def test_features_are_refused_before_a_bank_is_fitted(job: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr("pipeline.cli.features.fit_on", None)
    words = [job / "scene.tif", job / f"features{end}", "--bank", "classic"]
    refused = call("features", *words, "--tile", 3500)
    assert refused.exit_code != 0
    assert refused.stderr == f"Error: {FEATURES}{REMEDY}\n"
    assert not list(job.glob("features*"))


def test_a_larger_stride_is_a_remedy(job: Path) -> None:
    result = call("features", job / "scene.tif", job / "f.zarr", "--bank", "classic", "--tile", 3500, "--stride", 50)
    assert result.exit_code == 0, result.stderr


def test_a_scene_of_too_many_bands_for_a_tile_is_refused(job: Path) -> None:
    small_scene(job / "scene.tif", bands=5)
    (job / "job.yaml").write_text("version: 1\nread: {tile: 8000}\nfeatures: null\n")
    says = "scene: a chunk of 5 bands x 8000 x 8000 pixels is 320,000,000 numbers, at most 268,435,456; give a smaller"
    for command, words in (("plan", ()), ("run", ("--out", job / "out"))):
        result = call(command, job / "job.yaml", job / "scene.tif", *words)
        assert result.exit_code != 0
        assert f"{says} --tile (read.tile)\n" in result.stderr
    check_scene_chunk(SceneInfo("s", ("a",), 9, 9, "uint8"), 16384)
    with pytest.raises(ConfigError):
        check_scene_chunk(SceneInfo("s", ("a",), 9, 9, "uint8"), 16385)


def test_the_codec_has_the_same_limit() -> None:
    assert MOST_ELEMENTS == MAX_ELEMENTS
