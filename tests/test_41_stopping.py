"""The stop button: the first press finishes the tiles in flight and counts them, the second ends within a second."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import distributed  # noqa: F401  (fills the configuration that a test changes)
import pytest

from pipeline.cluster import open_cluster
from pipeline.errors import ClusterError
from pipeline.flow.flight import run_map
from pipeline.grid import Grid
from tests.dask_hosts import ROOT, Slow, descendants, environment, hosts, listeners, until

LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
PROGRAM = """
import hashlib, sys
from pipeline.cli.progress import crew
from pipeline.errors import TerrasketchError
from pipeline.grid import Grid
from tests.dask_hosts import Slow

if __name__ == "__main__":
    scheduler, folder, seconds, main = sys.argv[1:]
    try:
        with crew(scheduler, 2, False, False) as team:
            if main == "deaf":
                team.executor.submit(Slow(Grid(1, 9, 1), folder, 30).run, Grid(1, 9, 1)[0])
                hashlib.pbkdf2_hmac("sha256", b"a", b"b", 200_000_000)
            team.run("sleep", Slow(Grid(1, 400, 1), folder, float(seconds)))
    except TerrasketchError as error:
        sys.exit(f"{error.exit_code}: {error}")
"""


def _start(folder: Path, scheduler: str, seconds: float, main: str = "listens") -> subprocess.Popen[str]:
    """The program, once its first tile is begun."""
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(folder / "program.py"), scheduler, str(folder), str(seconds), main]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until(lambda: any(folder.glob("*.begun")), 60)
    return process


@pytest.mark.parametrize("scheduler", ["threads", pytest.param("processes", marks=pytest.mark.cluster)])
def test_the_first_signal_finishes_the_tiles_in_flight_and_counts_them(tmp_path: Path, scheduler: str) -> None:
    process = _start(tmp_path, scheduler, 0.2)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGTERM)  # as a service manager: to every process of the job
    _, stderr = process.communicate(timeout=30)
    done = len(list(tmp_path.glob("*.done")))
    assert 0 < done < 40
    assert stderr.splitlines()[-2:] == [
        "stopping: 2 tiles are finished first (again to stop at once)",
        f"130: stopped with {done} of 400 tiles done",
    ]
    assert len(list(tmp_path.glob("*.begun"))) == done


@pytest.mark.parametrize(
    ("scheduler", "main"),
    [("threads", "listens"), ("threads", "deaf"), pytest.param("processes", "listens", marks=pytest.mark.cluster)],
)
def test_the_second_signal_ends_at_once_whatever_threads_do(tmp_path: Path, scheduler: str, main: str) -> None:
    process = _start(tmp_path, scheduler, 30, main)
    workers = descendants(process.pid)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, stderr = process.communicate(timeout=5)
    assert process.returncode == 130
    assert "Error: stopped at once; run the same command again to resume\n" in stderr
    until(lambda: not [pid for pid in workers if Path(f"/proc/{pid}").exists()], 10)
    assert not list(tmp_path.glob("*.done"))


@pytest.mark.cluster
@pytest.mark.slow
def test_tiles_that_kill_their_workers_are_failures_and_the_others_go_on(tmp_path: Path) -> None:
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), open_cluster("processes", 1) as cluster:
        job = Slow(Grid(1, 8, 1), str(tmp_path), 0.0, deadly=5)
        receipt = run_map(job, cluster.executor, 1, check=cluster.check)
    assert len(receipt.failures) == 1
    assert str(receipt.failures[0]).startswith("tile 5 (rows 0:1, columns 5:6): 1 worker died")
    assert receipt.tiles == 7


@pytest.mark.cluster
@pytest.mark.slow
def test_a_scheduler_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with hosts(tmp_path) as found:
        found.start_worker("--no-nanny")
        with open_cluster(found.address) as cluster, pytest.raises(ClusterError, match="the scheduler is gone"):
            run_map(
                Slow(Grid(1, 400, 1), str(tmp_path), 0.1),
                cluster.executor,
                1,
                progress=lambda _receipt: found.scheduler.kill(),
                check=cluster.check,
                tell=cluster.tell,
            )


@pytest.mark.cluster
def test_processes_listen_on_the_loopback_alone_and_threads_nowhere() -> None:
    before = listeners(os.getpid())
    with open_cluster("threads", 2):
        assert listeners(os.getpid()) == before
    with open_cluster("processes", 1) as cluster:
        assert cluster.executor.submit(os.getpid).result() != os.getpid()
        found = listeners(os.getpid())
    assert found
    assert found <= LOOPBACK
