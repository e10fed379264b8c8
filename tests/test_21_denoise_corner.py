"""Noise in the corner of the spectrum, over the calmest windows: right for white noise, whatever the scene is like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from pipeline.denoise import denoise_block, estimate_noise
from pipeline.denoise.corner import EVERY, LEAST, TAPS, corner_details, corner_noise, corners
from pipeline.denoise.details import wavelet_details
from pipeline.denoise.noise import noise_with_texture
from pipeline.denoise.spread import SPREAD_ERROR, spread

SAMPLE = next((Path(__file__).parents[1] / "sample_data").glob("*.tif"))


def slow(pixels, usable, step):
    """The slow twin of `corners`: every window by itself, its surface of second degree by least squares."""
    yy, xx = (axis.ravel() - 1.5 for axis in np.mgrid[:4, :4])
    surface = np.stack([np.ones(16), yy, xx, yy * xx, yy**2, xx**2], axis=1)
    third = np.outer([-1, 3, -3, 1], [-1, 3, -3, 1]).ravel() / 20
    corner, energy = [], []
    for y in range(0, pixels.shape[0] - 3, step):
        for x in range(0, pixels.shape[1] - 3, step):
            cells = {(a, b) for a in (y // 2, (y + 1) // 2) for b in (x // 2, (x + 1) // 2)}
            if not all(usable[min(a, len(usable) - 1), min(b, usable.shape[1] - 1)] for a, b in cells):
                continue
            window = pixels[y : y + 4, x : x + 4].ravel().astype(float)
            fitted = surface @ np.linalg.lstsq(surface, window, rcond=None)[0]
            corner.append(third @ window)
            energy.append(((fitted - window.mean()) ** 2).sum())
    return np.array(corner), np.array(energy)


def everywhere(shape):
    """Cells of a block without holes."""
    return np.ones(tuple((length - 4) // 2 + 1 for length in shape), bool)


@given(st.integers(4, 13), st.integers(4, 13), st.sampled_from([1, 2]), st.integers(0, 10**6))
def test_the_kernel_equals_least_squares(height, width, step, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(0, 1, (height, width)).astype(np.float32)
    usable = rng.random(everywhere(pixels.shape).shape) < 0.8
    corner, energy = np.empty((2, height * width), np.float32)
    count = corners(pixels, usable, step, TAPS, corner, energy)
    wanted = slow(pixels, usable, step)
    assert count == len(wanted[0])
    np.testing.assert_allclose(corner[:count], wanted[0], atol=2e-6)
    np.testing.assert_allclose(energy[:count], wanted[1], atol=2e-5)


@pytest.mark.parametrize("bands", [1, 10])
def test_choosing_calm_windows_does_not_bias_white_noise(bands):
    shape = (bands, 256, 256)
    assert (bands * 256 * 256 > EVERY) == (bands == 10)  # every window, and every second
    valid, usable = np.ones(shape[1:], bool), everywhere(shape[1:])
    found = [
        corner_noise(np.random.default_rng([seed]).normal(900, 7, shape), valid, usable) for seed in range(20 // bands)
    ]
    assert np.mean(found) == pytest.approx(7, rel=0.03)
    assert np.mean(found) > 7  # on the safe side by half a standard error


def test_a_surface_of_second_degree_has_no_corner():
    y, x = np.mgrid[:40, :50].astype(np.float32)
    pixels = 3 + 2 * y - x + 0.05 * x * y + 0.02 * x**2 - 0.03 * y**2
    corner, energy = np.empty((2, 2000), np.float32)
    count = corners(pixels.astype(np.float32), everywhere(pixels.shape), 1, TAPS, corner, energy)
    assert count == 37 * 47
    assert np.abs(corner[:count]).max() < 1e-4
    assert energy[:count].min() > 1


@pytest.mark.parametrize("bands", [1, 2, 3])
def test_texture_of_few_bands_is_not_taken_for_noise(bands):
    """Fields whose power falls with the square of the frequency, as of scenes, in calm and rough places."""
    rng = np.random.default_rng([bands])
    rows, columns = np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)
    fall = 1 / np.maximum(np.hypot(rows, columns), 1 / 256) ** 2
    rough = np.exp(1.5 * np.sin(np.arange(256) / 40))[:, None]
    fields = [np.fft.irfft2(np.fft.rfft2(rng.normal(0, 1, (256, 256))) * fall) for _ in range(bands)]
    truth = np.stack([60 * field / field.std() * rough for field in fields])
    block, valid = truth + rng.normal(0, 2, truth.shape), np.ones((256, 256), bool)
    told = noise_with_texture(wavelet_details(block, valid))
    assert (estimate_noise(block, valid) <= told).all()
    np.testing.assert_allclose(estimate_noise(block, valid), 2, rtol=0.1)


def test_single_bands_of_a_real_scene_are_nearer_to_the_truth_after_than_before():
    """Noise of half a percent of the range: by wavelets alone σ is up to twice as large, and more than noise goes."""
    with rasterio.open(SAMPLE) as file:
        raw = file.read().astype(float)
    low, high = (np.quantile(raw, share, axis=(1, 2), keepdims=True) for share in (0.001, 0.999))
    truth = ((raw - low) / (high - low)).astype(np.float32)
    noisy = truth + np.float32(0.005) * np.random.default_rng([1]).standard_normal(truth.shape, np.float32)
    valid = np.ones(truth.shape[1:], bool)
    own = estimate_noise(truth, valid)
    ratios, errors = [], []
    for number, band in enumerate(noisy):
        found = denoise_block(band[None], valid)
        ratios.append(found.sigma[0] / np.hypot(own[number], 0.005))
        errors.append(np.sqrt(np.mean((found.block[0] - truth[number]) ** 2)) / 0.005)
    assert np.median(ratios) < 1.1
    assert np.median(errors) < 1


def test_whole_numbers_coarser_than_the_noise_are_not_asked():
    rng, valid = np.random.default_rng([4]), np.ones((128, 128), bool)
    for sigma, told in ((0.3, False), (1.0, True), (3.0, True)):
        block = np.rint(100 + rng.normal(0, sigma, (1, 128, 128))).astype(np.uint8)
        found = corner_noise(block, valid, everywhere(valid.shape))
        assert np.isfinite(found[0]) == told
        if told:
            assert found[0] == pytest.approx(np.hypot(sigma, 12**-0.5), rel=0.08)


def test_what_is_not_usable_is_not_read():
    rng, valid = np.random.default_rng([5]), np.ones((128, 128), bool)
    block = rng.normal(0, 4, (1, 128, 128))
    block[:, :, 64:] = rng.normal(0, 0.01, (1, 128, 64))
    usable = everywhere(valid.shape)
    usable[:, 31:] = False
    assert corner_noise(block, valid, usable)[0] == pytest.approx(4, rel=0.06)
    usable[:, 5:] = False
    assert 125 * 9 > LEAST > 79 * 9
    usable[40:] = False
    assert np.isinf(corner_noise(block, valid, usable)[0])


def test_third_differences_stand_where_the_wavelets_do():
    rng = np.random.default_rng([6])
    block, valid = rng.normal(500, 3, (2, 31, 40)), np.ones((31, 40), bool)
    valid[10, 20] = False
    block[:, 10, 20] = 0
    details = wavelet_details(block, valid)
    found = corner_details(block, valid, details)
    third = np.outer([-1, 3, -3, 1], [-1, 3, -3, 1]) / 20
    for y, x in np.ndindex(details.whole.shape):
        window = block[:, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4]
        wanted = (window * third).sum(axis=(1, 2)) if details.whole[y, x] else np.zeros(2)
        np.testing.assert_allclose(found.diagonal[:, y, x], wanted, atol=1e-4)
    small = wavelet_details(block[:, :8, :8], valid[:8, :8])
    assert corner_details(block[:, :8, :8], valid[:8, :8], small) is small


def test_slivers_of_valid_pixels_are_left_to_the_details():
    """Their cells are Haar's, of 2 x 2 pixels: a window of 4 x 4 would reach over what is not valid."""
    y, x = np.mgrid[:256, :256]
    block = np.random.default_rng([7]).normal(900, 20, (3, 256, 256))
    for valid in ((y % 4 < 2) & (x % 4 < 2), x % 6 < 2):
        usable = wavelet_details(block, valid).readable[0]
        assert np.isinf(corner_noise(block, valid, usable)).all()
        np.testing.assert_allclose(estimate_noise(block, valid), 20, rtol=0.12)


