"""What goes wrong on real clusters is one line that says what to do: workers that write elsewhere, that are paused or
killed for their memory, ports of other programs, files that are no scheduler's, Ctrl-C while workers start."""

import asyncio
import errno
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import distributed
import pytest

from pipeline.cluster import executor, memory, open_cluster, remote
from pipeline.cluster.executor import DaskExecutor, run_there
from pipeline.cluster.memory import Memory, Paused, too_small
from pipeline.cluster.versions import stamp
from pipeline.errors import WORKER, AccessError, ClusterError, Interrupted, OutputError, SourceError, unwritable
from pipeline.flow import seen
from pipeline.flow.compress import SceneJob
from pipeline.flow.denoise import Denoising
from pipeline.flow.flight import run_map
from pipeline.flow.read import open_scene
from pipeline.flow.seen import check_seen
from pipeline.flow.tasks import Receipt, Wrote, run_batch
from pipeline.grid import Grid, Tile
from tests.dask_hosts import environment, hosts, until
from tests.scenes import call, small_scene
from tests.servers import BUCKET, s3_server

MiB = 1 << 20
ONE, OTHER = "tcp://h:1", "tcp://h:2"


@dataclass
class Filed:
    """A job whose chunks are files, some of them never written."""

    grid: Grid
    folder: Path
    lost: tuple[int, ...] = ()

    def run(self, tile: Tile) -> Wrote:
        if tile.column not in self.lost:
            self.chunk(tile).write_bytes(b"abc")
        return Wrote(raw=1, stored=3)

    def chunk(self, tile: Tile) -> Path:
        return self.folder / str(tile.column)


def test_what_workers_wrote_is_seen_before_a_store_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "PATIENCE", 0.1)
    good, bad = Filed(Grid(1, 4, 1), tmp_path), Filed(Grid(1, 4, 1), tmp_path / "none", (0, 1, 2, 3))
    with ThreadPoolExecutor(1) as pool:
        here = run_map(bad, pool, 1)
        assert here.there == {}
        check_seen(bad, here)  # on this machine nobody writes elsewhere
        told = pool.submit(WORKER.set, ONE).result()
        there = run_map(bad, pool, 1)
        check_seen(good, run_map(good, pool, 1))
        pool.submit(WORKER.reset, told).result()
    assert there.there == {ONE: (3, 3)}
    there.add(Receipt(there={OTHER: (1, 3)}))
    with pytest.raises(OutputError, match=r"none/3: was written by worker tcp://h:1 and is not seen .*share.*1 more"):
        check_seen(bad, there)
    (tmp_path / "1").write_bytes(b"of another run")
    with pytest.raises(OutputError, match=r"1: was written by worker tcp://h:2 and has 14 bytes here, not its 3: .*"):
        check_seen(good, there)


def test_the_chunk_of_a_mask_is_counted_and_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "PATIENCE", 0.1)
    job = SceneJob(open_scene(str(small_scene(tmp_path / "scene.tif"))), str(tmp_path), 128, Denoising("none"), None)
    worker = WORKER.set(ONE)
    receipt, again = (run_batch(job, 0, len(job.grid)) for _ in range(2))
    WORKER.reset(worker)
    pixels, masks = (
        [path.stat().st_size for path in tmp_path.glob(f"{name}/c/**/[0-9]") if path.is_file()]
        for name in ("scene", "valid")
    )
    assert len(pixels) == len(masks) == len(job.grid)
    assert receipt.stored == again.stored == sum(pixels) + sum(masks)
    for one in (receipt, again):
        check_seen(job, one)


@pytest.mark.cluster
@pytest.mark.slow
def test_workers_with_another_endpoint_leave_no_store_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "PATIENCE", 0.5)
    small_scene(tmp_path / "scene.tif")
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    with s3_server(tmp_path / "here") as here, s3_server(tmp_path / "there") as there, hosts(tmp_path) as found:
        for name, value in here.environment.items():
            monkeypatch.setenv(name, value)
        found.start_worker("--no-nanny", **there.environment)
        words = ["compress", tmp_path / "scene.tif", f"s3://{BUCKET}/scene.zarr", "--tile", 128]
        result = call(*words, "--scheduler", found.address)
        assert result.exit_code == 1, result.stderr
        assert f"Error: s3://{BUCKET}/scene.zarr/scene/c/0/" in result.stderr
        assert "was written by worker tcp://127.0.0.1:" in result.stderr
        assert "is not seen from here" in result.stderr
        assert there.objects("scene.zarr")
        assert not here.objects("scene.zarr")


