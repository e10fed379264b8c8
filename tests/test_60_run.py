"""The whole pass on a small scene: what it writes, resumes, refuses, and says when it fails."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray as xr
from rio_cogeo.cogeo import cog_validate

from pipeline.flow import finish
from pipeline.network import Bank
from pipeline.raster import cache
from tests.scenes import CRS, call, call_json, read, small_scene, snapshot

WORKFLOW = """
version: 1
out: out
read: {tile: 64}
compress: {snr: 35}
features: {bank: rcf-mixed, count: 8, stride: 4}
"""
ALL = {
    "bank.npz",
    "denoised.tif",
    "features.tif",
    "features.zarr",
    "item.json",
    "receipt.json",
    "report.html",
    "scene.zarr",
}
TIMES = ("receipt.json", "report.html", "item.json")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene, a workflow, and the outputs of a first run."""
    folder = tmp_path_factory.mktemp("run")
    small_scene(folder / "scene.tif")
    (folder / "job.yaml").write_text(WORKFLOW)
    result = call("run", folder / "job.yaml", folder / "scene.tif")
    assert result.exit_code == 0, result.stderr
    assert "x smaller than raw" in result.stdout
    return folder


def _copy(job: Path, target: Path) -> Path:
    shutil.copytree(job, target)
    return target / "out" / "scene"


def _run(folder: Path, *words: object) -> str:
    result = call("run", folder / "job.yaml", folder / "scene.tif", "--out", folder / "out", *words)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_report_tells_of_the_whole_scene_and_the_noise_that_inspect_finds(job: Path) -> None:
    raw, page = read(job / "scene.tif").astype(float), (job / "out/scene/report.html").read_text()
    with rasterio.open(job / "scene.tif") as source:
        names = source.descriptions
    noise = json.loads((job / "out/scene/receipt.json").read_text())["facts"]["noise"]
    told = call_json("inspect", job / "scene.tif")["noise"]
    valid = (raw != 0).all(axis=0)
    for band, name in enumerate(names):
        found = re.search(rf"<th scope=.row.>{name}</th><td>(.*?)</td><td>(.*?)</td>", page)
        assert found is not None
        mean, spread = (float(text.replace(",", "")) for text in found.groups())
        assert mean == pytest.approx(raw[band][valid].mean(), rel=1e-3)
        assert spread == pytest.approx(raw[band][valid].std(), rel=1e-3)
        assert noise[name] == pytest.approx(told[name], rel=1e-3)


def test_everything_is_there_and_opens(job: Path) -> None:
    folder = job / "out" / "scene"
    assert {path.name for path in folder.iterdir()} == ALL
    raw = read(job / "scene.tif")
    with xr.open_zarr(folder / "scene.zarr") as scene, xr.open_zarr(folder / "features.zarr") as features:
        assert scene.scene.shape == raw.shape
        assert scene.rio.crs == features.rio.crs == CRS
        left, _bottom, _right, top = scene.scene.rio.bounds()
        assert features.features.rio.transform().a == 4 * scene.scene.rio.transform().a
        assert features.features.rio.bounds()[::3] == (left, top)
        assert features.sizes["feature"] == len(Bank.load(folder / "bank.npz").features)
        assert np.array_equal(scene.valid.values, (raw != 0).all(axis=0))
        assert np.isfinite(features.features.values).any()
        hole = ~scene.valid.values[2::4, 2::4]
        assert np.isnan(features.features.values[:, : hole.shape[0], : hole.shape[1]][:, hole]).all()
    for name in ("denoised.tif", "features.tif"):
        valid, errors, _warnings = cog_validate(folder / name, strict=True)
        assert (valid, errors) == (True, [])
    with rasterio.open(folder / "denoised.tif") as clean, rasterio.open(job / "scene.tif") as source:
        assert (clean.crs, clean.transform, clean.dtypes) == (source.crs, source.transform, source.dtypes)
        assert (clean.nodata, clean.descriptions) == (source.nodata, source.descriptions)
        assert np.array_equal(clean.dataset_mask(), source.dataset_mask())


