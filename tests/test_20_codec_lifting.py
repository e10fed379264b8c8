"""Planes of hardly a column give the same bits turned as they do row by row."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.codec import lifting, wavelet


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 16])
@pytest.mark.parametrize("height", [64, 65, 300, 1023])
def test_narrow_planes_are_transformed_as_others(height, width):
    plane = np.random.default_rng([height, width]).normal(0, 300, (height, width)).astype(np.float32)
    levels = wavelet.levels_for(height, width)
    rows, scratch, (h, w) = plane.copy(), np.empty_like(plane), plane.shape
    for _ in range(levels):
        wavelet._analyse(rows, scratch, h, w)
        h, w = (h + 1) // 2, (w + 1) // 2
    turned = plane.copy()
    lifting.forward_narrow(turned, np.empty((width, height), np.float32), levels)
    np.testing.assert_array_equal(turned.view(np.uint32), rows.view(np.uint32))
    for level in reversed(range(levels)):
        h, w = (-(-n // 2**level) for n in plane.shape)
        wavelet._synthesise(rows, scratch, h, w)
    lifting.invert_narrow(turned, np.empty((width, height), np.float32), levels)
    np.testing.assert_array_equal(turned.view(np.uint32), rows.view(np.uint32))
    np.testing.assert_allclose(turned, plane, atol=0.01)


@pytest.mark.parametrize("shape", [(200, 1), (200, 6), (64, 16), (40, 16), (16, 1), (9, 40)])
def test_a_block_of_any_shape_comes_back(shape):
    planes = np.random.default_rng(0).normal(0, 300, (2, *shape)).astype(np.float32)
    there = planes.copy()
    levels = wavelet.levels_for(*shape)
    wavelet.forward(there, levels)
    wavelet.inverse(there, levels)
    np.testing.assert_allclose(there, planes, atol=0.01)
