"""docs/answers.md says what happens: its commands run, word for word, on a small demo."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest

from benchmarks.answers import precision
from benchmarks.features import DEFAULT, features_of, indian_pines
from tests.scenes import call, read

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "answers.md").read_text()
COMMANDS = [shlex.split(line)[1:] for line in TEXT.splitlines() if line.startswith("    terrasketch ")]
NAME = "s2_18SVG_crop_10band_20m"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample, its labels, and features of it where `make demo` leaves them, of a smaller bank."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "sample_data").mkdir()
    for name in (f"{NAME}.tif", "cover.geojson"):
        shutil.copy(ROOT / "sample_data" / name, folder / "sample_data")
    out = folder / "out" / "demo" / NAME
    out.mkdir(parents=True)
    scene = folder / "sample_data" / f"{NAME}.tif"
    made = call("features", scene, out / "features.zarr", "--count", 16, "--stride", 4)
    assert made.exit_code == 0, made.stderr
    return folder


def test_every_command_is_shown_with_its_picture() -> None:
    assert [words[0] for words in COMMANDS] == ["similar", "cluster", "anomaly", "regress"]
    for picture in re.findall(r"\((images/\w+\.png)\)", TEXT):
        assert 0 < (ROOT / "docs" / picture).stat().st_size < 300_000
    assert len(re.findall(r"!\[", TEXT)) == 4


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_the_commands_run(demo: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(demo)
    result = call(*words)
    assert result.exit_code == 0, result.stderr
    pixels = read(Path(words[2]))
    assert np.isfinite(pixels).any()
    if words[0] == "similar":
        assert len(geopandas.read_parquet(Path(words[2]).with_suffix(".parquet"))) == 12
    if words[0] == "anomaly":
        table = geopandas.read_parquet(Path(words[2]).with_suffix(".parquet"))
        assert ((table.row == 138) & (table.column == 297)).any()  # the bright pixel in the lagoon
    if words[0] == "regress":
        accuracy = float(re.search(r"^accuracy +([\d.]+)", result.stdout, re.MULTILINE)[1])
        assert accuracy > 0.7


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_what_is_similar_is_of_one_class_on_indian_pines(shared_data: Path) -> None:
    """Precision at 10 among labelled pixels, none of the 16 x 16 block of the pixel that is asked about."""
    cube, classes = indian_pines()
    assert precision(features_of(cube, DEFAULT), classes, 0, 500) >= 0.6
