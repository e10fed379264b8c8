"""conv2d against scipy.signal.correlate and against BLAS on lowered panels, in bounded memory."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import correlate

from pipeline.errors import BlockError
from pipeline.gemm import Convolution, conv2d, convolution, parallel
from pipeline.gemm.convolution import share_out
from pipeline.gemm.lowered import conv2d_lowered
from pipeline.gemm.panel import PANEL_BYTES, Panel
from pipeline.gemm.winograd import Unit


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
    per_group=st.sampled_from([1, 2, 3, 9, 17]),
    taps=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    stride=pairs,
    dilation=pairs,
    padding=st.tuples(*[st.integers(0, 6)] * 4),
    extra=st.tuples(st.integers(0, 17), st.integers(0, 90)),
    room=st.sampled_from([1, 20_000, 1 << 20]),
)
def test_equals_scipy_and_the_lowered_gemm(
    seed, groups, channels, per_group, taps, stride, dilation, padding, extra, room
):
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
        patch.setattr(Panel.fitting, "__defaults__", (room,))
        result = conv2d(x, filters, bias, exact=True, **options)
        rectified = conv2d(x, filters, bias, relu=True, exact=True, **options)
    assert result.dtype == np.float32
    assert_allclose(result, slow_conv2d(x, filters, bias, **options), atol=3e-5)
    assert_allclose(result, conv2d_lowered(x, filters, bias, **options), atol=3e-5)
    assert_array_equal(rectified, np.maximum(result, 0))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 20),
    filters=st.sampled_from([1, 8, 13, 24]),
    taps=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    padding=st.tuples(*[st.integers(0, 5)] * 4),
    extra=st.tuples(st.integers(0, 40), st.integers(0, 150)),
    room=st.sampled_from([1, 300_000, 1 << 20]),
    rectified=st.booleans(),
)
def test_winograd_equals_the_lowered_gemm(seed, channels, filters, taps, padding, extra, room, rectified):
    rng = np.random.default_rng(seed)
    x = draw(rng, channels, taps[0] + extra[0], taps[1] + extra[1])
    weights, bias = draw(rng, filters, channels, *taps), draw(rng, filters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Unit.fitting, "__defaults__", (room,))
        patch.setattr(Convolution, "pays", lambda *_: True)
        result = conv2d(x, weights, bias, padding=padding, relu=rectified)
    expected = conv2d_lowered(x, weights, bias, padding=padding, relu=rectified)
    assert_allclose(result, expected, atol=1e-4 * np.sqrt(channels * taps[0] * taps[1]))


def test_winograd_is_taken_where_it_pays_and_its_error_is_small():
    rng = np.random.default_rng(9)
    for c, n, size in ((13, 64, 3), (64, 64, 3), (4, 32, 5), (13, 32, 7)):
        x, filters = draw(rng, c, 96, 192), draw(rng, n, c, size, size)
        fast, exact = (conv2d(x, filters, padding=size // 2, exact=flag) for flag in (False, True))
        error = np.abs(fast - exact).max() / exact.std()
        assert 0 < error <= 1e-4


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    corner=st.tuples(st.integers(0, 40), st.integers(0, 70)),
    stride=st.integers(1, 2),
    filters=st.sampled_from([1, 5, 16]),
)
def test_exact_outputs_have_the_same_bits_wherever_the_pixels_were_cut_out(seed, corner, stride, filters):
    rng = np.random.default_rng(seed)
    x, weights = draw(rng, 5, 80, 140), draw(rng, filters, 5, 3, 5)
    y, z = (first // stride * stride for first in corner)
    whole = conv2d(x, weights, stride=stride, exact=True)[:, y // stride :, z // stride :]
    part = conv2d(x[:, y:, z:], weights, stride=stride, exact=True)
    assert_array_equal(part, whole)


@pytest.mark.parametrize("size", [1, 3])
def test_any_number_of_threads_gives_the_same_bytes(size):
    rng = np.random.default_rng(10)
    x, filters = draw(rng, 40, 200, 230), draw(rng, 24, 40, size, size)
    assert_array_equal(conv2d(x, filters, padding=1), conv2d(x, filters, padding=1, threads=3))


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("shape", [(40, 61), (9, 9), (20, 14), (512, 1024)])
def test_addition_and_clamp_come_after_the_sum(size, shape):
    """The largest shape is written past the caches; of the narrow ones the rows are taken as one line."""
    rng = np.random.default_rng(11)
    x, filters, bias = draw(rng, 6, *shape), draw(rng, 12, 6, size, size), draw(rng, 12)
    options = {"padding": size // 2, "exact": size == 1}
    plain = conv2d(x, filters, bias, **options)
    more = draw(rng, *plain.shape)
    clamped = Convolution(filters, bias, floor=-1, ceiling=2, **options)
    expected = np.clip(plain + more, -1, 2)
    assert_allclose(clamped(x, add=more), expected, atol=2e-5)
    assert clamped(x, add=more, out=more) is more
    assert_allclose(more, expected, atol=2e-5)


def test_one_convolution_serves_inputs_of_any_size():
    rng = np.random.default_rng(12)
    convolution = Convolution(draw(rng, 16, 4, 3, 3), padding=1)
    for shape in ((4, 5, 5), (4, 64, 96), (4, 9, 200), (4, 64, 96)):
        x = draw(rng, *shape)
        assert convolution.output_shape(x.shape) == (16, *shape[1:])
        expected = conv2d_lowered(x, convolution.filters, padding=1)
        assert_allclose(convolution(x), expected, atol=1e-4)


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


@pytest.mark.parametrize(("channels", "filters"), [(1, 1), (9, 32)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_spreads_over_its_receptive_field_and_no_further(channels, filters, value):
    x = np.zeros((channels, 99, 130), np.float32)
    x[0, 44, 81] = value
    weights = np.ones((filters, channels, 3, 3))
    lost = ~np.isfinite(conv2d(x, weights, padding=1, relu=True))
    expected = np.zeros(lost.shape, bool)
    expected[:, 43:46, 80:83] = True
    assert_array_equal(lost, expected)


def test_out_may_have_gaps_between_its_rows():
    rng = np.random.default_rng(13)
    x, filters = draw(rng, 9, 40, 50), draw(rng, 16, 9, 3, 3)
    frame = np.full((16, 40, 60), 7, np.float32)
    conv2d(x, filters, padding=1, out=frame[:, :, 3:53])
    assert_array_equal(frame[:, :, 3:53], conv2d(x, filters, padding=1))
    assert (frame[:, :, :3] == 7).all()
    assert (frame[:, :, 53:] == 7).all()


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
    conv2d(x[:, :9, :9], filters)  # compiled before anything is measured
    tracemalloc.start()
    try:
        result = conv2d(x, filters, bias, padding=size // 2, relu=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= result.nbytes + 1.3 * PANEL_BYTES


def test_a_huge_pixel_does_not_drown_its_neighbours():
    rng = np.random.default_rng(14)
    x, filters = draw(rng, 16, 60, 70), draw(rng, 32, 16, 3, 3)
    x[3, 20, 30] = -3.4e38
    fast, exact = (conv2d(x, filters, padding=1, exact=flag) for flag in (False, True))
    near = np.isfinite(exact) & (np.abs(exact) < 1e3)
    assert near.mean() > 0.99
    assert_allclose(fast[near], exact[near], atol=1e-2)


@pytest.mark.parametrize("width", [1, 6])
def test_pixels_apart_in_out_are_refused(width):
    """Of a single column too: its pixels are rows, and a pointwise convolution would take them for a line."""
    rng = np.random.default_rng(15)
    x, filters = draw(rng, 3, 7, width), draw(rng, 4, 3, 1, 1)
    frame = np.full((4, 7, width * 5), 7, np.float32)
    if width == 1:
        assert_array_equal(conv2d(x, filters, out=frame[:, :, ::5]), conv2d(x, filters))
        assert (frame[:, :, 1:] == 7).all()
    else:
        with pytest.raises(BlockError, match="contiguous rows"):
            conv2d(x, filters, out=frame[:, :, ::5])


def test_out_that_cannot_be_written_is_refused():
    out = np.zeros((2, 4, 4), np.float32)
    out.setflags(write=False)
    with pytest.raises(BlockError, match="read-only"):
        conv2d(*GOOD, out=out)


def test_a_summand_that_overlaps_out_is_read_before_it_is_overwritten():
    rng = np.random.default_rng(16)
    x, filters = draw(rng, 3, 30, 30), draw(rng, 8, 3, 3, 3)
    frame = draw(rng, 9, 30, 30)
    convolution = Convolution(filters, padding=1)
    expected = convolution(x, add=frame[:8].copy())
    assert_array_equal(convolution(x, add=frame[:8], out=frame[1:]), expected)


def test_a_panel_beyond_all_measure_is_refused():
    with pytest.raises(BlockError, match="smaller dilation"):
        conv2d(np.ones((1, 3, 3)), np.ones((1, 1, 2, 1)), dilation=(10**8, 1), padding=(10**8, 0))


def test_calls_that_do_not_say_are_shared_where_that_is_asked_for(monkeypatch):
    rng, asked = np.random.default_rng(17), []
    x, filters = draw(rng, 40, 200, 230), draw(rng, 24, 40, 3, 3)
    alone, pool = conv2d(x, filters), convolution._pool
    monkeypatch.setattr(convolution, "_pool", lambda threads: asked.append(threads) or pool(threads))
    with parallel(3):
        assert_array_equal(conv2d(x, filters), alone)
        conv2d(x, filters, threads=1)
    conv2d(x, filters)
    assert asked == [3]


def test_where_one_thread_fails_all_are_waited_for():
    done = []

    def work(first, last):
        if first == 0:
            raise MemoryError
        time.sleep(0.2)
        done.append(last)

    with pytest.raises(MemoryError):
        share_out(work, 4, 2)
    assert done == [4]


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
        (GOOD, {"out": np.empty((2, 4, 8), np.float32)[:, :, ::2]}, "contiguous rows"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(arguments, options, words):
    with pytest.raises(BlockError, match=words):
        conv2d(*arguments, **options)
