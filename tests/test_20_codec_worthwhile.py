"""What is not worth its bits is left out before it is coded, and no more than that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codec import Bound, decode, encode, low_rank, rate, wavelet, worthwhile
from pipeline.codec.container import unpack

Block = NDArray[np.float32]


def _noisy(bands: int, side: int, seed: int, noise: float = 1.0) -> Block:
    """A few smooth fields mixed into bands, and noise that no basis makes less."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = np.stack([np.sin(rng.uniform(1, 9) * x + rng.uniform(1, 9) * y + i) for i in range(5)])
    mixed = np.tensordot(rng.normal(size=(bands, 5)), waves, 1)
    return (100 * mixed + rng.normal(0, noise, mixed.shape)).astype(np.float32)


def _tried(block: Block, mse: float) -> tuple[low_rank.Analysis, low_rank.Analysis, Block]:
    """The analysis, it without what is not worth its bits, and the coefficients as they were."""
    whole = low_rank.analyse(block, mse, rotated=True)
    assert whole is not None
    target = mse / whole.unit**2
    before = whole.coefficients.copy()
    return whole, worthwhile.worthwhile(whole, low_rank.solve_step(whole, whole.step, target), target), before


def _data(analysis: low_rank.Analysis, coefficients: Block) -> NDArray[np.float64]:
    """What coefficients stand for, in units of the analysis, centred."""
    planes, layer = coefficients.copy(), analysis.layer
    boxes = low_rank.boxes_of(*planes.shape[1:], layer.levels)
    low_rank.rotate(planes, boxes, layer.rotations, back=True)
    wavelet.inverse(planes, layer.levels)
    return np.tensordot(layer.weights.astype(np.float64), planes, 1)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 40), st.integers(33, 90), st.floats(0.5, 2.0), st.integers(0, 99))
def test_what_is_lost_is_what_the_data_miss(bands: int, side: int, level: float, seed: int) -> None:
    whole, rest, before = _tried(_noisy(bands, side, seed), level)
    missed = np.square(_data(whole, before) - _data(rest, rest.coefficients)).mean()
    # Wavelets are not quite orthogonal, nor are rounded columns.
    assert rest.lost - whole.lost == pytest.approx(missed, rel=0.25, abs=1e-4 * level / whole.unit**2)
    assert len(rest.coefficients) == len(rest.layer.entries) == len(rest.layer.exponents) == len(rest.layer.scores)
    assert rest.sample.size * len(before) == whole.sample.size * len(rest.coefficients)
    assert rest is whole or not rest.tried


def test_planes_of_noise_are_left_out_and_bytes_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    block, bound = _noisy(60, 128, 3), Bound("rmse", 1.03)
    found = encode(block, None, bound, effort="best")
    monkeypatch.setattr(rate, "worthwhile", lambda analysis, *_: analysis)
    before = encode(block, None, bound, effort="best")
    assert unpack(found)[0].rank <= 8 < unpack(before)[0].rank
    assert len(found) < 0.9 * len(before)
    for data in (found, before):
        assert 1.015 < np.sqrt(np.square(decode(data)[0] - block.astype(np.float64)).mean()) <= 1.03


@pytest.mark.parametrize(
    ("bands", "side", "share", "rmse"), [(10, 96, 0.8, 0.8), (60, 64, 0.5, 1.03), (10, 128, 1, 0.93)]
)
def test_planes_stay_where_the_others_would_pay_for_them(
    bands: int, side: int, share: float, rmse: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under holes there is no noise: what may be lost is a share of what the valid may miss."""
    valid = np.broadcast_to(np.arange(side) < int(side * share), (side, side)).copy()
    block, bound = _noisy(bands, side, int(side * 1000 + bands + share * 100)), Bound("rmse", rmse)
    found = encode(block, valid, bound, effort="best")
    monkeypatch.setattr(rate, "worthwhile", lambda analysis, *_: analysis)
    assert len(found) <= 1.02 * len(encode(block, valid, bound, effort="best"))


def test_a_target_that_is_alone_stays() -> None:
    block = _noisy(30, 128, 5)
    signature = np.where(np.arange(30) % 2, 40.0, -40.0).astype(np.float32)
    block[:, 60:63, 70:73] += signature[:, None, None]
    whole, rest, before = _tried(block, 1.0)
    target = np.s_[:, 60:63, 70:73]
    seen, kept = _data(whole, before)[target], _data(rest, rest.coefficients)[target]
    along = signature / np.linalg.norm(signature)
    assert len(rest.coefficients) < len(before)
    np.testing.assert_allclose(np.tensordot(along, kept, 1), np.tensordot(along, seen, 1), rtol=0.05)


def test_where_too_much_would_be_lost_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worthwhile, "MOST_LOST", 0.01)
    whole, rest, before = _tried(_noisy(60, 128, 3), 0.9)
    assert rest is whole
    np.testing.assert_array_equal(whole.coefficients, before)


def test_nothing_and_next_to_nothing_are_served() -> None:
    flat = np.full((4, 40, 40), 7.0, np.float32)
    whole, rest, _ = _tried(flat, 1.0)
    assert rest is whole
    tiny: Any = np.random.default_rng(1).normal(0, 1e-30, (4, 40, 40)).astype(np.float32)
    data = encode(tiny, None, Bound("snr", 40.0), effort="best")
    error = np.square(decode(data)[0].astype(np.float64) - tiny).sum() / np.square(tiny.astype(np.float64)).sum()
    assert error <= 1e-4


def test_what_holes_may_miss_is_not_allowed_to_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = []

    def told(analysis: low_rank.Analysis, step: float, mse: float) -> low_rank.Analysis:
        allowed.append(mse * analysis.unit**2)
        return analysis

    monkeypatch.setattr(rate, "worthwhile", told)
    valid = np.broadcast_to(np.arange(64) < 16, (64, 64)).copy()
    encode(_noisy(4, 64, 1), valid, Bound("rmse", 2.0), effort="best")
    assert allowed == [pytest.approx(0.25 * 2.0**2, rel=0.01)]
