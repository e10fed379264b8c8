"""Floor 2: a line of one band that ends within the tile is the scene's; a sensor's stripe does not end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from pipeline.denoise.defects import repair
from pipeline.denoise.endings import SURE, absence, ending, likeliest
from pipeline.denoise.noise import estimate_noise

DATA = Path(__file__).parents[2] / "shared" / "data"
NOISE = 0.02
SPANS = {
    "both ends": [(23, 233)],
    "one end": [(0, 200)],
    "the other end": [(56, 256)],
    "a gap": [(0, 100), (150, 256)],
    "short ends": [(14, 242)],
}


def fields(seed=0):
    """Six bands of smooth fields, and of edges that all share: noisy (band, y, x), and which pixels are valid."""
    rng = np.random.default_rng(seed)
    maps = ndimage.gaussian_filter(rng.standard_normal((3, 256, 120)), (0, 6, 6)) * 2
    maps += ndimage.gaussian_filter(rng.standard_normal((3, 256, 120)), (0, 1, 1)) * 0.1
    clean = np.tensordot(rng.uniform(0.2, 1.0, (6, 3)), maps, 1)
    block = (clean + NOISE * rng.standard_normal(clean.shape)).astype(np.float32)
    return block, np.ones(block.shape[1:], bool)


def with_line(block, spans, size, wide=2, band=4):
    drawn = block.copy()
    for first, last in spans:
        drawn[band, first:last, 60 : 60 + wide] += np.float32(size)
    return drawn


@pytest.mark.parametrize("wide", [1, 2, 3])
@pytest.mark.parametrize("spans", SPANS.values(), ids=SPANS)
@pytest.mark.parametrize("axis", [1, 2])
def test_a_line_that_ends_is_not_touched(spans, wide, axis):
    block, valid = fields()
    drawn = with_line(block, spans, 6 * NOISE, wide)
    if axis == 1:
        drawn, valid = np.ascontiguousarray(drawn.swapaxes(1, 2)), valid.T
    assert repair(drawn, valid, np.full(6, NOISE)).block is drawn


@pytest.mark.parametrize("wide", [1, 2, 3])
@pytest.mark.parametrize("missing", [0, 60])
def test_a_line_over_all_rows_is_a_stripe(wide, missing):
    """Also where the rows in which it would have ended are nodata."""
    block, valid = fields()
    valid[:missing] = False
    drawn = with_line(block, [(0, 256)], 6 * NOISE, wide)
    found = repair(drawn, valid, np.full(6, NOISE))
    assert np.flatnonzero(found.stripes).tolist() == [4]
    assert np.abs((found.block - block)[4][valid].mean()) < NOISE / 10
    assert np.sqrt(np.mean((found.block - block)[:, valid] ** 2)) < 0.1 * NOISE


def test_a_line_that_ends_among_stripes_is_not_touched():
    block, valid = fields()
    rng = np.random.default_rng(3)
    offsets = (rng.random(120) < 0.3) * rng.normal(0, 3 * NOISE, 120)
    offsets[56:66] = 0
    block[4] += offsets.astype(np.float32)
    drawn = with_line(block, SPANS["both ends"], 6 * NOISE)
    found = repair(drawn, valid, np.full(6, NOISE))
    assert found.stripes[4]
    assert np.abs((found.block - drawn)[4, :, 60:62]).max() < 0.5 * NOISE


def test_a_stripe_hidden_by_what_all_bands_show_is_taken_away():
    """A road that all bands show ends in it, and is as much darker as the stripe is bright: they foretell it."""
    block, valid = fields()
    block[:, 200:, 60] -= np.float32(6 * NOISE)
    found = repair(with_line(block, [(0, 256)], 6 * NOISE, wide=1), valid, np.full(6, NOISE))
    assert np.flatnonzero(found.stripes).tolist() == [4]
    assert np.sqrt(np.mean((found.block - block) ** 2)) < 0.1 * NOISE


def test_the_likeliest_run_is_that_of_a_slow_look_at_all():
    rng = np.random.default_rng(5)
    gain = rng.normal(-0.5, 1, (50, 9))
    for row, found in zip(gain, likeliest(gain), strict=True):
        runs = [row[a:b].sum() for a in range(9) for b in range(a, 10)]
        ends = max(row[:a].sum() for a in range(10)) + max(row[a:].sum() for a in range(10))
        np.testing.assert_allclose(found, max(*runs, ends))


def test_absence_is_seen_where_a_line_is_0_and_not_where_it_cannot_be():
    height = np.random.default_rng(6).normal(5, 0.5, (1, 32))
    height[0, :4], height[0, 10] = 0.0, np.nan
    told = absence(height, np.full((1, 1), 0.5))[0]
    assert (told[:4] > 5).all()
    assert (told[4:10] < 0).all()
    assert told[10] == 0
    assert (absence(np.full((1, 32), np.nan), np.full((1, 1), 0.5)) == 0).all()


def test_no_offsets_end_nowhere_and_missing_columns_are_not_read():
    columns = np.random.default_rng(7).normal(0, 0.1, (4, 32, 20))
    assert not ending(columns, np.zeros((4, 20)), np.full(4, 0.1)).any()
    columns[1, :20, 9] += 3.0
    columns[:, :, 8] = np.nan
    offsets = np.zeros((4, 20))
    offsets[1, 9] = 3.0
    told = ending(columns, offsets, np.full(4, 0.1))
    assert told[1, 9] > SURE
    assert np.count_nonzero(told) == 1
    columns[:, :, 10] = np.nan
    assert not ending(columns, offsets, np.full(4, 0.1)).any()


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real scenes in ../shared/data")
@pytest.mark.parametrize("wide", [1, 3])
@pytest.mark.parametrize("place", [(0, 0), (500, 100)])
def test_a_canal_in_a_real_scene_is_kept_and_casts_no_ghost(place, wide):
    y, x = place
    with rasterio.open(DATA / "s2_18SVG_west_10band_20m.tif") as file:
        block = file.read([1, 2, 3, 7])[:, y : y + 256, x : x + 256].astype(np.float32)
    noise = 0.1 * block.std(axis=(1, 2))
    drawn = with_line(block, SPANS["both ends"], 6 * noise[2], wide, band=2)
    drawn += (noise[:, None, None] * np.random.default_rng(0).standard_normal(block.shape)).astype(np.float32)
    valid = np.ones(block.shape[1:], bool)
    found = repair(drawn, valid, estimate_noise(drawn, valid), what="stripes")
    assert np.abs((found.block - drawn)[2, :, 60 : 60 + wide]).max() < 0.1 * noise[2]
