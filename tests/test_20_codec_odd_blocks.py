"""Blocks of an odd shape: many bands of few pixels, narrow ones, and bounds that allow anything."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.codec import Bound, Header, decode, encode, entropy, predicted, predictor_fit

BOUNDS = [Bound("lossless"), Bound("max_error", 2), Bound("max_error", 3000), Bound("rmse", 0.3), Bound("snr", 60)]


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
@pytest.mark.parametrize("shape", [(20_000, 1, 2), (65_536, 1, 1), (17_000, 2, 2)])
def test_what_is_written_of_many_bands_of_hardly_a_pixel_is_read(shape, bound):
    """Of bands that are all alike next to no bytes are left by a predictor of more coefficients than readers take."""
    block = np.zeros(shape, np.uint16) + (np.arange(shape[0], dtype=np.uint16) // 300)[:, None, None]
    decoded, valid = decode(encode(block, None, bound))
    assert valid.all()
    assert np.abs(decoded.astype(np.int64) - block).max() <= (bound.value if bound.mode == "max_error" else 0.5)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_zeros_under_a_bound_that_allows_anything(dtype):
    block = np.zeros((2, 3, 4), dtype)
    np.testing.assert_array_equal(decode(encode(block, None, Bound("snr", -4000)))[0], block)


def _many(shape, seed=0, dtype=np.uint16):
    """Bands that are alike in space and from one to the next."""
    rng = np.random.default_rng(seed)
    fields = rng.normal(0, 20, (3, *shape[1:])).cumsum(axis=1).cumsum(axis=2)
    mixed = (rng.normal(0, 0.1, (shape[0], 3)).cumsum(axis=0) @ fields.reshape(3, -1)).reshape(shape)
    return np.rint(2000 + mixed + rng.normal(0, 3, shape)).clip(0, 65535).astype(dtype)


@pytest.mark.parametrize("step", [1, 5])
@pytest.mark.parametrize("shape", [(300, 5, 7), (260, 1, 60), (300, 24, 24), (256, 40, 9)])
def test_many_bands_of_few_pixels_are_foretold_in_one_loop_as_well_as_one_by_one(shape, step, monkeypatch):
    block = _many(shape)
    real = np.random.default_rng(1).random((1, *shape[1:])) < 0.9
    single = predictor_fit._fit_band
    monkeypatch.setattr(predictor_fit, "_fit_band", None)  # a call for each band is what takes the time
    section, decoded = predicted.encode_predicted(block, real, step, "fast")
    known = np.broadcast_to(real, shape)
    assert np.abs(decoded.astype(int) - block)[known].max() <= step // 2
    header = Header(shape, block.dtype, Bound("lossless"), residual_step=float(step))
    np.testing.assert_array_equal(predicted.decode_predicted(header, section, real), decoded)
    monkeypatch.setattr(predictor_fit, "_fit_band", single)
    monkeypatch.setattr(predictor_fit, "MANY_BANDS", 1 << 20)
    slow, _ = predicted.encode_predicted(block, real, step, "fast")
    assert len(section.payload) < 1.01 * len(slow.payload)


def test_squares_and_bands_without_a_valid_pixel_among_many_bands():
    block = np.repeat(np.repeat(_many((300, 9, 9)), 2, axis=1), 2, axis=2)[:, 1:, :]
    block[7] = _many((1, 17, 18))
    valid = np.ones(block.shape, bool)
    valid[11] = False
    model = predictor_fit.find_repeats(block.astype(np.int32), valid)
    assert model[3].tolist() == [2, 1, 0]
    assert model[7].tolist() == [1, 0, 0]
    decoded, real = decode(encode(block, valid, Bound("lossless")))
    np.testing.assert_array_equal(real, valid)
    np.testing.assert_array_equal(decoded[valid], block[valid])


@pytest.mark.parametrize("value", [0, 40_000])
def test_many_bands_of_nothing_but_one_value(value):
    block = np.full((300, 6, 6), value, np.uint16)
    data = encode(block, None, Bound("max_error", 1))
    np.testing.assert_array_equal(decode(data)[0], block)
    assert len(data) < 2000


@pytest.mark.parametrize("planes", [1, 3, 700])
@pytest.mark.parametrize("pixels", [1, 3, 8, 40])
def test_bit_planes_of_small_planes_are_as_one_by_one(planes, pixels, monkeypatch):
    values = np.random.default_rng([planes, pixels]).integers(-40, 40, (planes, 1, pixels)).astype(np.int32)
    boxes = np.array([[0, 1, 0, pixels]])
    payload = entropy.encode_integers(values, boxes)
    monkeypatch.setattr(entropy, "TOGETHER", 1)
    assert entropy.encode_integers(values, boxes) == payload
    decoded = np.empty_like(values)
    monkeypatch.undo()
    entropy.decode_integers(payload, decoded, boxes)
    np.testing.assert_array_equal(decoded, values)


@pytest.mark.parametrize("together", [1, 40, 1 << 14])
@pytest.mark.parametrize("wide", [False, True])
def test_squares_are_found_however_many_bands_are_looked_at_at_once(together, wide, monkeypatch):
    monkeypatch.setattr(predictor_fit, "TOGETHER", together)
    planes = np.random.default_rng(0).integers(0, 99, (9, 12, 18)).astype(np.int32)
    planes[4] = np.repeat(np.repeat(planes[4, ::3, ::3], 3, axis=0), 3, axis=1)
    real = np.ones((9 if wide else 1, 12, 18), bool)
    assert predictor_fit.find_repeats(planes, real)[:, 0].tolist() == [1, 1, 1, 1, 3, 1, 1, 1, 1]
