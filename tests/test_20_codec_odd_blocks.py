"""Blocks of an odd shape: many bands of few pixels, narrow ones, and bounds that allow anything."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.codec import Bound, decode, encode

BOUNDS = [Bound("lossless"), Bound("max_error", 2), Bound("max_error", 3000), Bound("rmse", 0.3), Bound("snr", 60)]


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
@pytest.mark.parametrize("shape", [(20_000, 1, 2), (65_536, 1, 1), (17_000, 2, 2)])
def test_what_is_written_of_many_bands_of_hardly_a_pixel_is_read(shape, bound):
    """Of bands that are all alike next to no bytes are left by a predictor of more coefficients than readers take."""
    block = np.zeros(shape, np.uint16) + (np.arange(shape[0], dtype=np.uint16) // 300)[:, None, None]
    decoded, valid = decode(encode(block, None, bound))
    assert valid.all()
    assert np.abs(decoded.astype(np.int64) - block).max() <= (bound.value if bound.mode == "max_error" else 0.5)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_zeros_under_a_bound_that_allows_anything(dtype):
    block = np.zeros((2, 3, 4), dtype)
    np.testing.assert_array_equal(decode(encode(block, None, Bound("snr", -4000)))[0], block)
