"""How a convolution's GEMM is cut, from a cache and arithmetic-intensity model (Williams, Waterman, Patterson 2009).

    C (m, n) = A (m, k) · B (k, n)      m pixels, n filters, k = C·kh·kw

A is never whole: a panel of its rows is lowered, multiplied and forgotten, and has to stay in the L2 cache between
the two. So the panel is as long as cache / (bytes of one row of A and of C), within what BLAS likes.
Traffic counts what must cross from memory: the input once (m·k / taps values, as each is used by `taps` columns of A),
the filters once, the output once. FLOPs / traffic is the roofline's x axis.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import BlockError

L2_BYTES = 1 << 20
FLOAT = 4
SHORTEST_PANEL, LONGEST_PANEL = 512, 4096
FILTER_STEP = 16


@dataclass(frozen=True, slots=True)
class Partition:
    """One GEMM and how it is cut; sizes in rows, filters and columns, traffic in bytes."""

    m: int
    n: int
    k: int
    panel_rows: int
    panels: int
    filter_groups: int
    flops: int
    bytes: int

    @property
    def intensity(self) -> float:
        """FLOPs for each byte that crosses from memory."""
        return self.flops / self.bytes

    @property
    def panel_bytes(self) -> int:
        """Size of the one panel that a thread holds."""
        return FLOAT * self.panel_rows * (self.k + 1)


def partition(m: int, n: int, k: int, *, taps: int = 1, cache_bytes: int = L2_BYTES, workers: int = 1) -> Partition:
    """Cut C (m, n) = A (m, k) · B (k, n), float32, for `workers` threads with `cache_bytes` of L2 each.

    m is cut first, into panels; n is cut into groups of filters only when there are fewer panels than workers.
    `taps` is kh·kw of the convolution (1 for a plain product). Raises BlockError where a size is not positive.
    """
    if min(m, n, k, taps, cache_bytes, workers) < 1:
        raise BlockError(
            f"a GEMM needs sizes of at least 1, got m={m} n={n} k={k} taps={taps} cache_bytes={cache_bytes} "
            f"workers={workers}; check the shapes of the block and the filters"
        )
    fitting = cache_bytes // (FLOAT * (k + n))
    rows = min(m, max(SHORTEST_PANEL, min(LONGEST_PANEL, fitting)))
    panels = -(-m // rows)
    groups = min(-(-workers // panels), -(-n // FILTER_STEP))
    traffic = FLOAT * (-(-m * k // taps) + k * n + m * n)
    return Partition(m, n, k, rows, panels, groups, 2 * m * n * k, traffic)
