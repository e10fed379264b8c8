"""Which scheduler is meant, who is fit to take part, and what is refused; without any cluster."""

from pathlib import Path
from typing import Any

import dask
import pytest

from pipeline.cluster import versions, where
from pipeline.cluster.versions import SAME_ON_SCHEDULERS, SAME_ON_WORKERS, check_all, differences, facts, stamp
from pipeline.config import load_workflow
from pipeline.errors import ClusterError, ConfigError
from tests.scenes import call, small_scene

VARIABLE = "DASK_SCHEDULER_ADDRESS"


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def test_the_caller_wins_over_the_environment_and_that_over_dask_s_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert where().word == "threads"
    with dask.config.set({"scheduler-address": "tls://configured:8786"}):
        assert where().word == "tls://configured:8786"
        monkeypatch.setenv(VARIABLE, "tcp://environment:8786")
        assert where().word == "tcp://environment:8786"
        assert where("processes").word == "processes"
        monkeypatch.setenv(VARIABLE, "")
        assert where().word == "tls://configured:8786"


@pytest.mark.parametrize(
    "word", ["threads", "processes", "tcp://h:1", "tls://h:1", "ucx://h:1", "host:8786", "10.0.0.1:8786", "s.json"]
)
def test_what_names_a_scheduler(word: str) -> None:
    assert where(word).word == word


def test_a_scheduler_file_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "scheduler"
    path.write_text("{}")
    assert where(str(path)).is_file


@pytest.mark.parametrize("word", ["fibres", "", "host", "http://host:8787/status", "host:port"])
def test_what_names_none_is_refused_with_who_said_it(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--scheduler"):
        where(word)
    if word:
        monkeypatch.setenv(VARIABLE, word)
        with pytest.raises(ConfigError, match=f"^{VARIABLE} "):
            where()


def test_the_command_line_wins_over_the_workflow_and_that_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, job = tmp_path / "none.tif", tmp_path / "job.yaml"
    small_scene(tmp_path / "scene.tif")
    monkeypatch.setenv(VARIABLE, "fibres")
    job.write_text("version: 1\nread: {tile: 128}\nfeatures: null\nwrite: {cog: [], report: false}\n")
    words = ["run", job, scene, "--out", tmp_path / "out"]
    assert f"{VARIABLE} fibres" in call(*words).stderr
    assert f"{VARIABLE} fibres" in call("denoise", tmp_path / "scene.tif", tmp_path / "clean.tif").stderr
    job.write_text(job.read_text() + "run: {scheduler: none.json}\n")
    assert load_workflow(job).run.scheduler == str(tmp_path / "none.json")
    assert f"{tmp_path}/none.json: no such scheduler file" in call(*words).stderr
    assert "none.tif" in call(*words, "--scheduler", "threads").stderr


class Told:
    """A Dask client, as far as it is asked for versions."""

    def __init__(self, scheduler: Any, **workers: Any) -> None:
        self._scheduler, self._workers = scheduler, workers

    def run_on_scheduler(self, function: Any) -> Any:
        if isinstance(self._scheduler, Exception):
            raise self._scheduler
        return self._scheduler

    def run(self, function: Any, on_error: str) -> Any:
        if (error := self._workers.get("broadcast")) is not None:
            raise error
        return self._workers


def test_who_runs_the_same_is_fit() -> None:
    assert check_all(Told(facts(), a=facts(), b=facts()), "tcp://h:1") == []
    libraries = {"numpy", "scipy", "numba", "llvmlite", "zarr", "numcodecs", "GDAL"}
    assert set(SAME_ON_WORKERS) == libraries | {"terrasketch", "sources", "Python", "dask", "distributed"}
    assert set(SAME_ON_SCHEDULERS) == set(SAME_ON_WORKERS) - libraries
    assert "absent" not in facts().values()


@pytest.mark.parametrize("name", SAME_ON_WORKERS)
def test_a_worker_that_could_write_other_bytes_is_named(name: str) -> None:
    with pytest.raises(ClusterError) as caught:
        check_all(Told(facts(), a=facts(), b=facts() | {name: "0.7"}), "tcp://h:1")
    assert str(caught.value) == (
        f"tcp://h:1: worker b runs {name} 0.7 (here {facts()[name]}); install the same there as here "
        "(one image or one lock file), and start it again"
    )


def test_many_are_one_line() -> None:
    other = facts() | {"numpy": "1.0", "zarr": "2.0"}
    with pytest.raises(ClusterError, match=r"numpy 1.0 \(.*\), zarr 2.0 \(.*\(and 2 more like it\)$") as caught:
        check_all(Told(facts(), a=other, b=other, c=ImportError("no pipeline"), d=facts()), "h:1")
    assert "\n" not in str(caught.value)


def test_the_scheduler_runs_no_tiles_but_reads_tasks() -> None:
    assert check_all(Told(facts() | {"numpy": "1.0"}, a=facts()), "h:1") == []
    with pytest.raises(ClusterError, match=r"the scheduler runs distributed 1 "):
        check_all(Told(facts() | {"distributed": "1"}), "h:1")
    with pytest.raises(ClusterError, match=r"the scheduler cannot load .*No module named 'pipeline'"):
        check_all(Told(ModuleNotFoundError("No module named 'pipeline'")), "h:1")
    told = Exception("ModuleNotFoundError(\"No module named 'pipeline'\")")  # as Dask tells it of a worker
    with pytest.raises(ClusterError, match=r"worker a cannot load this version of terrasketch .*install it there too"):
        check_all(Told(facts(), a=told), "h:1")
    with pytest.raises(ClusterError, match=r"the scheduler does not answer \(OSError: gone\)"):
        check_all(Told(facts(), broadcast=OSError("gone")), "h:1")
    with pytest.raises(ClusterError, match=r"worker a does not answer \(OSError: timed out\)"):
        check_all(Told(facts(), a=OSError("timed\nout")), "h:1")


@pytest.mark.parametrize("name", ["GDAL's patch", "BLAS kernels"])
def test_what_keeps_results_within_rounding_is_said(name: str) -> None:
    (note,) = check_all(Told(facts(), a=facts() | {name: "9"}, b=facts()), "h:1")
    assert f"worker a has {name} 9 (here {facts()[name]})" in note


def test_the_stamp_of_a_task_holds_what_must_be_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    own, ours = dict(facts()), stamp()
    for name in own:
        monkeypatch.setattr(versions, "facts", lambda name=name: own | {name: "0.7"})
        changed = stamp.__wrapped__() != ours
        assert changed == (name in SAME_ON_WORKERS), name
        assert (differences(own, [name]) != "") is True


def test_sources_of_another_state_are_other_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "cluster" / "versions.py"))
    before = versions._sources()
    (tmp_path / "a.py").write_text("x = 2\n")
    assert versions._sources() != before


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("--scheduler", "threads", "--performance-report", "r.html"), 2, "Dask reports on its own workers"),
        (("--performance-report", "r.html"), 2, "Dask reports on its own workers"),
        (("--scheduler", "processes", "--performance-report", "scene.tif"), 2, "a name ending in .html"),
        (("--scheduler", "processes", "--performance-report", "none/r.html"), 1, "its folder does not exist"),
    ],
)
def test_reports_that_cannot_be_had_are_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, line: str
) -> None:
    small_scene(tmp_path / "scene.tif")
    monkeypatch.chdir(tmp_path)
    result = call("denoise", "scene.tif", "clean.tif", *words)
    assert result.exit_code == code
    assert line in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]
