"""Many scenes in one run: found by patterns, folders and catalogues; failures by file and window; tried again."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any

import pystac
import pytest
from pystac.validation import validate_dict

from pipeline.config import load_workflow
from pipeline.errors import ConfigError, Interrupted, OutputError, SourceError
from pipeline.flow.crew import Crew
from pipeline.flow.sources import name_scenes
from pipeline.flow.summary import SUMMARY, read_summary
from pipeline.network import Bank
from pipeline.run import run_workflow
from tests.scenes import call, call_json, small_scene, snapshot
from tests.stac_files import catalogue, item, search, write

WORKFLOW = "version: 1\nread: {tile: 64}\ncompress: {snr: 35}\nfeatures: null\nwrite: {cog: [], report: false}\n"
ROOM = {"height": 64, "width": 100, "bands": 2}


def _scene(path: Path, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return small_scene(path, **(ROOM | changes))


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _names(*sources: Any, out: Path | None = None) -> dict[str, list[str]]:
    return name_scenes([str(s) if isinstance(s, Path) else s for s in sources], None if out is None else str(out))


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A workflow without features, rasters and reports."""
    path = tmp_path / "job.yaml"
    path.write_text(WORKFLOW)
    return path


def test_a_pattern_is_a_scene_for_each_file_in_the_order_people_expect(tmp_path: Path) -> None:
    _touch(tmp_path, "s2.tif", "s10.tif", "s1.tif", "s1.tif.aux.xml", "deep/er/s3.jp2", "notes.txt")
    assert list(_names(tmp_path / "*.tif")) == ["s1", "s2", "s10"]
    assert list(_names(tmp_path / "s*")) == ["s1", "s2", "s10"]
    assert set(_names(tmp_path / "**")) == {"s1", "s2", "s10", "s3"}
    assert _names(tmp_path / "s?.tif", tmp_path / "s1.tif") == _names(tmp_path / "s[12].tif")


def test_scenes_of_one_stem_are_called_by_their_folders(tmp_path: Path) -> None:
    _touch(tmp_path, "LC08_A/image.tif", "LC08_B/image.tif", "LC08_B/other.tif", "deep/LC08_A/image.tif")
    assert list(_names(tmp_path / "*" / "*.tif")) == ["LC08_A_image", "LC08_B_image", "other"]
    assert "deep_LC08_A_image" in _names(tmp_path / "**" / "*.tif")
    with pytest.raises(ConfigError, match=r"would both be written to image/; give them by one quoted pattern"):
        _names(tmp_path / "LC08_A/image.tif", tmp_path / "LC08_B/image.tif")


def test_outputs_are_not_taken_for_inputs(tmp_path: Path) -> None:
    _touch(tmp_path, "a.tif", "out/a/denoised.tif", "out/a/scene.zarr/zarr.json")
    assert list(_names(tmp_path / "**" / "*.tif", out=tmp_path / "out")) == ["a"]
    with pytest.raises(ConfigError, match=r"matches 1 path, and nothing but outputs of a run in .*; name the scenes"):
        _names(tmp_path / "out" / "*" / "*.tif", out=tmp_path / "out")


def test_scenes_that_lie_where_the_outputs_go_are_scenes(tmp_path: Path, job: Path, monkeypatch: Any) -> None:
    paths = [_scene(tmp_path / "sc" / f"{name}.tif", seed=seed) for seed, name in enumerate("ab")]
    job.write_text(WORKFLOW.replace("cog: []", "cog: [denoised]"))
    wanted = {path.stem: [str(path)] for path in paths}
    monkeypatch.chdir(tmp_path / "sc")
    for out in (tmp_path / "sc", tmp_path):
        for _ in range(2):
            assert _names(tmp_path / "sc" / "*.tif", out=out) == wanted
            assert _names(tmp_path / "sc", out=out) == wanted
            assert _names(tmp_path / "sc" / "**" / "*.tif", out=out) == wanted
            assert call("run", job, *paths, "--out", out).exit_code == 0
    assert set(_names("*", out=tmp_path / "sc")) == set(_names("**", out=tmp_path / "sc")) == set(wanted)
    deeper = tmp_path / "deep"
    for name in ("S1", "S2"):
        _scene(deeper / name / "x.tif")
        _scene(deeper / name / "y.tif")
    assert call("run", job, deeper, "--out", deeper).exit_code == 0
    assert (deeper / "collection.json").is_file()  # which is no catalogue of what is to be run
    assert set(_names(deeper, out=deeper)) == {"S1_x", "S1_y", "S2_x", "S2_y"}


