"""The patches that teach stand at every place of what repeats itself: rows of crops, orchards, roofs side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.denoise import denoise_block, estimate_noise
from pipeline.denoise.details import wavelet_details
from pipeline.denoise.noise import noise_with_texture
from pipeline.denoise.patches import patches_among
from pipeline.denoise.settings import settings_for

Y, X = np.mgrid[:256, :256]
PATTERNS = {
    "rows of 4": Y // 2 % 2,
    "rows of 8": Y // 4 % 2,
    "rows of 12": Y // 6 % 2,
    "rows of 24": Y // 12 % 2,
    "lines of 8": X // 4 % 2,
    "chequers of 6": (Y // 3 + X // 3) % 2,
    "chequers of 8": (Y // 4 + X // 4) % 2,
    "orchard of 3": (Y % 3 < 1) & (X % 3 < 1),
    "orchard of 6": (Y % 6 < 2) & (X % 6 < 2),
    "orchard of 12": (Y % 12 < 3) & (X % 12 < 3),
}


@settings(max_examples=50)
@given(
    shape=st.tuples(st.integers(5, 40), st.integers(5, 40)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    origin=st.tuples(st.integers(0, 60), st.integers(0, 60)),
)
def test_one_patch_of_each_cell_wherever_the_tile_begins(shape, stride, origin):
    found = patches_among(shape, 5, stride, origin)
    places = set(zip(origin[0] + found.ys, origin[1] + found.xs, strict=True))
    assert places
    assert len(places) == len(found)
    assert (found.ys.min(), found.xs.min()) >= (0, 0)
    assert (found.ys <= shape[0] - 5).all()
    assert (found.xs <= shape[1] - 5).all()
    scene = patches_among((140, 140), 5, stride, (0, 0))
    if shape[0] >= 5 + 2 * stride[0] and shape[1] >= 5 + 2 * stride[1]:
        inside = (scene.ys >= origin[0]) & (scene.ys <= origin[0] + shape[0] - 5)
        inside &= (scene.xs >= origin[1]) & (scene.xs <= origin[1] + shape[1] - 5)
        assert places == set(zip(scene.ys[inside], scene.xs[inside], strict=True))
        cells = set(zip(scene.ys // stride[0], scene.xs // stride[1], strict=True))
        assert len(cells) == len(scene)


@pytest.mark.parametrize("stride", [(3, 3), (3, 4), (4, 4), (2, 2)])
def test_every_place_of_a_repeating_pattern_is_seen(stride):
    found = patches_among((256, 256), 5, stride, (0, 0))
    for period in range(2, 13):
        seen = np.zeros((period, period), bool)
        seen[found.ys % period, found.xs % period] = True
        assert seen.all(), period


def test_pairs_of_copied_pixels_are_not_mixed():
    chosen = settings_for("fast", 10).aligned(replicated=True)
    found = patches_among((64, 64), 5, chosen.learn, (0, 0), chosen.scattered)
    assert not (found.ys[found.ys < 59] % 2).any()
    assert not (found.xs[found.xs < 59] % 2).any()


@pytest.mark.parametrize("quality", ["fast", "quality"])
@pytest.mark.parametrize("name", list(PATTERNS))
def test_patterns_are_not_smoothed_away(name, quality):
    """On a grid of four by four pixels rows of 4, 8, 12 and 24 were left with errors of 3 to 6."""
    truth = np.where(PATTERNS[name], 540.0, 480.0)[None]
    block = (truth + np.random.default_rng(0).normal(0, 5, truth.shape)).astype(np.float32)
    after = denoise_block(block, np.ones((256, 256), bool), quality=quality, sigma=5).block
    assert np.sqrt(np.mean((after - truth) ** 2)) < 1.7


@pytest.mark.parametrize("name", ["chequers of 8", "rows of 8", "rows of 12", "lines of 8"])
def test_what_stands_close_together_is_no_texture(name):
    """The coarse cells are flat nowhere there, and noise read half as large would be left in."""
    block = np.where(PATTERNS[name], 540.0, 480.0)[None] + np.random.default_rng(0).normal(0, 5, (1, 256, 256))
    assert estimate_noise(block, np.ones((256, 256), bool))[0] == pytest.approx(5, rel=0.05)


@pytest.mark.parametrize(("blur", "left"), [(0.5, 0.85), (0.7, 0.5), (1.0, 0.42)])
def test_noise_that_was_resampled_is_not_taken_for_texture(blur, left):
    """The corner of the spectrum has least of it; no more than half of σ, and 15 % by the next level, are given up."""
    block = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 10, (1, 256, 256)), (0, blur, blur))
    valid = np.ones((256, 256), bool)
    before = noise_with_texture(wavelet_details(block, valid))
    assert estimate_noise(block, valid)[0] >= left * before[0]
