"""Tiles of another algorithm are not taken for tiles of this one; what each algorithm writes is known by figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.codec import Bound, encode
from pipeline.denoise import denoise_block
from pipeline.flow import algorithms
from pipeline.flow.difference import differences
from pipeline.grid import Window
from pipeline.network import features_block, fit_bank
from tests.scenes import call, small_scene, snapshot

WORKFLOW = """
version: 1
out: out
read: {tile: 64}
denoise: {quality: fast}
compress: {snr: 35}
features: {bank: rcf-mixed, count: 4, stride: 8}
write: {cog: [], report: false}
"""

FIGURES = {
    ("denoise", "fast"): 57.0409,
    ("denoise", "quality"): 57.3228,
    ("denoise", "fast, some repeated"): 57.0064,
    ("codec", "rmse 20 fast"): 16337,
    ("codec", "rmse 20 fast, some repeated"): 10401,
    ("codec", "max_error 20 best"): 20084,
    ("codec", "lossless fast"): 59729,
    ("features", "classic"): 0.27345,
    ("features", "rcf-mixed"): 0.84077,
}
"""Of algorithms 4, 2 and 1: where one turns red, raise its number (flow/algorithms.py) and write the new figure."""
TOLERANCE = 2e-3
"""More than processors and BLAS differ by."""
NUMBERS = {"denoise": 4, "codec": 2, "features": 1}


def block() -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """Six bands of 96 x 96 pixels: smooth mixtures, an edge, stripes and noise."""
    rng, (y, x) = np.random.default_rng(7), np.mgrid[:96, :96] / 96
    parts = np.stack([np.sin(7 * x + 3 * y), np.cos(9 * y * x), (x + y > 1.1).astype(float)])
    scene = 3000 + 600 * np.tensordot(rng.normal(size=(6, 3)), parts, axes=1) + 25 * rng.normal(size=(1, 1, 96))
    return np.rint(scene + 60 * rng.normal(size=(6, 96, 96))).astype(np.uint16)


def figure(what: str, how: str) -> float:
    """One number that follows what an algorithm writes: what denoising takes away, coded bytes, the features' size."""
    scene, valid = block(), np.ones((96, 96), bool)
    how, *repeated = how.split(", ")
    if repeated:
        scene[3:] = scene[3:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)
    if what == "denoise":
        made = denoise_block(scene, valid, quality=how)
        return float(np.sqrt(np.square(made.block - scene.astype(float)).mean()))
    if what == "codec":
        mode, *value, effort = how.split()
        bound = Bound(mode, float(value[0]) if value else None)  # type: ignore[arg-type]
        return float(len(encode(scene, valid, bound, nodata=None, effort=effort)))
    bank = fit_bank(how, [(scene, valid)], bands=tuple("abcdef"), count=None if how == "classic" else 6)
    whole = Window(0, 96, 0, 96)
    features = features_block(scene, valid, bank, pool=5, stride=4, window=whole, outer=whole, scene_shape=(96, 96))[0]
    return float(np.sqrt(np.nanmean(np.square(features, dtype=float))))


@pytest.mark.parametrize(("what", "how"), list(FIGURES))
def test_who_changes_what_an_algorithm_writes_raises_its_number(what: str, how: str) -> None:
    number = getattr(algorithms, what.upper())
    assert number == NUMBERS[what], "write the figures of the new number"
    remedy = f"raise {what.upper()} in pipeline/flow/algorithms.py and write the new figures here"
    assert figure(what, how) == pytest.approx(FIGURES[what, how], rel=TOLERANCE), remedy


@pytest.fixture
def half_done(tmp_path: Path) -> list[object]:
    """The words of a run whose outputs lack a tile of the scene and one of the features."""
    small_scene(tmp_path / "scene.tif", holes=0.0)
    (tmp_path / "job.yaml").write_text(WORKFLOW)
    words: list[object] = ["run", tmp_path / "job.yaml", tmp_path / "scene.tif", "--out", tmp_path / "out"]
    assert call(*words).exit_code == 0
    for name in ("scene", "features"):
        (tmp_path / f"out/scene/{name}.zarr/{name}/c/0/1/1").unlink()
    return words


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("DENOISE", "scene.zarr was begun under another configuration ({}): terrasketch's algorithm of denoising"),
        ("CODEC", "scene.zarr was begun under another configuration ({}): terrasketch's algorithm of compression"),
        ("FEATURES", "features.zarr was begun under another configuration ({}): terrasketch's algorithm of features"),
    ],
)
def test_a_run_begun_by_another_algorithm_is_refused(
    half_done: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    before = snapshot(tmp_path / "out", ("receipt.json",))
    number = getattr(algorithms, name)
    monkeypatch.setattr(algorithms, name, number + 1)
    result = call(*half_done)
    assert result.exit_code != 0
    front, back = says.split("{}")
    assert front in result.stderr
    assert f"{back}: {number} -> {number + 1}; give another output, or --overwrite" in result.stderr
    if name != "FEATURES":
        assert snapshot(tmp_path / "out", ("receipt.json",)) == before
    monkeypatch.undo()
    assert call(*half_done).exit_code == 0


def test_what_a_store_does_not_go_through_does_not_refuse_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_scene(tmp_path / "scene.tif", holes=0.0)
    plain = WORKFLOW.replace("quality: fast", "quality: none").replace("{bank: rcf-mixed, count: 4, stride: 8}", "null")
    (tmp_path / "job.yaml").write_text(plain)
    words = ["run", tmp_path / "job.yaml", tmp_path / "scene.tif", "--out", tmp_path / "out"]
    assert call(*words).exit_code == 0
    monkeypatch.setattr(algorithms, "DENOISE", algorithms.DENOISE + 1)
    monkeypatch.setattr(algorithms, "FEATURES", algorithms.FEATURES + 1)
    assert call(*words).exit_code == 0


def test_a_step_that_is_left_out_is_told_by_its_option_alone() -> None:
    fast = {"denoise": {"quality": "fast"}, "algorithms": algorithms.of_scene(denoised=True, coded=True)}
    none = {"denoise": {"quality": "none"}, "algorithms": algorithms.of_scene(denoised=False, coded=True)}
    assert differences(fast, none) == ["denoise.quality: fast -> none"]


def test_stores_of_before_there_were_numbers_are_older() -> None:
    now = {"denoise": {"quality": "fast"}, "algorithms": {"denoise": 1}}
    assert differences({"denoise": {"quality": "fast"}}, now) == ["terrasketch's algorithm of denoising: older -> 1"]
