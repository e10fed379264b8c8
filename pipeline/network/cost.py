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
    """The layers of `bank` over a height x width scene, in order: those before the filters, the convolution, its pool,
    and spectra where it has them.

    Responses never leave the cache: the convolution's bytes are its input and filters, the pool's are its output.
    """
    pool = bank.pool if pool is None else pool
    cells = -(-height // stride), -(-width // stride)
    sides = tuple((count - 1) * stride + pool for count in cells)
    n, c, size, _ = bank.filters.shape
    signs = 2 if bank.signs == "both" else 1
    m, k = sides[0] * sides[1], c * size * size
    cut = partition(m, n // bank.groups, k, taps=size * size, workers=workers)
    into_memory = FLOAT * (bank.planes * m + n * k)
    conv = Layer(
        f"conv {size}x{size}", m, n, k, bank.groups * cut.flops, into_memory, cut.panel_rows, cut.filter_groups
    )
    pools = [_pool(f"pool {pool}x{pool} every {stride}", pool, stride, *cells, signs * n)]
    pools += [
        _pool(f"mean {stage.size}x{stage.size} every {stride}", stage.size, stride, *cells, len(bank.bands))
        for (stage,) in bank.paths(pool, stride)[1:]
    ]
    return *_front(bank, sides, workers), conv, *pools


def _front(bank: Bank, sides: tuple[int, ...], workers: int) -> list[Layer]:
    """Projection and hidden layer, whose maps do go through memory; sides of the responses' maps in pixels."""
    layers = []
    height, width = (side + (bank.filters.shape[-1] - 1) * bank.dilation for side in sides)
    if len(bank.hidden):
        n, c, size, _ = bank.hidden.shape
        layers.append(
            _pool(f"hidden mean {bank.hidden_pool}x{bank.hidden_pool}", bank.hidden_pool, 1, height, width, n)
        )
        height, width = height + bank.hidden_pool - 1, width + bank.hidden_pool - 1
        layers.append(_whole(f"hidden {size}x{size}", height * width, n, c, size, workers))
        height, width = height + size - 1, width + size - 1
    if len(bank.projection):
        n, c = bank.projection.shape
        layers.append(_whole("projection", height * width, n, c, 1, workers))
    return layers[::-1]


def _whole(name: str, m: int, n: int, c: int, size: int, workers: int) -> Layer:
    """A convolution whose maps are written out."""
    k = c * size * size
    cut = partition(m, n, k, taps=size * size, workers=workers)
    return Layer(name, m, n, k, cut.flops, cut.bytes, cut.panel_rows, cut.filter_groups)


def _pool(name: str, size: int, stride: int, rows: int, columns: int, n: int) -> Layer:
    """A separable mean: sums of `size` rows, then of `size` of those sums; bytes are its output."""
    adds = n * rows * size * ((columns - 1) * stride + size + columns)
    return Layer(name, rows * columns, n, size * size, adds, FLOAT * rows * columns * n)
