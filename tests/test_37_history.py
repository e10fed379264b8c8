"""The history in receipt.json: every run that worked on a scene's outputs, whatever became of it."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from pipeline.config import load_workflow
from pipeline.errors import Interrupted
from pipeline.flow.crew import Crew
from pipeline.flow.history import KEPT, earlier_runs
from pipeline.run import run_workflow
from tests.scenes import call, small_scene, snapshot

WORKFLOW = "version: 1\nread: {tile: 64}\ncompress: {snr: 35}\ndenoise: {quality: none}\nfeatures: null\n"


def _run(tmp_path: Path, *words: object) -> list[dict[str, Any]]:
    result = call("run", tmp_path / "job.yaml", tmp_path / "s.tif", "--out", tmp_path / "out", *words)
    assert result.exit_code == 0, result.stderr
    history: list[dict[str, Any]] = json.loads((tmp_path / "out/s/receipt.json").read_text())["history"]
    return history


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A scene of two tiles and a workflow for it."""
    (tmp_path / "job.yaml").write_text(WORKFLOW + "write: {cog: []}\n")
    return small_scene(tmp_path / "s.tif", height=64, width=100, bands=2)


def _told(runs: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(run["status"], run["computed"], run["found"], run["failures"]) for run in runs]


def test_runs_add_up_and_a_complete_one_leaves_no_line(tmp_path: Path, scene: Path) -> None:
    first = _run(tmp_path)
    assert _told(first) == [("done", 2, 0, 0)]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first[0]["started"])
    before = snapshot(tmp_path / "out")
    assert _run(tmp_path) == first
    assert snapshot(tmp_path / "out") == before
    (tmp_path / "out/s/scene.zarr/scene/c/0/0/1").unlink()
    second = _run(tmp_path)
    assert second[:1] == first
    assert _told(second) == [("done", 2, 0, 0), ("done", 1, 1, 0)]
    page = (tmp_path / "out/s/report.html").read_text("utf-8")
    table = page[page.index("Runs on these outputs") :]
    assert first[0]["started"].replace("T", " ")[:-1] in table
    assert "<td>this run</td><td>1</td><td>1</td>" in table
    assert _told(_run(tmp_path, "--overwrite")) == [("done", 2, 0, 0)]


