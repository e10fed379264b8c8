"""Errors name the thing that is wrong: its own path, line and option, each once, and what to do."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import OutputError
from pipeline.network import Bank
from tests.scenes import call, write_tif
from tests.test_70_messages import said

WORKFLOW = "version: 1\nfeatures: null\nwrite: {cog: [], report: false}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with a scene of two bands, what is no raster, a workflow and an empty one."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng([70]).integers(100, 900, (2, 40, 40)).astype("uint16")
    write_tif(tmp_path / "x.tif", pixels)
    write_tif(tmp_path / "one.tif", pixels[:1])
    write_tif(tmp_path / "tiny.tif", pixels[:, :3, :3])
    (tmp_path / "text.tif").write_text("no raster")
    (tmp_path / "w.yaml").write_text(WORKFLOW)
    (tmp_path / "empty.yaml").touch()
    return tmp_path


def test_a_bank_of_other_bands_is_named_before_the_scene(here: Path) -> None:
    assert call("fit", "x.tif", "-o", "bank.npz", "--bank", "classic").exit_code == 0
    line = said(1, "features", "one.tif", "f.zarr", "--bank", "bank.npz")
    assert line.startswith(
        f"{here / 'bank.npz'}: one has bands band_1, bank 'classic' was fitted to band_1, band_2; ch"
    )


@pytest.mark.parametrize("end", ["zarr", "parquet"])
def test_a_folder_that_cannot_be_written_is_named_and_no_bank(
    here: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    def refuse(_self: Bank, path: Path) -> None:
        raise OutputError(f"cannot write the bank {path}") from PermissionError(13, "Permission denied")

    monkeypatch.setattr(Bank, "save", refuse)
    line = said(1, "features", "x.tif", f"f.{end}", "--bank", "classic")
    assert line == f"{here}: cannot be written: Permission denied; check its rights, or write elsewhere"


def test_a_store_or_date_that_is_not_there_is_said_so(here: Path) -> None:
    assert said(1, "decompress", "nope.zarr", "y.tif").startswith("nope.zarr: there is no such store; ")
    line = said(1, "compress", "2016*.tif", "d.zarr", "--stack")
    assert line == "2016*.tif: there is no such file; is the path or pattern right, and seen from the right folder?"
    assert "--stack wants two dates or more" in said(2, "compress", "x.tif", "d.zarr", "--stack")


def test_a_range_of_bands_that_runs_backwards(here: Path) -> None:
    line = said(2, "denoise", "x.tif", "y.tif", "-b", "2..1")
    assert "'2..1' runs backwards; give 1..2, or an order of your own as -b 3,2,1" in line
    assert "counted from 1" in said(2, "denoise", "x.tif", "y.tif", "-b", "0..1")


def test_smaller_filters_are_asked_for_by_the_words_of_each_door(here: Path) -> None:
    (here / "f.yaml").write_text("version: 1\nfeatures: {bank: rcf-mixed, size: 5}\nwrite: {cog: [], report: false}\n")
    line = said(3, "run", "f.yaml", "tiny.tif", "--out", "out")
    assert "take smaller filters (--size; features.size in a workflow), a scene with fewer holes" in line


def test_plain_geojson_holds_nothing_twice(here: Path) -> None:
    place = {"type": "Feature", "geometry": None, "properties": {}}
    (here / "cover.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [place, place]}))
    line = said(1, "run", "w.yaml", "cover.geojson", "--out", "out")
    assert line == (
        "cover.geojson holds an item without an id, so it is no STAC; leave the file out if it is plain GeoJSON"
    )


def test_a_key_without_its_colon_is_named_by_its_line(here: Path) -> None:
    (here / "bad.yaml").write_text("version: 1\neffort:best\n\n# more\nread: {tile: 64}\n")
    line = said(2, "run", "bad.yaml", "x.tif")
    assert line.startswith("bad.yaml:2: not YAML: could not find expected ':'; a colon and a blank")
    (here / "bad.yaml").write_text("version: 1\nread: {tile: 64\nout: x\n")
    assert said(2, "run", "bad.yaml", "x.tif").startswith("bad.yaml:3: not YAML: expected ',' or '}'")


def test_many_failures_of_a_scene_are_one_line(here: Path) -> None:
    pixels = np.random.default_rng([71]).integers(100, 900, (2, 200, 200)).astype("uint16")
    whole = write_tif(here / "torn.tif", pixels, tiled=True, blockxsize=16, blockysize=16).read_bytes()
    (here / "torn.tif").write_bytes(whole[: len(whole) // 2])
    (here / "t.yaml").write_text(WORKFLOW + "read: {tile: 64}\n")
    result = call("run", "t.yaml", "torn.tif", "--out", "out")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    told = json.loads((here / "out/torn/receipt.json").read_text())["failures"]
    assert len(told) > 2
    assert line == f"Error: torn: {told[0]} (and {len(told) - 1} more; out/torn/receipt.json has them)"


def test_one_failure_has_no_more(here: Path) -> None:
    assert said(1, "run", "w.yaml", "none.tif", "--out", "out").endswith(
        "none.tif: No such file or directory; give a raster that GDAL reads"
    )


def test_what_cannot_be_read_or_written_comes_with_a_remedy(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(2, "run", "nope.yaml", "x.tif").endswith(
        "No such file or directory; name the workflow first, then the scenes"
    )
    line = said(1, "features", "x.tif", "f.zarr", "--bank", "onnx:none.onnx")
    assert line.endswith("No such file or directory; give the path of an ONNX model")
    monkeypatch.setattr(Path, "open", _denied(Path.open))
    line = said(1, "compress", "x.tif", here / "z.zarr")
    assert line == f"{here}: cannot be written: Permission denied; check its rights, or write elsewhere"


def _denied(usual: object) -> object:
    def refuse(path: Path, *words: object, **more: object) -> object:
        if path.name.endswith(".running"):
            raise PermissionError(13, "Permission denied")
        return usual(path, *words, **more)  # type: ignore[operator]

    return refuse


def test_a_path_stands_once_in_a_line(here: Path) -> None:
    line = said(1, "inspect", "text.tif")
    assert line == (
        f"cannot open {here / 'text.tif'}: not recognized as being in a supported file format; "
        "give a raster that GDAL reads"
    )
    line = said(1, "features", "x.tif", "f.parquet", "--bank", "classic", "--at", "fields.gpkg")
    assert line == (
        "fields.gpkg: the places cannot be read: No such file or directory; give a file of points or polygons"
    )
    line = said(1, "regress", "x.tif", "y.tif", "--labels", "one.tif", "--field", "a")
    assert line == (
        "one.tif: the places cannot be read: not recognized as being in a supported file format; "
        "give a file of points or polygons"
    )


def test_an_empty_workflow_is_warned_of_once(here: Path) -> None:
    result = call("plan", "empty.yaml", "x.tif")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "Warning: empty.yaml says nothing, so everything is as by default; is it the workflow that was meant?"
    ]
    assert "Warning" not in call("plan", "w.yaml", "x.tif").stderr
    quiet = call("run", "empty.yaml", "none.tif", "--out", "new", "-q")  # of progress, not of this
    assert quiet.stderr.splitlines()[0] == result.stderr.strip()


@pytest.mark.parametrize("command", ["run", "plan"])
def test_an_empty_workflow_without_scenes_is_one_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "empty.yaml").write_bytes(b"")
    result = call(command, tmp_path / "empty.yaml")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0].startswith("Error: no scenes")
    assert len(result.stderr.splitlines()) == 1
