"""Floor 2: stripes, dead lines and impulses of single bands are mended; what belongs to the scene is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.denoise.defects import repair
from pipeline.denoise.judging import suspects
from pipeline.denoise.noise import estimate_noise
from pipeline.denoise.stripes import descend

DATA = Path(__file__).parents[2] / "shared" / "data"
NOISE = 0.02


def fields(bands=8, height=128, width=120, seed=0, noise=NOISE):
    """Noisy textured fields: smooth abundances of three spectra, full-height edges, and detail that all bands share."""
    rng = np.random.default_rng(seed)
    maps = ndimage.gaussian_filter(rng.standard_normal((3, height, width)), (0, 6, 6)) * 2
    maps += ndimage.gaussian_filter(rng.standard_normal((3, height, width)), (0, 1, 1)) * 0.1
    maps[0, :, width // 2 :] += 0.5
    maps[1, :, width // 4] += 0.7
    clean = np.tensordot(rng.uniform(0.2, 1.0, (bands, 3)), maps, 1)
    block = (clean + noise * rng.standard_normal(clean.shape)).astype(np.float32)
    return block, np.ones((height, width), bool), np.full(bands, noise)


def striped(block, seed, share=0.3, amplitude=3 * NOISE, bands=(1, 4)):
    rng = np.random.default_rng(seed)
    offsets = np.zeros((len(block), block.shape[2]))
    for k in bands:
        offsets[k] = (rng.random(block.shape[2]) < share) * rng.normal(0, amplitude, block.shape[2])
    return (block + offsets[:, None]).astype(np.float32), offsets


@pytest.mark.parametrize("bands", [1, 2, 3, 8, 40])
def test_a_scene_without_defects_is_the_very_array_that_was_given(bands):
    """Its road and its coast run along the columns over the whole height."""
    block, valid, sigma = fields(bands)
    found = repair(block, valid, sigma)
    assert found.block is block
    assert found.holes is None
    assert not found.stripes.any()
    assert not found.impulses.any()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("axis", [1, 2])
def test_stripes_are_taken_away(share, axis):
    block, valid, sigma = fields()
    turned, offsets = striped(block.swapaxes(1, 2) if axis == 1 else block, 1, share)
    found = repair(turned.swapaxes(1, 2) if axis == 1 else turned, valid, sigma)
    left = (found.block - block).swapaxes(1, 2) if axis == 1 else found.block - block
    assert left.std() < 0.4 * offsets.std()
    assert found.stripes.tolist() == offsets.any(axis=1).tolist()


def test_stripes_of_every_band_are_taken_away():
    block, valid, sigma = fields()
    bad, offsets = striped(block, 2, bands=range(8))
    assert (repair(bad, valid, sigma).block - block).std() < 0.4 * offsets.std()


def test_stripes_that_fade_along_the_column_do_not_get_worse():
    block, valid, sigma = fields()
    _, offsets = striped(block, 3)
    bad = (block + offsets[:, None] * np.linspace(0.5, 1.5, 128)[:, None]).astype(np.float32)
    assert (repair(bad, valid, sigma).block - block).std() < 0.5 * (bad - block).std()


@pytest.mark.parametrize("share", [0.002, 0.01, 0.02])
def test_impulses_are_replaced_and_all_else_stays(share):
    block, valid, sigma = fields()
    where = np.random.default_rng(4).random(block.shape) < share
    bad = np.where(where, np.where(block > 0.5, -1.0, 2.0), block).astype(np.float32)
    found = repair(bad, valid, sigma)
    assert (found.holes & where).sum() > 0.97 * where.sum()
    assert (found.holes & ~where).sum() < 0.1 * where.sum() + 20
    assert np.sqrt(np.mean((found.block - block)[where] ** 2)) < 0.1 * np.sqrt(np.mean((bad - block)[where] ** 2))
    np.testing.assert_array_equal(found.block[~found.holes], bad[~found.holes])
    assert found.impulses.sum() >= found.holes.sum()


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("impulses", [0.0, 0.01])
def test_a_small_target_in_all_bands_stays(size, impulses):
    """Ships of one and of 2 x 2 pixels, contrast .6, on a clean block and among impulses."""
    block, valid, sigma = fields()
    for y in range(20, 120, 25):
        block[:, y : y + size, 90 : 90 + size] += 0.6
    where = np.random.default_rng(5).random(block.shape) < impulses
    for y in range(20, 120, 25):
        where[:, y - 3 : y + 5, 87:95] = False
    found = repair(np.where(where, 3, block).astype(np.float32), valid, sigma)
    assert (found.impulses.sum() > 0) == (impulses > 0)
    for y in range(20, 120, 25):
        ship = (slice(None), slice(y, y + size), slice(90, 90 + size))
        np.testing.assert_allclose(found.block[ship], block[ship], rtol=0, atol=1e-6)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("value", [0.0, 9.0])
def test_dead_lines_are_foretold(axis, value):
    block, valid, sigma = fields()
    bad = block.copy()
    turned = bad.swapaxes(1, axis)
    turned[3, :, 50], turned[5, :, 80] = value, value
    found = repair(bad, valid, sigma)
    dead = (bad != block) & (bad == value)
    np.testing.assert_array_equal(found.holes, dead)
    # A pixel foretold carries its own noise no more, but that of its neighbours.
    assert np.sqrt(np.mean((found.block - block)[dead] ** 2)) < 4 * NOISE
    np.testing.assert_array_equal(found.block[~dead], block[~dead])


def test_saturated_areas_and_constant_bands_stay():
    block, valid, sigma = fields()
    block[:, :, 30:70] = 5.0
    block[2], sigma[2] = 7.0, 0.0
    block[4, 60:, :] = block[4].max()
    assert repair(block, valid, sigma).block is block


def test_bands_of_coarser_pixels_repeated_are_not_stripes():
    """As in a stack of the resolutions of Sentinel-2: between most of their columns there is no step at all."""
    block, valid, _ = fields(height=126)
    for k in (0, 5):
        block[k] = block[k, ::6, ::6].repeat(6, axis=0).repeat(6, axis=1)
    assert repair(block, valid, estimate_noise(block, valid)).block is block
    sigma = np.where(np.isin(np.arange(8), (0, 5)), 1e-4, NOISE)
    assert repair(block, valid, sigma).block is block


def test_invalid_pixels_stay_and_are_not_read():
    block, valid, sigma = fields()
    bad, _ = striped(block, 6)
    where = np.random.default_rng(7).random(block.shape) < 0.01
    bad[where] = 3.0
    valid[10:50, 20:60] = valid[:, :7] = False
    first, second = (repair(np.where(valid, bad, fill).astype(np.float32), valid, sigma) for fill in (np.nan, -999.0))
    np.testing.assert_array_equal(first.block[:, valid], second.block[:, valid])
    assert (second.block[:, ~valid] == -999).all()
    assert np.sqrt(np.mean((second.block - block)[:, valid] ** 2)) < 0.25 * np.sqrt(
        np.mean((bad - block)[:, valid] ** 2)
    )
    assert not second.holes[:, ~valid].any()


def test_pure_and_deterministic():
    block, valid, sigma = fields()
    bad, _ = striped(block, 8)
    bad[np.random.default_rng(9).random(bad.shape) < 0.01] = 3.0
    kept = bad.copy()
    first, second = repair(bad, valid, sigma), repair(bad, valid, sigma)
    np.testing.assert_array_equal(bad, kept)
    assert first.block.tobytes() == second.block.tobytes()


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 5),
    st.sampled_from([1, 2, 3, 5, 17, 40]),
    st.sampled_from([1, 2, 4, 18, 40]),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_odd_blocks_come_back_whole(bands, height, width, share, seed):
    """Any size, any slivers of valid pixels, any σ: same shape, finite, invalid pixels as they were."""
    rng = np.random.default_rng(seed)
    block = rng.normal(0, 1, (bands, height, width)).astype(np.float32)
    block[:, :, rng.random(width) < 0.2] = 0.0
    valid = rng.random((height, width)) < share
    found = repair(block, valid, rng.choice([0.0, 1e-3, 1.0], bands))
    assert found.block.shape == block.shape
    assert np.isfinite(found.block).all()
    np.testing.assert_array_equal(found.block[:, ~valid], block[:, ~valid])


@pytest.mark.parametrize(("bands", "size", "classes"), [(3, 16, 3), (6, 48, 12), (10, 48, 12)])
def test_the_sharp_edges_of_a_map_are_no_stripes(bands, size, classes):
    """Squares of a few classes, a thousand times the noise apart: some columns are off by the same in most rows."""
    rng = np.random.default_rng(1)
    count = 192 // size
    labels = rng.integers(0, classes, (count, count)).repeat(size, 0).repeat(size, 1)
    truth = rng.uniform(0, 1, (classes, bands))[labels].transpose(2, 0, 1)
    block = (truth + np.random.default_rng(5).normal(0, 0.001, truth.shape)).astype(np.float32)
    found = repair(block, np.ones((192, 192), bool), np.full(bands, 0.001))
    assert not found.stripes.any()
    assert np.count_nonzero(found.block != block) < 0.002 * block.size


def test_suspects_are_those_of_a_slow_look_at_all_neighbours():
    rng = np.random.default_rng(10)
    band = np.round(rng.normal(0, 1, (23, 31)), 1).astype(np.float32)
    band[rng.random(band.shape) < 0.1] = 9.0
    valid = rng.random(band.shape) < 0.9
    flag = np.zeros(band.shape, bool)
    suspects(band, valid, 0.75, 1, flag)
    rows, columns = np.arange(23), np.arange(31)
    for y in rows:
        for x in columns:
            near = (slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2))
            others = band[near][valid[near] & (np.add.outer(rows[near[0]] != y, columns[near[1]] != x))]
            extreme = max((band[y, x] - 0.75 > others).sum(), (band[y, x] + 0.75 < others).sum())
            wanted = valid[y, x] and len(others) >= 3 and extreme >= len(others) - 1
            assert flag[y, x] == wanted


def test_descent_without_weights_is_least_squares():
    """With some offsets held at 0 and no weights, the minimum of Σ gᵀ Q g is that of a dense solver."""
    rng = np.random.default_rng(11)
    bands, width = 3, 12
    half = rng.standard_normal((bands, bands))
    Q = half @ half.T + np.eye(bands)
    steps = rng.standard_normal((bands, width - 1))
    held = rng.random((bands, width)) < 0.5
    offsets = np.zeros((bands, width))
    descend(steps, np.ones(width - 1, bool), Q, offsets, np.where(held, np.inf, 0.0), 0.0, 2000)
    D = np.kron(np.eye(bands), np.diff(np.eye(width), axis=0))[:, ~held.ravel()]
    W = np.kron(np.linalg.cholesky(Q).T, np.eye(width - 1))
    wanted = np.linalg.lstsq(W @ D, W @ steps.ravel(), rcond=None)[0]
    np.testing.assert_allclose(offsets[~held], wanted, atol=1e-6)
    assert not offsets[held].any()


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real scenes in ../shared/data")
@pytest.mark.parametrize("place", [(40, 40), (480, 280)])
def test_a_real_scene_is_not_touched_until_it_is_spoilt(place):
    block = _crop(place)
    valid = np.ones(block.shape[1:], bool)
    sigma = estimate_noise(block, valid)
    assert repair(block, valid, sigma).block is block
    bad, offsets = striped(block, 12, amplitude=100.0)
    where = np.random.default_rng(13).random(block.shape) < 0.005
    bad[where] = 12000.0
    found = repair(bad, valid, sigma)
    assert (found.holes & where).sum() > 0.97 * where.sum()
    assert (found.stripes >= offsets.any(axis=1)).all()
    assert np.sqrt(np.mean((found.block - block) ** 2)) < 0.25 * np.sqrt(np.mean((bad - block) ** 2))


def _crop(place):
    y, x = place
    with rasterio.open(DATA / "s2_18SVG_west_10band_20m.tif") as file:
        return file.read()[:, y : y + 192, x : x + 192].astype(np.float32)


@pytest.mark.parametrize("bands", [3, 8])
@pytest.mark.parametrize("period", [3, 5, 8])
def test_rows_of_a_crop_are_not_stripes(bands, period):
    rows = np.tile((np.arange(200) % period < period // 2) * 0.5, (200, 1)) * np.linspace(0.5, 1, bands)[:, None, None]
    block = (rows + 0.05 * np.random.default_rng(period).standard_normal(rows.shape)).astype(np.float32)
    assert repair(block, np.ones((200, 200), bool), np.full(bands, 0.05)).block is block


def test_fires_in_one_band_and_lights_in_one_band_alone_stay():
    block, valid, sigma = fields(bands=8)
    rng = np.random.default_rng(20)
    for y, x in rng.integers(5, 115, (40, 2)):
        block[5, y, x] += rng.uniform(0.5, 6.0)
    assert repair(block, valid, sigma).block is block
    night = np.where(rng.random((1, 128, 128)) < 0.02, rng.uniform(0, 9, (1, 128, 128)), 0).astype(np.float32)
    night += (0.02 * rng.standard_normal(night.shape)).astype(np.float32)
    assert repair(night, np.ones((128, 128), bool), np.full(1, 0.02)).block is night


def test_a_few_stuck_pixels_in_every_band_of_a_small_dark_tile_are_replaced():
    block, valid, sigma = fields(bands=6, height=64, width=64)
    where = np.random.default_rng(23).random(block.shape) < 0.0025
    bad = np.where(where, np.float32(block.max()), block)
    found = repair(bad, valid, sigma)
    assert np.sqrt(np.mean((found.block - block) ** 2)) < 0.3 * np.sqrt(np.mean((bad - block) ** 2))