def test_a_folder_that_is_a_scene_takes_none_of_its_outputs(tmp_path: Path) -> None:
    bands = small_scene(tmp_path / "x.tif", **(ROOM | {"bands": 1}))
    (tmp_path / "in" / "S1").mkdir(parents=True)
    bands.rename(tmp_path / "in" / "S1" / "B1.tif")
    for source in (tmp_path / "in", tmp_path / "in" / "S1", tmp_path / "in" / "*"):
        assert list(_names(source, out=tmp_path)) == ["S1"]
        with pytest.raises(ConfigError, match="in/S1 is a scene, and its outputs would lie in it; give another --out"):
            _names(source, out=tmp_path / "in")


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    _touch(tmp_path, "a[1].tif", "a1.tif")
    assert _names(tmp_path / "a[1].tif") == {"a_1_": [str(tmp_path / "a[1].tif")]}
    for text in ("https://example.com/a.tif?sig=x", 'NETCDF:"a?.nc":b', "/vsicurl?url=x", "vrt://in/a.tif?bands=1,2"):
        assert list(_names(text).values()) == [[text]]
    with pytest.raises(ConfigError, match="matches no scene"):
        _names("vrt://in/*.tif?bands=1,2")


def test_a_pattern_of_nothing_among_others_is_warned_of(tmp_path: Path, job: Path) -> None:
    scene, nothing, bands = _scene(tmp_path / "a.tif"), str(tmp_path / "*.jp2"), str(tmp_path / "B*.tif")
    for command in (("run", job, nothing, scene, "--out", tmp_path / "out"), ("plan", job, nothing, scene)):
        result = call(*command)
        assert result.exit_code == 0, result.output
        assert f"Warning: {nothing} matches no scene; " in result.stderr
        assert call(*command[:2], nothing, bands, *command[4:]).exit_code == 2
    assert (tmp_path / "out" / "a" / "scene.zarr").is_dir()
    with pytest.raises(ConfigError, match="matches no scene"):  # a part of a scene is lacking, not a scene
        name_scenes([str(scene), [str(scene), bands]], warn=print)


@pytest.mark.parametrize("pattern", ["*.tif", "**/*.jp2", "s3://bucket/*.tif"])
def test_a_pattern_of_nothing_is_one_line(tmp_path: Path, job: Path, pattern: str) -> None:
    where = pattern if "://" in pattern else tmp_path / pattern
    for command in ("run", "plan"):
        result = call(command, job, where)
        assert (result.exit_code, len(result.stderr.strip().splitlines())) == (2, 1)
        assert pattern in result.stderr


def test_what_a_folder_is(tmp_path: Path) -> None:
    bands = small_scene(tmp_path / "x.tif", **(ROOM | {"bands": 1})).read_bytes()
    cube = _scene(tmp_path / "many" / "a.tif").read_bytes()
    for name in ("one/B2.tif", "one/B10.tif", "mixed/B2.tif", "of_folders/S1/B1.tif", "of_folders/S2/B1.tif"):
        _touch(tmp_path, name)
        (tmp_path / name).write_bytes(bands)
    for name in ("many/b.tif", "mixed/cube.tif", "of_folders/S3/c.tif", "of_folders/S3/d.tif"):
        _touch(tmp_path, name)
        (tmp_path / name).write_bytes(cube)
    _touch(tmp_path, "empty/readme.txt", "many/lost.tif")
    assert _names(tmp_path / "one") == {"one": [str(tmp_path / "one")]}
    assert list(_names(tmp_path / "many")) == ["a", "b", "lost"]
    assert list(_names(tmp_path / "of_folders")) == ["S1", "S2", "c", "d"]
    assert _names([str(tmp_path / "many/*.tif")]) == {
        "a": [str(tmp_path / f"many/{n}.tif") for n in ("a", "b", "lost")]
    }
    with pytest.raises(ConfigError, match=r"one band \(B2.tif\) and of several \(cube.tif\).*a pattern"):
        _names(tmp_path / "mixed")
    with pytest.raises(SourceError, match=r"holds no raster .*, and neither do the folders in it"):
        _names(tmp_path / "empty")


