"""What a bank costs on a scene before it runs: GEMM sizes, FLOPs, bytes and FLOPs per byte of each layer."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.gemm.partition import FLOAT, partition
from pipeline.network.bank import Bank


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer over a whole scene; m pixels, n filters, k values in each patch, bytes to and from memory."""

    name: str
    m: int
    n: int
    k: int
    flops: int
    bytes: int
    panel_rows: int = 0
    filter_groups: int = 1

    @property
    def intensity(self) -> float:
        """FLOPs for each byte that crosses from memory."""
        return self.flops / self.bytes


def describe(
    bank: Bank, pool: int | None, stride: int, height: int, width: int, *, workers: int = 1
) -> tuple[Layer, ...]:
    """The layers of `bank` over a height x width scene, in order: convolution, pool, and spectra where it has them.

    Responses never leave the cache: the convolution's bytes are its input and filters, the pool's are its output.
    """
    pool = bank.pool if pool is None else pool
    rows, columns = -(-height // stride), -(-width // stride)
    map_rows, map_columns = ((cells - 1) * stride + pool for cells in (rows, columns))
    n, c, size, _ = bank.filters.shape
    signs = 2 if bank.signs == "both" else 1
    m, k = map_rows * map_columns, c * size * size
    cut = partition(m, n // bank.groups, k, taps=size * size, workers=workers)
    into_memory = FLOAT * (len(bank.bands) * m + n * k)
    conv = Layer(
        f"conv {size}x{size}", m, n, k, bank.groups * cut.flops, into_memory, cut.panel_rows, cut.filter_groups
    )
    pools = [_pool(f"pool {pool}x{pool} every {stride}", pool, stride, rows, columns, signs * n)]
    pools += [
        _pool(f"mean {stage.size}x{stage.size} every {stride}", stage.size, stride, rows, columns, len(bank.bands))
        for (stage,) in bank.paths(pool, stride)[1:]
    ]
    return conv, *pools


def _pool(name: str, size: int, stride: int, rows: int, columns: int, n: int) -> Layer:
    """A separable mean: sums of `size` rows, then of `size` of those sums; bytes are its output."""
    adds = n * rows * size * ((columns - 1) * stride + size + columns)
    return Layer(name, rows * columns, n, size * size, adds, FLOAT * rows * columns * n)
