"""Floor 2: of a block that teaches as a whole, a part is wanted: what comes back there is what all would give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.denoise import denoise_block
from pipeline.denoise.patches import patches_over
from pipeline.flow.denoise import Denoising

SHAPE = 76, 90


def scene(bands: int) -> np.ndarray:
    """Fields, few spectra and unit noise: (band, y, x) float32."""
    rng = np.random.default_rng([1, bands])
    maps = 8 * ndimage.gaussian_filter(rng.standard_normal((4, *SHAPE)), (0, 6, 6)) / 0.05
    block = np.einsum("bk,kyx->byx", rng.standard_normal((bands, 4)), maps) + rng.standard_normal((bands, *SHAPE))
    block[:, 40, 50] += 60  # a target
    return block.astype(np.float32)


def differences(block: np.ndarray, valid: np.ndarray, place: tuple[slice, slice], **words: object) -> np.ndarray:
    """(band,) the largest at place between what all of the block gives and what is asked for alone."""
    whole, part = (denoise_block(block, valid, place=one, **words).block[:, *place] for one in (None, place))
    np.testing.assert_array_equal(np.isnan(part), np.isnan(whole))
    return np.asarray(np.abs(np.nan_to_num(part - whole)).max(axis=(1, 2)))


@pytest.mark.parametrize(
    ("bands", "quality"), [(1, "fast"), (5, "fast"), (10, "fast"), (10, "quality"), (24, "fast"), (24, "quality")]
)
@pytest.mark.parametrize("holes", ["none", "corner", "scattered"])
def test_a_place_is_what_it_is_in_the_whole(bands: int, quality: str, holes: str) -> None:
    """Patches, gains, targets and refilled holes: to rounding, for products of other shapes are summed differently."""
    valid = np.ones(SHAPE, bool)
    if holes == "corner":
        valid[20:50, 25:40] = False
    if holes == "scattered":
        valid = np.random.default_rng(5).random(SHAPE) < 0.8
    block, place = scene(bands), (slice(30, 61), slice(33, 70))
    block[:, ~valid] = np.nan
    # What is held back is weighed over what is denoised: told a noise that is not passed, none is.
    found = differences(block, valid, place, quality=quality, sigma=2.0)
    assert (found < 1e-3 * np.nanstd(block)).all()


@settings(max_examples=20)
@given(st.data())
def test_any_place_of_a_masked_block(data: st.DataObject) -> None:
    edges = [sorted(data.draw(st.lists(st.integers(0, side), min_size=2, max_size=2, unique=True))) for side in SHAPE]
    clear = np.ones(SHAPE, bool)
    clear[35:55, 20:60] = False
    block, place = scene(4), (slice(*edges[0]), slice(*edges[1]))
    found = differences(block, np.ones(SHAPE, bool), place, clear=clear, sigma=2.0)
    assert (found < 1e-3 * block.std()).all()


def test_patches_that_meet_a_place_are_those_that_share_a_pixel_with_it() -> None:
    patches = patches_over((20, 23), 4, (2, 3), (0, 0), 1)
    place = np.zeros((20, 23), bool)
    place[5:9, 7:8] = True
    wanted = [place[y : y + 4, x : x + 4].any() for y, x in zip(patches.ys, patches.xs, strict=True)]
    assert 0 < sum(wanted) < len(wanted)
    np.testing.assert_array_equal(patches.meeting((slice(5, 9), slice(7, 8))), wanted)


def test_a_tile_borrows_what_it_has_to_learn_from() -> None:
    denoising = Denoising("fast")
    assert {tile: denoising.halo(tile) for tile in (16, 64, 96, 128, 191, 192, 256, 1024)} == {
        16: 32,
        64: 32,
        96: 48,
        128: 64,
        191: 64,
        192: 48,
        256: 48,
        1024: 48,
    }
    assert Denoising("fast", basis="scene").halo(128) == 16
    assert Denoising("none").halo(128) == 0
