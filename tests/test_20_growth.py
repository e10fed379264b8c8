"""Floor 2: texture that grows with the signal is no noise, and what is calm in all bands bounds the noise of each."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import rasterio

from pipeline.denoise import denoise_block
from pipeline.denoise.corner import corner_details, third_differences
from pipeline.denoise.details import wavelet_details
from pipeline.denoise.growth import is_texture
from pipeline.denoise.measure import measure
from pipeline.denoise.noise import calm_noise, noise_with_texture

SAMPLE = Path(__file__).parents[1] / "sample_data" / "s2_18SVG_crop_10band_20m.tif"


@cache
def coast() -> np.ndarray:
    """(10, 244, 244) reflectance x 10000, water and land; the means of 2 x 2 pixels, which have half of their noise."""
    with rasterio.open(SAMPLE) as source:
        pixels = source.read().astype(np.float64)
    return pixels.reshape(10, 244, 2, 244, 2).mean(axis=(2, 4))


def of_a_sensor(times: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The coast with noise of the size a sensor has, its variance so many times, and that variance, (band, y, x).

    From the signal to noise of Sentinel-2's bands: 4 over water, 10 to 12 over land.
    """
    variance = times * (16 + 0.037 * coast())
    noise = np.sqrt(variance) * np.random.default_rng(seed).standard_normal(variance.shape)
    return (coast() + noise).astype(np.float32), variance


@pytest.mark.parametrize("quality", ["fast", "quality"])
def test_texture_of_land_is_no_noise_of_bright_places(quality: str) -> None:
    """A line through it took three times the noise from the land: errors of 1.45 times the noise in the mean."""
    block, variance = of_a_sensor(1)
    valid = np.ones(block.shape[1:], bool)
    assert measure(block, valid, None).stabiliser is None
    after = denoise_block(block, valid, quality=quality).block
    error = np.sqrt(np.mean((after - coast()) ** 2, axis=(1, 2)) / np.mean(variance, axis=(1, 2)))
    assert (error < 1.0).all()
    assert error.mean() < 0.9


def test_noise_above_the_texture_is_found_to_grow() -> None:
    block, variance = of_a_sensor(36)
    found = measure(block, np.ones(block.shape[1:], bool), None)
    assert found.stabiliser is not None
    ratio = found.sigma / np.sqrt(variance.mean(axis=(1, 2)))
    assert 0.9 < np.median(ratio) < 1.1
    assert (ratio > 0.9).all()


def test_what_is_white_is_as_large_in_the_calmest_cells() -> None:
    """Noise that grows over a field is none; what grows as much, but not everywhere, is."""
    rng = np.random.default_rng(2)
    rows = np.linspace(100, 2000, 256)[:, None] + np.zeros(256)
    block = rows + np.sqrt(0.05 * rows) * rng.standard_normal((6, 256, 256))
    valid = np.ones((256, 256), bool)
    details = wavelet_details(block, valid)
    sigma = noise_with_texture(details)
    assert not is_texture(details, corner_details(block, valid, details), sigma)
    assert measure(block.astype(np.float32), valid, None).stabiliser is not None
    # In five of six patches of 32 pixels: calm places lie between.
    patches = np.kron(rng.random((8, 8)) < 5 / 6, np.ones((32, 32)))
    texture = np.sqrt(0.05 * rows) * patches * rng.standard_normal((6, 256, 256))
    textured = rows + rng.standard_normal((6, 256, 256)) + texture
    details = wavelet_details(textured, valid)
    sigma = noise_with_texture(details)
    assert is_texture(details, corner_details(textured, valid, details), sigma)
    assert measure(textured.astype(np.float32), valid, None).stabiliser is None


def test_too_few_cells_say_nothing_of_texture() -> None:
    block = np.random.default_rng(0).standard_normal((4, 24, 24))
    valid = np.ones((24, 24), bool)
    details = wavelet_details(block, valid)
    assert not is_texture(details, corner_details(block, valid, details), np.ones(4))


def test_calm_noise_of_white_noise_is_its_sigma_and_half_an_error() -> None:
    rng, valid = np.random.default_rng(3), np.ones((256, 256), bool)
    fields = np.einsum(
        "bk,kyx->byx", rng.standard_normal((8, 2)), np.cumsum(rng.standard_normal((2, 256, 256)), axis=2)
    )
    found = []
    for _ in range(8):
        block = fields + 5 * rng.standard_normal((8, 256, 256))
        found.append(calm_noise(block, valid, wavelet_details(block, valid)) / 5)
    # Of 1024 cells the error is 5.7 %.
    assert 1.0 < np.mean(found) < 1.06
    assert np.std(found) < 0.07


def test_whole_numbers_coarser_than_the_noise_do_not_bound_it() -> None:
    block = np.round(50 + 0.2 * np.random.default_rng(4).standard_normal((5, 200, 200)))
    block[0] = 50 + 0.2 * np.random.default_rng(5).standard_normal((200, 200))
    valid = np.ones((200, 200), bool)
    found = calm_noise(block, valid, wavelet_details(block, valid))
    assert np.isfinite(found[0])
    assert np.isinf(found[1:]).all()


def test_third_differences_of_chosen_cells_are_those_of_all() -> None:
    """Against the differences of the whole block, which `corner_details` takes row by row."""
    rng = np.random.default_rng(6)
    block, valid = rng.normal(1000, 20, (3, 41, 53)), np.ones((41, 53), bool)
    details = wavelet_details(block, valid)
    whole = corner_details(block, valid, details).diagonal
    chosen = rng.random(details.whole.shape) < 0.3
    found = third_differences(block, valid, chosen)
    assert found is not None
    np.testing.assert_allclose(found, whole[:, chosen], atol=1e-3)
    assert third_differences(block, valid, np.ones((4, 4), bool)) is None
