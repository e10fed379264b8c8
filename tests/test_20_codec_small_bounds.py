"""Bounds finer than rounding, blocks of hardly a row, values that jump: no crash, no warning, no search for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.codec import Bound, chunk, decode, encode, low_rank, rate
from pipeline.codec.container import Kind, unpack


def _mean_square(block, data):
    return float(np.square(decode(data)[0].astype(np.float64) - block).mean())


def _rough(bands=4, side=96, seed=0):
    """Fields that predictors and layers tell about as well as each other, (band, y, x) uint16."""
    rng = np.random.default_rng(seed)
    fields = rng.normal(0, 300, (bands, side, side)).cumsum(axis=1).cumsum(axis=2) / 30 + rng.normal(0, 6, (side, side))
    return np.rint(20000 + fields).clip(0, 65535).astype(np.uint16)


@pytest.mark.parametrize("width", [7001, 22_000, 36_000])
@pytest.mark.parametrize("height", [1, 2, 3])
def test_wide_blocks_of_hardly_a_row_keep_their_promise(height, width):
    block = np.random.default_rng([height, width]).integers(0, 1000, (1, height, width)).astype(np.uint16)
    data = encode(block, None, Bound("snr", 30), effort="best")
    assert _mean_square(block, data) <= np.square(block.astype(np.float64)).mean() / 1000


@pytest.mark.parametrize(("height", "rows"), [(1, [0]), (2, [1]), (3, [2]), (9, [2, 7])])
def test_some_row_is_tried(height, rows):
    scores = np.arange(height)[None, :, None] * np.ones((1, 1, 40_000), np.float32)
    (window,) = low_rank._rows(scores, 1.0)
    np.testing.assert_array_equal(window.scores[0, :, 0], rows)


@pytest.mark.parametrize("rmse", [0.02, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("effort", ["fast", "best"])
def test_a_bound_finer_than_rounding_takes_no_more_than_no_loss(rmse, effort):
    block = _rough()
    exact, data = (
        encode(block, None, Bound("lossless"), effort=effort),
        encode(block, None, Bound("rmse", rmse), effort=effort),
    )
    assert len(data) <= len(exact)
    assert _mean_square(block, data) <= rmse**2


def test_a_bound_that_next_to_no_element_may_miss_is_not_searched_for(monkeypatch):
    tried = []
    real = rate.fit_of
    monkeypatch.setattr(rate, "fit_of", lambda *args: (tried.append(args), real(*args))[1])
    data = encode(_rough(), None, Bound("rmse", 0.05))
    assert Kind.PREDICTED in unpack(data)[1]
    assert len(tried) <= 2


def test_where_values_are_few_a_list_of_them_is_found():
    block = np.random.default_rng(0).integers(0, 2, (3, 64, 64)).astype(np.uint8)
    data = encode(block, None, Bound("rmse", 0.1))
    assert Kind.OUTLIERS in unpack(data)[1]
    assert len(data) < 0.8 * len(encode(block, None, Bound("lossless")))
    np.testing.assert_array_equal(decode(data)[0], block)


def test_planes_that_are_few_are_a_layer_under_any_bound():
    """Of 60 bands of two fields a layer takes far less than what a predictor leaves of each."""
    rng = np.random.default_rng(1)
    fields = rng.normal(0, 3000, (2, 64 * 64))
    block = np.rint(rng.normal(size=(60, 2)) @ fields).astype(np.int16).reshape(60, 64, 64)
    data = encode(block, None, Bound("rmse", 0.3))
    assert Kind.SCORES in unpack(data)[1]
    assert len(data) < len(encode(block, None, Bound("lossless"))) / 2
    assert _mean_square(block, data) <= 0.09


@pytest.mark.parametrize("rmse", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("place", [(0, 5, 0), (1, 15, 0)])
def test_one_value_in_an_empty_block(place, rmse):
    block = np.zeros((2, 16, 1), np.int32)
    block[place] = 2**31 - 1
    assert _mean_square(block, encode(block, None, Bound("rmse", rmse), effort="best")) <= rmse**2


def test_a_checkerboard_of_extremes():
    block = ((2**31 - 1) * (np.indices((3, 40, 40)).sum(axis=0) % 2)).astype(np.int32)
    data = encode(block, None, Bound("snr", 150), effort="best")
    assert _mean_square(block, data) <= np.square(block.astype(np.float64)).mean() / 1e15


def _smooth():
    walks = np.random.default_rng(0).normal(0, 100, (4, 128, 128)).cumsum(axis=1).cumsum(axis=2) / 20
    return np.rint(walks + 5000).astype(np.uint16)


def _classes():
    return np.kron(np.random.default_rng(0).integers(0, 12, (1, 16, 16)), np.ones((1, 8, 8))).astype(np.uint8)


@pytest.mark.parametrize("rmse", [0.42, 0.5, 0.6, 0.7])
@pytest.mark.parametrize("effort", ["fast", "best"])
@pytest.mark.parametrize("made", [_smooth, _classes])
def test_a_bound_about_rounding_takes_no_more_than_no_loss(made, effort, rmse):
    block = made()
    exact = encode(block, None, Bound("lossless"), effort=effort)
    data = encode(block, None, Bound("rmse", rmse), effort=effort)
    assert len(data) <= len(exact)
    assert _mean_square(block, data) <= rmse**2


def test_of_what_no_loss_cannot_store_for_less_it_is_not_tried(monkeypatch):
    """Sixty bands of two fields, under a bound where the layer is far below what their differences take."""
    rng = np.random.default_rng(1)
    fields = rng.normal(0, 3000, (2, 64 * 64))
    block = np.rint(rng.normal(size=(60, 2)) @ fields).astype(np.int16).reshape(60, 64, 64)
    monkeypatch.setattr(chunk, "_exact", None)
    assert Kind.SCORES in unpack(encode(block, None, Bound("rmse", 0.6)))[1]
