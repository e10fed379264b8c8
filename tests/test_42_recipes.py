"""The recipes of workflows/cluster: those that can run here run, the others are well-formed and say what is there."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click import Command
from click.testing import CliRunner
from distributed.cli.dask_scheduler import main as dask_scheduler
from distributed.cli.dask_worker import main as dask_worker

from pipeline.cli.plan import plan
from pipeline.cli.run import run
from tests.dask_hosts import ROOT, environment, until
from tests.scenes import call, small_scene, snapshot

RECIPES = ROOT / "workflows" / "cluster"
WORKFLOW = """
version: 1
read: {tile: 64}
denoise: {quality: none}
compress: {lossless: true}
features: null
write: {cog: [], report: false}
"""
SBATCH = """#!/bin/sh
# A job is a process group of this host, its number the group's. The script is a copy: the caller removes its own.
cp "$1" "{folder}/job-$$.sh"
setsid bash "{folder}/job-$$.sh" > "{folder}/job-$$.log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -TERM -- "-$1"
echo "$1" >> "{folder}/cancelled"
"""
GATEWAY = """
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.address = "127.0.0.1:{}"
c.Proxy.address = c.Proxy.tcp_address = "127.0.0.1:{}"
c.UnsafeLocalBackend.clusters_directory = "{folder}/clusters"
c.UnsafeLocalBackend.inherited_environment = ["PATH", "PYTHONPATH"]
c.ClusterConfig.scheduler_cmd = {scheduler}
c.ClusterConfig.worker_cmd = {worker}
c.ClusterConfig.worker_cores = 1
"""
TIMES = ("receipt.json", "report.html", "item.json")


def _job(folder: Path) -> list[str]:
    """A workflow and its scene, with what threads make of them in `folder`/wanted."""
    small_scene(folder / "scene.tif")
    (folder / "job.yaml").write_text(WORKFLOW)
    words = [str(folder / "job.yaml"), str(folder / "scene.tif"), "--out"]
    assert call("run", *words, folder / "wanted").exit_code == 0
    return [*words, str(folder / "out")]


def _run(command: list[Any], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=300, check=False
    )


def _dask(what: str) -> list[str]:
    return [sys.executable, "-m", f"distributed.cli.dask_{what}"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _same(folder: Path) -> bool:
    found, wanted = (snapshot(folder / name, leave_out=TIMES) for name in ("out", "wanted"))
    return len(wanted) > 5 and found == wanted


@pytest.mark.cluster
@pytest.mark.slow
def test_plain_hosts(tmp_path: Path) -> None:
    words = _job(tmp_path)
    made = _run(
        ["sh", RECIPES / "hosts.sh", *words],
        tmp_path,
        BIN=str(Path(sys.executable).parent),
        THREADS="1",
        TMPDIR=str(tmp_path),
    )
    assert made.returncode == 0, made.stderr
    assert "dashboard: http://127.0.0.1:" in made.stderr
    assert _same(tmp_path)
    assert not list(tmp_path.glob("tmp.*"))


@pytest.mark.cluster
@pytest.mark.slow
def test_slurm(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    words = _job(tmp_path)
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / name).write_text(text.replace("{folder}", str(tmp_path)))
        (tmp_path / name).chmod(0o755)
    recipe = (RECIPES / "slurm.py").read_text()
    edits = {
        "JOBS, THREADS, MEMORY = 10, 4, ": "JOBS, THREADS, MEMORY = 2, 1, ",
        "INTERFACE = None": 'INTERFACE = "lo"',
    }
    for old, new in edits.items():
        assert recipe.count(old) == 1
        recipe = recipe.replace(old, new)
    (tmp_path / "mine.py").write_text(recipe)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    made = _run([sys.executable, tmp_path / "mine.py", *words], tmp_path, PATH=path)
    assert made.returncode == 0, made.stderr
    assert _same(tmp_path)
    scripts = [path.read_text() for path in tmp_path.glob("job-*.sh")]
    assert len(scripts) >= 2
    for line in ("#SBATCH -p normal", "#SBATCH --cpus-per-task=1", "#SBATCH --mem=8G", "#SBATCH -t 04:00:00"):
        assert line in scripts[0]
    assert "--lifetime 230m" in scripts[0]
    assert len((tmp_path / "cancelled").read_text().splitlines()) >= 2


@pytest.mark.cluster
@pytest.mark.slow
def test_gateway(tmp_path: Path) -> None:
    pytest.importorskip("dask_gateway")
    pytest.importorskip("dask_gateway_server")
    words = _job(tmp_path)
    ports = [_free_port(), _free_port()]
    (tmp_path / "config.py").write_text(
        GATEWAY.format(*ports, folder=tmp_path, scheduler=_dask("scheduler"), worker=_dask("worker"))
    )
    recipe = (RECIPES / "gateway.py").read_text()
    for old, new in (("ADDRESS = None", f'ADDRESS = "http://127.0.0.1:{ports[1]}"'), ("WORKERS = 10", "WORKERS = 1")):
        assert recipe.count(old) == 1
        recipe = recipe.replace(old, new)
    (tmp_path / "mine.py").write_text(recipe)
    command = [sys.executable, "-m", "dask_gateway_server", "-f", str(tmp_path / "config.py")]
    with open(tmp_path / "server.log", "wb") as log:
        server = subprocess.Popen(command, env=environment(), stderr=log, stdout=log)
    try:
        until(lambda: "server started" in (tmp_path / "server.log").read_text(), 60)
        made = _run([sys.executable, tmp_path / "mine.py", *words], tmp_path)
    finally:
        server.terminate()
        server.wait(30)
    assert made.returncode == 0, made.stderr
    assert _same(tmp_path)


def _parses(command: Command, words: list[str]) -> None:
    """The command of a container is one that is there, with options it has."""
    command.make_context(command.name or "", list(words))


def _check_dask(words: list[str]) -> None:
    assert words[0] == "dask"
    _parses({"scheduler": dask_scheduler, "worker": dask_worker}[words[1]], words[2:])


def test_compose() -> None:
    text = (RECIPES / "compose.yaml").read_text()
    services = yaml.safe_load(text)["services"]
    assert services.keys() == {"scheduler", "worker", "client"}
    for name in ("scheduler", "worker"):
        _check_dask([*services[name]["entrypoint"], *services[name]["command"]])
    for service in services.values():
        assert service["image"] == "terrasketch"
        assert service["user"].startswith("${RUN_AS:-10001")
        assert "${DATA:-.}:/data" in service["volumes"]
        assert set(service.get("depends_on", [])) <= services.keys()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    address = services["client"]["environment"]["DASK_SCHEDULER_ADDRESS"]
    assert services["worker"]["command"][0] == address == "tcp://scheduler:8786"
    assert "8786" in services["scheduler"]["command"]
    _parses(run, re.search(r"client run (workflow.yaml .*)", text)[1].split())


def _containers(pod: dict[str, Any]) -> Any:
    (container,) = pod["containers"]
    return container


def test_kubernetes() -> None:
    job = yaml.safe_load((RECIPES / "kubernetes.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubernetes.dask.org/v1", "DaskJob")
    cluster = job["spec"]["cluster"]["spec"]
    runner, scheduler, worker = (part["spec"] for part in (job["spec"]["job"], cluster["scheduler"], cluster["worker"]))
    for pod in (runner, scheduler, worker):
        container = _containers(pod)
        assert container["image"] == _containers(runner)["image"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}
    assert _containers(runner)["args"][0] == "run"  # the image's entry point is the command
    _parses(run, _containers(runner)["args"][1:])
    for pod in (scheduler, worker):
        _check_dask([*_containers(pod)["command"], *_containers(pod)["args"]])
    for pod in (runner, worker):
        assert pod["terminationGracePeriodSeconds"] >= 60
        assert "/data" in [mount["mountPath"] for mount in _containers(pod)["volumeMounts"]]
    ports = {port["name"]: port["containerPort"] for port in _containers(scheduler)["ports"]}
    assert ports == {"tcp-comm": 8786, "http-dashboard": 8787}
    service = cluster["scheduler"]["service"]
    assert {port["targetPort"]: port["port"] for port in service["ports"]} == ports
    assert service["selector"]["dask.org/cluster-name"] == job["metadata"]["name"]
    assert cluster["worker"]["replicas"] >= 1


@pytest.mark.parametrize("path", sorted(RECIPES.iterdir()), ids=lambda path: path.name)
def test_every_recipe_says_what_it_does_and_what_to_edit(path: Path) -> None:
    text = path.read_text()
    head = text[:1200]
    assert "terrasketch" in head
    assert re.search(r"workflow\.yaml|workflows/scene\.yaml", head)
    assert re.search(r"see|/data", head), "where the pixels must be visible"
    assert 1 <= len(re.findall(r"# edit\b", text)) <= 2
    assert path.name in (ROOT / "docs" / "cluster.md").read_text()


def test_the_options_of_the_docs_are_the_command_s() -> None:
    words = set(re.findall(r"--[a-z][a-z-]+", (ROOT / "docs" / "cluster.md").read_text()))
    help_pages = "".join(CliRunner().invoke(command, ["--help"]).output for command in (run, plan))
    ours = set(re.findall(r"--[a-z][a-z-]+", help_pages))
    dask = {option for command in (dask_scheduler, dask_worker) for one in command.params for option in one.opts}
    assert words <= ours | dask
