"""A scene of which nothing tells when it was taken: a valid item without a date, told once, with what would tell it."""

import json
from pathlib import Path

import pystac
import pytest
import rasterio

from tests.scenes import call, small_scene

SAYS = "nothing tells when it was taken: datetime of its item.json"


def told(*words: object) -> list[str]:
    result = call("run", *words)
    assert result.exit_code == 0, result.stderr
    return [line for line in result.stderr.splitlines() if "when it was taken" in line]


def test_undated_scenes_are_told_once_and_dated_ones_are_not(tmp_path: Path) -> None:
    job, out = tmp_path / "w.yaml", tmp_path / "out"
    job.write_text("version: 1\nfeatures: null\nwrite: {cog: [], report: false}\n")
    paths = [small_scene(tmp_path / f"{name}.tif", height=40, width=40, bands=1) for name in "abc"]
    with rasterio.open(paths[2], "r+") as file:
        file.update_tags(ACQUISITIONDATETIME="2016-01-17T15:56:22Z")
    (line,) = told(job, *paths, "--out", out)
    assert line.startswith(f"Warning: a: {SAYS} and of 1 more scene is null, some time since 1970; a tag ACQUISITION")
    assert told(job, *paths, "--out", out) == []  # nothing new is written
    items = [pystac.Item.from_file(str(out / name / "item.json")) for name in "abc"]
    assert [item.datetime is None for item in items] == [True, True, False]
    assert all(item.common_metadata.end_datetime is not None for item in items[:2])
    facts = [json.loads((out / name / "receipt.json").read_text())["facts"] for name in "abc"]
    assert [fact["undated"] for fact in facts] == [True, True, False]


def test_the_remedy_is_one(tmp_path: Path) -> None:
    job, scene = tmp_path / "w.yaml", small_scene(tmp_path / "a.tif", height=40, width=40, bands=1)
    job.write_text("version: 1\nfeatures: null\nwrite: {cog: [], report: false}\n")
    words = (job, scene, "--out", tmp_path / "out")
    (line,) = told(*words)
    assert f"{SAYS} is null" in line
    name, _, value = line.partition("--tag ")[2].partition(")")[0].partition("=")
    with rasterio.open(scene, "r+") as file:  # as rio edit-info does
        file.update_tags(**{name: value})
    assert told(*words, "--overwrite") == []
    item = json.loads((tmp_path / "out/a/item.json").read_text())
    assert item["properties"]["datetime"] == value


@pytest.mark.parametrize(
    ("names", "when"),
    [
        (["S2A_MSIL2A_20160112T155622_T18SVG"], "2016-01-12T15:56:22Z"),
        (["S2A_MSIL2A_20160112T155622_N0201_R111_T18SVG_20160113T001122"], "2016-01-12T15:56:22Z"),
        (["S1A_IW_GRDH_1SDV_20160112T235950_20160113T000015_009456"], "2016-01-12T23:59:50Z"),
        (["LC08_L2SP_016034_20160117_20200907_02_T1"], "2016-01-17T00:00:00Z"),
        (["a_20160117", "b_20160117T155622"], "2016-01-17T15:56:22Z"),
        (["a_20160117", "b"], "2016-01-17T00:00:00Z"),
        (["a_20160117", "b_20160118"], None),
        (["change_20160117_20160206"], None),
        (["a"], None),
        (["a_20990101"], None),
    ],
)
def test_the_name_of_a_file_tells_when_nothing_else_does(tmp_path: Path, names: list[str], when: str | None) -> None:
    (tmp_path / "20150101").mkdir()  # a folder tells nothing
    paths = [str(small_scene(tmp_path / f"20150101/{name}.tif", height=40, width=40, bands=1)) for name in names]
    job, out = tmp_path / "w.yaml", tmp_path / "out"
    job.write_text(f"sources: [{paths}]\nfeatures: null\nwrite: {{cog: [], report: false}}\n")
    assert bool(told(job, "--out", out)) == (when is None)
    (item,) = out.glob("*/item.json")
    properties = json.loads(item.read_text())["properties"]
    assert properties["datetime"] == when
    assert ("start_datetime" in properties) == (when is None)


def test_a_tag_wins_over_the_name(tmp_path: Path) -> None:
    path = small_scene(tmp_path / "a_20160117.tif", height=40, width=40, bands=1)
    (job := tmp_path / "w.yaml").write_text("features: null\nwrite: {cog: [], report: false}\n")
    with rasterio.open(path, "r+") as file:
        file.update_tags(ACQUISITIONDATETIME="2016-01-12T15:56:22Z", TIFFTAG_DATETIME="2020:01:01 00:00:00")
    told(job, path, "--out", tmp_path / "out")
    item = json.loads((tmp_path / "out/a_20160117/item.json").read_text())
    assert item["properties"]["datetime"] == "2016-01-12T15:56:22Z"
