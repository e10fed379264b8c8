"""On real workers: settings hold in every task, versions are checked, who is preempted or dies loses nothing."""

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import dask
import distributed
import pytest

from pipeline.cluster import open_cluster, remote
from pipeline.cluster.versions import facts
from pipeline.errors import ClusterError, Interrupted, OutputError
from pipeline.flow.flight import gather, run_map
from pipeline.grid import Grid
from pipeline.machine import cores
from tests.dask_hosts import Hosts, Slow, blas_threads, hosts, settings, until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
LIAR = "from pipeline.cluster import versions; versions.facts()['numpy'] = '1.0.0'"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """A scheduler and a worker without nanny, which nobody told about threads."""
    folder = tmp_path_factory.mktemp("hosts")
    with hosts(folder) as found:
        found.start_worker("--no-nanny", NUMBA_CACHE_DIR=str(folder / "kernels"), GDAL_NUM_THREADS="2")
        yield found


def test_settings_hold_in_every_task_whoever_started_the_worker(plain: Hosts) -> None:
    with open_cluster(plain.address) as cluster:
        assert cluster.name == f"1 threads at {plain.address}"
        (found,) = gather(settings, [0], cluster.executor, 1)
        outside = cluster.executor.submit(blas_threads).result()
    assert found["pid"] == plain.workers[0].pid
    assert found["blas"] == [1]
    assert outside == [cores()]
    assert found["gdal"]["GDAL_NUM_THREADS"] == 2  # the word of the worker's environment
    assert found["gdal"]["GDAL_TIFF_INTERNAL_MASK"] in ("YES", True)
    assert int(found["gdal"]["GDAL_CACHEMAX"]) <= 64 << 20
    assert list((plain.folder / "kernels").rglob("*_summed*.nbi"))


def test_a_map_that_is_halted_stops_between_two_tiles_and_counts_them(plain: Hosts, tmp_path: Path) -> None:
    stop = threading.Event()

    def press() -> None:
        until(lambda: list(tmp_path.glob("*.done")))
        stop.set()

    with open_cluster(plain.address) as cluster:
        threading.Thread(target=press, daemon=True).start()
        job = Slow(Grid(1, 900, 1), str(tmp_path), 0.1)
        with pytest.raises(BaseException, match="stopped with") as caught:
            run_map(job, cluster.executor, 1, stop=stop, tell=cluster.tell)
    done = len(list(tmp_path.glob("*.done")))
    assert str(caught.value) == f"stopped with {done} of 900 tiles done"
    assert 1 <= done < 100
    assert not list(tmp_path.glob("*.partial"))


def test_a_worker_that_joins_with_other_versions_is_named_by_its_first_task(plain: Hosts) -> None:
    with open_cluster(plain.address, 2) as cluster:
        late = plain.start_worker("--no-nanny", "--preload", LIAR)
        try:
            with pytest.raises(ClusterError, match=r"numpy 1\.0\.0") as caught:
                list(gather(settings, range(200), cluster.executor, 2, tell=cluster.tell))
            assert f"(here {facts()['numpy']})" in str(caught.value)
            assert "worker tcp://127.0.0.1:" in str(caught.value)
            with pytest.raises(ClusterError, match=r"numpy 1\.0\.0 .*install the same"), open_cluster(plain.address):
                pass
        finally:
            late.terminate()
            late.wait(20)
    until(lambda: plain.count() == 1)


@pytest.mark.parametrize("nanny", ["--nanny", "--no-nanny"])
def test_a_worker_told_to_leave_loses_nothing(plain: Hosts, tmp_path: Path, nanny: str) -> None:
    leaving = plain.start_worker(nanny)

    def preempt() -> None:
        until(lambda: len(list(tmp_path.glob("*.done"))) > 8)
        leaving.send_signal(signal.SIGTERM)

    with open_cluster(plain.address, 2) as cluster:
        other = threading.Thread(target=preempt)
        other.start()
        receipt = run_map(Slow(Grid(1, 48, 1), str(tmp_path), 0.1), cluster.executor, 2, check=cluster.check)
        other.join()
    assert leaving.wait(20) is not None
    assert (receipt.tiles, receipt.failures) == (48, [])
    assert [int((tmp_path / f"{n}.done").read_text()) for n in range(48)] == [n * n for n in range(48)]
    until(lambda: plain.count() == 1)


def test_a_scheduler_under_tls_is_found_by_dask_s_configuration(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate")
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    words = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "2", "-keyout", key, "-out", certificate]
    subprocess.run(["openssl", "req", "-x509", *words], check=True, capture_output=True)
    own = {"ca-file": certificate, "client.cert": certificate, "client.key": key}
    tls = ("--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key)
    configured = {f"distributed.comm.tls.{name}": value for name, value in own.items()}
    with dask.config.set(configured), hosts(tmp_path, "--protocol", "tls", *tls) as found:
        found.start_worker("--no-nanny", *tls)
        assert found.address.startswith("tls://127.0.0.1:")
        with dask.config.set({"scheduler-address": found.address}), open_cluster() as cluster:
            assert cluster.name == f"1 threads at {found.address}"
            assert cluster.executor.submit(os.getpid).result() == found.workers[0].pid


def _work_and_fail(executor: Executor) -> None:
    list(gather(settings, range(4), executor, 1))
    raise OutputError("disk full")


def test_a_report_is_a_page_that_needs_no_network(plain: Hosts, tmp_path: Path) -> None:
    pytest.importorskip("bokeh")
    said: list[str] = []
    path = tmp_path / "report.html"
    path.write_text("an earlier one")
    with (
        pytest.raises(OutputError, match="disk full"),
        open_cluster(plain.address, say=said.append, report=path) as cluster,
    ):
        _work_and_fail(cluster.executor)
    text = path.read_text()
    assert "run_one" in text
    assert "<script src=" not in text
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_the_dashboard_is_named() -> None:
    said: list[str] = []
    with open_cluster("processes", 1, say=said.append):
        pass
    assert len(said) == 1
    assert re.fullmatch(r"dashboard: http://127\.0\.0\.1:\d+/status", said[0])


def test_a_client_that_is_open_is_used(plain: Hosts) -> None:
    with distributed.Client(plain.address) as client:
        with open_cluster(plain.address) as cluster:
            assert cluster.executor.submit(os.getpid).result() == plain.workers[0].pid
        assert client.status == "running"


def test_a_scheduler_without_workers_is_waited_for_until_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with hosts(tmp_path) as found:
        stopped = iter([False, True])
        with (
            pytest.raises(Interrupted, match="before the first tile"),
            open_cluster(found.address, say=said.append, stopped=lambda: next(stopped)),
        ):
            pass
        monkeypatch.setattr(remote, "_FIRST_WORKER", 0.5)
        with pytest.raises(ClusterError, match="no worker has joined"), open_cluster(found.address):
            pass
    assert said == [f"{found.address}: waiting for a first worker"]
