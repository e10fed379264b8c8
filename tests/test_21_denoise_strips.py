"""Floor 2: what whole rows tell of patches, and who learns from what; kernels of the transform against slow twins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.denoise import strips
from pipeline.denoise.anscombe import destabilised, stabilised, variance_sum
from pipeline.denoise.block import farther
from pipeline.denoise.details import centred
from pipeline.denoise.measure import LINE_PIXELS, sampled_lines
from pipeline.denoise.patch_svd import patch_moments
from pipeline.denoise.patches import patches_over
from pipeline.denoise.planes import EVERY_ROW, _told_by_rows, denoise_planes
from pipeline.denoise.settings import settings_for
from pipeline.denoise.strips import spread_rows, strip_moments

SEEDS = st.integers(0, 2**32 - 1)


def slow_covariance(planes, size, rows, trusted):
    """Entry by entry, the mean product of all pairs that may teach it; the mean of each plane; the fewest pairs."""
    bands, _, width = planes.shape
    real = trusted[rows]
    mean = np.array([plane[rows][real].mean() for plane in planes.astype(float)])
    about = np.where(trusted, planes - mean[:, None, None], 0.0)
    shape = (bands, size, size)
    found, fewest = np.zeros(shape * 2), np.inf
    for p, i, j in np.ndindex(shape):
        for q, k, m in np.ndindex(shape):
            (one, a), (other, b) = sorted([((p, i), j), ((q, k), m)], key=lambda pixel: pixel[1])
            total = count = 0.0
            for y in rows:
                for x in range(width - (b - a)):
                    here, there = (one[0], y + one[1], x), (other[0], y + other[1], x + b - a)
                    total += about[here] * about[there]
                    count += trusted[here[1:]] and trusted[there[1:]]
            found[p, i, j, q, k, m] = total / max(count, 1)
            fewest = min(fewest, count)
    return mean, found.reshape(bands * size**2, -1), fewest


@settings(deadline=None, max_examples=12)
@given(seed=SEEDS, bands=st.integers(1, 2), share=st.sampled_from([0, 0.2, 0.5]))
def test_every_pair_of_trusted_pixels_in_a_row_of_patches_teaches(seed, bands, share):
    rng = np.random.default_rng(seed)
    planes = (rng.standard_normal((bands, 16, 17)) + 3).astype(np.float32)
    trusted = rng.random((16, 17)) >= share
    rows = spread_rows(16, 3, 7)
    mean, covariance, fewest = slow_covariance(planes, 3, rows, trusted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "ROOM", 400)
        found = strip_moments(planes, 3, rows, trusted)
    if fewest < strips.LEAST_PAIRS * bands * 9:
        assert found is None
        return
    np.testing.assert_allclose(found.mean, np.repeat(mean, 9), rtol=1e-5)
    np.testing.assert_allclose(found.covariance(), covariance, atol=1e-5)
    assert 0 < found.count <= len(rows) * 17


def test_rows_tell_what_patches_tell():
    rng = np.random.default_rng(4)
    planes = rng.standard_normal((2, 200, 202)).astype(np.float32)
    planes[1, :, 1:] += planes[0, :, :-1]
    everywhere = np.ones((200, 202), bool)
    patches = patches_over((200, 202), 3, (1, 1), (0, 0))
    slow = patch_moments(planes, patches, np.ones(len(patches), bool)).covariance()
    found = strip_moments(planes, 3, spread_rows(200, 3, 198), everywhere)
    np.testing.assert_allclose(found.covariance(), slow, atol=0.03)
    assert found.count == 198 * 200


def test_rows_lie_evenly():
    rows = spread_rows(101, 5, 10)
    assert len(rows) == 10
    assert rows.max() <= 96
    assert set(np.diff(rows)) <= {9, 10}
    assert rows[0] == 96 - rows[-1]
    np.testing.assert_array_equal(spread_rows(8, 5, 99), [0, 1, 2, 3])


def test_doubled_pixels_are_learnt_from_on_even_steps():
    fast, best = (settings_for(quality, 10).aligned(True) for quality in ("fast", "quality"))
    assert fast.strips is None
    for side in (40, 101, 150, 256, 600):
        for steps in (fast.learning(side**2, 10), best.learning(side**2, 10)):
            assert set(steps) <= {1, 2}
    assert fast.learning(101**2, 13) == (2, 2)
    assert settings_for("fast", 10).aligned(False) == settings_for("fast", 10)


def test_where_no_row_is_whole_enough_patches_teach():
    rng = np.random.default_rng(6)
    planes = (rng.standard_normal((3, 60, 64)) + np.linspace(0, 9, 64)).astype(np.float32)
    chequered = np.indices((60, 64)).sum(axis=0) % 2 == 0
    assert strip_moments(planes, 5, np.arange(50), chequered) is None
    fast = settings_for("fast", 3)
    for side, few in ((14, True), (60, False)):
        some, valid = np.ascontiguousarray(planes[:, :side, :side]), np.ones((side, side), bool)
        by_patches = denoise_planes(some, valid, replace(fast, strips=None), (0, 0))
        assert (denoise_planes(some, valid, fast, (0, 0)) == by_patches).all() == few


def test_beside_masked_pixels_classes_are_learnt_from_the_grid():
    rng = np.random.default_rng(7)
    planes = (rng.standard_normal((3, 90, 90)) + 5 * (np.arange(90) > 40)).astype(np.float32)
    valid, fast = np.ones((90, 90), bool), settings_for("fast", 3)
    trusted = valid.copy()
    trusted[30:50, 30:50] = False
    thinned, grid = (denoise_planes(planes, valid, replace(fast, thinned=n), (0, 0), None, trusted) for n in (3, None))
    np.testing.assert_array_equal(thinned, grid)
    thinned, grid = (denoise_planes(planes, valid, replace(fast, thinned=n), (0, 0)) for n in (3, None))
    assert (thinned != grid).any()


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


def test_a_large_block_has_more_rows_and_sorts_by_more_directions():
    fast = settings_for("fast", 10)
    assert [fast.sorted_by(side**2) for side in (64, 256, 512)] == [40, 40, 80]
    assert settings_for("quality", 10).sorted_by(10**6) is None
    small, large = (
        _told_by_rows(np.zeros((1, side, side), np.float32), fast, np.ones((side, side), bool)) for side in (64, 256)
    )
    assert small.count == -(-54 * 25 // 60) * 60
    assert large.count == 256 // EVERY_ROW * 252


def test_some_lines_tell_the_planes_of_a_large_block_alone():
    small, large = np.ones((100, 100), bool), np.ones((1024, 512), bool)
    assert small[sampled_lines(small)].size == small.size
    assert large[sampled_lines(large)].size == LINE_PIXELS
    large[::16] = False
    assert large[sampled_lines(large)].size == large.size
