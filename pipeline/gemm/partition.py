"""How a convolution's GEMM is counted and cut, from an arithmetic-intensity model (Williams, Waterman, Patterson 2009).

    C (m, n) = A (m, k) · B (k, n)      m pixels, n filters, k = C·kh·kw

A is never whole: panels of it are met in the L2 cache and forgotten (`Convolution.at_once` says how long they are).
Traffic counts what must cross from memory: the input once (m·k / taps values, as each is used by `taps` columns of A),
the filters once, the output once. FLOPs / traffic is the roofline's x axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from pipeline.errors import BlockError

L2_BYTES = 1 << 20
FLOAT = 4
FILTER_STEP = 16
# Filters that one task takes at most: enough that lowering is a few percent of its work, few enough to share.
WIDEST_GROUP = 256
WORKER_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Partition:
    """What one GEMM costs: sizes in rows, filters and columns, traffic in bytes."""

    m: int
    n: int
    k: int
    flops: int
    bytes: int

    @property
    def intensity(self) -> float:
        """FLOPs for each byte that crosses from memory."""
        return self.flops / self.bytes


def partition(m: int, n: int, k: int, *, taps: int = 1) -> Partition:
    """What C (m, n) = A (m, k) · B (k, n), float32, costs; `taps` is kh·kw of the convolution (1 for a plain product).

    Raises BlockError where a size is not positive.
    """
    if min(m, n, k, taps) < 1:
        raise BlockError(
            f"a GEMM needs sizes of at least 1, got m={m} n={n} k={k} taps={taps}; "
            f"check the shapes of the block and the filters"
        )
    traffic = FLOAT * (-(-m * k // taps) + k * n + m * n)
    return Partition(m, n, k, 2 * m * n * k, traffic)


@dataclass(frozen=True, slots=True)
class Cuts:
    """How one GEMM C (m, n) = A (m, k) · B (k, n) is cut into tasks: a grid of parts along m, n and k.

    The parts along k are summed as a tree in a fixed order; the others stand side by side.
    """

    m: int
    n: int
    k: int
    rows: int
    """Parts of m."""
    groups: int
    """Parts of n, whole steps of FILTER_STEP filters."""
    slices: int
    """Parts of k, whole channels."""
    taps: int

    @property
    def tasks(self) -> int:
        """Products in all."""
        return self.rows * self.groups * self.slices

    @property
    def filters(self) -> list[slice]:
        """The parts of n."""
        return _even(self.n, self.groups, FILTER_STEP)

    @property
    def channels(self) -> list[slice]:
        """The parts of k, in channels."""
        return _even(self.k // self.taps, self.slices, 1)

    def bands(self, rows: int) -> list[slice]:
        """The parts of m, where m is so many rows of output pixels."""
        return _even(rows, self.rows, 1)


def cuts(m: int, n: int, k: int, *, taps: int = 1, tiles: int = 1, worker_bytes: int = WORKER_BYTES) -> Cuts:
    """Cut C (m, n) = A (m, k) · B (k, n), float32, into tasks that hold at most `worker_bytes` each.

    m pixels lie in so many tiles already, and those are the parts along m. n is cut next: into groups of at most
    WIDEST_GROUP filters, and smaller ones where filters and output outgrow a worker. k is cut only where one step of
    filters still does not fit. Nothing depends on how many workers there are: the same sums on any number of them.
    Raises BlockError where a size is not positive, taps do not divide k, or a channel and a step do not fit a worker.
    """
    if min(m, n, k, taps, tiles, worker_bytes) < 1 or k % taps or tiles > m:
        raise BlockError(
            f"a GEMM needs sizes of at least 1, tiles of a pixel and whole channels, got m={m} n={n} k={k} "
            f"taps={taps} tiles={tiles} worker_bytes={worker_bytes}; check the shapes of the block and the filters"
        )
    pixels, channels = -(-m // tiles), k // taps

    def held(width: int, depth: int) -> int:
        """Input, filters and output of a task of `width` filters over `depth` channels."""
        return FLOAT * (pixels * depth + width * depth * taps + pixels * width)

    steps = -(-n // FILTER_STEP)
    groups = -(-n // WIDEST_GROUP)
    while groups < steps and held(_widest(n, groups), channels) > worker_bytes:
        groups += 1
    slices = 1
    while slices < channels and held(_widest(n, groups), -(-channels // slices)) > worker_bytes:
        slices += 1
    if held(_widest(n, groups), -(-channels // slices)) > worker_bytes:
        raise BlockError(
            f"{pixels} pixels of one channel and {FILTER_STEP} filters need more than the {worker_bytes} bytes of a "
            f"worker; take smaller tiles"
        )
    return Cuts(m, n, k, tiles, groups, slices, taps)


def _widest(n: int, groups: int) -> int:
    return max(int(part.stop) - int(part.start) for part in _even(n, groups, FILTER_STEP))


def _even(length: int, parts: int, step: int) -> list[slice]:
    """[0, length) in about `parts` parts of whole steps, none empty, as even as may be, the longer ones first."""
    steps = -(-length // step)
    parts = min(parts, steps)
    ends = [-(-steps * part // parts) * step for part in range(parts + 1)]
    return [slice(first, min(end, length)) for first, end in pairwise(ends)]
