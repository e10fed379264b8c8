"""The partition covers the GEMM, keeps a panel in cache, and counts what crosses from memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BlockError
from pipeline.gemm.partition import LONGEST_PANEL, SHORTEST_PANEL, partition

sizes = st.integers(1, 10**6)


@settings(deadline=None)
@given(m=sizes, n=sizes, k=sizes, cache=st.integers(1, 10**8), workers=st.integers(1, 64))
def test_panels_cover_m_and_stay_in_cache_or_at_the_shortest(m, n, k, cache, workers):
    cut = partition(m, n, k, cache_bytes=cache, workers=workers)
    assert (cut.panels - 1) * cut.panel_rows < m <= cut.panels * cut.panel_rows
    assert cut.panel_rows <= LONGEST_PANEL
    assert cut.panel_rows <= SHORTEST_PANEL or 4 * cut.panel_rows * (k + n) <= cache
    assert 1 <= cut.filter_groups <= n
    assert cut.panels * cut.filter_groups >= min(workers, -(-n // 16))


def test_counts_of_a_convolution_done_by_hand():
    cut = partition(1024 * 1024, 64, 117, taps=9)
    assert cut.flops == 15_703_474_176
    assert cut.bytes == 4 * (13 * 2**20 + 117 * 64 + 64 * 2**20)
    assert cut.intensity == pytest.approx(48.6, abs=0.1)
    assert cut.panel_bytes == 4 * cut.panel_rows * 118


@pytest.mark.parametrize("size", [{"m": 0}, {"n": 0}, {"k": -1}, {"taps": 0}, {"workers": 0}, {"cache_bytes": 0}])
def test_empty_sizes_are_refused(size):
    with pytest.raises(BlockError, match="at least 1"):
        partition(**{"m": 1, "n": 1, "k": 1, **size})