def test_the_receipt_adds_up(job: Path) -> None:
    receipt = json.loads((job / "out" / "scene" / "receipt.json").read_text())
    assert receipt["status"] == "done"
    assert receipt["failures"] == []
    scene, features = receipt["stages"]
    assert scene["tiles"] == features["tiles"] == 9
    assert scene["raw_bytes"] == read(job / "scene.tif").nbytes
    store = job / "out" / "scene" / "scene.zarr"
    pixels, masks = (
        sum(path.stat().st_size for path in (store / name / "c").rglob("*") if path.is_file())
        for name in ("scene", "valid")
    )
    assert masks > 0
    assert scene["stored_bytes"] == pixels + masks
    assert json.loads(call("inspect", store, "--json").stdout)["stored_bytes"] == pixels + masks
    assert receipt["facts"]["snr"] >= 35
    assert receipt["options"]["compress"]["snr"] == 35
    assert "numpy" in receipt["versions"]


def test_a_second_run_says_the_outputs_are_complete_and_touches_nothing(job: Path, tmp_path: Path) -> None:
    folder = _copy(job, tmp_path / "again")
    before = snapshot(folder)
    assert "complete" in _run(tmp_path / "again")
    assert snapshot(folder) == before


def test_damaged_and_missing_chunks_are_computed_again_to_the_same_bytes(job: Path, tmp_path: Path) -> None:
    folder = _copy(job, tmp_path / "torn")
    before = snapshot(folder, leave_out=TIMES)
    (folder / "scene.zarr/scene/c/0/1/1").unlink()
    torn = folder / "scene.zarr/valid/c/0/2"
    torn.write_bytes(torn.read_bytes()[:-3])
    features = folder / "features.zarr/features/c/0/0/0"
    features.write_bytes(b"")
    output = _run(tmp_path / "torn")
    assert "9 tiles, 7 of them there already" in output
    assert "9 tiles, 8 of them there already" in output
    assert snapshot(folder, leave_out=TIMES) == before


