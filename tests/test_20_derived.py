"""Floor 2: bands computed from others say nothing of those others' noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pipeline.denoise import denoise_block
from pipeline.denoise.derived import derived_noise, independent, relations
from pipeline.denoise.noise import estimate_noise

NOISE = np.array([0.02, 0.03, 0.02, 0.04, 0.02, 0.03])
DERIVED = {
    "one twice": [[0, 1, 0, 0, 0, 0]],
    "a mean": [[1 / 3, 1 / 3, 1 / 3, 0, 0, 0]],
    "a difference": [[0, 0, 0, 1, -1, 0]],
    "one twice and a mean": [[0, 1, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5, 0]],
}


def scene(seed=0, size=128):
    """Six noisy bands (band, y, x) of three textured maps, and what they are without noise."""
    rng = np.random.default_rng(seed)
    maps = ndimage.gaussian_filter(rng.standard_normal((3, size, size)), (0, 6, 6)) * 3
    maps += ndimage.gaussian_filter(rng.standard_normal((3, size, size)), (0, 1.5, 1.5)) * 0.2
    clean = np.tensordot(rng.uniform(0.2, 1.0, (6, 3)), maps, 1)
    return clean + NOISE[:, None, None] * rng.standard_normal(clean.shape), clean


def beside(block, weights, place):
    """The block with sums of its bands by weights (derived, band) among them, from band `place` on."""
    rows = np.insert(np.eye(6), place, weights, axis=0)
    return np.tensordot(rows, block, 1).astype(np.float32), np.sqrt(np.square(rows) @ np.square(NOISE))


@pytest.mark.parametrize("place", [6, 0, 3])
@pytest.mark.parametrize("weights", DERIVED.values(), ids=DERIVED)
def test_noise_is_that_of_the_bands_without_the_derived_ones(weights, place):
    noisy, _ = scene()
    block, sigma = beside(noisy, weights, [place] * len(weights))
    valid = np.ones(block.shape[1:], bool)
    np.testing.assert_allclose(estimate_noise(block, valid), sigma, rtol=0.1)


@pytest.mark.parametrize("weights", DERIVED.values(), ids=DERIVED)
def test_bands_beside_derived_ones_are_denoised(weights):
    """Not quite as well as by themselves, .2 to .35 of their noise: what two bands share looks like the scene."""
    noisy, clean = scene()
    block = beside(noisy, weights, [6] * len(weights))[0]
    error = (denoise_block(block, np.ones(block.shape[1:], bool)).block[:6] - clean).std(axis=(1, 2))
    assert (error < 0.5 * NOISE).all()


def test_a_band_twice_has_the_same_noise_twice():
    noisy, _ = scene(1)
    block = beside(noisy, DERIVED["one twice"], [6])[0]
    found = estimate_noise(block, np.ones(block.shape[1:], bool))
    np.testing.assert_allclose(found[1], found[6], rtol=1e-3)


def independent_of(x):
    told = relations(x.astype(np.float32), np.full((len(x), 1), 9, np.float32))
    return independent(told, told.scale).tolist()


def test_bands_that_are_not_derived_all_remain_and_a_scene_of_few_planes_too():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((9, 500))
    assert independent_of(x) == list(range(9))
    # Told but for a twentieth, as bands of real scenes are.
    x[4] = x[2] + 0.05 * x[4]
    assert independent_of(x) == list(range(9))
    assert independent_of(rng.standard_normal((9, 4)) @ rng.standard_normal((4, 500))) == list(range(9))


@pytest.mark.parametrize("cells", [0, 20])
def test_too_few_cells_tell_no_relation(cells):
    x = np.ones((6, 1)) * np.random.default_rng(2).standard_normal((1, cells))
    assert independent_of(x) == list(range(6))


def test_the_derived_one_is_left_out_and_of_twins_the_last():
    x = np.random.default_rng(3).standard_normal((6, 500))
    x[1] = x[[0, 2, 3]].sum(axis=0)
    assert independent_of(x) == [0, 2, 3, 4, 5]
    x[1] = x[3]
    assert independent_of(x) == [0, 1, 2, 4, 5]
    x[3, :50] = 1e6  # in cells where one band is astray nothing is read
    assert independent_of(x) == [0, 1, 2, 4, 5]


def test_noise_of_a_sum_is_that_of_its_parts():
    x = np.array([3.0, 1.0, 0.2])[:, None] * np.random.default_rng(4).standard_normal((3, 4000))
    told = relations(np.insert(x, 1, 2 * x[0] + x[1], axis=0).astype(np.float32), np.full((4, 1), 99, np.float32))
    found = derived_noise(told, np.array([0, 2, 3]), np.array([0.3, 0.4, 0.1]))
    np.testing.assert_allclose(found, [0.3, np.hypot(0.6, 0.4), 0.4, 0.1], rtol=1e-3)
