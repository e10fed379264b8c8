"""conv2d against scipy.signal.correlate, panel by panel and in bounded memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import correlate

from pipeline.errors import BlockError
from pipeline.gemm import conv2d
from pipeline.gemm.partition import partition


def slow_conv2d(x, filters, bias, stride, padding, dilation, groups):
    """One correlation in float64 for each filter, with zeros spread between its taps, then every stride-th value."""
    top, left, bottom, right = padding
    x = np.pad(x.astype(np.float64), ((0, 0), (top, bottom), (left, right)))
    per_group, channels = filters.shape[0] // groups, filters.shape[1]
    maps = []
    for f, cube in enumerate(filters):
        first = f // per_group * channels
        spread = np.zeros((channels, *((n - 1) * d + 1 for n, d in zip(cube.shape[1:], dilation, strict=True))))
        spread[:, :: dilation[0], :: dilation[1]] = cube
        response = correlate(x[first : first + channels], spread, mode="valid", method="direct")[0]
        maps.append(response[:: stride[0], :: stride[1]] + bias[f])
    return np.stack(maps)


def draw(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    groups=st.integers(1, 3),
    channels=st.integers(1, 3),
    per_group=st.integers(1, 3),
    taps=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    stride=pairs,
    dilation=pairs,
    padding=st.tuples(*[st.integers(0, 6)] * 4),
    extra=st.tuples(st.integers(0, 17), st.integers(0, 23)),
    cut=st.sampled_from([1, 7, 40, 4096]),
)
def test_equals_scipy(seed, groups, channels, per_group, taps, stride, dilation, padding, extra, cut):
    rng = np.random.default_rng(seed)
    padded = (padding[0] + padding[2], padding[1] + padding[3])
    height, width = (
        max(1, (n - 1) * d + 1 - pad) + more for n, d, pad, more in zip(taps, dilation, padded, extra, strict=True)
    )
    x = draw(rng, groups * channels, height, width)
    filters = draw(rng, groups * per_group, channels, *taps)
    bias = draw(rng, groups * per_group)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.gemm.partition.SHORTEST_PANEL", cut)
        patch.setattr("pipeline.gemm.partition.LONGEST_PANEL", cut)
        result = conv2d(x, filters, bias, **options)
        rectified = conv2d(x, filters, bias, relu=True, **options)
    assert result.dtype == np.float32
    assert_allclose(result, slow_conv2d(x, filters, bias, **options), atol=3e-5)
    assert_array_equal(rectified, np.maximum(result, 0))


def test_int_and_pair_options_mean_the_same():
    rng = np.random.default_rng(0)
    x, filters = draw(rng, 4, 11, 9), draw(rng, 6, 2, 3, 3)
    by_int = conv2d(x, filters, stride=2, padding=1, dilation=2, groups=2)
    assert_array_equal(by_int, conv2d(x, filters, stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=2))
    assert_array_equal(by_int, conv2d(x, filters, stride=2, padding=(1, 1, 1, 1), dilation=2, groups=2))


@pytest.mark.parametrize("dtype", [np.uint16, np.int8, np.float64, np.float16, bool])
def test_other_dtypes_are_cast(dtype):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2 if dtype is bool else 100, (3, 8, 8)).astype(dtype)
    filters = draw(rng, 2, 3, 3, 3)
    assert_array_equal(conv2d(x, filters), conv2d(x.astype(np.float32), filters))


def test_strided_views_are_read_as_they_are():
    rng = np.random.default_rng(2)
    x, filters, point = draw(rng, 5, 20, 18), draw(rng, 3, 5, 3, 2), draw(rng, 3, 5, 1, 1)
    view = x.transpose(0, 2, 1)[::-1, ::-2]
    for weights in (filters, point):
        assert_array_equal(conv2d(view, weights), conv2d(view.copy(), weights))


def test_nan_spreads_over_its_receptive_field_and_no_further():
    x = np.zeros((1, 9, 9), np.float32)
    x[0, 4, 4] = np.nan
    lost = np.isnan(conv2d(x, np.ones((1, 1, 3, 3)), padding=1, relu=True)[0])
    expected = np.zeros((9, 9), bool)
    expected[3:6, 3:6] = True
    assert_array_equal(lost, expected)


def test_out_is_filled_in_place_even_between_other_rows():
    rng = np.random.default_rng(3)
    x, filters, bias = draw(rng, 2, 12, 7), draw(rng, 4, 2, 3, 3), draw(rng, 4)
    frame = np.full((4, 20, 5), 7, np.float32)
    assert conv2d(x, filters, bias, out=frame[:, 5:15]).base is frame
    assert_array_equal(frame[:, 5:15], conv2d(x, filters, bias))
    assert (frame[:, :5] == 7).all()
    assert (frame[:, 15:] == 7).all()


@pytest.mark.parametrize("size", [1, 3])
def test_memory_is_the_output_and_one_panel(size):
    rng = np.random.default_rng(4)
    x, filters = draw(rng, 12, 256, 256), draw(rng, 16, 12, size, size)
    bias = draw(rng, 16)
    cut = partition(256 * 256, 16, 12 * size * size)
    tracemalloc.start()
    try:
        result = conv2d(x, filters, bias, padding=size // 2, relu=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= result.nbytes + 2 * cut.panel_bytes
    assert cut.panel_bytes * 8 < 12 * size * size * 256 * 256 * 4


def test_no_row_of_the_last_panel_is_left_out():
    rng = np.random.default_rng(5)
    x, filters = draw(rng, 3, 101, 67), draw(rng, 5, 3, 3, 3)
    assert partition(101 * 67, 5, 27).panels > 1
    expected = slow_conv2d(x, filters, np.zeros(5), (1, 1), (1, 1, 1, 1), (1, 1), 1)
    assert_allclose(conv2d(x, filters, padding=1), expected, atol=3e-5)


GOOD = np.ones((4, 6, 6), np.float32), np.ones((2, 4, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((GOOD[0][0], GOOD[1]), {}, "x must be real, with 3 axes"),
        ((GOOD[0] + 1j, GOOD[1]), {}, "x must be real"),
        ((GOOD[0], GOOD[1][0]), {}, "filters must be real, with 4 axes"),
        ((GOOD[0][:, :0], GOOD[1]), {}, "none of them empty"),
        ((GOOD[0][:3], GOOD[1]), {}, "need 4 channels, x has 3"),
        ((*GOOD, np.ones(3)), {}, r"bias must be \(2,\)"),
        (GOOD, {"groups": 3}, "groups=3 does not divide"),
        (GOOD, {"groups": 0}, "groups=0"),
        (GOOD, {"groups": 2}, "need 8 channels"),
        (GOOD, {"stride": 0}, "at least 1"),
        (GOOD, {"padding": (0, -1)}, "at least 0"),
        (GOOD, {"dilation": 3}, "7 rows do not fit the input of 6 rows"),
        (GOOD, {"padding": (1, 0, 1, 0), "dilation": 3}, "7 columns do not fit the input of 6"),
        (GOOD, {"out": np.empty((2, 3, 4), np.float32)}, r"out must be \(2, 4, 4\)"),
        (GOOD, {"out": np.empty((2, 4, 4))}, "float64"),
        (GOOD, {"out": np.empty((2, 4, 8), np.float32)[:, :, :4]}, "contiguous rows"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(arguments, options, words):
    with pytest.raises(BlockError, match=words):
        conv2d(*arguments, **options)
