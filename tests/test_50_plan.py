"""The plan against what a run really does."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pipeline.codec import Bound, encode
from pipeline.config import load_workflow
from pipeline.plan import plan_scene
from pipeline.plan.memory import CODE_MULTIPLE, SCENE_FIXED
from tests.scenes import call, call_json, small_scene

WORKFLOW = "version: 1\nread: {tile: 64}\nfeatures: {bank: classic, stride: 2}\n"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A workflow and a scene."""
    small_scene(tmp_path / "scene.tif")
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    return tmp_path


def test_tiles_and_bytes_are_those_of_the_run(job: Path) -> None:
    plan = call_json("plan", job / "job.yaml", job / "scene.tif")["scenes"][0]
    words = ["run", job / "job.yaml", job / "scene.tif", "--out", job / "out"]
    receipt = call_json(*words)["scenes"][0]
    for planned, ran in zip(plan["stages"], receipt["stages"], strict=True):
        assert planned["name"] == ran["name"]
        assert planned["tiles"] == ran["tiles"]
        assert planned["bytes_in"] >= ran["raw_bytes"]
        assert planned["bytes_out"] >= ran["stored_bytes"]
    assert plan["shape"] == [4, 150, 170]


def test_halo_is_counted_once_per_inner_edge(job: Path) -> None:
    workflow = load_workflow(job / "job.yaml")
    plan = plan_scene("scene", [str(job / "scene.tif")], workflow, 2)
    scene = plan.stages[0]
    assert scene.halo == 32
    windows = sum(
        (min(150, y + 96) - max(0, y - 32)) * (min(170, x + 96) - max(0, x - 32))
        for y in range(0, 150, 64)
        for x in range(0, 170, 64)
    )
    assert scene.bytes_in == pytest.approx(2 * 4 * windows, rel=0.05)


def test_more_workers_need_more_memory_and_the_gemm_is_printed(job: Path) -> None:
    workflow = load_workflow(job / "job.yaml")
    one, many = (plan_scene("s", [str(job / "scene.tif")], workflow, workers) for workers in (1, 64))
    assert many.memory > 2 * one.memory
    assert one.products
    result = call("plan", job / "job.yaml", job / "scene.tif")
    assert result.exit_code == 0
    assert "GEMM" in result.stdout
    assert "m x n x k parts" in result.stdout
    assert {row[0].split()[0]: row[-1] for row in one.products} == dict.fromkeys(("conv", "pool", "mean"), "9 x 1 x 1")
    assert "peak memory" in result.stdout
    json.dumps(one.to_json())


def test_a_wide_bank_is_planned_in_the_groups_that_it_is_convolved_in(job: Path) -> None:
    wide = "version: 1\nread: {tile: 64}\nfeatures: {bank: rcf-mixed, count: 600, stride: 2}\n"
    (job / "wide.yaml").write_text(wide)
    plan = plan_scene("s", [str(job / "scene.tif")], load_workflow(job / "wide.yaml"), 2)
    assert [row[-1] for row in plan.products[:2]] == ["9 x 3 x 1", "9 x 1 x 1"]


@pytest.mark.slow
def test_the_peak_memory_of_a_run_is_within_the_plan(job: Path) -> None:
    scene = small_scene(job / "wide.tif", height=600, width=600, bands=6)
    (job / "job.yaml").write_text("version: 1\nfeatures: {bank: classic, stride: 4}\n")
    words = [job / "job.yaml", scene, "--workers", 2]
    planned = call_json("plan", *words)["scenes"][0]["memory"]
    script = (
        "import sys\nfrom pathlib import Path\nfrom pipeline.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0], file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, "run", *map(str, words), "--out", str(job / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = 1024 * int(done.stderr.split()[-1])  # getrusage would count the parent's memory before exec
    assert 0.3 * planned < peak <= planned


def test_bases_of_the_scene_are_planned(job: Path) -> None:
    (job / "shared.yaml").write_text(WORKFLOW + "denoise: {basis: scene}\n")
    small = [str(job / "scene.tif")]
    own, shared = (plan_scene("s", small, load_workflow(job / name), 64) for name in ("job.yaml", "shared.yaml"))
    passes = 5 * 2 * 4 * 150 * 170
    assert shared.stages[0].halo == 16
    assert passes < shared.stages[0].bytes_in < passes + own.stages[0].bytes_in
    assert shared.memory > own.memory  # a window of the first pass is larger than these tiles


def test_best_effort_is_planned_with_the_memory_that_its_trellis_takes() -> None:
    """What encoding a block takes at most, measured, against what the plan has for it."""
    rng = np.random.default_rng(4)
    for bands in (1, 4):
        block = np.cumsum(rng.normal(0, 40, (bands, 256, 256)), axis=1).astype(np.int16)
        for effort, multiple in CODE_MULTIPLE.items():
            for bound in (Bound("snr", 50.0), Bound("lossless")):
                tracemalloc.start()
                encode(block, None, bound, effort=effort)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                assert peak <= multiple * 4 * block.size + SCENE_FIXED
    assert CODE_MULTIPLE["best"] > CODE_MULTIPLE["fast"]


def test_effort_counts_where_nothing_is_denoised(job: Path) -> None:
    plans = []
    for effort in ("fast", "best"):
        (job / "job.yaml").write_text(
            f"version: 1\ndenoise: {{quality: none}}\ncompress: {{snr: 40, effort: {effort}}}\n"
        )
        plans.append(plan_scene("scene", [str(job / "scene.tif")], load_workflow(job / "job.yaml"), 2))
    assert plans[1].stages[0].task_memory > plans[0].stages[0].task_memory
