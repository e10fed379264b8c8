"""The benchmarks run: each on tiny input, in a process of its own, as `make bench` starts them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import codec_rivals
from benchmarks import features as land_cover
from benchmarks.__main__ import BENCHMARKS
from benchmarks.codec_search import Coded, allowed_error, coarsest, keeps, rounded, squared_error
from pipeline.codec import Bound
from pipeline.network import BANKS, fit_bank

ROOT = Path(__file__).parents[1]


# The longest, to be begun first.
LONG = ("workers", "scale", "answers", "whole", "full-scene")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LONG, *(name for name in BENCHMARKS if name not in LONG)])
def test_a_benchmark_prints_a_table(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks", name, "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    parts = [[line for line in part.splitlines() if line.startswith("| ")] for part in done.stdout.split("\n\n")]
    tables = [rows for rows in parts if rows]
    assert tables
    for rows in tables:
        assert len(rows) >= 2
        assert all(len(row.split("|")) == len(rows[0].split("|")) for row in rows)
        assert any(character.isdigit() for character in rows[1])


def test_an_unknown_benchmark_is_refused() -> None:
    command = [sys.executable, "-m", "benchmarks", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "denoise-gain" in done.stderr


SCENE = np.random.default_rng(0).integers(200, 4000, (3, 200, 200)).astype(np.uint16)


def quantised(step: float) -> Coded:
    """A rival of which all is known: multiples of 2**step, the fewer bytes the coarser."""
    decoded = rounded(np.rint(SCENE / 2.0**step) * 2.0**step, SCENE)
    return Coded(int(1e6 - 1e4 * step), decoded, f"{step}", lambda: None, lambda: decoded)


@pytest.mark.parametrize("start", [-3.0, 3.0, 11.0])
def test_the_search_ends_just_within_the_bound(start: float) -> None:
    bound = Bound("snr", 40.0)
    allowed = allowed_error(SCENE, bound)
    found = coarsest(quantised, SCENE, allowed, start)
    assert found is not None
    assert keeps(SCENE, found.decoded, bound)
    # A uniform quantiser leaves step² / 12.
    assert squared_error(SCENE, found.decoded) > 0.98 * allowed
    assert 2 ** float(found.setting) == pytest.approx(np.sqrt(12 * allowed), rel=0.05)


def test_a_search_that_cannot_keep_the_bound_finds_nothing() -> None:
    assert coarsest(quantised, SCENE, allowed_error(SCENE, Bound("snr", 40.0)), 8.0, (7.0, 9.0)) is None


@pytest.mark.parametrize("bound", [Bound("max_error", 1.0), Bound("max_error", 2.0), Bound("lossless")])
def test_thirds_are_off_by_what_is_allowed(bound: Bound) -> None:
    back = codec_rivals.whole(codec_rivals.thirds(SCENE, bound), SCENE, bound)
    assert int(np.abs(back.astype(np.int64) - SCENE).max()) == (bound.value or 0)
    assert keeps(SCENE, back, bound)
    assert not keeps(SCENE, rounded(back.astype(np.int64) + 3, SCENE), bound)


def test_rivals_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_rivals, "ic", None)
    found, missing = codec_rivals.rivals()
    assert not found
    assert {"PCA + JPEG 2000", "JPEG XL", "SZ3"} <= set(missing)


def test_no_training_pixel_sees_a_pixel_that_is_tested() -> None:
    folds = land_cover.dealt((145, 130), 3)
    blocks = land_cover.BLOCK
    assert set(np.unique(folds)) == set(range(land_cover.FOLDS))
    for fold in range(land_cover.FOLDS):
        test = folds == fold
        train = land_cover.apart(test)
        ys, xs = np.nonzero(test)
        for y, x in np.argwhere(train)[::97]:
            assert np.maximum(abs(ys - y), abs(xs - x)).min() > land_cover.GAP
    assert all((folds[:-blocks] != folds[blocks:]).any(axis=0))
    samples = [(np.random.default_rng(0).normal(size=(3, 40, 40)), np.ones((40, 40), bool))]
    for name in BANKS:
        assert fit_bank(name, samples, bands=("a", "b", "c")).halo(land_cover.POOLS.get(name)) <= land_cover.GAP


def test_the_ridge_is_the_least_of_its_sum() -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((50, 8)), rng.standard_normal((50, 3))
    for alpha, W in zip((0.1, 30.0), land_cover.ridges(X, Y, (0.1, 30.0)), strict=True):
        stacked = np.concatenate([X, np.sqrt(alpha) * np.eye(8)]), np.concatenate([Y, np.zeros((8, 3))])
        assert np.allclose(W, np.linalg.lstsq(*stacked, rcond=None)[0])


def test_accuracy_is_all_where_columns_tell_and_chance_where_they_do_not() -> None:
    classes = np.arange(60 * 80).reshape(60, 80) % 4
    tells = np.stack([classes == number for number in range(4)]).astype(np.float32)
    assert land_cover.accuracy(tells, classes, 0) == 100
    noise = np.random.default_rng(0).standard_normal((4, 60, 80)).astype(np.float32)
    assert 25 < land_cover.accuracy(noise, classes, 0) < 42