def test_a_catalogue_is_found_by_its_folder_and_names_scenes_by_their_ids(tmp_path: Path) -> None:
    catalogue(tmp_path / "c" / "catalog.json", item=["./A/A.json", "./B/item.json"])
    assert list(_names(tmp_path / "c")) == list(_names(tmp_path / "c" / "catalog.json")) == ["A", "B"]
    found = search(tmp_path / "found.json", [item("S2A/1", "./a.tif"), item("b", "./b.tif")])
    assert _names(found) == {"S2A_1": [f"{found}#S2A/1"], "b": [f"{found}#b"]}
    twins = [item("a", "./a.tif", collection=name) for name in ("l1c", "l2a")]
    assert list(_names(search(tmp_path / "twins.json", twins))) == ["a", "l2a_a"]
    single = write(tmp_path / "one.json", item("long id", "./a.tif"))
    assert _names(single) == {"one": [str(single)]}


def test_a_workflow_names_patterns_relative_to_itself(tmp_path: Path, job: Path) -> None:
    _scene(tmp_path / "in" / "a.tif"), _scene(tmp_path / "in" / "b.tif", seed=5)
    job.write_text(WORKFLOW + "sources: ['in/*.tif']\n")
    plans = call_json("plan", job)
    assert [scene["name"] for scene in plans["scenes"]] == ["a", "b"]
    assert plans["total"]["scenes"] == 2
    assert plans["total"]["tiles"] == 4
    assert plans["total"]["bytes_in"] == sum(
        stage["bytes_in"] for scene in plans["scenes"] for stage in scene["stages"]
    )
    alone = call_json("plan", job, tmp_path / "in" / "a.tif")["scenes"][0]
    assert alone["memory"] < plans["scenes"][0]["memory"] == plans["total"]["memory"]  # one is finished meanwhile
    lines = call("plan", job).stdout.splitlines()
    assert lines[-1].startswith("2 scenes: 4 tiles in 4 tasks")


def test_a_plan_goes_on_past_a_scene_that_is_not_there(tmp_path: Path, job: Path) -> None:
    _scene(tmp_path / "a.tif")
    result = call("plan", job, tmp_path / "none.tif", tmp_path / "a.tif", "--json")
    assert result.exit_code == 3
    assert [scene["name"] for scene in json.loads(result.stdout)["scenes"]] == ["a"]
    assert result.stderr.count("\n") == 1


def test_fit_takes_what_run_takes(tmp_path: Path) -> None:
    for seed in range(2):
        _scene(tmp_path / "in" / f"{seed}.tif", seed=seed)
    found = search(tmp_path / "found.json", [item(str(n), f"./in/{n}.tif") for n in range(2)])
    banks = []
    for number, (words, stdin) in enumerate(
        [([tmp_path / "in" / "*.tif"], None), ([found], None), (["-"], f"{tmp_path / 'in'}\n")]
    ):
        bank = tmp_path / f"{number}.npz"
        result = call("fit", *words, "-o", bank, "--count", 4, stdin=stdin)
        assert result.exit_code == 0, result.stderr
        banks.append(Bank.load(bank).filters.tolist())
    assert banks[0] == banks[1] == banks[2]


