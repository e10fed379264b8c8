"""Where parts of a run meet: lost tasks that are gathered, locks, receipts, summaries, what batches hand back."""

import json
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest

from pipeline.errors import LostTask, OutputError, TileError
from pipeline.flow.batches import Batches
from pipeline.flow.compress import source_identity
from pipeline.flow.flight import gather
from pipeline.flow.journal import alone
from pipeline.flow.read import open_scene
from pipeline.flow.summary import read_summary
from pipeline.flow.tasks import Receipt
from tests.raster_files import numbers, write_tif
from tests.scenes import call, call_json, small_scene

WORKFLOW = "version: 1\nread: {tile: 64}\ndenoise: {quality: none}\nfeatures: null\nwrite: {cog: [], report: false}\n"


def test_what_kills_the_workers_that_gather_it_ends_a_scene_and_not_the_run() -> None:
    class Deadly(Executor):
        def submit(self, fn, /, *args, **kwargs):
            future: Future[int] = Future()
            future.set_exception(LostTask("4 workers died while they had it"))
            return future

    with pytest.raises(TileError, match="abs: 4 workers died") as caught:
        list(gather(abs, [-1], Deadly(), 1))
    assert not isinstance(caught.value, LostTask)


def test_what_is_handed_back_is_given_out_in_tasks_of_the_size_that_fits() -> None:
    batches = Batches(1000, 1)
    first = batches.take()
    assert first == (0, 1)
    batches.done(first, Receipt(tiles=1, seconds=0.25))  # four tiles a second
    long = batches.take()
    assert long == (1, 5)
    batches.done(long, Receipt(tiles=1, seconds=0.5))  # two, by now
    assert [batches.take(), batches.take()] == [(2, 4), (4, 5)]


def test_a_run_that_is_kept_out_leaves_the_receipt_of_the_other(tmp_path: Path) -> None:
    small_scene(tmp_path / "s.tif")
    (tmp_path / "w.yaml").write_text(WORKFLOW)
    words = ("run", tmp_path / "w.yaml", tmp_path / "s.tif", "--out", tmp_path / "out")
    assert call_json(*words)["scenes"][0]["status"] == "done"
    before = (tmp_path / "out/s/receipt.json").read_bytes()
    with alone(tmp_path / "out/s/.running"):
        result = call(*words)
    assert result.exit_code != 0
    assert "another run is writing here" in result.stderr
    assert (tmp_path / "out/s/receipt.json").read_bytes() == before


def test_hours_of_a_stack_are_part_of_its_identity(tmp_path: Path) -> None:
    paths = [str(write_tif(tmp_path / f"{name}.tif", numbers(1, 8, 8))) for name in "ab"]
    found = [
        source_identity(open_scene(paths, stack=True, times=["2016-01-01", f"2016-02-01T{hour}:00:00"]))
        for hour in ("10", "12")
    ]
    assert found[0] != found[1]
    assert found[0] | {"times": None} == found[1] | {"times": None}


def test_a_summary_that_does_not_answer_is_not_called_broken(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(OutputError, match=r"run\.json: cannot be read") as caught:
        read_summary(tmp_path)
    assert "remove it" not in str(caught.value)
    (tmp_path / "run.json").rmdir()
    (tmp_path / "run.json").write_text(json.dumps({"scenes": 3}))
    with pytest.raises(OutputError, match="is no summary"):
        read_summary(tmp_path)


def test_outputs_into_a_file_are_wrong_usage(tmp_path: Path) -> None:
    small_scene(tmp_path / "s.tif")
    (tmp_path / "w.yaml").write_text(WORKFLOW)
    (tmp_path / "file").write_text("mine")
    result = call("run", tmp_path / "w.yaml", tmp_path / "s.tif", "--out", tmp_path / "file")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "names a folder" in result.stderr
    assert call("anomaly", tmp_path / "s.tif", "s3://bucket/odd.tif").exit_code == 2
