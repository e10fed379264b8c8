"""The bytes of outputs that receipts tell are those on the disk, once items are tied to their collection too."""

import json
from pathlib import Path

import pytest

from pipeline.errors import Interrupted
from pipeline.flow.journal import alone
from pipeline.flow.receipts import SceneReceipt
from pipeline.flow.summary import Summary
from tests.scenes import call, small_scene, snapshot


def told(folder: Path) -> int:
    size: int = json.loads((folder / "receipt.json").read_text())["outputs"]["item.json"]
    return size


def test_items_have_the_size_that_their_receipts_tell(tmp_path: Path) -> None:
    job, out = tmp_path / "w.yaml", tmp_path / "out"
    job.write_text("version: 1\nfeatures: null\nwrite: {cog: [], report: false}\n")
    paths = [small_scene(tmp_path / f"{name}.tif", height=40, width=40, bands=1) for name in "ab"]
    assert call("run", job, paths[0], "--out", out).exit_code == 0
    assert told(out / "a") == (out / "a/item.json").stat().st_size
    before = json.loads((out / "a/receipt.json").read_text())
    assert call("run", job, *paths, "--out", out).exit_code == 0
    for name in "ab":
        assert "collection" in json.loads((out / name / "item.json").read_text())
        assert told(out / name) == (out / name / "item.json").stat().st_size
        assert not (out / name / ".running").exists()
    after = json.loads((out / "a/receipt.json").read_text())
    assert {**after, "outputs": before["outputs"]} == before


def test_the_receipt_of_a_scene_that_another_run_is_at_stays(tmp_path: Path) -> None:
    job, out = tmp_path / "w.yaml", tmp_path / "out"
    job.write_text("version: 1\nfeatures: null\nwrite: {cog: [], report: false}\n")
    paths = [small_scene(tmp_path / f"{name}.tif", height=40, width=40, bands=1) for name in "abc"]
    assert call("run", job, paths[0], "--out", out).exit_code == 0
    before = (out / "a/receipt.json").read_bytes()
    with alone(out / "a" / ".running"):
        assert call("run", job, *paths[1:], "--out", out).exit_code == 0
    assert (out / "a/receipt.json").read_bytes() == before
    assert told(out / "b") == (out / "b/item.json").stat().st_size


@pytest.mark.parametrize("read", ["nodata: 70000", "bidx: [1, 99]", "bands: [662 nm, 662 nm]", "mask_band: 99"])
@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_wrong_words_leave_what_is_there_as_it_is(tmp_path: Path, read: str, more: tuple[str, ...]) -> None:
    """The receipt of a finished scene became that of a failed one without stages and outputs, for a typo."""
    workflow, out = tmp_path / "w.yaml", tmp_path / "out"
    small_scene(tmp_path / "scene.tif")
    words = (workflow, tmp_path / "scene.tif", "--out", out)
    workflow.write_text("version: 1\nread: {tile: 64}\nfeatures: null\n")
    assert call("run", *words).exit_code == 0
    before = snapshot(out, leave_out=(".running",))
    workflow.write_text(f"version: 1\nread: {{tile: 64, {read}}}\nfeatures: null\n")
    result = call("run", *words, *more)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: scene: ")
    assert snapshot(out, leave_out=(".running",)) == before


@pytest.mark.parametrize("ending", ["TIF", "TIFF", "tiff"])
def test_rasters_may_end_in_any_case(tmp_path: Path, ending: str) -> None:
    small_scene(tmp_path / "scene.tif")
    out = tmp_path / f"out.{ending}"
    assert call("denoise", tmp_path / "scene.tif", out, "--quality", "none").exit_code == 0
    assert out.read_bytes()[:2] == b"II"


def test_a_run_that_is_stopped_says_at_which_of_many_scenes(tmp_path: Path) -> None:
    one, many = (Summary(str(tmp_path), {name: ["x"] for name in names}, {}, "run") for names in ("a", "abc"))
    done = SceneReceipt("a", str(tmp_path / "a"), ["x"], "run", status="done")
    many.record(done)
    stopped = Interrupted("stopped with 2 of 4 tiles done")
    assert one.where("a", stopped) == "stopped with 2 of 4 tiles done"
    assert many.where("b", stopped) == "b: stopped with 2 of 4 tiles done, 1 of 3 scenes finished"
