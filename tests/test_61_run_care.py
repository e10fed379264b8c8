"""What a run must never do: lose real values, delete what is not its own, mix old products with new stores."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr

import pipeline
import pipeline.network
from pipeline.flow.journal import alone
from tests.scenes import call, call_json, read, small_scene, snapshot, write_tif

WORKFLOW = "version: 1\nread: {tile: 64}\nfeatures: null\ncompress: {snr: 40}\n"
PLAIN = WORKFLOW + "denoise: {quality: none}\n"


def _ramp(dtype: str) -> np.ndarray:
    rng = np.random.default_rng([2])
    return (rng.normal(900, 40, (3, 80, 90)).cumsum(axis=2) / 9 + 500).astype(dtype)


@pytest.mark.parametrize("bound", [("--snr", 40), ("--lossless",)])
def test_a_pixel_without_one_band_keeps_the_others(tmp_path: Path, bound: tuple[object, ...]) -> None:
    block = _ramp("uint16")
    block[1, 20:30, 20:30] = 0
    scene = write_tif(tmp_path / "s.tif", block, nodata=0)
    assert call("compress", scene, tmp_path / "s.zarr", *bound).exit_code == 0
    with xr.open_zarr(tmp_path / "s.zarr", mask_and_scale=False) as opened:
        back = opened.scene.values
    assert not back[1, 20:30, 20:30].any()
    error = back[[0, 2], 20:30, 20:30].astype(float) - block[[0, 2], 20:30, 20:30]
    assert np.abs(error).max() <= (0 if bound == ("--lossless",) else 250)
    if bound == ("--lossless",):
        np.testing.assert_array_equal(back, block)


def test_values_under_a_mask_or_near_the_sentinel_do_not_count(tmp_path: Path) -> None:
    masked = _ramp("uint16")
    masked[:, :40] = 65535
    path = write_tif(tmp_path / "m.tif", masked, nodata=0)
    mask = np.full((80, 90), 255, "uint8")
    mask[:40] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    near = _ramp("float32")
    near[:, :40] = np.finfo("float32").min
    paths = [path, write_tif(tmp_path / "n.tif", near, nodata=-3.4028230607370965e38)]
    for scene in paths:
        assert call("compress", scene, tmp_path / "c.zarr", "--snr", 40, "--overwrite").exit_code == 0
        with xr.open_zarr(tmp_path / "c.zarr", mask_and_scale=False) as opened:
            back = opened.scene.values[:, 40:].astype(float)
        raw = read(scene)[:, 40:].astype(float)
        assert 10 * np.log10((raw**2).mean() / ((back - raw) ** 2).mean()) >= 40


def test_overwrite_removes_outputs_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    folder = tmp_path / "out" / "scene"
    folder.mkdir(parents=True)
    scene = small_scene(folder / "scene.tif")
    (folder / "notes.txt").write_text("mine")
    words = ["run", tmp_path / "job.yaml", scene, "--out", tmp_path / "out", "--overwrite"]
    for _ in range(2):
        assert call(*words).exit_code == 0
    assert (folder / "notes.txt").read_text() == "mine"
    assert scene.is_file()
    result = call("run", tmp_path / "job.yaml", tmp_path / "scene", "--out", tmp_path / "out", "--overwrite")
    assert result.exit_code == 1
    assert (folder / "scene.zarr").is_dir()


@pytest.mark.parametrize(
    "mine", ["report.html", "denoised.tif", "item.json", "receipt.json", "features.zarr/notes.txt"]
)
def test_what_no_run_wrote_is_not_replaced_unless_it_may_be(tmp_path: Path, mine: str) -> None:
    scene = small_scene(tmp_path / "scene.tif", height=64, width=64)
    (tmp_path / "job.yaml").write_text(PLAIN)
    folder = tmp_path / "out" / "scene"
    (folder / mine).parent.mkdir(parents=True)
    (folder / mine).write_text("{}")
    (folder / "notes.txt").write_text("mine")
    before = snapshot(folder)
    words = ["run", tmp_path / "job.yaml", scene, "--out", tmp_path / "out"]
    scene.rename(tmp_path / "away.tif")
    for _ in range(2):  # a scene that is not there, and one that is
        result = call(*words)
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        foreign = folder / mine.partition("/")[0]
        assert f"{foreign} is no output of a run; give another --out, or --overwrite, which replaces" in result.stderr
        assert snapshot(folder) == before
        if not scene.exists():
            (tmp_path / "away.tif").rename(scene)
    assert call(*words, "--overwrite").exit_code == 0
    assert call(*words).exit_code == 0
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_bank_fitted_into_the_folder_of_the_outputs_is_used_and_never_taken_away(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif", height=64, width=64)
    folder = tmp_path / "out" / "scene"
    folder.mkdir(parents=True)
    bank = folder / "bank.npz"
    assert call("fit", scene, "-o", bank, "--count", 4).exit_code == 0
    (folder / "denoised.tif.aux.xml").write_text("<PAMDataset/>")  # of a viewer, of a raster that is gone
    text = PLAIN.replace("features: null", f"features: {{bank: {bank}, stride: 4}}")
    assert str(bank) in text
    (tmp_path / "job.yaml").write_text(text)
    words = ["run", tmp_path / "job.yaml", scene, "--out", tmp_path / "out"]
    assert call(*words).exit_code == 0
    kept = bank.read_bytes()
    result = call(*words, "--overwrite")
    assert (result.exit_code, f"{bank} is an output of this run" in result.stderr) == (1, True)
    assert bank.read_bytes() == kept
    assert call(*words).exit_code == 0


def test_a_folder_that_is_no_store_is_not_replaced(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif")
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "notes.txt").write_text("mine")
    result = call("compress", scene, tmp_path / "mine.zarr", "--overwrite")
    assert result.exit_code == 1
    assert (tmp_path / "mine.zarr" / "notes.txt").read_text() == "mine"


def test_rasters_follow_their_store(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif")
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    words = ["run", tmp_path / "job.yaml", scene, "--out", tmp_path / "out"]
    assert call(*words).exit_code == 0
    shutil.rmtree(tmp_path / "out/scene/scene.zarr")
    (tmp_path / "job.yaml").write_text(WORKFLOW.replace("40", "15"))
    assert call(*words).exit_code == 0
    scores = call_json("compare", tmp_path / "out/scene/scene.zarr", tmp_path / "out/scene/denoised.tif")
    assert scores["overall"]["rmse"] == 0


def test_features_alone_are_made_anew_where_they_were_removed(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif", holes=0.0)
    job, out = tmp_path / "job.yaml", tmp_path / "out" / "scene"
    text = PLAIN.replace("features: null", "features: {bank: classic, stride: 4}") + "write: {cog: [features]}\n"
    words = ["run", job, scene, "--out"]
    job.write_text(text)
    assert call(*words, out.parent).exit_code == 0
    job.write_text(text.replace("stride: 4", "stride: 8"))
    refused = call(*words, out.parent)
    assert refused.exit_code == 1
    assert f"{out / 'features.zarr'} was begun under another configuration" in refused.stderr
    remedy = "or --overwrite, or remove it to make the features alone anew\n"
    assert refused.stderr.endswith(f"features.stride: 4 -> 8; give another output, {remedy}")
    shutil.rmtree(out / "features.zarr")
    stages = call_json(*words, out.parent)["scenes"][0]["stages"]
    assert [(stage["tiles"], stage["resumed"]) for stage in stages] == [(9, 9), (9, 0)]
    assert call(*words, tmp_path / "fresh").exit_code == 0
    names = ("item.json", "report.html", "receipt.json")  # of two runs, and of one
    assert snapshot(out, names) == snapshot(tmp_path / "fresh" / "scene", names)


def test_another_store_or_resampling_is_another_configuration(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif", holes=0.0)
    for snr in (40, 12):
        assert call("compress", scene, tmp_path / "s.zarr", "--snr", snr, "--overwrite").exit_code == 0
        (tmp_path / "job.yaml").write_text(WORKFLOW)
        result = call("run", tmp_path / "job.yaml", tmp_path / "s.zarr", "--out", tmp_path / "out")
    assert result.exit_code != 0
    assert "the scene's pixels changed" in result.stderr


def test_a_bank_of_bands_in_another_order_is_refused(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif")
    assert call("fit", scene, "-o", tmp_path / "b.npz", "--bank", "classic").exit_code == 0
    result = call("features", scene, tmp_path / "f.zarr", "--bank", tmp_path / "b.npz", "-b", "4,3,2,1")
    assert result.exit_code == 1
    assert "order bands" in result.stderr


def test_tasks_of_a_lazy_scene_do_not_hold_it() -> None:
    data = da.zeros((3, 1024, 1024), chunks=(3, 256, 256), dtype="float32") + np.float32(1)
    scene = xr.DataArray(data, dims=("band", "y", "x"))
    bank = pipeline.network.fit_bank(
        "classic", [(np.eye(64)[None].repeat(3, 0), np.ones((64, 64), bool))], bands=tuple("abc")
    )
    for result in (pipeline.denoise(scene), pipeline.features(scene, bank, stride=4)):
        largest = max(len(cloudpickle.dumps(task)) for task in dict(result.__dask_graph__()).values())
        assert largest < 200_000


@pytest.mark.cluster
@pytest.mark.slow
def test_ctrl_c_in_a_terminal_drains_processes_too(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif", height=900, width=900)
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    words = [
        sys.executable,
        "-m",
        "pipeline.cli",
        "run",
        str(tmp_path / "job.yaml"),
        str(scene),
        "--out",
        str(tmp_path / "o"),
    ]
    words += ["--scheduler", "processes", "--workers", "1"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    partial = tmp_path / "o/scene/scene.zarr.partial/scene/c/0"
    for _ in range(600):
        if partial.is_dir() and any(partial.iterdir()):
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=50)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert [line for line in stderr.splitlines() if line.startswith("Error")] == [stderr.strip().splitlines()[-1]]


@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_bands_without_noise_come_back_to_the_last_bit(tmp_path: Path, dtype: str) -> None:
    block = _ramp(dtype)
    block[1] = 123_456_789
    scene = write_tif(tmp_path / "s.tif", block)
    assert call("denoise", scene, tmp_path / "c.tif").exit_code == 0
    clean = read(tmp_path / "c.tif")
    np.testing.assert_array_equal(clean[1], block[1])
    assert (clean[0] != block[0]).any()


def test_two_runs_do_not_write_one_output(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif")
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    with alone(tmp_path / "out" / "scene" / ".running"), alone(tmp_path / ".c.zarr.running"):
        first = call("run", tmp_path / "job.yaml", scene, "--out", tmp_path / "out")
        second = call("compress", scene, tmp_path / "c.zarr")
    assert first.exit_code == second.exit_code == 1
    assert f"{tmp_path / 'out' / 'scene'}: another run is writing here" in first.stderr
    assert f"{tmp_path / 'c.zarr'}: another run is writing here" in second.stderr
    assert call("compress", scene, tmp_path / "c.zarr").exit_code == 0


def test_what_another_run_is_computing_is_not_this_runs(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif")
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    words = ("run", tmp_path / "job.yaml", scene, "--out", tmp_path / "out")
    assert call(*words).exit_code == 0
    before = snapshot(tmp_path / "out" / "scene")
    with alone(tmp_path / "out" / "scene" / ".running"):
        result = call(*words, "--overwrite")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [f"scene: failed; what is in {tmp_path / 'out' / 'scene'} is not of this run"]
    assert "another run is writing here" in result.stderr
    assert snapshot(tmp_path / "out" / "scene") == before


def test_an_output_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif")
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    result = call("run", tmp_path / "job.yaml", scene, "--out", scene)
    assert result.exit_code == 2
    assert "names a folder" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_store_coded_otherwise_is_refused(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif")
    assert call("compress", scene, tmp_path / "s.zarr").exit_code == 0
    metadata = tmp_path / "s.zarr" / "scene" / "zarr.json"
    for change in ({"name": "gzip", "configuration": {"level": 1}}, {"name": "no-such-codec"}):
        content = json.loads(metadata.read_text())
        content["codecs"] = [{"name": "bytes", "configuration": {"endian": "little"}}, change]
        metadata.write_text(json.dumps(content))
        result = call("inspect", tmp_path / "s.zarr")
        assert result.exit_code == 1
        assert "s.zarr" in result.stderr
        assert "bug" not in result.stderr


def test_a_scene_written_to_in_its_middle_after_its_run_is_told(tmp_path: Path) -> None:
    """The fingerprint, of size and both ends, does not see it. Dates to come tell nothing."""
    block = np.random.default_rng([9]).integers(100, 4000, (2, 1200, 1200)).astype("uint16")
    folder = tmp_path / "bands"
    folder.mkdir()
    scene, other = write_tif(folder / "s_B1.tif", block[:1], compress=None), folder / "s_B2.tif"
    write_tif(other, block[1:2], compress=None)
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    words = ["run", tmp_path / "job.yaml", folder, "--out", tmp_path / "out"]
    now = time.time()
    for file in (scene, other):
        os.utime(file, (now - 90, now - 90))
    assert call(*words).exit_code == 0
    assert "has a date" not in call(*words).stderr
    with rasterio.open(scene, "r+") as opened:
        opened.write(np.zeros((1, 50, 50), "uint16"), window=((560, 610), (300, 350)))
    receipt = tmp_path / "out/bands/receipt.json"
    text = receipt.read_text()
    old = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 60))
    receipt.write_text(re.sub(r'("started": )"[^"]*"', rf'\1"{old}"', text))
    result = call(*words)
    assert result.exit_code == 0
    assert f"{scene} has a date (" in result.stderr
    assert "--overwrite" in result.stderr
    os.utime(scene, (now + 900, now + 900))  # a clock that is wrong
    assert "has a date" not in call(*words).stderr
    os.utime(scene, None)
    assert call(*words, "--overwrite").exit_code == 0
    assert "has a date" not in call(*words).stderr
