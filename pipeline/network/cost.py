"""What a bank costs on a scene before it runs: GEMM sizes, FLOPs, bytes and FLOPs per byte of each layer."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.gemm import Convolution, responses_at_once
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
    """Output pixels that are computed at once on a tile; 0 where nothing is multiplied."""

    @property
    def intensity(self) -> float:
        """FLOPs for each byte that crosses from memory."""
        return self.flops / self.bytes


def describe(
    bank: Bank, pool: int | None, stride: int, height: int, width: int, *, tile: int | None = None
) -> tuple[Layer, ...]:
    """The layers of `bank` over a height x width scene, in order: those before the filters, the convolution, its pool,
    and spectra where it has them. Panels are those of a `tile`, the whole scene unless given.

    Responses never leave the cache: the convolution's bytes are its input and filters, the pool's are its output.
    """
    pool = bank.pool if pool is None else pool
    cells = -(-height // stride), -(-width // stride)
    sides = tuple((count - 1) * stride + pool for count in cells)
    part = tuple((-(-min(tile or side, side) // stride) - 1) * stride + pool for side in (height, width))
    n, c, size, _ = bank.filters.shape
    signs = 2 if bank.signs == "both" else 1
    m, k = sides[0] * sides[1], c * size * size
    into_memory = FLOAT * (bank.planes * m + n * k)
    own = Convolution(bank.filters[: n // bank.groups], dilation=bank.dilation)
    spread = (size - 1) * bank.dilation
    panel = responses_at_once(own, (c, part[0] + spread, part[1] + spread), pool, stride)
    conv = Layer(f"conv {size}x{size}", m, n, k, partition(m, n, k, taps=size * size).flops, into_memory, panel)
    pools = [_pool(f"pool {pool}x{pool} every {stride}", pool, stride, *cells, signs * n)]
    pools += [
        _pool(f"mean {stage.size}x{stage.size} every {stride}", stage.size, stride, *cells, len(bank.bands))
        for (stage,) in bank.paths(pool, stride)[1:]
    ]
    return *_front(bank, sides, part), conv, *pools


def _front(bank: Bank, sides: tuple[int, ...], part: tuple[int, ...]) -> list[Layer]:
    """Projection and hidden layer, whose maps do go through memory; sides of the responses' maps in pixels, of the
    scene and of a tile."""
    layers = []
    more = (bank.filters.shape[-1] - 1) * bank.dilation
    height, width = (side + more for side in sides)
    if len(bank.hidden):
        n, c, size, _ = bank.hidden.shape
        layers.append(
            _pool(f"hidden mean {bank.hidden_pool}x{bank.hidden_pool}", bank.hidden_pool, 1, height, width, n)
        )
        height, width, more = height + bank.hidden_pool - 1, width + bank.hidden_pool - 1, more + bank.hidden_pool - 1
        panel = Convolution(bank.hidden).at_once((c, *(side + more + size - 1 for side in part)))
        layers.append(_whole(f"hidden {size}x{size}", height * width, n, c, size, panel))
        height, width, more = height + size - 1, width + size - 1, more + size - 1
    if len(bank.projection):
        n, c = bank.projection.shape
        panel = Convolution(bank.projection[:, :, None, None]).at_once((c, *(side + more for side in part)))
        layers.append(_whole("projection", height * width, n, c, 1, panel))
    return layers[::-1]


def _whole(name: str, m: int, n: int, c: int, size: int, panel: int) -> Layer:
    """A convolution whose maps are written out."""
    k = c * size * size
    cut = partition(m, n, k, taps=size * size)
    return Layer(name, m, n, k, cut.flops, cut.bytes, panel)


def _pool(name: str, size: int, stride: int, rows: int, columns: int, n: int) -> Layer:
    """A separable mean: sums of `size` rows, then of `size` of those sums; bytes are its output."""
    adds = n * rows * size * ((columns - 1) * stride + size + columns)
    return Layer(name, rows * columns, n, size * size, adds, FLOAT * rows * columns * n)
