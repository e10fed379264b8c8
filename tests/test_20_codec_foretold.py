"""What a layer will miss is told beforehand, by a little of the block: so one round is the rule."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.codec import Bound, encode, low_rank, parts, rate, sample, wavelet
from pipeline.codec.fit import Fit, Goal, fit_of
from pipeline.codec.foretold import Foretold, before_rounding, foretell, missed_by
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


def _missed_by_planes(analysis: low_rank.Analysis, step: float) -> float:
    """Mean squared error of the planes of the layer at this step, an element of the block, in units squared."""
    layer = low_rank.quantise(analysis, step)
    assert layer is not None
    exact = analysis.coefficients.copy()
    wavelet.inverse(exact, layer.levels)
    missed = low_rank.score_planes(layer) - exact / np.float32(step)
    return float(np.square(missed, dtype=np.float64).sum()) * step**2 / (len(layer.mean) * exact[0].size)


@pytest.mark.parametrize(("noise", "mse"), [(5.0, 900.0), (5.0, 100.0), (60.0, 400.0)])
def test_windows_tell_the_error_of_the_planes(noise: float, mse: float) -> None:
    block = _hills(6, 320, 5, noise)
    analysis, step = _analysed(block, mse)
    told = foretell(analysis, step, block, np.ones((1, 320, 320), bool), Goal(mse, None, mse))
    truth = _missed_by_planes(analysis, step)
    assert told.kin * (low_rank.estimate(analysis, step) - analysis.lost) == pytest.approx(truth, rel=0.03)


@pytest.mark.parametrize(
    ("side", "holes", "off"), [(60, 0.0, 1e-4), (320, 0.0, 2e-3), (320, 0.3, 4e-3), (161, 0.9, 1e-4)]
)
@pytest.mark.parametrize("mse", [30.0, 300.0])
def test_rows_tell_the_error_and_what_outliers_mend(side: int, holes: float, off: float, mse: float) -> None:
    """All of them where there are few pixels; of more every fifth."""
    rng, block = np.random.default_rng(1), _hills(24, side, 5, 2.0)
    real = rng.random((1, side, side)) >= holes
    rare = real[0] & (rng.random((side, side)) < 0.005)  # in one band, so that the basis passes them over
    block[3, rare] += np.uint16(12 * np.sqrt(mse))
    analysis = low_rank.analyse(block, mse, rotated=True, valid=float(real.mean()))
    assert analysis is not None
    assert analysis.windows[0].scores.shape[1] == (side if side < 320 else side / 5)
    layer = low_rank.quantise(analysis, low_rank.solve_step(analysis, analysis.step, mse / analysis.unit**2))
    assert layer is not None
    found = fit_of(block, real, layer, Goal(mse, None, mse), low_rank.score_planes(layer))
    count = 24 * np.count_nonzero(real)
    error, mended = missed_by(analysis, layer, block, real, Goal(mse, None, mse), float)
    assert found.mended > 0.003 * found.error
    assert error - mended == pytest.approx(found.error / count, rel=off)
    assert mended == pytest.approx(found.mended / count, rel=1e-6 if side < 320 else 0.2)


def test_the_last_trellis_aims_lower_where_none_before_kept_the_bound() -> None:
    block, mse = _hills(3, 64, 5, 9.0), 50.0
    analysis = low_rank.analyse(block, mse, rotated=True)
    assert analysis is not None
    step = low_rank.solve_step(analysis, analysis.step, mse / analysis.unit**2)

    def last(first: float) -> float:
        """What is tried last after three errors, the first of them in shares of the bound."""
        search = rate._by_error(analysis, lambda layer: (mse, 0.0), block.size, step, mse, float)
        assert search is not None
        for told, error in ((1.0, first), (0.9, 1.1), (0.85, 1.01)):
            number = search.following(told * search.first, error * mse, 0.0)
        return number / search.first

    assert last(0.9) < 0.85
    assert last(1.2) < 0.995 * last(0.9)


def test_the_borders_of_windows_are_allowed_for() -> None:
    """White noise, finely quantised: windows have many borders, the block has few."""
    block = np.random.default_rng(4).normal(0, 1000, (4, 320, 320)).astype(np.float32)
    analysis, step = _analysed(block, 2000.0)
    told = foretell(analysis, step, block, np.ones((1, 320, 320), bool), Goal(2000.0, None, 2000.0))
    layer = low_rank.quantise(analysis, step)
    assert layer is not None
    truth = float(np.square(low_rank.predict(layer, block.dtype) - block, dtype=np.float64).mean()) / analysis.unit**2
    assert told.kin * low_rank.estimate(analysis, step) == pytest.approx(truth, rel=0.004)


@pytest.mark.parametrize(("slope", "snr"), [(3, 25), (4, 25), (5, 25), (4, 40), (5, 40)])
def test_smooth_blocks_are_not_told_by_a_few_coarse_coefficients(slope: int, snr: int) -> None:
    """Heights and temperatures: nearly all of the error is in subbands of which a window has next to nothing."""
    rng, side = np.random.default_rng([slope, 3]), 300
    k = np.hypot(np.fft.fftfreq(2 * side)[:, None], np.fft.rfftfreq(2 * side))
    k[0, 0] = np.inf
    waves = np.fft.rfft2(rng.normal(size=(2, 2 * side, 2 * side))) * k ** (-slope / 2)
    block = np.fft.irfft2(waves)[:, :side, :side]
    block = (1000 + 100 * block / block.std()).astype(np.float32)
    mse = float(block.var()) / 10 ** (snr / 10)
    analysis, step = _analysed(block, mse)
    told = foretell(analysis, step, block, np.ones((1, side, side), bool), Goal(mse, None, mse))
    truth = _missed_by_planes(analysis, step)
    assert told.kin == pytest.approx(truth / (low_rank.estimate(analysis, step) - analysis.lost), abs=0.08)


@pytest.mark.parametrize("mse", [1000.0, 3000.0])
def test_windows_tell_what_is_mended(mse: float) -> None:
    block, rng = _hills(40, 320, 6, 20.0), np.random.default_rng(7)
    for _ in range(300):  # spectra that nothing else has
        y, x = rng.integers(0, 320, 2)
        block[rng.integers(40), y, x] += 2500
    analysis, step = _analysed(block, mse)
    real = np.ones((1, 320, 320), bool)
    told = foretell(analysis, step, block, real, Goal(mse, None, mse))
    layer = low_rank.quantise(analysis, step)
    assert layer is not None
    found = fit_of(block, real, layer, Goal(mse, None, mse), low_rank.score_planes(layer))
    assert found.mended > 0.1 * found.error
    assert told.mended == pytest.approx(found.mended / (found.mended + found.error), rel=0.25)


def test_small_blocks_tell_nothing() -> None:
    block = _hills(6, 90, 5, 5.0)
    analysis, step = _analysed(block, 900.0)
    assert foretell(analysis, step, block, np.ones((1, 90, 90), bool), Goal(900.0, None, 900.0)) == Foretold()


def _rounds(block: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch, snrs: tuple[float, ...] = SNRS) -> int:
    """How many layers are tried on the whole block, for all of these bounds."""
    made: list[Fit] = []

    def counted(*args: Any) -> Fit:
        made.append(fit_of(*args))
        return made[-1]

    monkeypatch.setattr(rate, "fit_of", counted)
    for snr in snrs:
        encode(block, None, Bound("snr", snr))
    return len(made)


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_one_round_is_the_rule(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = open_scene(SAMPLE)
    block = scene.read(central_window(scene, 320))[0].astype(dtype)
    assert _rounds(block, monkeypatch) <= len(SNRS) + 1
    monkeypatch.setattr(rate, "foretell", lambda *_: Foretold(kin=1.1))
    assert _rounds(block, monkeypatch) >= 2 * len(SNRS)  # and would not be, were it told wrongly


def test_what_will_be_mended_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    block, rng = _hills(40, 320, 6, 20.0), np.random.default_rng(7)
    for _ in range(300):
        y, x = rng.integers(0, 320, 2)
        block[rng.integers(40), y, x] += 2500
    told = _rounds(block, monkeypatch)
    monkeypatch.setattr(rate, "foretell", lambda *args: foretell(*args)._replace(mended=0.0))
    assert _rounds(block, monkeypatch) > told
    monkeypatch.setattr(rate, "foretell", foretell)
    monkeypatch.setattr(rate, "SOME_MORE", 0.0)
    assert _rounds(block, monkeypatch) > told


@pytest.mark.parametrize(("dtype", "snr", "most"), [("u1", 10.0, 2292), ("f4", 30.0, 10026)])
def test_an_error_that_jumps_is_met_in_few_rounds(
    dtype: str, snr: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, x = np.mgrid[:300, :300]
    side = 9 if dtype == "u1" else 2
    block = (((y // side + x // side) % 2) * 100)[None].astype(dtype)
    assert len(encode(block, None, Bound("snr", snr))) <= most
    monkeypatch.setattr(parts, "pieces", lambda *_: [])  # squares are cells of a coarser grid: another way, tried too
    assert len(encode(block, None, Bound("snr", snr))) <= most
    assert _rounds(block, monkeypatch, (snr,)) <= 5


def test_a_step_is_found_between_steps_in_few_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    block = _hills(6, 320, 5, 2.0)
    count = 0
    real = low_rank.kernels.quantisation_moments

    def counted(*args: Any) -> None:
        nonlocal count
        count += 1
        real(*args)

    monkeypatch.setattr(low_rank.kernels, "quantisation_moments", counted)
    tried = 0
    for mse in (3000.0, 900.0, 100.0):
        analysis = low_rank.analyse(block, mse)
        assert analysis is not None
        count, wanted = 0, 2 * mse / analysis.unit**2
        step = low_rank.solve_step(analysis, analysis.step, wanted)
        assert low_rank.estimate(analysis, step) == pytest.approx(wanted, rel=2e-3)
        assert len(analysis.tried) == count  # none is tried twice
        tried += count
    assert tried <= 15


@pytest.mark.parametrize("snr", [42.0, 55.0, 60.0])
def test_a_small_bound_on_integers_is_not_searched_for_long(snr: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wrong integer is listed there, whatever the step; and without loss may be smaller from 42 dB on."""
    scene = open_scene(SAMPLE)
    block = (scene.read(central_window(scene, 320))[0] // 40).astype(np.uint8)
    assert _rounds(block, monkeypatch, (snr,)) <= 8
    assert len(encode(block, None, Bound("snr", snr))) <= len(encode(block, None, Bound("lossless")))


def test_two_rounds_are_enough_where_rounding_is_most_of_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = open_scene(SAMPLE)
    block = (scene.read(central_window(scene, 320))[0] // 40).astype(np.uint8)
    assert _rounds(block, monkeypatch) <= 2 * len(SNRS)
