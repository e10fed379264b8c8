"""Threads, processes, a scheduler with two workers: the same bytes; what cannot be reached is one line."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cluster import open_cluster
from pipeline.errors import ClusterError, ConfigError
from pipeline.machine import cores
from tests.scenes import call, small_scene, snapshot
from tests.tiny_models import small_resnet

WORKFLOW = """
version: 1
out: out
read: {tile: 64}
features: {bank: rcf-mixed, count: 8, stride: 4}
"""
SCHEDULER = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
TIMES = ("receipt.json", "report.html", "item.json")


@pytest.fixture(scope="module")
def scheduler_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real scheduler and two workers, in processes of their own."""
    folder = tmp_path_factory.mktemp("scheduler")
    path = folder / "scheduler.json"
    words = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--scheduler-file", str(path)]
    processes = [subprocess.Popen([*words, *SCHEDULER], cwd=folder)]
    for _ in range(2):
        words = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(path)]
        processes.append(subprocess.Popen([*words, "--nthreads", "1", "--no-dashboard"], cwd=folder))
    try:
        _wait_for_workers(path, 2)
        yield path
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(20)


def _wait_for_workers(path: Path, count: int) -> None:
    from distributed import Client  # noqa: PLC0415  (an extra)

    for _ in range(300):
        if path.exists() and path.stat().st_size:
            break
        time.sleep(0.1)
    with Client(scheduler_file=str(path), timeout="30s") as client:
        client.wait_for_workers(count, timeout=60)


@pytest.mark.cluster
@pytest.mark.slow
def test_every_scheduler_writes_the_same_bytes(tmp_path: Path, scheduler_file: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif")
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    results = {}
    for scheduler, workers in (("threads", 2), ("threads", 1), ("processes", 2), (scheduler_file, 2)):
        out = tmp_path / f"{Path(scheduler).stem}{workers}"
        words = ["run", tmp_path / "job.yaml", scene, "--out", out, "--scheduler", scheduler, "--workers", workers]
        result = call(*words)
        assert result.exit_code == 0, (scheduler, result.stderr)
        results[out.name] = snapshot(out, leave_out=TIMES)
    first = results.pop("threads1")
    assert len(first) > 20
    for name, files in results.items():
        assert files.keys() == first.keys(), name
        assert [path for path in files if files[path] != first[path]] == [], name


@pytest.mark.cluster
@pytest.mark.slow
def test_a_network_gives_the_same_bytes_wherever_it_runs(tmp_path: Path, scheduler_file: Path) -> None:
    small_scene(tmp_path / "scene.tif")
    small_resnet(tmp_path / "head.onnx", 4, classifies=True)
    for tensor in ("add_5", "globalaveragepool_6"):
        found = []
        for scheduler in ("threads", scheduler_file):
            out = tmp_path / f"{tensor}-{Path(scheduler).stem}.zarr"
            words = ["features", tmp_path / "scene.tif", out, "--tile", 32, "--scheduler", scheduler, "--workers", 2]
            result = call(*words, "--bank", f"onnx:{tmp_path}/head.onnx@{tensor}")
            assert result.exit_code == 0, result.stderr
            found.append(snapshot(out))
        assert found[0] == found[1]


@pytest.mark.cluster
@pytest.mark.slow
def test_workers_in_another_folder_find_relative_paths(
    tmp_path: Path, scheduler_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_scene(tmp_path / "scene.tif")
    monkeypatch.chdir(tmp_path)
    for words in (("denoise", "scene.tif", "clean.zarr"), ("features", "clean.zarr", "f.zarr", "--bank", "classic")):
        result = call(*words, "--scheduler", scheduler_file)
        assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean.zarr", "f.zarr", "scene.tif"]


def test_what_is_no_scheduler_is_refused() -> None:
    with pytest.raises(ConfigError, match="threads, processes"), open_cluster("fibres"):
        pass
    with pytest.raises(ClusterError, match="no such scheduler file"), open_cluster("none.json"):
        pass
    with pytest.raises(ConfigError, match="at least 1"), open_cluster("threads", 0):
        pass


def test_local_workers_that_do_not_come_up_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(**_words: object) -> None:
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr("distributed.LocalCluster", killed)
    with pytest.raises(ClusterError, match="the local workers cannot be started"), open_cluster("processes", 1):
        pass


LOOK = "__import__('dask').config.get('distributed.worker.profile.enabled'), "
LOOK += "'pipeline.flow.feature_job' in __import__('sys').modules, __import__('os').environ['MALLOC_TRIM_THRESHOLD_']"


@pytest.mark.cluster
def test_local_workers_have_imported_what_tasks_need_and_are_not_sampled() -> None:
    with open_cluster("processes", 1) as cluster:
        sampled, ready, trim = cluster.executor.submit(eval, LOOK).result(60)
    assert (sampled, ready) == (False, True)
    assert trim == "65536"  # of Dask's, which `pipeline.machine` knows


def test_threads_are_as_many_as_cores() -> None:
    with open_cluster() as cluster:
        assert cluster.workers == cores()
        assert cluster.executor.submit(lambda: 2).result() == 2
