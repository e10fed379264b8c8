"""Receptive fields against the outputs that really change when one pixel does."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pipeline.network.halo import Stage, centred, mirrored, needed, reach

LENGTH, MARGIN = 400, 120

stages = st.lists(
    st.builds(Stage, st.integers(1, 5), st.integers(1, 3), st.integers(-2, 4), st.integers(1, 2)),
    min_size=1,
    max_size=3,
)


def touched(stages):
    """Row i: which of LENGTH pixels output i is made of, found by pushing every pixel through the stages alone."""
    signal = np.eye(LENGTH, dtype=bool)
    for size, stride, before, dilation in stages:
        count = max(0, (signal.shape[1] + 2 * max(before, 0) - (size - 1) * dilation - 1) // stride)
        output = np.zeros((LENGTH, count), bool)
        for i in range(count):
            for tap in range(size):
                place = i * stride - before + tap * dilation
                if 0 <= place < signal.shape[1]:
                    output[:, i] |= signal[:, place]
        signal = output
    return signal.T


@settings(deadline=None, max_examples=50)
@given(stages=stages)
def test_outputs_need_exactly_the_pixels_that_change_them(stages):
    checked = 0
    for i, pixels in enumerate(touched(stages)):
        low, high = needed(stages, i, i)
        if low < MARGIN or high >= LENGTH - MARGIN:
            continue
        assert (np.flatnonzero(pixels)[[0, -1]] == (low, high)).all()
        checked += 1
    assert checked > 0


@given(first=st.integers(-20, 20), count=st.integers(1, 9))
def test_a_run_of_outputs_needs_what_its_ends_need(first, count):
    path = (Stage(3, 1, 1), centred(9, 4))
    assert needed(path, first, first + count - 1) == (
        needed(path, first, first)[0],
        needed(path, first + count - 1, first + count - 1)[1],
    )


def test_reach_done_by_hand():
    assert reach((Stage(3, 1, 1), centred(9, 1)), 1) == (5, 5)
    assert reach((Stage(3, 1, 1), centred(9, 4)), 4) == (4, 3)
    assert reach((Stage(4, 1, 1), centred(1, 1)), 1) == (1, 2)
    assert reach((Stage(3, 1, 1), centred(4, 16)), 16) == (0, 0)


@given(length=st.integers(1, 9), before=st.integers(0, 30), after=st.integers(0, 30))
def test_mirrored_is_numpys_symmetric(length, before, after):
    expected = np.pad(np.arange(length), (before, after), mode="symmetric")
    assert_array_equal(mirrored(-before, length - 1 + after, length), expected)
