"""What a layer will miss is told beforehand, by a little of the block: so one round is the rule."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.codec import Bound, encode, low_rank, rate, sample, wavelet
from pipeline.codec.fit import Fit, Goal, fit_of
from pipeline.codec.foretold import Foretold, before_rounding, foretell
from pipeline.flow.read import central_window, open_scene

SAMPLE = str(Path(__file__).parents[1] / "sample_data" / "s2_18SVG_crop_10band_20m.tif")
SNRS = (27.0, 30.0, 35.0, 38.0, 40.0, 43.0)


def _hills(bands: int, side: int, seed: int, noise: float) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Smooth fields with edges, mixed into bands, and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = [np.sin(rng.uniform(2, 25) * x + rng.uniform(2, 25) * y + rng.uniform(0, 6)) for _ in range(12)]
    fields = np.stack([np.where(a > 0.3, a, b) for a, b in zip(waves[::2], waves[1::2], strict=True)])
    mixed = np.tensordot(rng.normal(size=(bands, len(fields))), fields, 1)
    return np.rint(3000 + 300 * mixed + rng.normal(0, noise, mixed.shape)).clip(0, 65535).astype(np.uint16)


@pytest.mark.parametrize("variance", [0.05, 0.15, 0.4, 1.0, 1.1, 9.0])
def test_rounding_is_undone_as_draws_have_it(variance: float) -> None:
    draws = np.random.default_rng(3).normal(0, math.sqrt(variance), 2_000_000)
    assert before_rounding(float(np.square(np.rint(draws)).mean())) == pytest.approx(variance, rel=0.01)


def test_what_rounding_leaves_of_nothing_is_next_to_nothing() -> None:
    assert 0 < before_rounding(0.0) < 0.01
    values = [before_rounding(error) for error in np.linspace(0, 3, 301)]
    assert values == sorted(values)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 70), st.integers(1, 70), st.integers(0, 3), st.integers(0, 99))
def test_a_small_block_is_its_own_sample(planes: int, height: int, width: int, levels: int, seed: int) -> None:
    c = np.random.default_rng(seed).normal(size=(planes, height, width)).astype(np.float32)
    found, counts = sample.sample_of(c, levels)
    boxes = zip(wavelet.subbands(height, width, levels), wavelet.norms(levels), strict=True)
    expected = sum(norm * float(np.square(c[:, y, x], dtype=np.float64).sum()) for (y, x), norm in boxes)
    assert float(counts @ np.square(found, dtype=np.float64)) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(np.sort(found), np.sort(c.reshape(-1)))


@pytest.mark.parametrize(("planes", "side"), [(30, 301), (3, 1000)])
def test_a_sample_stands_for_each_subband(planes: int, side: int) -> None:
    levels, c = 4, np.zeros((planes, side, side), np.float32)
    for (y, x), norm in zip(wavelet.subbands(side, side, levels), wavelet.norms(levels), strict=True):
        # Columns and rows of their own size, which whole rows, or columns at a fixed distance, would miss.
        size = np.add.outer(np.arange(y.stop - y.start) % 7, np.arange(x.stop - x.start) % 32)
        c[:] = 0
        c[:, y, x] = size
        found, counts = sample.sample_of(c, levels)
        assert len(found) < c.size / 2
        expected = norm * float(np.square(c, dtype=np.float64).sum())
        assert float(counts @ np.square(found, dtype=np.float64)) == pytest.approx(expected, rel=0.1)


def _analysed(block: np.ndarray[Any, Any], mse: float) -> tuple[low_rank.Analysis, float]:
    analysis = low_rank.analyse(block, mse)
    assert analysis is not None
    return analysis, low_rank.solve_step(analysis, analysis.step, mse / analysis.unit**2)


@pytest.mark.parametrize(("noise", "mse"), [(5.0, 900.0), (5.0, 100.0), (60.0, 400.0)])
def test_windows_tell_the_error_of_the_planes(noise: float, mse: float) -> None:
    block = _hills(6, 320, 5, noise)
    analysis, step = _analysed(block, mse)
    told = foretell(analysis, step, block, np.ones((1, 320, 320), bool), Goal(mse, None))
    layer = low_rank.quantise(analysis, step)
    assert layer is not None
    exact = analysis.coefficients.copy()
    wavelet.inverse(exact, layer.levels)
    missed = low_rank.score_planes(layer) - exact / np.float32(step)
    truth = float(np.square(missed, dtype=np.float64).sum()) * step**2 / block.size
    assert told.kin * (low_rank.estimate(analysis, step) - analysis.lost) == pytest.approx(truth, rel=0.03)


@pytest.mark.parametrize("mse", [1000.0, 3000.0])
def test_windows_tell_what_is_mended(mse: float) -> None:
    block, rng = _hills(40, 320, 6, 20.0), np.random.default_rng(7)
    for _ in range(300):  # spectra that nothing else has
        y, x = rng.integers(0, 320, 2)
        block[rng.integers(40), y, x] += 2500
    analysis, step = _analysed(block, mse)
    real = np.ones((1, 320, 320), bool)
    told = foretell(analysis, step, block, real, Goal(mse, None))
    layer = low_rank.quantise(analysis, step)
    assert layer is not None
    found = fit_of(block, real, layer, Goal(mse, None), low_rank.score_planes(layer))
    assert found.mended > 0.1 * found.error
    assert told.mended == pytest.approx(found.mended / (found.mended + found.error), rel=0.25)


def test_small_blocks_tell_nothing() -> None:
    block = _hills(6, 90, 5, 5.0)
    analysis, step = _analysed(block, 900.0)
    assert foretell(analysis, step, block, np.ones((1, 90, 90), bool), Goal(900.0, None)) == Foretold()


def _rounds(block: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many layers are tried on the whole block, for all the SNRS."""
    made: list[Fit] = []

    def counted(*args: Any) -> Fit:
        made.append(fit_of(*args))
        return made[-1]

    monkeypatch.setattr(rate, "fit_of", counted)
    for snr in SNRS:
        encode(block, None, Bound("snr", snr))
    return len(made)


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_one_round_is_the_rule(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = open_scene(SAMPLE)
    block = scene.read(central_window(scene, 320))[0].astype(dtype)
    assert _rounds(block, monkeypatch) <= len(SNRS) + 1
    monkeypatch.setattr(rate, "foretell", lambda *_: Foretold(kin=1.1))
    assert _rounds(block, monkeypatch) >= 2 * len(SNRS)  # and would not be, were it told wrongly


def test_two_rounds_are_enough_where_rounding_is_most_of_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = open_scene(SAMPLE)
    block = (scene.read(central_window(scene, 320))[0] // 40).astype(np.uint8)
    assert _rounds(block, monkeypatch) <= 2 * len(SNRS)
