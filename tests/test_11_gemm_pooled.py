"""Responses rectified and pooled in one sweep are those of a whole map, rectified and pooled."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose, assert_array_equal

from pipeline.errors import BlockError
from pipeline.gemm import Convolution, pooled, pooled_responses
from pipeline.gemm.lowered import conv2d_lowered


def draw(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def slow(x, filters, bias, pool, stride, both, dilation=1):
    """The whole map by BLAS, each window's mean in float64."""
    z = conv2d_lowered(x, filters, bias, dilation=dilation).astype(np.float64)
    maps = [np.maximum(z, 0), np.maximum(-z, 0)] if both else [np.maximum(z, 0)]
    windows = sliding_window_view(np.concatenate(maps), (pool, pool), axis=(1, 2))
    return windows[:, ::stride, ::stride].mean(axis=(3, 4))


def swept(x, filters, bias, pool, stride, both, exact=False, threads=1, dilation=1):
    more = (filters.shape[2] - 1) * dilation
    height, width = ((size - more - pool) // stride + 1 for size in x.shape[1:])
    out = np.full(((2 if both else 1) * len(filters), height, width), np.nan, np.float32)
    return pooled_responses(
        x, Convolution(filters, bias, exact=exact, dilation=dilation), pool, stride, out, both=both, threads=threads
    )


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 14),
    count=st.sampled_from([1, 2, 8, 21]),
    size=st.sampled_from([1, 3, 4, 5]),
    pool=st.integers(1, 12),
    stride=st.integers(1, 9),
    extra=st.tuples(st.integers(0, 40), st.integers(0, 90)),
    both=st.booleans(),
    room=st.sampled_from([1, 200_000, 3 << 19]),
    winograd=st.booleans(),
)
def test_equals_the_whole_map(seed, channels, count, size, pool, stride, extra, both, room, winograd):
    rng = np.random.default_rng(seed)
    x = draw(rng, channels, *(size - 1 + pool + more for more in extra))
    filters, bias = draw(rng, count, channels, size, size), draw(rng, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooled, "ROOM", room)
        if size > 1:
            patch.setattr(Convolution, "pays", lambda *_: winograd)
        result = swept(x, filters, bias, pool, stride, both)
    expected = slow(x, filters, bias, pool, stride, both)
    assert_allclose(result, expected, atol=2e-5 * np.sqrt(channels) * size)


@pytest.mark.parametrize("pool", [5, 70])
@pytest.mark.parametrize("dilation", [2, 3])
def test_filters_may_be_spread(pool, dilation):
    rng = np.random.default_rng(6)
    x, filters, bias = draw(rng, 5, 95, 99), draw(rng, 9, 5, 3, 3), draw(rng, 9)
    result = swept(x, filters, bias, pool, 3, True, dilation=dilation)
    assert_allclose(result, slow(x, filters, bias, pool, 3, True, dilation), atol=1e-5)


@pytest.mark.parametrize("stride", [1, 3])
def test_exact_means_have_the_same_bits_wherever_the_pixels_were_cut_out(stride):
    rng = np.random.default_rng(1)
    x, filters, bias = draw(rng, 7, 80, 120), draw(rng, 16, 7, 3, 3), draw(rng, 16)
    whole = swept(x, filters, bias, 9, stride, True, exact=True)
    part = swept(x[:, 6:61, 15:], filters, bias, 9, stride, True, exact=True)
    rows, columns = part.shape[1:]
    assert_array_equal(part, whole[:, 6 // stride :, 15 // stride :][:, :rows, :columns])


@pytest.mark.parametrize("exact", [False, True])
def test_any_number_of_threads_gives_the_same_bytes(exact):
    rng = np.random.default_rng(2)
    x, filters, bias = draw(rng, 12, 150, 170), draw(rng, 40, 12, 3, 3), draw(rng, 40)
    one, three = (swept(x, filters, bias, 9, 4, True, exact=exact, threads=n) for n in (1, 3))
    assert_array_equal(one, three)


def test_what_is_not_finite_stays_in_the_windows_that_see_it():
    rng = np.random.default_rng(3)
    x, filters, bias = draw(rng, 12, 90, 140), draw(rng, 32, 12, 3, 3), draw(rng, 32)
    clean = swept(x, filters, bias, 5, 5, False)
    x[3, 41, 77] = np.inf
    seen = np.zeros(clean.shape[1:], bool)
    seen[39 // 5 : 41 // 5 + 1, 75 // 5 : 77 // 5 + 1] = True
    spoilt = swept(x, filters, bias, 5, 5, False)
    assert_allclose(spoilt[:, ~seen], clean[:, ~seen], atol=1e-4)
    assert not np.isfinite(spoilt[:, seen]).all()


def test_memory_is_bounded_by_the_cache_not_by_the_map():
    rng = np.random.default_rng(4)
    x, filters, bias = draw(rng, 12, 300, 300), draw(rng, 256, 12, 3, 3), draw(rng, 256)
    swept(x[:, :20, :20], filters, bias, 9, 9, True)  # compiled before anything is measured
    tracemalloc.start()
    try:
        result = swept(x, filters, bias, 9, 9, True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    weights = 8 * 36 * filters[:, :, 0, 0].size * 3
    assert peak < result.nbytes + 2 * pooled.ROOM + weights
    assert 5 * peak < 4 * 256 * 298 * 298


@pytest.mark.parametrize(("pool", "stride"), [(70, 1), (70, 33), (101, 101)])
def test_windows_larger_than_the_cache(pool, stride):
    rng = np.random.default_rng(5)
    x, filters, bias = draw(rng, 4, 205, 210), draw(rng, 19, 4, 3, 3), draw(rng, 19)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooled, "MAP_BYTES", 1)
        result = swept(x, filters, bias, pool, stride, True)
    assert_allclose(result, slow(x, filters, bias, pool, stride, True), atol=1e-5)


def test_one_convolution_may_be_pooled_and_not():
    """Few filters are packed one by one for a plain call, in blocks for a pooled one."""
    rng = np.random.default_rng(7)
    x, filters = draw(rng, 3, 20, 24), draw(rng, 2, 3, 3, 3)
    convolution, out = Convolution(filters), np.empty((2, 14, 18), np.float32)
    for _ in range(2):
        assert_allclose(convolution(x), conv2d_lowered(x, filters), atol=1e-5)
        pooled_responses(x, convolution, 5, 1, out)
        assert_allclose(out, slow(x, filters, None, 5, 1, False), atol=1e-5)


def test_a_convolution_with_a_stride_is_refused():
    x, filters = np.ones((3, 10, 10), np.float32), np.ones((2, 3, 3, 3), np.float32)
    with pytest.raises(BlockError, match="stride 1"):
        pooled_responses(x, Convolution(filters, stride=2), 3, 1, np.empty((2, 6, 6), np.float32))


@pytest.mark.parametrize(
    ("pool", "stride", "shape"), [(0, 1, (2, 8, 8)), (3, 0, (2, 6, 6)), (9, 1, (2, 1, 1)), (3, 1, (2, 5, 6))]
)
def test_what_does_not_fit_is_refused(pool, stride, shape):
    x, filters = np.ones((3, 10, 10), np.float32), np.ones((2, 3, 3, 3), np.float32)
    with pytest.raises(BlockError, match="windows of"):
        pooled_responses(x, Convolution(filters), pool, stride, np.empty(shape, np.float32))
