"""What is mended before the noise is: told, chosen, and of several dates less; what stands on one date is no fault."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import pipeline  # noqa: F401  (registers .terrasketch)
from pipeline.errors import ConfigError
from tests.scenes import call, read, write_tif

SIDE, NOISE = 150, 20.0


def spoilt(rng: np.random.Generator, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Bands of one land with noise, and where single pixels of them stand out by 60 of it."""
    land = 2000 + 300 * ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 6) * 12
    block = land * rng.uniform(0.8, 1.2, (bands, 1, 1)) + rng.normal(0, NOISE, (bands, SIDE, SIDE))
    hit = rng.random(block.shape) < 0.002
    return np.where(hit, block + rng.choice((-1, 1), block.shape) * 60 * NOISE, block).round().astype("uint16"), hit


@pytest.mark.parametrize("basis", ["tile", "scene"])
@pytest.mark.parametrize(("repair", "kept"), [("auto", 0), ("all", 0), ("stripes", 1), ("none", 1)])
def test_impulses_are_mended_and_told_unless_somebody_says_no(
    tmp_path: Path, basis: str, repair: str, kept: int
) -> None:
    block, hit = spoilt(np.random.default_rng(1), 4)
    source = write_tif(tmp_path / "scene.tif", block)
    result = call("denoise", source, tmp_path / "out.tif", "--basis", basis, "--repair", repair, "--tile", 80)
    assert result.exit_code == 0, result.stderr
    after = read(tmp_path / "out.tif").astype(float)
    assert ((np.abs(after - block)[hit] < 15 * NOISE).mean() > 0.95) == bool(kept)
    assert ("taken for impulses or dead lines, and replaced" in result.stderr) != bool(kept)
    if not kept:
        told = int(result.stderr.partition("scene: ")[2].partition(" value")[0])
        assert 0.9 * hit.sum() < told < 1.2 * hit.sum()


def test_a_run_keeps_their_number_and_another_repair_is_another_run(tmp_path: Path) -> None:
    block, hit = spoilt(np.random.default_rng(1), 4)
    write_tif(tmp_path / "scene.tif", block)
    workflow = tmp_path / "w.yaml"
    workflow.write_text("version: 1\nsources: [scene.tif]\nfeatures: null\nwrite: {cog: [], report: true}\n")
    assert call("run", workflow, "--out", tmp_path / "out").exit_code == 0
    receipt = json.loads((tmp_path / "out" / "scene" / "receipt.json").read_text())
    assert receipt["facts"]["mended"] > 0.9 * hit.sum()
    for lost in ("report.html", "item.json", "scene.zarr/scene/c/0/0/0"):  # the report is made anew; a tile is
        (tmp_path / "out" / "scene" / lost).unlink()
        assert call("run", workflow, "--out", tmp_path / "out").exit_code == 0
        again = json.loads((tmp_path / "out" / "scene" / "receipt.json").read_text())
        assert len(again["history"]) == len(receipt["history"]) + 1
        assert again["facts"]["mended"] == receipt["facts"]["mended"]
        receipt = again
    key = receipt["facts"]["scene_configuration_hash"]
    receipt["facts"] |= {"mended": 7, "scene_configuration_hash": "of another store"}
    (tmp_path / "out" / "scene" / "receipt.json").write_text(json.dumps(receipt))
    (tmp_path / "out" / "scene" / "item.json").unlink()
    assert call("run", workflow, "--out", tmp_path / "out").exit_code == 0
    facts = json.loads((tmp_path / "out" / "scene" / "receipt.json").read_text())["facts"]
    assert "mended" not in facts
    assert facts["scene_configuration_hash"] == key
    workflow.write_text(workflow.read_text() + "denoise: {repair: none}\n")
    refused = call("run", workflow, "--out", tmp_path / "out")
    assert refused.exit_code == 1
    assert "denoise.repair: auto -> none" in refused.stderr + refused.stdout


def test_what_stands_on_one_date_alone_stays(tmp_path: Path) -> None:
    block, hit = spoilt(np.random.default_rng(2), 4)
    for number, band in enumerate(block):
        write_tif(tmp_path / f"a_2020010{number + 1}.tif", band[None])
    dates = sorted(tmp_path.glob("a_*.tif"))
    for words, kept in (((), True), (("--repair", "all"), False)):
        result = call("denoise", *dates, tmp_path / "out.tif", "--stack", "--overwrite", *words)
        assert result.exit_code == 0, result.stderr
        assert ((np.abs(read(tmp_path / "out.tif") - block.astype(float))[hit] < 15 * NOISE).mean() > 0.95) == kept


def test_arrays_know_dates_by_their_times() -> None:
    block, hit = spoilt(np.random.default_rng(3), 4)
    scene = xr.DataArray(block.astype("float32"), dims=("band", "y", "x"))
    times = np.array(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"], "datetime64[ns]")
    dated = scene.rename(band="time"), scene.assign_coords(time=("band", times))
    mended = scene.terrasketch.denoise()
    assert (np.abs(mended - scene).values[hit] > 15 * NOISE).mean() > 0.95
    for one in (*(each.terrasketch.denoise() for each in dated), scene.terrasketch.denoise(repair="none")):
        assert (np.abs(one.values - scene.values)[hit] < 15 * NOISE).mean() > 0.95
    np.testing.assert_array_equal(dated[0].terrasketch.denoise(repair="all").values, mended.values)
    with pytest.raises(ConfigError, match="repair 'some' is not known to denoise; use auto, all, stripes, none"):
        scene.terrasketch.denoise(repair="some")


def test_after_a_stopped_run_no_number_of_some_tiles_is_told(tmp_path: Path) -> None:
    block, _ = spoilt(np.random.default_rng(1), 4)
    write_tif(tmp_path / "scene.tif", block)
    workflow, out = tmp_path / "w.yaml", tmp_path / "out" / "scene"
    text = "version: 1\nsources: [scene.tif]\nread: {tile: 64}\nfeatures: null\nwrite: {cog: [], report: false}\n"
    workflow.write_text(text)
    assert call("run", workflow, "--out", tmp_path / "out").exit_code == 0
    (out / "scene.zarr/scene/c/0/0/1").unlink()
    (out / "receipt.json").write_text(json.dumps({"history": [], "status": "interrupted"}))
    for _ in range(2):
        (out / "item.json").unlink(missing_ok=True)
        assert call("run", workflow, "--out", tmp_path / "out").exit_code == 0
        assert "mended" not in json.loads((out / "receipt.json").read_text())["facts"]
