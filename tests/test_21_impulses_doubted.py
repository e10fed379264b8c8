"""Impulses are not seen where a band was clipped or wrapped, and what is mended is a value that its band could hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pipeline.denoise.defects import repair
from pipeline.denoise.noise import estimate_noise


def scene(rough, noise, seed):
    """Four bands (band, y, x) of three fields that they share, and noise."""
    rng = np.random.default_rng(seed)
    maps = ndimage.gaussian_filter(rng.standard_normal((3, 160, 160)), (0, rough, rough)) * 3 * rough
    clean = np.tensordot(rng.uniform(0.2, 1.0, (4, 3)), maps, 1)
    return clean + noise * rng.standard_normal(clean.shape)


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_clipped_band_has_no_impulses(side, share):
    """Its plateau pulls the noise found down, and the pixels beside it look wrong."""
    block = side * scene(3, 0.3, 0)
    block = np.minimum(block, np.quantile(block, 1 - share, axis=(1, 2), keepdims=True)).astype(np.float32) * side
    valid = np.ones(block.shape[1:], bool)
    assert not repair(block, valid, estimate_noise(block, valid)).impulses.any()


def test_values_mended_stay_within_what_the_band_holds():
    """Bytes that wrapped: the other bands foretell -22 to 280 of them."""
    whole = scene(1, 0.1, 3)
    whole = (whole - whole.min()) / np.ptp(whole) * np.linspace(240, 1000, 4)[:, None, None]
    block = whole.astype(np.uint16).astype(np.uint8).astype(np.float32)
    valid = np.ones(block.shape[1:], bool)
    found = repair(block, valid, estimate_noise(block, valid))
    assert found.impulses.any()
    assert found.block.min() >= 0
    assert found.block.max() <= 255
