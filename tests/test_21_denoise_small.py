"""Floor 2: chips and other small blocks, which teach a basis badly: patches of two sizes, and enough classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy import ndimage
from scipy.interpolate import CubicSpline

from pipeline.denoise import Settings, denoise_block, settings_for
from pipeline.denoise.planes import denoise_planes
from pipeline.denoise.settings import FAST, MANY_FAST, Second

SAMPLE = Path(__file__).parents[1] / "sample_data" / "s2_18SVG_crop_10band_20m.tif"


def psnr(truth, block):
    """Mean over the bands, decibels, against a peak of 1."""
    return float(np.mean(-10 * np.log10(np.mean((block - truth) ** 2, axis=(1, 2)))))


def test_a_small_block_is_the_mean_of_what_two_sizes_of_patches_give():
    rng = np.random.default_rng(3)
    E = ndimage.gaussian_filter(rng.standard_normal((2, 61, 73)), (0, 4, 4)) * 60
    E = (E + rng.standard_normal(E.shape)).astype(np.float32)
    valid = np.ones((61, 73), bool)
    enough = 61 * 73 // (2 * 25)
    both = Settings(5, (3, 3), (1, 2), ((2, 18),), 1, second=Second(4, (1, 2), enough + 1))
    five, four = (denoise_planes(E, valid, replace(both, second=None, patch=side), (0, 0)) for side in (5, 4))
    np.testing.assert_allclose(denoise_planes(E, valid, both, (0, 0)), (five + four) / 2, atol=1e-5)
    assert np.abs(five - four).max() > 0.1
    large = replace(both, second=Second(4, (1, 2), enough))
    assert denoise_planes(E, valid, large, (0, 0)).tobytes() == five.tobytes()
    # What is not to be learnt from teaches nothing, however large the block is.
    learn = valid.copy()
    learn[:2] = False
    other = denoise_planes(E, valid, large, (0, 0), trusted=learn)
    alone = denoise_planes(E, valid, replace(large, second=None), (0, 0), trusted=learn)
    assert np.abs(other - alone).max() > 0.1


def test_a_size_of_patches_that_learns_nothing_has_no_say():
    noise = np.random.default_rng(8).standard_normal((4, 60, 60)).astype(np.float32)
    place = np.arange(60) % 6 < 4
    valid = place[:, None] & place  # no patch of five holds enough that is valid, some of four are whole
    done = denoise_block(noise, valid, sigma=1.0)
    only = replace(settings_for("fast", 4), patch=4, second=None)
    four = denoise_planes(noise, valid, only, (0, 0))
    assert np.std(four[:, valid]) < 0.5
    assert np.std(done.block[:, valid]) < 0.5


@pytest.mark.parametrize("quality", ["fast", "quality"])
@pytest.mark.parametrize(
    ("without", "least"), [({"second": None}, 0.05), ({"second": None, "classes": ((8, 25),)}, 0.2)]
)
def test_chips_gain_from_patches_of_two_sizes_and_from_classes(quality, without, least, monkeypatch):
    with rasterio.open(SAMPLE) as file:
        scene = file.read().astype(np.float64) / 3000
    gains = []
    for start in (40, 200, 360):
        truth = scene[:, start : start + 64, start : start + 64]
        noisy = (truth + 0.02 * np.random.default_rng(5).standard_normal(truth.shape)).astype(np.float32)
        chosen = settings_for(quality, len(truth))
        found = []
        for one in (chosen, replace(chosen, **without)):
            monkeypatch.setattr("pipeline.denoise.block.settings_for", lambda *_, one=one: one)
            found.append(psnr(truth, denoise_block(noisy, np.ones((64, 64), bool), quality=quality).block))
        gains.append(found[0] - found[1])
    assert np.mean(gains) > least


def interpolated(bands):
    """So many bands (band, y, x) between those of a scene."""
    return CubicSpline(np.arange(len(bands)), bands, axis=0)(np.linspace(0, len(bands) - 1, 24))


def unlike(bands):
    """48 bands that mix 24 pictures, each of another place of a scene (band, y, x)."""
    pieces = np.stack([bands[i % 10][20 * (i // 10) :, 7 * i :][:96, :96] for i in range(24)])
    mixed = np.random.default_rng(1).standard_normal((48, 24)) / 5
    return np.einsum("ab,byx->ayx", mixed, pieces - pieces.mean(axis=(1, 2), keepdims=True)) + 0.5


@pytest.mark.parametrize(
    ("made", "other", "planes", "least"),
    [
        (lambda crop: crop[:6, :96, :96], FAST, (6, 6), 0.04),
        (lambda crop: interpolated(crop[:, :96, :96]), replace(MANY_FAST, second=None), (2, 16), 0.04),
        (unlike, replace(MANY_FAST, second=None), (17, 48), 0.08),
    ],
    ids=["six bands", "few planes of many bands", "many planes"],
)
def test_sizes_of_patches_go_by_the_planes(made, other, planes, least, monkeypatch):
    with rasterio.open(SAMPLE) as file:
        scene = file.read().astype(np.float64) / 3000
    gains = []
    for start in (40, 200):
        truth = made(scene[:, start : start + 200, start:])
        noisy = (truth + 0.02 * np.random.default_rng(5).standard_normal(truth.shape)).astype(np.float32)
        found = []
        for one in (settings_for, lambda *_: other):
            monkeypatch.setattr("pipeline.denoise.block.settings_for", one)
            done = denoise_block(noisy, np.ones((96, 96), bool))
            found.append(psnr(truth, done.block))
        assert planes[0] <= (len(truth) if len(truth) <= 16 else done.rank) <= planes[1]
        gains.append(found[0] - found[1])
    assert np.mean(gains) > least