def _broken(tmp_path: Path) -> list[Path]:
    """Two good scenes, a torn one, one that is not there."""
    paths = [_scene(tmp_path / f"{name}.tif", seed=seed) for seed, name in enumerate(("good", "torn", "last"))]
    paths[1].write_bytes(paths[1].read_bytes()[: paths[1].stat().st_size * 2 // 3])
    return [*paths, tmp_path / "none.tif"]


def test_failures_are_told_by_file_and_window_and_tried_again(tmp_path: Path, job: Path) -> None:
    paths, out = _broken(tmp_path), tmp_path / "out"
    whole = _scene(tmp_path / "whole" / "torn.tif", seed=1).read_bytes()
    result = call("run", job, *paths, "--out", out)
    assert result.exit_code == 3
    assert "none: failed\n" in result.stdout
    assert "4 scenes: 2 written, 2 failed" in result.stdout
    torn, none = (json.loads((out / name / "receipt.json").read_text()) for name in ("torn", "none"))
    assert len(torn["failed"]) == len(torn["failures"]) >= 1
    for failed, line in zip(torn["failed"], torn["failures"], strict=True):
        assert failed["file"] == str(paths[1])
        assert set(failed["window"]) == {"col_off", "row_off", "width", "height"}
        assert failed["stage"] == "denoise + compress"
        assert line == (
            f"tile {failed['tile']} (rows 0:64, columns {failed['window']['col_off']}:"
            f"{failed['window']['col_off'] + failed['window']['width']}): {failed['error']}"
        )
    missing = dict(none["failed"][0])
    assert missing | {"error": ""} == {
        "file": str(paths[3]),
        "window": None,
        "tile": None,
        "stage": "read",
        "error": "",
    }
    summary = json.loads((out / SUMMARY).read_text())
    assert summary["counts"] == {"done": 2, "failed": 2}
    assert {scene["name"]: scene["failure"] for scene in summary["scenes"] if scene["failure"]} == {
        "torn": torn["failed"][0],
        "none": none["failed"][0],
    }
    before = snapshot(out / "good")
    paths[1].write_bytes(whole)
    refused = call("run", job, "--out", out, "--retry-failed")
    assert "the scene's pixels changed" in refused.stderr  # it was begun with the torn file
    way = "give another output, or --retry-failed --overwrite, which leaves finished scenes alone\n"
    assert way in refused.stderr
    assert way in call("run", job, paths[1], paths[3], "--out", out).stderr
    again = call("run", job, "--out", out, "--retry-failed", "--overwrite")
    assert again.exit_code == 3
    assert "4 scenes: 1 written, 1 failed, 2 not run again" in again.stdout
    assert json.loads((out / SUMMARY).read_text())["counts"] == {"done": 3, "failed": 1}
    shutil.copy(paths[0], paths[3])
    assert call("run", job, "--out", out, "--retry-failed").exit_code == 0
    assert call("run", job, "--out", out, "--retry-failed").stdout == f"4 scenes: 4 not run again in {out}\n"
    assert snapshot(out / "good", leave_out=("item.json",)) == {k: v for k, v in before.items() if k != "item.json"}
    fresh = tmp_path / "fresh"
    assert call("run", job, *paths, "--out", fresh).exit_code == 0
    for name in ("good", "torn", "last", "none"):
        assert snapshot(out / name / "scene.zarr") == snapshot(fresh / name / "scene.zarr")


def test_only_what_failed_under_this_workflow_is_tried_again(tmp_path: Path, job: Path) -> None:
    paths, out = _broken(tmp_path), tmp_path / "out"
    assert call("run", job, "--out", out, "--retry-failed").exit_code == 2
    call("run", job, *paths, "--out", out)
    job.write_text(WORKFLOW.replace("35", "30"))
    result = call("run", job, "--out", out, "--retry-failed")
    assert result.exit_code == 2
    assert "other options" in result.stderr
    job.write_text(WORKFLOW)
    (out / SUMMARY).unlink()  # the receipts are the truth
    result = call("run", job, *paths, "--out", out, "--retry-failed")
    assert "2 failed, 2 not run again" in result.stdout
    (out / SUMMARY).write_text('{"scenes": [{"name": "../x", "inputs": ["a"]}]}')
    result = call("run", job, "--out", out, "--retry-failed")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)


def test_outputs_of_other_options_stay_as_they_were_told_and_all(tmp_path: Path, job: Path) -> None:
    paths, out, alone = [_scene(tmp_path / f"s{n}.tif", seed=n) for n in range(3)], tmp_path / "out", tmp_path / "a"
    was, other = (WORKFLOW.replace("report: false", "report: true").replace("35", snr) for snr in ("35", "30"))
    job.write_text(was)
    assert call("run", job, *paths[:2], "--out", out).exit_code == 0
    assert call("run", job, paths[0], "--out", alone).exit_code == 0
    before, rows = snapshot(out), read_summary(out)
    job.write_text(other)
    result = call("run", job, *paths[:2], "--out", out)
    assert result.exit_code == 1
    assert result.stderr.count("compress.snr: 35 -> 30; give another output, or --overwrite\n") == 2
    assert f"s0: refused; what is in {out / 's0'} stays as it was\n" in result.stdout
    assert result.stdout.endswith(f"2 scenes: 2 refused in {out}\n")
    assert snapshot(out) == before
    more = call("run", job, *paths, "--out", out)
    assert (more.exit_code, more.stdout.splitlines()[-1]) == (3, f"3 scenes: 1 written, 2 refused in {out}")
    after = read_summary(out)
    assert (after.pop("s2")["status"], after) == ("done", rows)
    job.write_text(was)
    assert call("run", job, "--out", out, "--retry-failed").stdout == f"2 scenes: 2 not run again in {out}\n"
    job.write_text(other)  # the first of these had no summary
    scenes = json.loads(call("run", job, *paths[:2], "--out", alone, "--json").stdout)["scenes"]
    assert [scene["status"] for scene in scenes] == ["refused", "done"]
    assert read_summary(alone)["s0"] == rows["s0"]


class Stopping:
    """A Watch that stops the crew when a line about a scene comes."""

    def __init__(self, word: str, stop: Event) -> None:
        self.word, self.stop = word, stop

    def begin(self, *_: object) -> None:
        pass

    def advance(self, *_: object) -> None:
        pass

    def note(self, text: str) -> None:
        if text.startswith(self.word):
            self.stop.set()


def test_a_stopped_run_knows_what_was_never_begun(tmp_path: Path, job: Path) -> None:
    paths, out, stop = [_scene(tmp_path / f"s{n}.tif", seed=n) for n in range(4)], tmp_path / "out", Event()
    workflow = load_workflow(job).model_copy(update={"sources": list(map(str, paths)), "out": str(out)})
    with ThreadPoolExecutor(2) as pool, pytest.raises(Interrupted):
        list(run_workflow(workflow, Crew(pool, 2, Stopping("s2: denoise", stop), stop), "x"))
    assert [scene["status"] for scene in read_summary(out).values()] == ["done", "done", "waiting", "waiting"]
    assert (out / "s1" / "item.json").is_file()  # it was being finished
    result = call("run", job, "--out", out, "--retry-failed")
    assert "4 scenes: 2 written, 2 not run again" in result.stdout


def test_scenes_are_opened_one_at_a_time_and_told_in_order(tmp_path: Path, job: Path) -> None:
    paths = [_scene(tmp_path / f"s{n}.tif", seed=n) for n in range(3)]
    workflow = load_workflow(job).model_copy(update={"sources": list(map(str, paths)), "out": str(tmp_path / "out")})
    with ThreadPoolExecutor(2) as pool:
        receipts = run_workflow(workflow, Crew(pool, 2), "x")
        assert next(receipts).name == "s0"
        assert not (tmp_path / "out" / "s2").exists()
        assert [(receipt.name, receipt.status) for receipt in receipts] == [("s1", "done"), ("s2", "done")]


SEARCHED = {"stac_version": "1.1.0", "stac_extensions": ["https://stac-extensions.github.io/eo/v2.0.0/schema.json"]}


def _searched(tmp_path: Path) -> dict[str, Any]:
    items = []
    for number in range(2):
        _scene(tmp_path / "in" / f"{number}.tif", seed=number)
        bands = [{"name": "B04", "eo:common_name": "red", "eo:center_wavelength": 0.665}, {"name": "B08"}]
        one = item(f"S2/{number}", str(tmp_path / "in" / f"{number}.tif"), **SEARCHED)
        one["assets"]["cube"]["bands"] = bands
        one["properties"] |= {"datetime": f"2016-01-1{number}T15:56:22.5Z", "created": "2001-01-01T00:00:00Z"}
        one["links"] = [{"rel": "self", "href": f"https://example.com/items/{number}", "type": "application/geo+json"}]
        items.append(one)
    return {"type": "FeatureCollection", "features": items}


def test_a_search_on_stdin_becomes_a_collection_that_pystac_walks(tmp_path: Path, job: Path) -> None:
    out = tmp_path / "out"
    text = json.dumps(_searched(tmp_path), indent=2)
    result = call("run", job, "-", "--out", out, stdin=text)
    assert result.exit_code == 0, result.stderr
    assert "2 scenes: 2 written" in result.stdout
    assert len(list(out.glob("search-*.json"))) == 1
    collection = pystac.Collection.from_file(str(out / "collection.json"))
    for made in (collection, *collection.get_items()):
        validate_dict(made.to_dict(include_self_link=False) | {"stac_extensions": []})
    first, second = collection.get_items()
    assert (first.id, second.id) == ("S2/0", "S2/1")
    assert first.datetime == datetime.fromisoformat("2016-01-10T15:56:22.500+00:00")
    assert first.get_collection().id == first.get_root().id == collection.id == "out"
    assert first.get_single_link("derived_from").href == "https://example.com/items/0"
    assert (first.properties["platform"], first.properties["eo:cloud_cover"]) == ("sentinel-2a", 12.5)
    assert first.properties["created"] > "2025"
    band = first.assets["scene"].to_dict()["bands"][0]
    assert band == {"name": "B04", "eo:common_name": "red", "eo:center_wavelength": 0.665}
    assert Path(first.assets["scene"].get_absolute_href()).is_dir()
    assert collection.extent.temporal.intervals == [[first.datetime, second.datetime]]
    assert collection.summaries.lists == {"platform": ["sentinel-2a"], "proj:code": ["EPSG:32618"]}
    before = snapshot(out)
    assert "2 complete already" in call("run", job, "-", "--out", out, stdin=text).stdout
    after = snapshot(out)
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {SUMMARY}


def test_scenes_of_a_later_run_join_the_collection(tmp_path: Path, job: Path) -> None:
    out = tmp_path / "out"
    for name, seed in (("a", 0), ("b", 1), ("c", 2)):
        assert call("run", job, _scene(tmp_path / f"{name}.tif", seed=seed), "--out", out).exit_code == 0
        assert not (out / "collection.json").exists()
    write(out / "foreign" / "item.json", item("foreign", "./x.tif"))
    assert call("run", job, tmp_path / "a.tif", tmp_path / "b.tif", "--out", out).exit_code == 0
    shutil.rmtree(out / "b")
    assert call("run", job, _scene(tmp_path / "d.tif", seed=3), "--out", out).exit_code == 0
    collection = pystac.Collection.from_file(str(out / "collection.json"))
    validate_dict(collection.to_dict(include_self_link=False))
    assert [made.id for made in collection.get_items()] == ["a", "c", "d"]
    assert all(made.get_parent() is collection for made in collection.get_items())
    assert list(_names(out / "collection.json")) == ["a", "c", "d"]
    moved = tmp_path / "moved"
    shutil.move(out, moved)
    assert len(list(pystac.Collection.from_file(str(moved / "collection.json")).get_items())) == 3


def test_a_collection_that_is_not_ours_stays(tmp_path: Path, job: Path) -> None:
    paths = [_scene(tmp_path / f"s{n}.tif", seed=n) for n in range(2)]
    foreign = catalogue(tmp_path / "out" / "collection.json", "Collection", item=["./x.json"])
    before = foreign.read_bytes()
    assert call("run", job, *paths, "--out", tmp_path / "out").exit_code == 0
    assert foreign.read_bytes() == before
    made = json.loads((tmp_path / "out" / "s0" / "item.json").read_text())
    assert "collection" not in made


def test_a_collection_that_cannot_be_written_is_said_after_the_scenes(
    tmp_path: Path, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _content: object) -> None:
        raise OutputError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr("pipeline.flow.collection.write_json", full)
    paths = [_scene(tmp_path / f"s{n}.tif", seed=n) for n in range(2)]
    result = call("run", job, *paths, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "2 scenes: 2 written" in result.stdout
    assert "cannot be written: No space left on device" in result.stderr


def test_what_is_no_search_on_stdin_leaves_nothing(tmp_path: Path, job: Path) -> None:
    for text, code in (
        ('{"type": "FeatureCollection", "features": [', 1),
        ('{"type": "FeatureCollection", "features": []}', 1),
        ("", 2),
    ):
        result = call("run", job, "-", "--out", tmp_path / "out", stdin=text)
        assert (result.exit_code, len(result.stderr.strip().splitlines())) == (code, 1)
        assert code == 2 or result.stderr.startswith("Error: standard input")
        assert not any((tmp_path / "out").rglob("*.json*"))


def test_one_band_of_a_stack_that_is_torn_is_named(tmp_path: Path, job: Path) -> None:
    block = small_scene(tmp_path / "x.tif", **(ROOM | {"bands": 1}))
    (tmp_path / "s").mkdir()
    for name in ("B1", "B2"):
        shutil.copy(block, tmp_path / "s" / f"{name}.tif")
    torn = tmp_path / "s" / "B2.tif"
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size * 2 // 3])
    assert call("run", job, tmp_path / "s", "--out", tmp_path / "out").exit_code == 1
    receipt = json.loads((tmp_path / "out" / "s" / "receipt.json").read_text())
    assert {failed["file"] for failed in receipt["failed"]} == {str(torn)}


def _relative(tmp_path: Path, out: str) -> str:
    """A search whose items name their rasters in all the ways they may; it is given in the folder `here`."""
    for name in ("a b", "c"):
        _scene(tmp_path / f"here/in/{name}.tif")
    _scene(tmp_path / f"{out}/in/c.tif", seed=9)  # which is another scene, beside the outputs
    items = [
        item("plain", "in/a b.tif"),
        item("up", "../here/./in/c.tif"),
        item("whole", str(tmp_path / "here/in/c.tif")),
        item("url", f"file://{tmp_path}/here/in/c.tif"),
    ]
    return json.dumps({"numberMatched": 4, "type": "FeatureCollection", "features": items, "links": []})


def test_a_search_on_stdin_is_relative_to_where_it_is_given(
    tmp_path: Path, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _relative(tmp_path, "out")
    monkeypatch.chdir(tmp_path / "here")
    result = call("run", job, "-", "--out", tmp_path / "out", stdin=text)
    assert result.exit_code == 0, result.stderr
    monkeypatch.chdir(tmp_path)
    (kept,) = (tmp_path / "out").glob("search-*.json")
    assert "4 complete already" in call("run", job, kept, "--out", tmp_path / "out").stdout
    stores = [snapshot(tmp_path / "out" / name / "scene.zarr/scene/c") for name in ("up", "whole", "url")]
    assert stores[0] == stores[1] == stores[2] != {}


def test_an_item_on_stdin_that_says_where_it_lies_is_relative_to_that(tmp_path: Path) -> None:
    one = item("x", "./x.tif", links=[{"rel": "self", "href": "https://127.0.0.1:9/items/x.json"}])
    result = call("fit", "-", "-o", tmp_path / "b.npz", stdin=json.dumps(one))
    assert result.exit_code == 1
    assert "https://127.0.0.1:9/items/x.tif" in result.stderr


def test_a_catalogue_on_stdin_links_from_where_it_is_given(
    tmp_path: Path, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _scene(tmp_path / "in/x.tif")
    write(tmp_path / "in/x.json", item("x", "./x.tif"))
    text = catalogue(tmp_path / "c.json", item=["in/x.json"]).read_text()
    monkeypatch.chdir(tmp_path)
    result = call("run", job, "-", "--out", tmp_path / "out", stdin=text)
    assert result.exit_code == 0, result.stderr
