"""Kernels are told addresses: nothing beyond the arrays is written, and none is taken for another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from pipeline.gemm import Convolution, convolution, direct, pooled, pooled_responses, winograd
from pipeline.gemm.lowered import conv2d_lowered

ZONE, MARK = 4096, 777.0


class Guards:
    """Arrays with marked zones on both sides."""

    def __init__(self):
        self.arrays = []

    def __call__(self, shape):
        size = int(np.prod(shape))
        memory = np.full(size + 2 * ZONE + 16, MARK, np.float32)
        first = ZONE + (-(memory.ctypes.data + 4 * ZONE) % 64) // 4
        self.arrays.append((memory, first, first + size))
        return memory[first : first + size].reshape(shape)

    def check(self):
        for memory, first, last in self.arrays:
            assert (memory[:first] == MARK).all()
            assert (memory[last:] == MARK).all()


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 20),
    filters=st.integers(1, 26),
    taps=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    steps=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    padding=st.tuples(*[st.integers(0, 4)] * 4),
    groups=st.sampled_from([1, 1, 1, 2, 5]),
    extra=st.tuples(st.integers(0, 50), st.integers(0, 190)),
    added=st.booleans(),
    forced=st.booleans(),
)
def test_nothing_is_written_beyond_the_arrays(
    seed, channels, filters, taps, steps, padding, groups, extra, added, forced
):
    rng, guarded = np.random.default_rng(seed), Guards()
    stride, dilation = steps
    size = tuple((n - 1) * dilation + 1 + more for n, more in zip(taps, extra, strict=True))
    x = guarded((channels * groups, *size))
    x[...] = rng.standard_normal(x.shape)
    weights = rng.standard_normal((filters * groups, channels, *taps)).astype(np.float32)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "aligned", guarded)
        if forced and steps == (1, 1) and groups == 1 and min(taps) >= 3:
            patch.setattr(Convolution, "pays", lambda *_: True)
        operator = Convolution(weights, **options)
        out = guarded(operator.output_shape(x.shape))
        more = guarded(out.shape) if added else None
        if more is not None:
            more[...] = 1.0
        operator(x, out=out, add=more)
    guarded.check()
    expected = conv2d_lowered(x, weights, **options) + (1.0 if added else 0.0)
    assert_allclose(out, expected, atol=1e-4 * np.sqrt(weights[0].size) * 3)


@settings(deadline=None, max_examples=60)
@given(
    channels=st.integers(1, 20),
    filters=st.integers(1, 26),
    size=st.sampled_from([1, 3, 4, 7]),
    pool=st.integers(1, 13),
    stride=st.integers(1, 19),
    extra=st.tuples(st.integers(0, 50), st.integers(0, 190)),
    both=st.booleans(),
    forced=st.booleans(),
)
def test_nothing_is_written_beyond_the_means(channels, filters, size, pool, stride, extra, both, forced):
    rng, guarded = np.random.default_rng(pool), Guards()
    height, width = (size - 1 + pool + more for more in extra)
    x = guarded((channels, height, width))
    x[...] = rng.standard_normal(x.shape)
    weights = rng.standard_normal((filters, channels, size, size)).astype(np.float32)
    rows, columns = ((side - size + 1 - pool) // stride + 1 for side in (height, width))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooled, "aligned", guarded)
        if forced and size >= 3:
            patch.setattr(Convolution, "pays", lambda *_: True)
        out = guarded(((2 if both else 1) * filters, rows, columns))
        pooled_responses(x, Convolution(weights), pool, stride, out, both=both)
    guarded.check()


def test_kernels_of_different_sizes_have_different_names():
    kernels = [direct._full, direct._two, direct._one, direct._lone, direct._lone_one]
    kernels += [winograd._full, winograd._two, winograd._one]
    sizes = {kernel.py_func.__qualname__ for kernel in kernels}
    assert len(sizes) == len({id(kernel) for kernel in kernels})
