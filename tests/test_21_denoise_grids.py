"""Bands whose pixels were repeated onto a finer grid: which they are, and that they are denoised on their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.denoise import denoise_block, estimate_noise, pool
from pipeline.flow.denoised import settle
from pipeline.repeated import LONGEST, PLAIN, Cells, Grid, grids

NOISE = 3.0


def repeated(band, grid, shape):
    """A band (cell, cell) on the finer grid, cut to shape (y, x)."""
    y, x = (
        (np.arange(length) - first) // side + 1
        for length, first, side in zip(shape, (grid.top, grid.left), (grid.down, grid.across), strict=True)
    )
    return band[y[:, None], x[None, :]]


def smooth(rng, bands, shape):
    """Bands that share what they show (band, y, x)."""
    scene = ndimage.gaussian_filter(rng.standard_normal((3, *shape)), (0, 3, 3)) * 300
    return np.tensordot(rng.uniform(0.2, 1, (bands, 3)), scene, 1) + 1000


def mixed(seed=0, shape=(192, 160), dtype=np.float32):
    """Truth and noisy block (band, y, x): four bands of the grid, three of 2 x 2 pixels; those as measured."""
    rng = np.random.default_rng(seed)
    scene = smooth(rng, 7, shape)
    fine, coarse = scene[:4], scene[4:].reshape(3, shape[0] // 2, 2, shape[1] // 2, 2).mean(axis=(2, 4))
    measured = (coarse + rng.normal(0, NOISE, coarse.shape)).astype(dtype)
    noisy = (fine + rng.normal(0, NOISE, fine.shape)).astype(dtype)
    doubled = [one.repeat(2, axis=1).repeat(2, axis=2) for one in (coarse, measured)]
    return np.concatenate([fine, doubled[0]]), np.concatenate([noisy, doubled[1]]), measured


def errors(after, truth):
    return np.sqrt(np.mean((after - truth) ** 2, axis=(1, 2))) / NOISE


def everywhere(block):
    return np.ones(block.shape[1:], np.bool_)


def told_slowly(band, valid, axis):
    """The longest cells along an axis, by trying all: how long, and where the first begins."""
    band, valid = (band, valid) if axis == 1 else (band.T, valid.T)
    width = band.shape[1]
    for side in range(LONGEST, 1, -1):
        for first in range(side):
            cell = (np.arange(width) - first) // side
            groups = [np.flatnonzero(cell == c) for c in np.unique(cell)]
            same = all(
                len(set(band[y, g][valid[y, g]].tolist())) <= 1 for g in groups for y in range(len(band)) if len(g)
            )
            if same:
                return side, first
    return 1, 0


@settings(deadline=None, max_examples=30)
@given(
    down=st.integers(1, 6), across=st.integers(1, 6), data=st.data(), seed=st.integers(0, 99), holes=st.floats(0, 0.2)
)
def test_cells_are_those_that_trying_all_finds(down, across, data, seed, holes):
    top, left = data.draw(st.integers(0, down - 1)), data.draw(st.integers(0, across - 1))
    grid, shape, rng = Grid(down, across, top, left), (97, 101), np.random.default_rng(seed)
    band = repeated(rng.integers(0, 50, (110, 110)), grid, shape).astype(np.uint16)
    valid = rng.random(shape) >= holes
    ways = [told_slowly(band, valid, axis) for axis in (0, 1)]
    assert list(grids(band[None], valid)) == [Grid(ways[0][0], ways[1][0], ways[0][1], ways[1][1])] == [grid]


def test_what_is_no_grid_is_taken_for_none():
    rng = np.random.default_rng(1)
    noise, flat = rng.integers(0, 3, (64, 64)), np.full((64, 64), 7)
    objects = flat + 9 * np.kron(rng.integers(0, 2, (2, 2)), np.ones((32, 32), int))  # cells longer than any
    lines = flat + 5 * (np.arange(64) % 4 == 0)  # change at one column in four and the next
    almost = np.kron(noise[:32, :32], np.ones((2, 2), int))
    almost[31, 40] += 1
    for band in (noise, flat, objects, lines, almost):
        assert list(grids(band[None], everywhere(band[None]))) == [PLAIN]
    strips = np.arange(64) % 4 < 2  # what lies between is not valid: nothing is seen within the cells
    assert list(grids(noise[None], np.broadcast_to(strips, (64, 64)))) == [PLAIN]


def test_cells_at_the_rims_are_cut_and_holes_are_no_part_of_a_mean():
    grid = Grid(3, 2, 1, 1)
    cells, block = Cells(grid, (5, 6)), np.arange(30, dtype=np.int16).reshape(1, 5, 6)
    valid = np.ones((5, 6), bool)
    valid[0, 0], valid[1:4, 1] = False, False
    found = cells.means(block, valid)
    assert found.shape == (1, 3, 4)
    assert found[0, 0].tolist() == [0, 1.5, 3.5, 5]
    assert found[0, 1, 1] == block[0, 1:4, 2].mean()
    assert cells.some(valid)[0].tolist() == [False, True, True, True]
    assert cells.pixels(found[0])[2].tolist() == [found[0, 1, c] for c in (0, 1, 1, 2, 2, 3)]
    assert cells.place((slice(1, 4), slice(2, 6))) == (slice(1, 2), slice(1, 4))
    # The next tile, two rows below, begins in the middle of the second cell.
    assert cells.origin((0, 0)) == (0, 0)
    assert Cells(Grid(3, 2, 2, 1), (5, 6)).origin((2, 0)) == (1, 0)


@pytest.mark.parametrize("quality", ["fast", "quality"])
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_repeated_bands_are_denoised_as_on_their_own_grid(quality, dtype):
    truth, noisy, measured = mixed(dtype=dtype)
    found = denoise_block(noisy, everywhere(noisy), quality=quality)
    means = noisy[:4].reshape(4, 96, 2, 80, 2).mean(axis=(2, 4), dtype=np.float64)
    company = np.concatenate([measured, means]).astype(np.float32)
    alone = denoise_block(company, everywhere(company), quality=quality, origin=(1, 1))
    np.testing.assert_array_equal(found.block[4:], alone.block[:3].repeat(2, axis=1).repeat(2, axis=2))
    np.testing.assert_array_equal(found.sigma[4:], alone.sigma[:3])
    fine = denoise_block(noisy[:4], everywhere(noisy), quality=quality)
    np.testing.assert_array_equal(found.block[:4], fine.block)
    assert found.rank == max(fine.rank, alone.rank)
    assert errors(found.block, truth)[4:].max() < 0.5
    np.testing.assert_allclose(found.sigma, NOISE, rtol=0.15)
    estimated, of_fine = (estimate_noise(some, everywhere(some)) for some in (noisy, noisy[:4]))
    np.testing.assert_array_equal(estimated[:4], of_fine)
    np.testing.assert_allclose(estimated, NOISE, rtol=0.15)


def test_what_is_told_of_pixels_is_told_of_cells():
    truth, noisy, _ = mixed(1)
    valid, clear = everywhere(noisy), everywhere(noisy)
    valid[50:61, 70:91], clear[100:130, :] = False, False
    noisy[:, ~valid] = np.nan
    sigma = np.r_[np.full(4, NOISE), np.full(3, 2 * NOISE)]
    found = denoise_block(noisy, valid, sigma=sigma, clear=clear, repair="none")
    squares = np.where(valid, noisy.astype(float), 0).reshape(7, 96, 2, 80, 2).sum(axis=(2, 4))
    squares /= np.maximum(valid.reshape(96, 2, 80, 2).sum(axis=(1, 3)), 1)
    cells = squares[[4, 5, 6, 0, 1, 2, 3]].astype(np.float32)
    there, sure = (one.reshape(96, 2, 80, 2) for one in (valid, clear | ~valid))
    words = {"sigma": np.r_[np.full(3, 2 * NOISE), np.full(4, NOISE / 2)], "clear": sure.all(axis=(1, 3))}
    alone = denoise_block(cells, there.any(axis=(1, 3)), origin=(1, 1), repair="none", **words)
    wanted = alone.block[:3].repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(found.block[4:, valid], wanted[:, valid])
    np.testing.assert_array_equal(found.sigma, sigma)
    np.testing.assert_array_equal(found.block[:, ~valid], noisy[:, ~valid])
    assert errors(np.where(valid, found.block, truth), truth)[4:].max() < 0.8


@pytest.mark.parametrize("y0", [32, 33])
def test_a_tile_gives_what_the_whole_gives(y0):
    """Of noise that is told, far from where they differ in what they learn from."""
    truth, noisy, _ = mixed(2)
    whole = denoise_block(noisy, everywhere(noisy), sigma=NOISE).block
    place = slice(40, 80), slice(40, 90)
    part = denoise_block(noisy[:, y0:150], everywhere(noisy)[y0:150], sigma=NOISE, origin=(y0, 0), place=place).block
    rows = slice(place[0].start + y0, place[0].stop + y0)
    apart = np.sqrt(np.mean((part[4:, *place] - whole[4:, rows, place[1]]) ** 2))
    assert apart < 0.25 * NOISE
    error = part[4:, *place] - truth[4:, rows, place[1]]
    assert np.sqrt(np.mean(error**2)) < 0.5 * NOISE
    first = place[0].start + (y0 % 2)
    np.testing.assert_array_equal(part[4:, first : first + 38 : 2, 40:90], part[4:, first + 1 : first + 39 : 2, 40:90])


def test_bands_beside_that_come_back_as_they_were_keep_every_digit():
    """A small cell count leaves the coarse ones alone, whose integers float32 does not hold."""
    rng = np.random.default_rng(4)
    fine = rng.integers(0, 50, (2, 40, 40)) + 1000
    coarse = (2**24 + 1 + 2 * rng.integers(0, 5, (1, 20, 20))).repeat(2, axis=1).repeat(2, axis=2)
    block = np.concatenate([fine, coarse]).astype(np.int32)
    found = denoise_block(block, everywhere(block), sigma=[5, 5, 0])
    assert found.touched.tolist() == [True, True, False]
    kept = settle(found, (slice(None), slice(None)), block, everywhere(block), None)
    np.testing.assert_array_equal(kept[2], block[2])
    assert (kept[:2] != block[:2]).any()


@pytest.mark.parametrize("side", [2, 3, 6])
def test_impulses_are_mended_whole_cells(side):
    rng, cells = np.random.default_rng(5), (96, 96)
    truth = smooth(rng, 5, cells)
    noisy = truth + rng.normal(0, NOISE, truth.shape)
    hit = rng.random(cells) < 0.005
    noisy[2, hit] += 500
    block = noisy.repeat(side, axis=1).repeat(side, axis=2).astype(np.float32)
    found = denoise_block(block, everywhere(block))
    assert found.holes is not None
    mended = found.holes[2, ::side, ::side]
    assert mended[hit].all()
    assert np.count_nonzero(mended & ~hit) <= 2
    np.testing.assert_array_equal(found.holes[2], mended.repeat(side, axis=0).repeat(side, axis=1))
    assert np.sqrt(np.mean((found.block[2, ::side, ::side] - truth[2])[hit] ** 2)) < 2 * NOISE


def test_pixels_of_a_cell_that_no_neighbours_tell_apart_are_no_cell():
    """Between them nothing is valid: that they differ is seen by looking at the whole cell."""
    rng = np.random.default_rng(6)
    band = rng.normal(1000, 10, (40, 40)).repeat(3, axis=0).repeat(3, axis=1)
    band[60, 60], band[60, 62] = 1100, 700
    valid = np.ones((120, 120), bool)
    valid[60:63, 60:63] = False
    valid[60, [60, 62]] = True
    valid[59, 59:64] = valid[59:64, 59] = valid[59:64, 63] = False
    assert list(grids(band[None], valid)) == [PLAIN]
    band[60, 60] = band[60, 62] = 800
    assert list(grids(band[None], valid)) == [Grid(3, 3, 0, 0)]


@pytest.mark.parametrize("sigma", [None, 2 * NOISE, [NOISE] * 4 + [0.0] * 3])
def test_bands_of_other_grids_learn_by_themselves_whatever_the_scene_knows(sigma):
    _, noisy, _ = mixed(7)
    valid = everywhere(noisy)
    seen = pool.survey(noisy, valid, (0, 0), sigma=sigma)
    assert (seen.sigma[:4] > 0).all()
    assert (seen.sigma[4:] == 0).all()
    alone = pool.survey(noisy[:4], valid, (0, 0), sigma=None if sigma is None else np.broadcast_to(sigma, 7)[:4])
    np.testing.assert_array_equal(seen.sigma[:4], alone.sigma)
    model = pool.agree([seen])
    found, by_tile = (denoise_block(noisy, valid, sigma=sigma, model=one) for one in (model, None))
    np.testing.assert_array_equal(found.block[4:], by_tile.block[4:])
    np.testing.assert_array_equal(found.sigma[4:], by_tile.sigma[4:])
    assert (found.block[:4] != noisy[:4]).any()
    told_nothing = sigma is not None and np.ndim(sigma) == 1
    assert np.array_equal(found.block[4:], noisy[4:]) == told_nothing
