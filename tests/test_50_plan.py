"""The plan against what a run really does."""

import json
import subprocess
import sys
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.codec import Bound, encode
from pipeline.config import load_workflow
from pipeline.errors import ConfigError
from pipeline.plan import Rates, ScenePlan, StagePlan, calibrate, plan_campaign, plan_scene, rates_of_receipt
from pipeline.plan.memory import CODE_MULTIPLE, SCENE_FIXED
from pipeline.plan.rates import StageRate, rates_of
from tests.raster_files import write_tif
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


@pytest.mark.parametrize(
    "write", ["{}", "{cog: []}", "{cog: [denoised]}", "{cog: [features], report: false}", "{cog: [], report: false}"]
)
def test_no_more_is_written_than_the_plan_says(tmp_path: Path, write: str) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (6, 300, 310)).astype(np.uint16)
    for name in ("a", "b"):
        write_tif(tmp_path / f"{name}.tif", noise)
    (tmp_path / "job.yaml").write_text(
        "version: 1\nread: {tile: 128}\ndenoise: {quality: none}\ncompress: {lossless: true}\n"
        f"features: {{bank: classic, stride: 2}}\nwrite: {write}\n"
    )
    scenes = [tmp_path / "a.tif", tmp_path / "b.tif"]
    plan = call_json("plan", tmp_path / "job.yaml", *scenes)
    assert call("run", tmp_path / "job.yaml", *scenes, "--out", tmp_path / "out").exit_code == 0
    total, bound = plan["total"]["bytes_out"], 0
    written = [
        sum(path.stat().st_size for path in (tmp_path / "out" / name).rglob("*") if path.is_file()) for name in "ab"
    ]
    assert sum(written) <= total
    for planned, size in zip(plan["scenes"], written, strict=True):
        most = planned["beside"] + sum(stage["bytes_out"] for stage in planned["stages"])
        assert size <= most <= 1.4 * size + (8 << 20)
        bound += most
    assert total == bound
    many = call_json("plan", tmp_path / "job.yaml", scenes[0], "--scenes", "2")["campaign"]
    assert many["bytes_out"] <= total


@pytest.mark.parametrize("word", ["bogus", "http://127.0.0.1:8787"])
def test_a_scheduler_that_no_run_would_open_is_refused(job: Path, word: str) -> None:
    (job / "job.yaml").write_text(f"{WORKFLOW}run: {{scheduler: '{word}'}}\n")
    results = [call(command, job / "job.yaml", job / "scene.tif") for command in ("plan", "run")]
    assert [one.exit_code for one in results] == [2, 2]
    assert results[0].stderr == results[1].stderr


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
                encode(
                    block[:, :64, :64], None, bound, effort=effort
                )  # what loading or compiling kernels takes is not meant
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


def small_plan() -> ScenePlan:
    """A scene of 100 tiles and 1 MB in two maps."""
    stages = [
        StagePlan(name, 100, 100, 0, bytes_in, 0, 0.0, 0.0, 50 << 20)
        for name, bytes_in in (("denoise + compress", 1_200_000), ("features", 1_100_000))
    ]
    return ScenePlan("s", (1, 1000, 1000), "uint8", 100, 1, stages, 900, 500, 400)


RATES = Rates(
    "a test", {"denoise + compress": StageRate(1e-4, 0.1), "features": StageRate(2e-5, 2.0)}, 4.0, 1e-6, 0.5, 0.0
)


def test_a_campaign_is_so_many_scenes() -> None:
    """By hand: 4 s alone, 100 + 20 s of one core, and 1 s while the next scene runs, for each scene of 1 MB."""
    campaign = plan_campaign(small_plan(), RATES, 10, 5)
    assert campaign.scene_seconds == pytest.approx(4 + 100 / 5 + 20 / 5)
    assert campaign.seconds == pytest.approx(10 * campaign.scene_seconds + 1)
    assert campaign.core_hours == pytest.approx(10 * 125 / 3600)
    assert campaign.utilisation == pytest.approx(24 / 28)
    assert campaign.bytes_in == 10 * (1_200_000 + 110_000)
    assert campaign.bytes_out == 10 * 2_600_000
    assert campaign.limit == "workers"
    assert (campaign.worker_memory, campaign.driver_memory) == (500, 400)


def test_workers_that_have_no_tile_wait() -> None:
    """Of 100 tiles, 60 workers get two rounds and so do 99."""
    sixty, all_but_one = (plan_campaign(small_plan(), RATES, 1, workers) for workers in (60, 99))
    assert sixty.scene_seconds == pytest.approx(all_but_one.scene_seconds)
    assert plan_campaign(small_plan(), RATES, 1, 100).scene_seconds < sixty.scene_seconds


def test_the_limit_is_named_and_more_drivers_are_the_remedy() -> None:
    one = plan_campaign(small_plan(), RATES, 1000, 100)
    assert one.limit == "driver"
    assert one.utilisation < 0.25
    many = plan_campaign(small_plan(), RATES, 1000, 100, drivers=one.drivers_wanted)
    assert many.utilisation >= 0.9
    assert many.drivers_wanted == one.drivers_wanted > 1
    assert many.seconds < one.seconds / 3
    slow = plan_campaign(small_plan(), RATES, 1000, 100, bandwidth=1e4)
    assert slow.limit == "storage"
    assert slow.stages[0].storage == pytest.approx(1_300_000 / 1e4)
    finish = plan_campaign(small_plan(), replace(RATES, finish=1e-4), 10, 100)
    assert (finish.limit, finish.scene_seconds) == ("driver", 100)
    tasks = plan_campaign(small_plan(), replace(RATES, task=10.0), 1, 100)
    assert tasks.stages[0].limit == "driver"


