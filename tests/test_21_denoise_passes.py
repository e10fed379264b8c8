"""Floor 2: sums over a block taken in few passes, and noise read from a part of it, against plain references."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pipeline.denoise.measure import measure, sample_rows
from pipeline.denoise.patches import patches_over
from pipeline.denoise.stripes import dead_columns
from pipeline.denoise.whiten import band_moments
from pipeline.gemm.im2col import col2im, im2col


@pytest.mark.parametrize("dtype", ["float32", "uint16", "float64"])
def test_moments_of_bands_are_those_of_the_valid_pixels(dtype):
    rng = np.random.default_rng(20)
    # A trend down the rows: the rows that tell the mean beforehand tell it wrongly.
    block = rng.normal(0, 5, (3, 300, 70)) + np.linspace(0, 4000, 300)[:, None] ** [[[1.0]], [[0.9]], [[0.5]]] + 20000
    block = block.astype(dtype)
    valid = rng.random((300, 70)) > 0.3
    valid[:, :5] = False
    holed = np.where(valid, block, np.nan).astype(np.float32) if dtype == "float32" else block
    found = band_moments(holed, valid)
    pixels = block[:, valid].astype(np.float64)
    assert found.count == np.count_nonzero(valid)
    np.testing.assert_allclose(found.mean, pixels.mean(axis=1), rtol=1e-7)
    np.testing.assert_allclose(found.covariance(), np.cov(pixels, bias=True), rtol=1e-4)


def test_strips_lie_apart_inside_the_block_and_only_where_they_are_real():
    rows = sample_rows(np.ones((600, 512), bool))
    assert rows.size * 512 >= 1 << 16
    assert rows.size < 300
    assert rows.min() >= 0
    assert rows.max() < 600
    assert (np.diff(rows) > 0).all()
    assert rows.min() < 150
    assert rows.max() > 450
    assert sample_rows(np.ones((256, 256), bool)) is None
    holed = np.ones((600, 512), bool)
    holed[rows[::2]] = False
    assert sample_rows(holed) is None


def test_noise_of_strips_is_that_of_the_block():
    rng = np.random.default_rng(21)
    clean = ndimage.gaussian_filter(rng.standard_normal((4, 520, 512)), (0, 6, 6)) * 400 + 1000
    block = (clean + rng.standard_normal(clean.shape) * np.array([2, 3, 5, 8])[:, None, None]).astype(np.float32)
    valid = np.ones(block.shape[1:], bool)
    found = measure(block, valid, None, sample_rows(valid))
    np.testing.assert_allclose(found.sigma, [2, 3, 5, 8], rtol=0.06)
    assert found.block is block
    assert found.stabiliser is None


def test_a_dead_column_is_found_whether_or_not_its_samples_follow_one_another():
    rng = np.random.default_rng(22)
    block = rng.normal(100, 10, (4, 96, 60)).astype(np.float32)
    block[1, :, 20] = 7
    block[2, :90, 33] = 9
    found = dead_columns(block, np.ones((96, 60), bool), np.full(4, 10.0))
    assert sorted(set(zip(*np.nonzero(found.any(axis=1)), strict=True))) == [(1, 20), (2, 33)]
    # Nearly constant throughout, but no more often than allowed: other values stand between.
    block[3, ::4, 50] = 11
    block[3, 1::4, 50] = 11
    assert not dead_columns(block, np.ones((96, 60), bool), np.full(4, 10.0))[3].any()


@pytest.mark.parametrize("origin", [(0, 0), (7, 3)])
def test_each_row_of_patches_is_shifted_and_all_pixels_are_covered_alike(origin):
    found = patches_over((40, 37), 5, (1, 5), origin, 2)
    inside = (found.ys > 0) & (found.ys < 35) & (found.xs > 0) & (found.xs < 32)
    np.testing.assert_array_equal((found.xs + origin[1])[inside] % 5, 2 * (found.ys + origin[0])[inside] % 5)
    covered = np.zeros((40, 37), int)
    for y, x in zip(found.ys, found.xs, strict=True):
        covered[y : y + 5, x : x + 5] += 1
    assert (covered > 0).all()
    assert (covered[5:-5, 5:-5] == 5).all()


@pytest.mark.parametrize(("planes", "size"), [(1, 1), (3, 4), (2, 5)])
def test_lowering_and_folding_are_slices_and_their_sums(planes, size):
    rng = np.random.default_rng(13)
    x = rng.standard_normal((planes, 17, 19)).astype(np.float32)
    ys, xs = rng.integers(0, 17 - size + 1, 40), rng.integers(0, 19 - size + 1, 40)
    panel = im2col(x, ys, xs, size)
    plain = [x[:, y : y + size, x0 : x0 + size].ravel() for y, x0 in zip(ys, xs, strict=True)]
    np.testing.assert_array_equal(panel, np.array(plain))
    place = rng.permutation(40)
    weights, window = rng.random(40).astype(np.float32), rng.random(size**2).astype(np.float32)
    total, weight = np.zeros_like(x), np.zeros(x.shape[1:], np.float32)
    col2im(panel, place, weights, window, ys, xs, size, total, weight)
    expected, share = np.zeros(x.shape), np.zeros(x.shape[1:])
    for n, (y, x0) in enumerate(zip(ys, xs, strict=True)):
        each = weights[n] * window.reshape(size, size)
        expected[:, y : y + size, x0 : x0 + size] += each * panel[place[n]].reshape(planes, size, size)
        share[y : y + size, x0 : x0 + size] += each
    np.testing.assert_allclose(total, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weight, share, rtol=1e-5)
