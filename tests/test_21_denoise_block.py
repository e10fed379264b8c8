"""Floor 2: blocks in, blocks out, against a plain reference, a known truth and every awkward block."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import pipeline
from pipeline.denoise import denoise_block, settings_for
from pipeline.denoise.block import denoise_planes
from pipeline.denoise.put_back import energy_taken, hold_back
from pipeline.denoise.settings import groups
from pipeline.denoise.whiten import fit_whitening
from pipeline.errors import BlockError, ConfigError

SAMPLE = Path(__file__).parents[1] / "sample_data" / "s2_18SVG_crop_10band_20m.tif"


def clean_scene(bands, height, width, seed=0):
    """Few spectra over smooth fields, with straight edges: (band, y, x) float64, about 0 to 1."""
    rng = np.random.default_rng(seed)
    maps = ndimage.gaussian_filter(rng.standard_normal((4, height, width)), (0, 8, 8))
    maps /= maps.std(axis=(1, 2), keepdims=True)
    maps[1, height // 3 :] += 2.0
    maps[2, :, : 2 * width // 5] -= 2.0
    mixed = np.tensordot(rng.uniform(0.1, 1.0, (bands, 4)), maps, 1)
    return (mixed - mixed.min()) / np.ptp(mixed)


def noisy_scene(bands, height, width, seed=0):
    """The same with noise that differs by band: truth, noisy float32, sigma (band,)."""
    truth = clean_scene(bands, height, width, seed)
    rng = np.random.default_rng([seed, 1])
    sigma = 0.04 * np.exp(rng.uniform(-0.8, 0.8, bands))
    noisy = truth + sigma[:, None, None] * rng.standard_normal(truth.shape)
    return truth, noisy.astype(np.float32), sigma


def psnr(truth, block):
    """Mean over the bands, decibels, against a peak of 1."""
    return float(np.mean(-10 * np.log10(np.mean((block - truth) ** 2, axis=(1, 2)))))


def all_valid(block):
    return np.ones(block.shape[1:], bool)


@pytest.mark.parametrize("quality", ["fast", "quality"])
@pytest.mark.parametrize("bands", [4, 10, 40])
def test_known_truth_gains_five_decibels(bands, quality):
    truth, noisy, sigma = noisy_scene(bands, 150, 140)
    done = denoise_block(noisy, all_valid(noisy), quality=quality)
    assert psnr(truth, done.block) >= psnr(truth, noisy) + 5
    np.testing.assert_allclose(done.sigma, sigma, rtol=0.25)
    assert 3 <= done.rank <= 5


def test_quality_is_better_than_fast_and_classes_than_one():
    gains = []
    for seed in range(1, 5):
        truth, noisy, sigma = noisy_scene(6, 220, 220, seed=seed)
        valid = all_valid(noisy)
        fast, best = (denoise_block(noisy, valid, quality=q, sigma=sigma).block for q in ("fast", "quality"))
        assert psnr(truth, best) > psnr(truth, fast)
        whitening = fit_whitening(noisy, valid, sigma)
        one = replace(settings_for("quality", 6), classes=((1, 18),))
        single = denoise_planes(whitening.planes(noisy, valid), valid, one, (0, 0))
        gains.append(psnr(truth, best) - psnr(truth, whitening.bands(single, slice(None))))
    assert np.mean(gains) > 0.3
    assert min(gains) > 0.05


@pytest.mark.parametrize("quality", ["fast", "quality"])
def test_invalid_pixels_stay_and_do_not_matter(quality):
    truth, noisy, _ = noisy_scene(5, 96, 90, seed=3)
    valid = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal(noisy.shape[1:]), 5) < 0.06
    assert 0.1 < 1 - valid.mean() < 0.5
    outcomes = []
    for junk in (np.nan, -9999.0, 1e30, 0.0):
        block = noisy.copy()
        block[:, ~valid] = junk
        outcomes.append(denoise_block(block, valid, quality=quality))
        np.testing.assert_array_equal(outcomes[-1].block[:, ~valid], np.float32(junk))
    for other in outcomes[1:]:
        assert other.block[:, valid].tobytes() == outcomes[0].block[:, valid].tobytes()
        assert other.sigma.tobytes() == outcomes[0].sigma.tobytes()
    before = np.sqrt(np.mean((noisy - truth)[:, valid] ** 2))
    rim = valid & ndimage.binary_dilation(~valid, iterations=2)
    assert np.sqrt(np.mean((outcomes[0].block - truth)[:, valid] ** 2)) < 0.5 * before
    assert np.sqrt(np.mean((outcomes[0].block - truth)[:, rim] ** 2)) < 0.7 * before


@pytest.mark.parametrize("bands", [3, 20])
def test_noise_alone_becomes_nearly_flat(bands):
    noise = np.random.default_rng(14).standard_normal((bands, 150, 150)).astype(np.float32)
    done = denoise_block(noise + 7, all_valid(noise))
    np.testing.assert_allclose(done.sigma, 1, rtol=0.12)
    assert np.sqrt(np.mean((done.block - 7) ** 2)) < 0.1


def test_constant_bands_pass_and_do_not_disturb_the_others():
    noisy = noisy_scene(4, 80, 80, seed=4)[1]
    with_constant = np.insert(noisy, 2, 1234.5, axis=0)
    done = denoise_block(with_constant, all_valid(noisy))
    np.testing.assert_array_equal(done.block[2], with_constant[2])
    assert done.sigma[2] == 0
    np.testing.assert_array_equal(np.delete(done.block, 2, axis=0), denoise_block(noisy, all_valid(noisy)).block)


def test_a_noiseless_scene_comes_back_almost_as_it_is():
    truth = clean_scene(6, 100, 100, seed=5)
    done = denoise_block(truth, all_valid(truth))
    assert np.abs(done.block - truth).max() < 2e-3
    assert np.isfinite(done.block).all()


@settings(max_examples=30)
@given(
    bands=st.integers(1, 20),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    dtype=st.sampled_from(["u1", "u2", "i2", "i4", "f4", "f8"]),
    holes=st.sampled_from([0.0, 0.5, 1.0]),
    quality=st.sampled_from(["fast", "quality"]),
    sigma=st.sampled_from([None, 3.0]),
)
def test_small_blocks_of_any_dtype(bands, height, width, dtype, holes, quality, sigma):
    rng = np.random.default_rng([bands, height, width])
    block = rng.normal(100, 10, (bands, height, width)).astype(dtype)
    valid = rng.random((height, width)) >= holes
    done = denoise_block(block, valid, quality=quality, sigma=sigma)
    assert done.block.dtype == np.float32
    assert done.block.shape == block.shape
    assert np.isfinite(done.block).all()
    np.testing.assert_array_equal(done.block[:, ~valid], block[:, ~valid].astype(np.float32))
    assert done.block[:, valid].min(initial=100) >= 0
    assert done.block[:, valid].max(initial=100) <= 200
    if min(height, width) < settings_for(quality, bands).patch:
        np.testing.assert_array_equal(done.block, block.astype(np.float32))


@pytest.mark.parametrize("quality", ["fast", "quality"])
@pytest.mark.parametrize("bands", [2, 5, 10, 24])
def test_strips_as_narrow_as_a_patch(bands, quality):
    along = np.linspace(0, 50, 200, dtype=np.float32)
    for side in range(1, 7):
        noisy = along + np.random.default_rng(side).standard_normal((bands, side, 200)).astype(np.float32)
        for block in (noisy, noisy.transpose(0, 2, 1)):
            done = denoise_block(block, np.ones(block.shape[1:], bool), quality=quality, sigma=1.0)
            assert done.touched.any() == (
                side >= settings_for(quality, bands, done.rank if bands > 16 else bands).patch
            )
            left = np.std(done.block - (along if block is noisy else along[:, None]))
            assert left < 0.6 if done.touched.any() else np.array_equal(done.block, block)


def test_three_hundred_bands():
    truth, noisy, _ = noisy_scene(300, 48, 50, seed=6)
    done = denoise_block(noisy, all_valid(noisy))
    assert psnr(truth, done.block) >= psnr(truth, noisy) + 10
    assert done.rank <= 8


def test_many_planes_are_denoised_in_groups():
    """80 planes of 3 x 3 are 720 columns: two groups, and each plane comes back in its place."""
    rng = np.random.default_rng(8)
    block = ndimage.gaussian_filter(rng.standard_normal((80, 72, 72)), (0, 3, 3)) * 50
    noisy = (block + rng.standard_normal(block.shape)).astype(np.float32)
    done = denoise_block(noisy, all_valid(noisy), sigma=1.0)
    assert len(groups(done.rank, settings_for("fast", 80).patch)) == 2
    error = np.mean((done.block - block) ** 2, axis=(1, 2))
    assert error.max() < 0.3


def test_a_given_sigma_is_used_and_a_bad_one_refused():
    _, noisy, sigma = noisy_scene(3, 64, 64, seed=7)
    valid = all_valid(noisy)
    assert (denoise_block(noisy, valid, sigma=0.02).sigma == 0.02).all()
    kept = denoise_block(noisy, valid, sigma=[0.0, 0.02, 0.02])
    np.testing.assert_array_equal(kept.block[0], noisy[0])
    weak = denoise_block(noisy, valid, sigma=sigma / 10).block
    strong = denoise_block(noisy, valid, sigma=sigma * 3).block
    assert np.abs(weak - noisy).mean() < 0.5 * np.abs(strong - noisy).mean()
    for bad in (-1.0, np.nan, [1.0, 2.0]):
        with pytest.raises(BlockError, match="sigma"):
            denoise_block(noisy, valid, sigma=bad)


@pytest.mark.parametrize(
    ("block", "valid", "word"),
    [
        (np.zeros((4, 4)), np.ones((4, 4), bool), "band, y, x"),
        (np.zeros((0, 4, 4)), np.ones((4, 4), bool), "band, y, x"),
        (np.zeros((2, 4, 4), complex), np.ones((4, 4), bool), "real"),
        (np.zeros((2, 4, 4)), np.ones((4, 5), bool), "valid"),
        (np.zeros((2, 4, 4)), np.ones((4, 4)), "valid"),
        (np.full((2, 4, 4), np.nan), np.ones((4, 4), bool), "NaN"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(block, valid, word):
    with pytest.raises(BlockError, match=word):
        denoise_block(block, valid)
    with pytest.raises(ConfigError, match="best"):
        settings_for("best", 3)


def test_values_too_large_for_float32_to_square_are_refused_and_small_ones_are_not():
    _, noisy, _ = noisy_scene(4, 64, 64)
    wanted = denoise_block(noisy, all_valid(noisy)).sigma
    tiny = denoise_block(noisy * np.float32(1e-15), all_valid(noisy)).sigma
    np.testing.assert_allclose(tiny * 1e15, wanted, rtol=1e-3)
    for scale in (1e23, 1e37):
        with pytest.raises(
            BlockError,
            match=r"values of up to 1.16e\+.. cannot be squared in float32; give them in larger units, or as nodata",
        ):
            denoise_block(noisy * np.float32(scale), all_valid(noisy))


def test_tiles_with_halo_do_not_show():
    """The error jumps at a tile border hardly more than at the same place untiled, and tiles cost little."""
    with rasterio.open(SAMPLE) as source:
        pixels = source.read(window=((0, 256), (0, 256))).astype(np.float64)
    low, high = (np.quantile(pixels, q, axis=(1, 2), keepdims=True) for q in (0.001, 0.999))
    truth = (pixels - low) / (high - low)
    noisy = (truth + 0.05 * np.random.default_rng(9).standard_normal(truth.shape)).astype(np.float32)
    valid, halo, tile = all_valid(noisy), 32, 128
    whole = denoise_block(noisy, valid, sigma=0.05).block
    tiled = np.empty_like(whole)
    for y in (0, tile):
        for x in (0, tile):
            y0, y1, x0, x1 = max(0, y - halo), min(256, y + tile + halo), max(0, x - halo), min(256, x + tile + halo)
            part = denoise_block(noisy[:, y0:y1, x0:x1], valid[y0:y1, x0:x1], sigma=0.05, origin=(y0, x0)).block
            tiled[:, y : y + tile, x : x + tile] = part[:, y - y0 : y - y0 + tile, x - x0 : x - x0 + tile]
    jumps = [np.sqrt(np.mean(np.diff(part - truth, axis=2)[:, :, tile - 1] ** 2)) for part in (tiled, whole)]
    assert jumps[0] <= 1.05 * jumps[1]
    assert psnr(truth, tiled) >= psnr(truth, whole) - 0.1


def test_the_same_block_gives_the_same_bytes():
    _, noisy, _ = noisy_scene(5, 70, 75, seed=10)
    one, two = (denoise_block(noisy.copy(order=order), all_valid(noisy)).block for order in ("C", "F"))
    assert one.tobytes() == two.tobytes()


def test_isolated_targets_are_kept():
    """One pixel in all bands, one in a single band: no class knows them, and both come through."""
    truth, noisy, _ = noisy_scene(6, 128, 128, seed=13)
    for place in (np.s_[:, 40, 50], np.s_[2, 90, 31]):
        truth[place] += 0.8
        noisy[place] += 0.8
    done = denoise_block(noisy, all_valid(noisy), sigma=0.04)
    np.testing.assert_array_equal(np.abs(done.block - noisy)[:, 40, 50] < 1e-5, True)
    assert abs(done.block[2, 90, 31] - truth[2, 90, 31]) < 0.2
    assert np.mean(np.abs(done.block - noisy).max(axis=0) < 1e-5) < 1e-3


def test_the_room_is_a_verb():
    assert callable(pipeline.denoise)
    assert pipeline.denoise.denoise_block is denoise_block


def test_noise_that_grows_with_the_signal_is_found_as_such():
    truth = clean_scene(6, 160, 160, seed=15) ** 3
    rng = np.random.default_rng(15)
    noisy = (truth + np.sqrt(0.004 * truth + 2e-5) * rng.standard_normal(truth.shape)).astype(np.float32)
    done = denoise_block(noisy, all_valid(noisy))
    np.testing.assert_allclose(done.sigma, np.sqrt(np.mean(0.004 * truth + 2e-5, axis=(1, 2))), rtol=0.2)
    level = denoise_block(noisy, all_valid(noisy), sigma=done.sigma).block
    assert psnr(truth, done.block) > psnr(truth, level) + 0.2


def test_wide_numbers_far_from_zero_are_not_rounded_to_defects():
    rng = np.random.default_rng(16)
    noise = rng.normal(0, 30, (3, 120, 120)).round()
    found = denoise_block((2**24 + noise).astype(np.int32), all_valid(noise))
    np.testing.assert_allclose(found.sigma, 30, rtol=0.15)
    beyond = denoise_block((2**30 + noise).astype(np.int32), all_valid(noise))
    assert not beyond.sigma.any(), "float32 steps by 64 there"


@pytest.mark.parametrize("scale", [1e-9, 1e12])
def test_units_do_not_matter(scale):
    _, noisy, _ = noisy_scene(4, 100, 100, seed=17)
    plain, scaled = (denoise_block((noisy * s).astype(np.float32), all_valid(noisy)) for s in (1.0, scale))
    np.testing.assert_allclose(scaled.sigma, plain.sigma * scale, rtol=1e-3)
    np.testing.assert_allclose(scaled.block / scale, plain.block, atol=5e-3)


def test_the_sample_as_it_is_changes_by_less_than_its_noise():
    """No band of no tile is flattened, whatever its noise looks like."""
    with rasterio.open(SAMPLE) as source:
        pixels = source.read()
    for y, x in ((0, 256), (256, 256), (128, 0), (232, 232)):
        block = pixels[:, y : y + 232, x : x + 232]
        done = denoise_block(block, all_valid(block))
        change = np.sqrt(np.mean((done.block - block.astype(np.float32)) ** 2, axis=(1, 2)))
        assert (change <= done.sigma).all()


def test_bands_that_are_multiples_of_one_another_can_be_told_apart():
    rng = np.random.default_rng(18)
    chess = np.indices((128, 128)).sum(axis=0) % 2 * 0.5
    noisy = (chess + 0.05 * rng.standard_normal((3, 128, 128))).astype(np.float32)
    np.testing.assert_allclose(denoise_block(noisy, all_valid(noisy)).sigma, 0.05, rtol=0.1)


def test_coarse_integers_and_booleans_pass():
    rng = np.random.default_rng(19)
    coarse = np.round(rng.normal(900, 30, (3, 90, 80)) / 100).astype(np.uint16)
    flags = rng.random((2, 60, 60)) > 0.5
    for block in (coarse, flags):
        done = denoise_block(block, all_valid(block))
        assert np.isfinite(done.block).all()
        assert done.block.shape == block.shape


@pytest.mark.parametrize("quality", ["fast", "quality"])
@pytest.mark.parametrize("told", [0.8, 0.85])
def test_no_more_is_taken_than_there_is_noise(quality, told):
    """The discrepancy principle: told of less noise than there is, what goes is no more than that."""
    _, noisy, sigma = noisy_scene(6, 90, 100)
    valid = np.ones((90, 100), np.bool_)
    valid[20:30, 50:] = False
    found = denoise_block(noisy, valid, quality=quality, sigma=told * sigma)
    taken = np.sqrt(np.mean(np.square(noisy.astype(np.float64) - found.block)[:, valid], axis=1))
    assert (taken <= told * sigma * (1 + 1e-4)).all()
    assert (taken >= 0.7 * told * sigma).all()
    np.testing.assert_array_equal(found.block[:, ~valid], noisy[:, ~valid])


@pytest.mark.parametrize("scale", [1e-26, 1e19])
def test_what_was_taken_is_counted_in_noise(scale):
    """In units as of columns of molecules a sum of squares would overflow."""
    before = np.array([[[3.0, -1.0], [np.nan, 2.0]]], np.float32) * np.float32(scale)
    chosen = np.array([[True, True], [False, True]])
    taken = energy_taken(before, np.zeros_like(before), np.array([2.0 * scale]), chosen)
    np.testing.assert_allclose(taken, [(9 + 1 + 4) / 4], rtol=1e-6)


def test_what_lies_beyond_float32_warns_of_nothing():
    block = np.random.default_rng([5]).normal(100, 3, (3, 64, 64))
    block[:, :20, :20] = -1.797e308
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        denoise_block(block, np.ones((64, 64), bool), quality="fast")


def test_infinities_beside_the_valid_pixels_warn_of_nothing():
    before = np.full((1, 4, 4), 5, np.float32)
    valid = np.ones((4, 4), bool)
    valid[1, 2], before[0, 1, 2] = False, np.inf
    result = before - np.float32(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hold_back(result, before, np.array([0]), np.array([4.0]), valid)
    assert (result[:, valid] == 4).all()  # half of what was taken