def test_rates_that_miss_a_stage_and_too_many_drivers_are_refused() -> None:
    with pytest.raises(ConfigError, match="knows nothing of features"):
        plan_campaign(small_plan(), replace(RATES, stages={"denoise + compress": StageRate(1.0, 1.0)}), 1, 1)
    with pytest.raises(ConfigError, match="--drivers 3: at most one for each worker and scene"):
        plan_campaign(small_plan(), RATES, 2, 5, drivers=3)


RECEIPT = {
    "status": "done",
    "seconds": 20.0,
    "finish_seconds": 7.0,
    "stages": [
        {"name": "denoise + compress", "resumed": 0, "raw_bytes": 1000, "stored_bytes": 100, "cpu_seconds": 5.0}
        | {"seconds": 6.0},
        {"name": "features", "resumed": 0, "raw_bytes": 1000, "stored_bytes": 2000, "cpu_seconds": 2.0, "seconds": 4.0},
    ],
    "outputs": {"scene.zarr": 100, "features.zarr": 2000, "denoised.tif": 300, "report.html": 200},
}


def test_a_receipt_gives_rates(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(RECEIPT))
    rates = rates_of_receipt(path)
    assert rates.stages == {"denoise + compress": StageRate(0.005, 0.1), "features": StageRate(0.002, 2.0)}
    assert rates.alone == pytest.approx(3.0)
    assert rates.finish == pytest.approx(7 / 1000)
    assert rates.products == pytest.approx(0.5)
    assert str(path) in rates.origin
    small = {"stages": [{"raw_bytes": 200}], "finish_seconds": 3.0}
    assert rates_of(RECEIPT, "", small).finish == pytest.approx((7 - 3) / 800)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("[]", "is no receipt"),
        ("{", "is no receipt"),
        ('{"status": "done", "stages": []}', "is no receipt"),
        (json.dumps(RECEIPT | {"status": "failed"}), "failed or was resumed"),
        (json.dumps(RECEIPT | {"stages": [RECEIPT["stages"][0] | {"resumed": 3}]}), "failed or was resumed"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_whole_receipt_is_refused(job: Path, content: str | None, wanted: str) -> None:
    if content is not None:
        (job / "r.json").write_text(content)
    words = ["plan", job / "job.yaml", job / "scene.tif", "--scenes", 5, "--rates", job / "r.json"]
    result = call(*words)
    assert result.exit_code in (1, 2)
    assert wanted in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_campaign_is_planned_from_the_rates_of_a_run(job: Path) -> None:
    call_json("run", job / "job.yaml", job / "scene.tif", "--out", job / "out")
    receipt = job / "out" / "scene" / "receipt.json"
    words = ["plan", job / "job.yaml", job / "scene.tif", "--scenes", 40, "--workers", 3, "--rates", receipt]
    campaign = call_json(*words)["campaign"]
    ran = json.loads(receipt.read_text())
    cores = [stage["core_seconds"] for stage in campaign["stages"]]
    assert cores == pytest.approx([stage["cpu_seconds"] for stage in ran["stages"]])
    assert 0 < sum(cores) < ran["seconds"] * 2
    assert ran["seconds"] >= sum(stage["seconds"] for stage in ran["stages"])
    printed = call(*words)
    assert printed.exit_code == 0
    for part in ("40 scenes on 3 workers, 1 run at a time", "core hours", "storage must do", "receipt.json"):
        assert part in printed.stdout


def test_without_measured_rates_the_plan_says_whose_they_are(job: Path) -> None:
    printed = call("plan", job / "job.yaml", job / "scene.tif", "--scenes", 10000, "--workers", 500)
    assert printed.exit_code == 0
    assert "not of your machine" in printed.stdout
    assert "remedy" in printed.stdout


def test_calibration_runs_the_workflow_and_leaves_nothing_behind(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    rates = calibrate([str(job / "scene.tif")], load_workflow(job / "job.yaml"))
    assert set(rates.stages) == {"denoise + compress", "features"}
    assert all(rate.seconds > 0 and rate.stored > 0 for rate in rates.stages.values())
    assert rates.alone > 0
    assert "one thread" in rates.origin
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--calibrate"], "--scenes N"),
        (["--scenes", 2, "--calibrate", "--rates", "r.json"], "one of --rates and --calibrate"),
        (["--scenes", 2, "--drivers", 9, "--workers", 4], "--drivers 9"),
    ],
)
def test_options_that_do_not_go_together_are_refused(job: Path, words: list[object], wanted: str) -> None:
    result = call("plan", job / "job.yaml", job / "scene.tif", *words)
    assert result.exit_code in (1, 2)
    assert wanted in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_campaign_wants_one_scene_that_stands_for_all(job: Path) -> None:
    small_scene(job / "other.tif")
    result = call("plan", job / "job.yaml", job / "scene.tif", job / "other.tif", "--scenes", 5)
    assert result.exit_code in (1, 2)
    assert "stands for all" in result.stderr
