"""Floor 2: kernels of the transform against slow twins."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.denoise.anscombe import destabilised, stabilised, variance_sum
from pipeline.denoise.details import centred
from pipeline.denoise.targets import farther


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_the_transform_and_its_inverse_are_their_formulas(dtype):
    rng = np.random.default_rng(8)
    block = rng.uniform(0, 900, (3, 9, 13)).astype(dtype)
    gain, floor = np.array([0.3, 0.0, 2.0]), np.array([-30.0, 0.0, 100.0])
    least, unit = np.array([20.0, 1.0, 5.0]), np.array([1.0, 0.25, 1.0])
    found, back = np.empty(block.shape, np.float32), np.empty(block.shape, np.float32)
    stabilised(block, gain, floor, least, unit, found)
    destabilised(found, gain, floor, least, unit, back)
    for b in (0, 2):
        a, c, lowest = gain[b], floor[b], least[b]
        under = a * block[b].astype(float) + 0.375 * a**2 + c
        root = np.sqrt(np.maximum(under, lowest)) + np.minimum(under - lowest, 0) / (2 * np.sqrt(lowest))
        np.testing.assert_allclose(found[b], 2 / a * root, rtol=1e-6, atol=1e-6)
        line = 2 / a * np.sqrt(lowest)
        D = np.maximum(np.maximum(found[b].astype(float), line), 2 * np.sqrt(0.375))
        counts = D**2 / 4 - 1 / 8 + np.sqrt(1.5) / (4 * D) - 11 / (8 * D**2) + 5 / 8 * np.sqrt(1.5) / D**3
        straight = np.sqrt(lowest) * np.minimum(found[b].astype(float) - line, 0)
        np.testing.assert_allclose(back[b], a * counts - c / a + straight, rtol=1e-5, atol=1e-3)
    assert (0.3 * block[0] + 0.375 * 0.09 - 30 < 20).any()
    np.testing.assert_array_equal(found[1], (block[1] * 0.25).astype(np.float32))
    np.testing.assert_allclose(back[1], block[1], rtol=1e-6)
    valid = rng.random((9, 13)) < 0.7
    expected = np.maximum(0.3 * block[0].astype(float) - 60, 0)[valid].sum()
    assert variance_sum(block[0], valid, 0.3, -60.0) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float64])
def test_bands_are_centred_on_their_valid_pixels(dtype):
    rng = np.random.default_rng(9)
    band, valid = rng.uniform(0, 200, (11, 14)).astype(dtype), rng.random((11, 14)) < 0.8
    if band.dtype.kind == "f":
        band[~valid] = np.nan
    pixels = np.empty(band.shape, np.float32)
    centre, energy, peak = centred(band, valid, int(valid.sum()), pixels)
    about = band[valid].astype(float) - band[valid].astype(float).mean()
    assert centre == pytest.approx(band[valid].astype(float).mean())
    assert energy == pytest.approx((about**2).sum())
    assert peak == pytest.approx(np.abs(about).max())
    np.testing.assert_allclose(pixels[valid], about, rtol=1e-5, atol=1e-5)
    assert not pixels[~valid].any()


def test_what_is_farther_than_noise_is_seen_pixel_by_pixel():
    rng = np.random.default_rng(10)
    planes, smooth = rng.standard_normal((2, 4, 7, 9)).astype(np.float32)
    lost = np.zeros((7, 9), bool)
    farther(planes, smooth, np.float32(8.0), lost)
    np.testing.assert_array_equal(lost, ((planes - smooth) ** 2).sum(axis=0) > 8.0)
    assert 0 < lost.sum() < lost.size