@pytest.mark.parametrize("share", [0.04, 0.06, 0.08])
def test_a_small_part_of_less_noise_does_not_speak_for_the_rest(share):
    rng, valid = np.random.default_rng([8]), np.ones((256, 256), bool)
    block, columns = rng.normal(800, 20, (2, 256, 256)), int(256 * share)
    block[:, :, :columns] = rng.normal(300, 3, (2, 256, columns))
    assert np.isinf(corner_noise(block, valid, everywhere(valid.shape))).all()
    assert (estimate_noise(block, valid) > 13).all()


def test_windows_of_equal_energy_are_all_taken():
    """Which of them a sort puts first depends on the processor."""
    block = np.rint(np.random.default_rng([9]).normal(100, 3, (1, 128, 128))).astype(np.uint8)
    valid, usable = np.ones((128, 128), bool), everywhere((128, 128))
    corner, energy = np.empty((2, 128 * 128), np.float32)
    count = corners(block[0].astype(np.float32) - np.float32(block.mean()), usable, 1, TAPS, corner, energy)
    limit = np.sort(energy[:count])[LEAST - 1]
    assert np.count_nonzero(energy[:count] <= limit) >= LEAST
    wanted = spread(corner[:count][energy[:count] <= limit][None])[0] * (1 + np.sqrt(SPREAD_ERROR / LEAST) / 2)
    assert corner_noise(block, valid, usable)[0] == pytest.approx(wanted, rel=1e-4)
