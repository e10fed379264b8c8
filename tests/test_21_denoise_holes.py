"""Where much is missing in scattered places less is taken away, and never more than that."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pipeline.denoise import denoise_block
from pipeline.denoise.planes import scattered

NOISE = 30.0


def land(bands: int, textured: bool) -> np.ndarray:
    """Fields of 16 pixels, or detail of 3 pixels and more, that the bands share."""
    rng = np.random.default_rng(bands)
    maps = np.stack([ndimage.gaussian_filter(rng.standard_normal((160, 160)), width) for width in (3, 6, 12, 20)])
    maps /= maps.std(axis=(1, 2), keepdims=True)
    if not textured:
        maps[0] = ndimage.zoom(rng.integers(0, 6, (10, 10)), 16, order=0) - 2.5
    return 3000 + 300 * np.tensordot(rng.standard_normal((bands, min(bands, 4))), maps[: min(bands, 4)], 1)


def errors(bands: int, textured: bool, valid: np.ndarray) -> tuple[float, float]:
    """Root mean square errors before and after, where valid."""
    clean = land(bands, textured)
    noisy = (clean + np.random.default_rng(9).normal(0, NOISE, clean.shape)).astype(np.float32)
    after = denoise_block(np.where(valid, noisy, np.nan), valid).block
    before, left = (np.sqrt(np.mean((one - clean)[:, valid] ** 2)) for one in (noisy, after))
    return float(before), float(left)


@pytest.mark.parametrize("textured", [False, True])
@pytest.mark.parametrize("bands", [1, 2, 6])
@pytest.mark.parametrize("missing", [0.5, 0.55, 0.6])
def test_half_of_the_pixels_missing_makes_nothing_worse(bands: int, textured: bool, missing: float) -> None:
    before, after = errors(bands, textured, np.random.default_rng(5).random((160, 160)) > missing)
    assert after < 1.01 * before


@pytest.mark.parametrize(("bands", "textured", "most"), [(1, False, 0.7), (2, True, 0.68), (6, True, 0.55)])
def test_a_third_missing_in_single_pixels_leaves_much_to_gain(bands: int, textured: bool, most: float) -> None:
    before, after = errors(bands, textured, np.random.default_rng(5).random((160, 160)) > 0.3)
    assert after < most * before


def test_holes_are_scattered_where_they_are_near_most_pixels() -> None:
    valid = np.ones((100, 100), bool)
    assert not scattered(valid, 5)
    valid[:, 50:] = False
    assert not scattered(valid, 5)
    valid[::4, ::4] = False
    assert scattered(valid, 5)