def test_a_finish_begins_without_the_blocks_of_the_maps(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    within = finish.store_to_cog
    monkeypatch.setattr(
        finish, "store_to_cog", lambda *args, **words: (held.append(cache.shared.nbytes), within(*args, **words))
    )
    shutil.copytree(job, tmp_path / "job")
    _run(tmp_path / "job", "--overwrite")
    assert held == [0, 0]


def test_an_unfinished_run_goes_on(job: Path, tmp_path: Path) -> None:
    folder = _copy(job, tmp_path / "half")
    before = snapshot(folder, leave_out=TIMES)
    (folder / "scene.zarr").rename(folder / "scene.zarr.partial")
    (folder / "scene.zarr.partial/scene/c/0/0/2").unlink()
    for name in ("denoised.tif", "features.tif", "item.json", "report.html"):
        (folder / name).unlink()
    shutil.rmtree(folder / "features.zarr")
    _run(tmp_path / "half")
    assert snapshot(folder, leave_out=TIMES) == before


@pytest.mark.parametrize("left", [None, b"{", b'{"status": "failed"}'])
def test_a_run_killed_before_its_receipt_writes_it_when_it_is_resumed(
    job: Path, tmp_path: Path, left: bytes | None
) -> None:
    folder = _copy(job, tmp_path / "late")
    before = snapshot(folder, leave_out=TIMES)
    receipt = folder / "receipt.json"
    receipt.unlink() if left is None else receipt.write_bytes(left)
    (folder / ".report.html.12.partial").write_bytes(b"<html>")
    _run(tmp_path / "late")
    assert json.loads(receipt.read_text())["status"] == "done"
    assert snapshot(folder, leave_out=TIMES) == before
    assert "complete" in _run(tmp_path / "late")


def test_another_configuration_is_refused_unless_overwritten(job: Path, tmp_path: Path) -> None:
    folder = _copy(job, tmp_path / "other")
    text = (job / "job.yaml").read_text().replace("snr: 35", "snr: 20")
    (tmp_path / "other" / "job.yaml").write_text(text)
    words = ["run", tmp_path / "other/job.yaml", tmp_path / "other/scene.tif"]
    result = call(*words)
    assert result.exit_code in (1, 3)
    assert "compress.snr: 35 -> 20;" in result.stderr
    assert json.loads((folder / "receipt.json").read_text())["status"] == "done"
    large = (folder / "scene.zarr/scene/c/0/0/0").stat().st_size
    assert call(*words, "--overwrite").exit_code == 0
    assert (folder / "scene.zarr/scene/c/0/0/0").stat().st_size < large


def test_one_bad_scene_does_not_stop_the_others(job: Path, tmp_path: Path) -> None:
    good, bad = small_scene(tmp_path / "good.tif"), tmp_path / "bad.tif"
    bad.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    words = ["run", job / "job.yaml", "-", "--out", tmp_path / "out"]
    result = call(*words, stdin=f"{good}\n{bad}\n{tmp_path / 'none.tif'}\n")
    assert result.exit_code == 3
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert any("bad" in line for line in lines)
    assert any("none.tif" in line for line in lines)
    assert (tmp_path / "out/good/scene.zarr").is_dir()
    assert not (tmp_path / "out/bad/scene.zarr").exists()
    receipt = json.loads((tmp_path / "out/bad/receipt.json").read_text())
    assert receipt["status"] == "failed"
    assert any("rows" in failure for failure in receipt["failures"])


def test_two_scenes_of_one_name_are_refused(job: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    one, two = small_scene(tmp_path / "a/s.tif"), small_scene(tmp_path / "b/s.tif")
    result = call("run", job / "job.yaml", one, two, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "would both be written to s/" in result.stderr


def test_features_can_be_left_out_and_denoising_too(job: Path, tmp_path: Path) -> None:
    text = "version: 1\nread: {tile: 64}\ndenoise: {quality: none}\ncompress: {lossless: true}\nfeatures: null\n"
    (tmp_path / "job.yaml").write_text(text)
    assert call("run", tmp_path / "job.yaml", job / "scene.tif", "--out", tmp_path / "o").exit_code == 0
    folder = tmp_path / "o" / "scene"
    assert {path.name for path in folder.iterdir()} == ALL - {"bank.npz", "features.tif", "features.zarr"}
    assert np.array_equal(read(folder / "denoised.tif"), read(job / "scene.tif"))


def test_a_report_knows_the_wavelengths_of_bands_that_say_theirs(tmp_path: Path) -> None:
    for known in (3, 4):
        folder = tmp_path / str(known)
        folder.mkdir()
        small_scene(folder / "scene.tif")
        with rasterio.open(folder / "scene.tif", "r+") as file:
            for band in range(1, file.count + 1 if known == 4 else file.count):
                file.update_tags(band, center_wavelength=f"0.{400 + 11 * band}")
        (folder / "job.yaml").write_text("version: 1\ncompress: {snr: 35}\nwrite: {cog: []}\n")
        _run(folder)
        page = (folder / "out" / "scene" / "report.html").read_text()
        assert ('<th scope="col">nm</th>' in page) is (known == 4)  # with one unknown there is no axis
        assert ("<td>422</td>" in page) is (known == 4)


@pytest.mark.parametrize("other", ["seed: 2", "seed: 1, count: 5"])
def test_the_bank_of_features_that_are_refused_stays(tmp_path: Path, other: str) -> None:
    scene, out = small_scene(tmp_path / "scene.tif", holes=0.0), tmp_path / "out" / "scene"
    job = tmp_path / "job.yaml"
    text = "version: 1\nout: out\nread: {tile: 64}\nfeatures: {bank: rcf-mixed, stride: 8, SAID}\nwrite: {cog: []}\n"
    job.write_text(text.replace("SAID", "seed: 1"))
    assert call("run", job, scene, "--out", out.parent).exit_code == 0
    before = snapshot(out, ("receipt.json",))
    job.write_text(text.replace("SAID", other))
    result = call("run", job, scene, "--out", out.parent)
    assert result.exit_code == 1
    assert "features.zarr was begun under another configuration" in result.stderr
    assert snapshot(out, ("receipt.json",)) == before