def test_a_failed_run_has_its_line(tmp_path: Path, scene: Path) -> None:
    whole = scene.read_bytes()
    scene.write_bytes(whole[: len(whole) // 2])
    assert call("run", tmp_path / "job.yaml", scene, "--out", tmp_path / "out").exit_code != 0
    scene.write_bytes(whole)
    (failed,) = json.loads((tmp_path / "out/s/receipt.json").read_text())["history"]
    assert failed["status"] == "failed"
    assert failed["failures"] >= 1
    assert failed["seconds"] > 0


class _Stopping:
    """A Watch that stops the crew once a scene is being compressed."""

    def __init__(self, stop: Event) -> None:
        self.stop = stop

    def begin(self, *_: object) -> None:
        self.stop.set()

    def advance(self, *_: object) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def _stop(tmp_path: Path, scene: Path, watch: type[_Stopping] = _Stopping) -> dict[str, Any]:
    stop = Event()
    changes = {"sources": [str(scene)], "out": str(tmp_path / "out")}
    workflow = load_workflow(tmp_path / "job.yaml").model_copy(update=changes)
    with ThreadPoolExecutor(1) as pool, pytest.raises(Interrupted):
        list(run_workflow(workflow, Crew(pool, 1, watch(stop), stop), "x"))
    receipt: dict[str, Any] = json.loads((tmp_path / "out/s/receipt.json").read_text())
    return receipt


def test_an_interrupted_run_has_its_line_and_spoils_no_receipt(tmp_path: Path, scene: Path) -> None:
    stopped = _stop(tmp_path, scene)
    assert stopped["status"] == "interrupted"
    assert [run["status"] for run in stopped["history"]] == ["interrupted"]
    assert [run["status"] for run in _run(tmp_path)] == ["interrupted", "done"]
    done = json.loads((tmp_path / "out/s/receipt.json").read_text())
    (tmp_path / "out/s/scene.zarr/scene/c/0/0/1").unlink()
    again = _stop(tmp_path, scene)
    assert [run["status"] for run in again["history"]] == ["interrupted", "done", "interrupted"]
    assert again["status"] == "interrupted"  # or --retry-failed would take it for done
    assert again | {"history": [], "status": ""} == done | {"history": [], "status": ""}


class _StopsAfterATile(_Stopping):
    """A Watch that stops the crew once a tile came back."""

    def begin(self, *_: object) -> None:
        pass

    def advance(self, *_: object) -> None:
        self.stop.set()


def test_an_interrupted_run_counts_what_it_wrote(tmp_path: Path, scene: Path) -> None:
    scene = small_scene(tmp_path / "s.tif", height=64 * 40, width=64, bands=1)
    chunks = tmp_path / "out/s/scene.zarr.partial/scene/c/0"
    written, counted = 0, []
    for _ in range(2):
        before, last = written, _stop(tmp_path, scene, _StopsAfterATile)["history"][-1]
        written = len(list(chunks.glob("*/0")))
        assert last["status"] == "interrupted"
        assert last["computed"] == written - before
        counted.append((last["computed"], last["found"]))
    assert 0 < counted[0][0] < 40
    assert counted[0][1] == 0 < counted[1][1]


GOOD = {
    "started": "2026-01-01T00:00:00Z",
    "command": "x",
    "status": "done",
    "computed": 1,
    "found": 0,
    "failures": 0,
    "seconds": 1,
}


@pytest.mark.parametrize("text", ["", "[]", '{"history": 3}', "[" * 100_000, '{"history": {"a": 1}}'])
def test_what_is_no_history_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "receipt.json").write_text(text)
    assert earlier_runs(tmp_path / "receipt.json") == []
    assert earlier_runs(tmp_path / "none.json") == []


def test_history_is_bounded_and_what_is_no_run_is_left_out(tmp_path: Path) -> None:
    runs = [GOOD | {"computed": number, "more": "x"} for number in range(2 * KEPT)]
    bad: list[Any] = [None, {}, GOOD | {"seconds": float("nan")}, GOOD | {"found": "1"}]
    (tmp_path / "receipt.json").write_text(json.dumps({"history": [*runs, *bad]}))
    found = earlier_runs(tmp_path / "receipt.json")
    assert [run["computed"] for run in found] == list(range(KEPT + 1, 2 * KEPT))
    assert set(found[0]) == set(GOOD)


def test_many_scenes_have_an_index_and_one_more_joins_it(tmp_path: Path, scene: Path) -> None:
    torn, out, index = tmp_path / "torn.tif", tmp_path / "out", tmp_path / "out" / "index.html"
    torn.write_bytes(scene.read_bytes()[: scene.stat().st_size // 2])
    quiet = tmp_path / "quiet.yaml"
    quiet.write_text(WORKFLOW + "write: {cog: [], report: false}\n")
    assert call("run", quiet, scene, torn, "--out", out).exit_code == 3
    assert not index.exists()
    assert call("run", tmp_path / "job.yaml", scene, torn, "--out", out).exit_code == 3
    page = index.read_text("utf-8")
    assert page.index(">torn<span") < page.index('<a href="s/report.html">s</a>')
    assert page.count("data:image/jpeg;base64,") == 1
    more = small_scene(tmp_path / "more.tif", height=64, width=64, bands=2)
    assert call("run", tmp_path / "job.yaml", more, "--out", out).exit_code == 0
    assert '<a href="more/report.html">more</a>' in index.read_text("utf-8")
    before = index.read_bytes()
    assert call("run", tmp_path / "job.yaml", more, "--out", out).exit_code == 0
    assert index.read_bytes() == before
