"""Features from factors against the features of the same scene multiplied out, at every seam and edge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pipeline.grid import Grid, Halo, Window
from pipeline.network import factored, features_block
from pipeline.network.factored import features_mosaic, pays
from pipeline.network.pieces import Mosaic, Piece, regions
from tests.test_22_network_features import random_bank


def random_mosaic(seed, bands, rank, height, width, tile, mended=0, raw=False, holes=0, least=0):
    """Tiles with bases of their own, of rank `least` to `rank`; `raw`: every third as pixels. And the block itself."""
    rng = np.random.default_rng([seed, 2])
    grid = Grid(height, width, tile)
    block, valid = np.empty((bands, height, width)), np.ones((height, width), bool)
    valid[rng.integers(0, height, holes), rng.integers(0, width, holes)] = False
    pieces = {}
    for number, place in enumerate(grid):
        h, w = place.window.shape
        mean, k = rng.uniform(100, 200, bands), int(rng.integers(least, rank + 1))
        basis, scores = rng.standard_normal((bands, k)), rng.normal(0, 20, (k, h, w)).astype(np.float32)
        own = mean[:, None, None] + np.tensordot(basis, scores.astype(float), 1)
        chosen = rng.choice(own.size, min(own.size, mended), replace=False)
        places, amounts = np.stack(np.unravel_index(chosen, own.shape)), rng.normal(0, 300, len(chosen))
        own[tuple(places)] += amounts
        block[:, *place.window.slices] = own
        real = valid[place.window.slices]
        if raw and number % 3 == 1:
            pieces[number] = Piece(real, np.where(real, own, np.nan))
        else:
            pieces[number] = Piece(real, None, mean, basis, scores, places, amounts)
    return Mosaic(grid, pieces), block, valid


def both(mosaic, block, valid, bank, pool, stride, window):
    shape = block.shape[1:]
    outer = window.expand(Halo.even(bank.halo(pool, stride)), *shape)
    options = {"pool": pool, "stride": stride, "window": window}
    wanted = features_block(
        block[:, *outer.slices], valid[outer.slices], bank, outer=outer, scene_shape=shape, **options
    )
    return wanted, features_mosaic(mosaic, bank, **options)


def check(found, wanted, bound=1e-4):
    """The same cells valid, and features that differ by less than `bound` of their own spread (pooled: of 1)."""
    assert_array_equal(found[1], wanted[1])
    assert_array_equal(np.isnan(found[0]), np.isnan(wanted[0]))
    if wanted[1].any():
        scale = max(1.0, float(np.nanstd(wanted[0])))
        assert float(np.nanmax(np.abs(found[0] - wanted[0]))) <= bound * scale


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 999),
    size=st.integers(1, 5),
    signs=st.sampled_from(["both", "one"]),
    spectra=st.booleans(),
    groups=st.sampled_from([1, 1, 1, 2]),
    rank=st.integers(0, 3),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    tile=st.integers(2, 24),
    mended=st.sampled_from([0, 0, 1, 5, 60]),
    raw=st.booleans(),
    holes=st.integers(0, 3),
    pool=st.integers(1, 9),
    stride=st.integers(1, 6),
)
def test_features_of_factors_are_those_of_the_scene(
    seed, size, signs, spectra, groups, rank, height, width, tile, mended, raw, holes, pool, stride
):
    bank = random_bank(seed, bands=8, size=size, signs=signs, spectra=spectra, groups=groups)
    mosaic, block, valid = random_mosaic(seed, 8, rank, height, width, tile, mended, raw, holes)
    rng = np.random.default_rng(seed)
    y, x = (int(rng.integers(0, -(-length // stride))) * stride for length in (height, width))
    wanted, found = both(mosaic, block, valid, bank, pool, stride, Window(y, height, x, width))
    check(found, wanted)


def test_a_scene_of_many_tiles_at_the_rank_that_pays():
    """32 bands of rank 4, all nine neighbours, at the product's own sizes of filter and pool."""
    bank = random_bank(1, bands=32, count=8, spectra=True)
    mosaic, block, valid = random_mosaic(1, 32, 4, 120, 130, 40, mended=3, holes=4)
    wanted, found = both(mosaic, block, valid, bank, 9, 1, Window(40, 80, 40, 80))
    assert wanted[1].any()
    check(found, wanted, 2e-5)


def test_windows_do_not_show():
    """The cells of a window are, to the bit, those of the whole where the same regions were cut."""
    bank = random_bank(3, bands=16)
    mosaic, _, _ = random_mosaic(3, 16, 3, 60, 60, 20)
    whole, _ = features_mosaic(mosaic, bank, pool=5, stride=2, window=Window(0, 60, 0, 60))
    part, _ = features_mosaic(mosaic, bank, pool=5, stride=2, window=Window(20, 40, 20, 40))
    assert np.nanmax(np.abs(whole[:, 10:20, 10:20] - part)) <= 1e-5 * np.nanstd(whole)


def test_each_tile_is_convolved_on_its_own_basis(monkeypatch):
    """Inside a tile as many planes as its rank; along a seam those of both and one of ones."""
    bank = random_bank(4, bands=24, spectra=False)
    mosaic, _, _ = random_mosaic(4, 24, 4, 40, 20, 20)
    ranks = [len(mosaic.pieces[number].scores) for number in (0, 1)]
    seen = []
    convolve = factored.pooled_responses
    monkeypatch.setattr(factored, "pooled_responses", lambda z, *rest: (seen.append(z.shape[0]), convolve(z, *rest)))
    features_mosaic(mosaic, bank, pool=3, stride=1, window=Window(0, 40, 0, 20))
    assert seen == [max(1, ranks[0]), sum(ranks) + 1, max(1, ranks[1])]


def test_what_does_not_pay_is_multiplied_out(monkeypatch):
    bank = random_bank(5, bands=4, spectra=False)
    mosaic, _, _ = random_mosaic(5, 4, 12, 20, 20, 20, least=7)
    seen = []
    convolve = factored.pooled_responses
    monkeypatch.setattr(factored, "pooled_responses", lambda z, *rest: (seen.append(z.shape[0]), convolve(z, *rest)))
    features_mosaic(mosaic, bank, pool=3, stride=1, window=Window(0, 20, 0, 20))
    assert seen == [4]


def test_the_rank_decides_and_grouped_filters_never_pay():
    wide, grouped = random_bank(bands=200, count=128), random_bank(bands=4, groups=4)
    assert pays(wide, 12)
    assert not pays(wide, 300)
    assert not pays(grouped, 1)


@pytest.mark.parametrize(("tile", "runs"), [(20, [(0, 8), (8, 12), (12, 20)]), (100, [(0, 20)])])
def test_regions_are_runs_of_cells_that_see_the_same_tiles(tile, runs):
    paths = random_bank(size=3, spectra=False).paths(7, 2)
    found = regions(paths, 0, 20, 40, tile)
    assert [(one.first, one.end) for one in found] == runs
