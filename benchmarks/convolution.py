"""One layer at a time, beside torch and onnxruntime: one thread by CPU time, interleaved; two by wall time, apart.

    python -m benchmarks convolution

With two threads each library runs in a process of its own, because the pools of the others would spin beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import convolution_peers
from benchmarks.tables import interleaved, print_table
from pipeline.gemm import Convolution, pooled_responses

F32 = NDArray[np.float32]
Work = Callable[[], Any]
POOL = 9
GEMM = 2048
OURS, EXACT, REUSED = "ours", "ours, exact", "ours, output reused"


class Layer(NamedTuple):
    """C channels to N filters of size x size over side x side pixels, same padding; pool: both signs, averaged."""

    channels: int
    filters: int
    size: int
    side: int
    pool: int = 0

    @property
    def flops(self) -> float:
        return 2.0 * self.channels * self.filters * self.size**2 * self.side**2


LAYERS = {
    "13→64 3×3, 1024²": Layer(13, 64, 3, 1024),
    "13→256 7×7, 256²": Layer(13, 256, 7, 256),
    "4→32 5×5, 1024²": Layer(4, 32, 5, 1024),
    "64→64 3×3, 512²": Layer(64, 64, 3, 512),
    "200→64 3×3, 256²": Layer(200, 64, 3, 256),
    "12→512 3×3 + both signs + pool 9, 252²": Layer(12, 512, 3, 252, POOL),
}


def main(smoke: bool) -> None:
    """Print two tables: CPU time with one thread, wall time with two."""
    layers = {name: layer._replace(side=36) for name, layer in LAYERS.items()} if smoke else LAYERS
    if absent := convolution_peers.absent():
        print(f"not installed, left out: {', '.join(absent)}\n")
    for threads in (1,) if smoke else (1, 2):
        kind = "CPU time, interleaved in one process" if threads == 1 else "wall time, a process for each library"
        print(f"{threads} thread{'s' * (threads > 1)}, {kind}; GFLOP/s by the count of direct convolution\n")
        rates = {name: _rates(name, layer, threads) for name, layer in layers.items()}
        names = list(dict.fromkeys(name for one in rates.values() for name in one))
        rows = [[layer, *(one.get(name, "–") for name in names), _ahead(one)] for layer, one in rates.items()]
        print_table(["layer", *names, "ours ÷ the best peer"], rows)
        print()


def works(layer: Layer, threads: int) -> dict[str, Work]:
    """The layer by us and by each peer, and sgemm beside them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((layer.channels, layer.side, layer.side), dtype=np.float32)
    filters = rng.standard_normal((layer.filters, layer.channels, layer.size, layer.size), dtype=np.float32)
    filters /= np.float32(np.sqrt(filters[0].size))
    bias = rng.standard_normal(layer.filters, dtype=np.float32)
    square = rng.standard_normal((GEMM, GEMM), dtype=np.float32)
    product = np.empty_like(square)
    found: dict[str, Work] = {f"sgemm {GEMM}²": lambda: np.matmul(square, square, out=product)}
    ours = _pooled(x, filters, bias, layer.pool, threads) if layer.pool else _plain(x, filters, bias, threads)
    return found | ours | convolution_peers.peers(x, filters, bias, threads, layer.pool)


def _plain(x: F32, filters: F32, bias: F32, threads: int) -> dict[str, Work]:
    around = filters.shape[2] // 2
    fast, exact = (Convolution(filters, bias, padding=around, floor=0.0, exact=flag) for flag in (False, True))
    out = fast(x)
    return {
        OURS: lambda: fast(x, threads=threads),
        EXACT: lambda: exact(x, threads=threads),
        REUSED: lambda: fast(x, out=out, threads=threads),
    }


def _pooled(x: F32, filters: F32, bias: F32, pool: int, threads: int) -> dict[str, Work]:
    around = filters.shape[2] // 2
    padded = np.pad(x, ((0, 0), (around, around), (around, around)))
    cells = x.shape[1] // pool

    def work(convolution: Convolution) -> F32:
        out = np.empty((2 * len(filters), cells, cells), np.float32)
        return pooled_responses(padded, convolution, pool, pool, out, both=True, threads=threads)

    fast, exact = (Convolution(filters, bias, exact=flag) for flag in (False, True))
    return {OURS: lambda: work(fast), EXACT: lambda: work(exact)}


def _rates(name: str, layer: Layer, threads: int) -> dict[str, float]:
    """GFLOP/s of each."""
    found = works(layer, threads)
    if threads == 1:
        seconds = dict(zip(found, interleaved(list(found.values())), strict=True))
    else:
        seconds = {library: _apart(name, library, threads) for library in found}
    gemm = 2.0 * GEMM**3
    return {
        library: (gemm if library.startswith("sgemm") else layer.flops) / spent / 1e9
        for library, spent in seconds.items()
    }


def _apart(name: str, library: str, threads: int) -> float:
    """Median wall seconds of one library in a process of its own."""
    count = str(threads)
    variables = {"OPENBLAS_NUM_THREADS": count, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    words = [sys.executable, "-m", "benchmarks.convolution", name, library, count]
    done = subprocess.run(words, env=os.environ | variables, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _ahead(rates: dict[str, float]) -> Any:
    """Our rate over that of the best peer."""
    theirs = [rate for name, rate in rates.items() if not name.startswith(("ours", "sgemm"))]
    return rates[OURS] / max(theirs) if theirs else "–"


def _one(name: str, library: str, threads: str) -> None:
    """Print the median wall seconds of a library on a layer."""
    work = works(LAYERS[name], int(threads))[library]
    times = []
    for turn in range(8):
        start = time.perf_counter()
        work()
        if turn:
            times.append(time.perf_counter() - start)
    print(median(times))


if __name__ == "__main__":
    _one(*sys.argv[1:])
