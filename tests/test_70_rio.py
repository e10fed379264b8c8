"""rio terrasketch: the same commands under rasterio's own."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli.main import _COMMANDS
from pipeline.cli.rio import terrasketch
from tests.scenes import call, read, small_scene

RIO = [sys.executable, "-c", "from rasterio.rio.main import main_group; main_group()"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_scene(tmp_path_factory.mktemp("rio") / "scene.tif", height=64, width=70)


def rio(*words: object) -> subprocess.CompletedProcess[str]:
    if not [one for one in entry_points(group="rasterio.rio_plugins") if one.name == "terrasketch"]:
        pytest.skip("the installed package is older than its entry point: make install")
    line = [*RIO, "terrasketch", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_rio_lists_every_command() -> None:
    done = rio("--help")
    assert done.returncode == 0, done.stderr
    assert not [name for name in _COMMANDS if f"\n  {name} " not in done.stdout]


def test_rio_denoises_as_we_do(scene: Path, tmp_path: Path) -> None:
    done = rio("denoise", scene, tmp_path / "rio.tif")
    assert done.returncode == 0, done.stderr
    assert call("denoise", scene, tmp_path / "ours.tif").exit_code == 0
    assert np.array_equal(read(tmp_path / "rio.tif"), read(tmp_path / "ours.tif"))


def test_errors_are_one_line_with_our_exit_codes(scene: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    missing = runner.invoke(terrasketch, ["denoise", str(tmp_path / "none.tif"), str(tmp_path / "out.tif")])
    assert isinstance(missing.exception, SystemExit)
    assert missing.exit_code == 1
    assert missing.stderr.startswith("Error: ")
    assert missing.stderr.count("\n") == 1
    assert "none.tif" in missing.stderr
    assert runner.invoke(terrasketch, ["denoise", str(scene)]).exit_code == 2
    words = ["run", str(tmp_path / "flow.yaml"), str(scene), str(tmp_path / "none.tif"), "--out", str(tmp_path / "out")]
    (tmp_path / "flow.yaml").write_text("write:\n  report: false\nfeatures: null\n")
    assert runner.invoke(terrasketch, words).exit_code == 3
    assert not (tmp_path / "out.tif").exists()
