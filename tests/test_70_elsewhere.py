"""Where a word of the command line is none, and where else what it asks for is said."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

import pipeline
from pipeline.errors import ConfigError
from tests.scenes import call, small_scene, write_tif


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("option", "where"),
    [
        ("--resolution", "read: {resolution: ...}"),
        ("--quality", "denoise: {quality: ...}"),
        ("--max-error", "compress: {max_error: ...}"),
        ("--bank", "features: {bank: ...}"),
    ],
)
def test_what_a_workflow_says_is_shown_where_it_is_wanted_as_an_option(command: str, option: str, where: str) -> None:
    result = call(command, "w.yaml", option, "1")
    assert result.exit_code == 2
    assert f"No such option '{option}'; the workflow says it: {where}" in result.stderr


def test_options_that_nothing_knows_and_other_commands_have_no_such_hint() -> None:
    for words in (("run", "w.yaml", "--nothing"), ("denoise", "a.tif", "b.tif", "--stride", "4")):
        assert "the workflow says" not in call(*words).stderr


def test_places_beside_the_scene_in_another_crs_are_said_as_they_were_understood(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "s.tif")
    for words, text in (
        (("--at", "1,2"), "give places in it, or name their CRS by --crs"),
        (("--at", "37.7,-75.7", "--crs", "EPSG:4326"), "EPSG:4326 brings the first to x 1"),
    ):
        result = call("similar", scene, tmp_path / "like.tif", *words)
        assert result.exit_code == 1
        assert text in result.stderr
        assert ("is it their CRS, and x (longitude) first?" in result.stderr) == ("--crs" in words)
        assert ("or name their CRS" in result.stderr) == ("--crs" not in words)


@pytest.mark.parametrize("command", ["inspect", "features", "fit", "similar", "decompress"])
def test_commands_without_stack_say_which_have_it(command: str) -> None:
    result = call(command, "--stack", "dates", "out.zarr")
    assert result.exit_code == 2
    assert "No such option '--stack'; " in result.stderr
    assert f"compress --stack makes one scene of dates: give {command} its store (see" in result.stderr


def test_a_mask_that_each_of_several_files_has_is_one_of_dates(tmp_path: Path) -> None:
    (tmp_path / "eo").mkdir()
    for day in ("20170105", "20170115", "20170125"):
        path = write_tif(tmp_path / f"eo/S2_{day}.tif", np.ones((14, 8, 8), "uint16"))
        with rasterio.open(path, "r+") as file:
            file.descriptions = (*(f"B{number:02}" for number in range(1, 14)), "CLM")
    says = "3 files of eo have one each (20170105_CLM, ...): dates of one place want --stack (in Python stack=True)"
    result = call("features", tmp_path / "eo", tmp_path / "f.zarr", "--mask-band", "clm")
    assert f"no mask band or file clm; {says}, or give the store that denoise or" in result.stderr
    with pytest.raises(ConfigError, match="stack=True"):
        pipeline.open_scene(sorted((tmp_path / "eo").glob("*.tif")), mask_band="CLM")
    result = call("features", tmp_path / "eo", tmp_path / "f.zarr", "--mask-band", "QA")
    assert "no mask band or file QA; the bands of eo are 20170105_B01, " in result.stderr
    assert "20170115_B06 and 22 more" in result.stderr
