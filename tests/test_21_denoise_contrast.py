"""Scenes far brighter than their noise, fills that nobody has declared, dtypes of other machines."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pipeline.denoise import denoise_block, settings_for
from pipeline.denoise.noise import estimate_noise
from pipeline.denoise.spread import spread


def fields(bands, low, high):
    """(band, y, x): squares of 32 pixels, dark and bright in turn."""
    y, x = np.mgrid[:192, :192]
    return np.where((x // 32 + y // 32) % 2, high, low)[None] * np.linspace(1, 0.5, bands)[:, None, None]


@pytest.mark.parametrize("quality", ["fast", "quality"])
@pytest.mark.parametrize(("bands", "noise"), [(1, 0.1), (1, 10.0), (4, 1.0), (4, 100.0)])
def test_noise_far_below_the_contrast_is_found_and_taken(bands, noise, quality):
    """Float32 rounds the strongest directions by more than the noise of the faintest."""
    truth = fields(bands, 200.0, 10000.0)
    noisy = truth + np.random.default_rng(1).normal(0, noise, truth.shape)
    valid = np.ones(truth.shape[1:], bool)
    result = denoise_block(noisy.astype(np.float32), valid, quality=quality, sigma=noise).block
    inner = np.ones_like(valid)
    for axis in (0, 1):
        edges = np.abs(np.arange(192) % 32 - 15.5) > 10
        inner &= ~(edges[:, None] if axis == 0 else edges[None])
    assert np.sqrt(np.mean((result - truth)[:, inner] ** 2)) < 0.5 * noise


@pytest.mark.parametrize("quality", ["fast", "quality"])
@pytest.mark.parametrize(("fill", "dtype"), [(-9999, "i2"), (65535, "u2"), (-99999.0, "f4")])
def test_a_fill_that_nobody_has_declared_is_one_more_place(fill, dtype, quality):
    rng = np.random.default_rng(0)
    truth = ndimage.gaussian_filter(rng.normal(0, 1, (4, 192, 192)), (0, 3, 3)) * 600 + 2500
    filled = np.add.outer(np.arange(192), 2 * np.arange(192)) < 150
    block = truth + rng.normal(0, 3, truth.shape)
    block[:, filled] = fill
    result = denoise_block(block.astype(dtype), np.ones(filled.shape, bool), quality=quality).block
    far = ~ndimage.binary_dilation(filled, iterations=8)
    assert np.sqrt(np.mean((result - truth)[:, far] ** 2)) < 3.3
    np.testing.assert_allclose(result[:, filled].mean(), fill, rtol=1e-3)


@pytest.mark.parametrize(("there", "here"), [(">u2", "u2"), (">f4", "f4"), (">f8", "f8"), ("f2", "f4"), ("g", "f8")])
def test_dtypes_of_other_machines_are_those_of_this_one(there, here):
    rng = np.random.default_rng(2)
    numbers = np.rint(rng.normal(100, 3, (3, 40, 40))).astype(here)
    valid = np.ones((40, 40), bool)
    found = denoise_block(numbers.astype(there), valid)
    wanted = denoise_block(numbers, valid)
    assert found.touched.all()
    np.testing.assert_array_equal(found.block, wanted.block)


@pytest.mark.filterwarnings("error")
def test_what_holes_hold_is_not_reckoned_with():
    rng = np.random.default_rng(3)
    block = rng.normal(100, 3, (2, 64, 64)).astype(np.float32)
    valid = np.ones((64, 64), bool)
    valid[:, 20:29] = False
    plain = denoise_block(block, valid).block
    block[:, ~valid] = np.inf
    np.testing.assert_array_equal(denoise_block(block, valid).block[:, valid], plain[:, valid])


def test_nothing_is_said_of_no_details():
    np.testing.assert_array_equal(spread(np.empty((2, 0), np.float32)), 0)
    wild = np.random.default_rng(4).normal(0, 1, (2, 64, 64)).astype(np.float32)
    wild[:, :32] = -3.4e38
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.isfinite(estimate_noise(wild, np.ones((64, 64), bool))).all()


def test_fast_learns_from_closer_patches_where_few_of_them_would_be():
    settings = settings_for("fast", 10)
    large, middle, small = (settings.learning(side**2, 10) for side in (512, 256, 64))
    assert (large, middle) == ((3, 4), (3, 3))
    assert small[0] * small[1] <= 64**2 / (12 * 250) or small == (1, 1)
    assert settings.directions(250 * 20, 250) == 1.25
    assert settings.directions(250 * 20 - 1, 250) == 1.5
    assert settings_for("quality", 10).directions(1e9, 250) == 1.5
