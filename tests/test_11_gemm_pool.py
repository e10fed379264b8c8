"""Average pooling against the mean of every window, and where it was cut out of the scene."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose, assert_array_equal

from pipeline.errors import BlockError
from pipeline.gemm import average_pool
from pipeline.gemm.pool import pool_into


def slow_pool(x, size, stride):
    windows = sliding_window_view(x.astype(np.float64), (size, size), axis=(1, 2))
    return windows[:, ::stride, ::stride].mean(axis=(3, 4))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 11),
    stride=st.integers(1, 5),
    extra=st.tuples(st.integers(0, 12), st.integers(0, 12)),
)
def test_equals_the_mean_of_every_window(seed, size, stride, extra):
    x = np.random.default_rng(seed).standard_normal((2, size + extra[0], size + extra[1])).astype(np.float32)
    pooled = average_pool(x, size, stride)
    assert pooled.dtype == np.float32
    assert_allclose(pooled, slow_pool(x, size, stride), rtol=3e-7, atol=1e-7)


def test_a_cut_changes_no_bit():
    x = np.random.default_rng(0).uniform(0, 1e6, (2, 90, 80)).astype(np.float32)
    assert_array_equal(average_pool(x[:, 21:64, 10:70], 9), average_pool(x, 9)[:, 21:56, 10:62])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_pools_one_sign_of_x_into_the_rows_asked_for(sign):
    x = np.random.default_rng(1).standard_normal((3, 17, 15)).astype(np.float32)
    means = np.full((3, 9, 4), 5, np.float32)
    pool_into(x, 6, 3, sign, 0.0, means, 2, 4)
    assert_allclose(means[:, 2:6], slow_pool(np.maximum(sign * x, 0), 6, 3), rtol=3e-7)
    assert (np.delete(means, range(2, 6), axis=1) == 5).all()


@pytest.mark.parametrize(
    ("shape", "size", "stride"), [((1, 4, 9), 5, 1), ((1, 9, 4), 5, 1), ((1, 9, 9), 3, 0), ((9, 9), 3, 1)]
)
def test_a_window_that_does_not_fit_is_refused(shape, size, stride):
    with pytest.raises(BlockError, match="cannot pool"):
        average_pool(np.zeros(shape, np.float32), size, stride)
