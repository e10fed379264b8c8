"""Where a word of the command line is none, and where else what it asks for is said."""

from pathlib import Path

import pytest

from tests.scenes import call, small_scene


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