def test_a_port_that_is_another_program_s_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterError, match="answers, but not as a Dask scheduler"), open_cluster(address):
            pass
        with pytest.raises(Interrupted), open_cluster(address, stopped=lambda: True):
            pass


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{bad", "it is no JSON"),
        ('{"address": 5}', "its address is 5"),
        ("[]", "names no address"),
        ("{}", "no address"),
    ],
)
def test_a_file_without_an_address_is_no_scheduler_file(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "scheduler.json"
    path.write_text(text)
    with pytest.raises(ClusterError, match=f"scheduler.json is no scheduler file: .*{why}"), open_cluster(str(path)):
        pass


@dataclass
class Client:
    """A client of a scheduler whose workers have some memory, in a time of its own."""

    workers: dict[str, Memory]
    now: float = 1000.0
    said: list[str] = field(default_factory=list)

    def run_on_scheduler(self, function: Callable[..., Any]) -> dict[str, Memory]:
        assert function is memory.look
        return self.workers

    def monotonic(self) -> float:
        return self.now


def test_workers_smaller_than_a_process_are_told() -> None:
    client: Any = Client({ONE: Memory(300 * MiB, False, 0), OTHER: Memory(0, False, 0)})
    (line,) = too_small(client, "h", 474 * MiB)
    assert line.startswith("worker tcp://h:1 has a memory limit of 300 MiB, less than the 474 MiB")
    assert too_small(client, "h", 200 * MiB) == []


def test_paused_workers_are_told_and_given_up_once_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, fine, busy = (Memory(429 * MiB, paused, tasks) for paused, tasks in ((True, 0), (False, 0), (True, 1)))
    client = Client({ONE: stuck, OTHER: fine})
    monkeypatch.setattr(memory, "time", client)
    paused = Paused(client, "the cluster", client.said.append)
    for client.now in (1006, 1012):
        paused.check()
    assert client.said == []
    for client.now in (1018, 1024, 1200, 1400):
        paused.check()
    (line,) = client.said
    assert line.startswith("worker tcp://h:1 has a memory limit of 429 MiB, and is paused by Dask")
    client.workers = {ONE: stuck, OTHER: busy}  # who is at a task may be free after it
    for client.now in (1500, 1600):
        paused.check()
    client.workers = {ONE: stuck, OTHER: stuck}
    for client.now in (1700, 1755):
        paused.check()
    client.now = 1766
    with pytest.raises(
        ClusterError, match=r"the cluster: no worker .* for 60 s, all are paused: worker tcp://h:1 .*1 m"
    ):
        paused.check()
    assert len(client.said) == 1


def test_workers_that_died_are_told_with_their_memory() -> None:
    killed = SimpleNamespace(allowed_failures=3, last_worker=SimpleNamespace(memory_limit=286 * MiB))
    assert executor._died(killed).startswith(
        "4 workers died while they had it; if that was their memory limit (286 MiB"
    )
    killed.last_worker.memory_limit, killed.allowed_failures = 0, 0
    assert executor._died(killed) == "1 worker died while they had it"


def test_a_scheduler_that_is_gone_is_told_without_dask_s_words() -> None:
    pool = DaskExecutor(None, distributed, "tcp://h:1")
    for error in (CancelledError("run_batch-b6 cancelled for reason: lost"), asyncio.CancelledError("run_batch-b6")):
        assert str(pool._translated(error, "cancelled")) == (
            "tcp://h:1: the scheduler is gone; start it, and run again to resume"
        )
    assert "gone (no route)" in str(pool._translated(OSError("no route"), "lost"))


def _fails(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [OutputError("x: cannot be written"), SourceError("x: damaged"), AccessError(errno.EACCES, "denied", "s3://b")],
)
def test_what_goes_wrong_on_a_worker_names_it(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(executor, "_address", lambda: ONE)
    plain = str(error)
    with pytest.raises(type(error)) as caught:
        run_there(stamp(), lambda: _fails(error), False)
    assert str(caught.value) == plain
    with pytest.raises(type(error)) as caught:
        run_there(stamp(), lambda: _fails(error), True)
    assert str(pickle.loads(pickle.dumps(caught.value))) == f"worker tcp://h:1: {plain}"
    assert WORKER.get() == ""


@pytest.mark.cluster
def test_local_workers_are_not_named() -> None:
    with open_cluster("processes", 1) as cluster:
        future: Future[Any] = cluster.executor.submit(_fails, OutputError("x: cannot be written"))
        with pytest.raises(OutputError, match=r"^x: cannot"):
            future.result(60)


def test_the_remedy_goes_by_what_happened() -> None:
    def told(number: int) -> str:
        return unwritable(OSError(number, os.strerror(number)))

    assert told(errno.ENOSPC) == "No space left on device; free some space and run again"
    assert told(errno.EDQUOT).endswith("; free some space and run again")
    assert told(errno.EFBIG) == "File too large: the file system takes no larger file; write elsewhere"
    assert told(errno.EIO) == "Input/output error; write elsewhere, or run again"
    assert told(errno.EROFS) == "Read-only file system; check its rights, or write elsewhere"
    assert told(errno.EACCES) == "Permission denied; check its rights, or write elsewhere"
    assert told(errno.ENOENT) == "No such file or directory; its folder is gone; run again"
    token = WORKER.set(ONE)
    assert "this worker does not see it: give a path that all machines share" in told(errno.ENOENT)
    WORKER.reset(token)


WORDS = ["denoise", "scene.tif", "clean.zarr", "--tile", "32", "--scheduler", "processes", "--workers", "2"]


@pytest.mark.cluster
def test_ctrl_c_while_local_workers_start_is_a_stop(tmp_path: Path) -> None:
    small_scene(tmp_path / "scene.tif")
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *WORDS],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hear,  # noqa: PLW1509  (no thread holds a lock that this needs)
    )
    until(lambda: _spawned(process.pid), 60)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal: to every process of the job
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr.splitlines()) == (
        130,
        ["stopping (again to stop at once)", "Error: stopped before the first tile"],
    )


def _spawned(pid: int) -> bool:
    """Whether a local worker is on its way."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            try:
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return True
            except OSError:
                continue
    return False


def _hear() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a job in the background has ignored
