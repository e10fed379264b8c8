"""The partition covers the GEMM and counts what crosses from memory; lowered panels stay in cache."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BlockError
from pipeline.gemm.lowered import LONGEST_PANEL, SHORTEST_PANEL, panel_rows
from pipeline.gemm.partition import FILTER_STEP, WIDEST_GROUP, cuts, partition

sizes = st.integers(1, 10**6)


@settings(deadline=None)
@given(m=sizes, n=sizes, k=sizes, cache=st.integers(1, 10**8))
def test_lowered_panels_stay_in_cache_or_at_the_shortest(m, n, k, cache):
    rows = panel_rows(m, n, k, cache)
    assert 1 <= rows <= min(m, LONGEST_PANEL)
    assert rows <= SHORTEST_PANEL or 4 * rows * (k + n) <= cache


def test_counts_of_a_convolution_done_by_hand():
    cut = partition(1024 * 1024, 64, 117, taps=9)
    assert cut.flops == 15_703_474_176
    assert cut.bytes == 4 * (13 * 2**20 + 117 * 64 + 64 * 2**20)
    assert cut.intensity == pytest.approx(48.6, abs=0.1)


@pytest.mark.parametrize("size", [{"m": 0}, {"n": 0}, {"k": -1}, {"taps": 0}])
def test_empty_sizes_are_refused(size):
    with pytest.raises(BlockError, match="at least 1"):
        partition(**{"m": 1, "n": 1, "k": 1, **size})


@settings(deadline=None)
@given(
    rows=st.integers(1, 300),
    columns=st.integers(1, 300),
    n=st.integers(1, 3000),
    channels=st.integers(1, 400),
    side=st.integers(1, 7),
    tiles=st.integers(1, 9),
    worker=st.integers(10**4, 10**9),
)
def test_cuts_cover_all_three_axes_and_fit_a_worker(rows, columns, n, channels, side, tiles, worker):
    taps, tiles = side * side, min(rows, tiles)
    pixels = -(-rows // tiles) * columns
    try:
        cut = cuts(rows * columns, n, channels * taps, taps=taps, tiles=tiles, worker_bytes=worker)
    except BlockError:
        assert 4 * (pixels + 16 * taps + 16 * pixels) > worker * 0.99 or n < 16 or tiles > 1
        return
    for parts, length in ((cut.bands(rows), rows), (cut.filters, n), (cut.channels, channels)):
        assert [parts[0].start, parts[-1].stop] == [0, length]
        assert all(one.stop == two.start for one, two in pairwise(parts))
        assert all(part.stop > part.start for part in parts)
    assert all(part.start % FILTER_STEP == 0 and part.stop - part.start <= WIDEST_GROUP for part in cut.filters)
    assert cut.tasks == len(cut.bands(rows)) * len(cut.filters) * len(cut.channels)
    width, depth = (max(part.stop - part.start for part in parts) for parts in (cut.filters, cut.channels))
    wide = -(-rows * columns // tiles)
    assert 4 * (wide * depth + width * depth * taps + wide * width) <= worker


def test_n_is_cut_before_k_and_nothing_without_need():
    small = cuts(256 * 256, 128, 1800, taps=9)
    assert (small.rows, small.groups, small.slices) == (1, 1, 1)
    bank = cuts(256 * 256, 2048, 1800, taps=9)
    assert (bank.rows, bank.groups, bank.slices) == (1, 8, 1)
    assert [part.stop - part.start for part in bank.filters] == [256] * 8
    tight = cuts(256 * 256, 2048, 1800, taps=9, worker_bytes=100 << 20)
    assert (tight.groups > 8, tight.slices) == (True, 1)
    tightest = cuts(256 * 256, 2048, 1800, taps=9, worker_bytes=20 << 20)
    assert (tightest.groups, tightest.slices > 1) == (128, True)


@pytest.mark.parametrize(
    "size", [{"m": 0}, {"taps": 2, "k": 3}, {"tiles": 5}, {"worker_bytes": 0}, {"m": 10**6, "worker_bytes": 10**6}]
)
def test_what_cannot_be_cut_is_refused(size):
    with pytest.raises(BlockError):
        cuts(**{"m": 1, "n": 1, "k": 1, **size})
