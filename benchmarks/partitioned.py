"""One tile and a wide bank over two Dask workers: our partition of the convolution against da.matmul.

Wall time, in turn, in one cluster of two processes with one thread each. The inputs of both lie with the workers before
the clock starts (x and filters here, lowered matrices there), and results stay there. Lowering counts for us alone.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait
from numpy.typing import NDArray

from benchmarks.tables import print_table
from pipeline.flow.partitioned import spread
from pipeline.gemm.im2col import im2col
from pipeline.gemm.partition import cuts

F32 = NDArray[np.float32]
# Bands, filters, side of the filters, side of the tile.
LAYERS = [(200, 2048, 3, 128), (200, 256, 3, 256), (12, 512, 3, 512), (64, 2048, 1, 256)]
SMOKE = [(8, 512, 3, 24)]
SEED = 0


def main(smoke: bool) -> None:
    """Each layer by us and by da.matmul in some chunkings, of which the best counts."""
    warnings.filterwarnings("ignore", message="Sending large graph")  # before the clock starts
    rounds, rows = (1 if smoke else 7), []
    words: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "memory_limit": 0}
    with LocalCluster(host="127.0.0.1", dashboard_address="127.0.0.1:0", **words) as cluster, Client(cluster) as client:
        for channels, n, size, side in SMOKE if smoke else LAYERS:
            rng = np.random.default_rng([SEED, channels, n])
            x = rng.standard_normal((channels, side + size - 1, side + size - 1)).astype(np.float32)
            filters = rng.standard_normal((n, channels, size, size)).astype(np.float32)
            cut = cuts(side * side, n, channels * size * size, taps=size * size, tiles=2 if n <= 256 else 1)
            works = {"ours": _ours(client, x, filters, cut)} | _rivals(client, x, filters)
            times: dict[str, list[float]] = {name: [] for name in works}
            for turn in range(rounds + 1):
                for name, work in works.items():
                    start = time.perf_counter()
                    held = work()
                    wait(held)
                    if turn:
                        times[name].append(time.perf_counter() - start)
                    del held
            ours, *others = (median(times[name]) for name in works)
            best = min(range(len(others)), key=others.__getitem__)
            gflop = 2e-9 * side * side * n * channels * size * size
            parts = f"{cut.rows} x {cut.groups} x {cut.slices}"
            layer = f"{channels} to {n}, {size} x {size}, on {side} x {side}"
            rival = list(works)[1 + best]
            rows.append([layer, parts, ours, gflop / ours, others[best], rival, f"{others[best] / ours:.2f}"])
    head = ["layer", "our cuts (m x n x k)", "ours, s", "GFLOP/s", "da.matmul, s", "its chunks", "its time over ours"]
    print_table(head, rows)


def _ours(client: Client, x: F32, filters: F32, cut: Any) -> Callable[[], Any]:
    placed = _Placed(client)
    spread(placed, x, filters, None, cut)
    wait(list(placed.kept.values()))
    return lambda: [block for row in spread(placed, x, filters, None, cut) for block in row]


class _Placed:
    """A client whose `scatter` remembers what it has placed, so that inputs lie with the workers before the clock."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.kept: dict[bytes, Any] = {}

    def scatter(self, array: F32, broadcast: bool = False) -> Any:
        key = repr((array.shape, array[..., :1, :1].tobytes())).encode()
        if key not in self.kept:
            self.kept[key] = self._client.scatter(array, broadcast=broadcast)
        return self.kept[key]

    def submit(self, *words: Any, **options: Any) -> Any:
        return self._client.submit(*words, **options)


def _rivals(client: Client, x: F32, filters: F32) -> dict[str, Callable[[], Any]]:
    """da.matmul of lowered x (m, k) by filters (k, n), rows and filters in several parts, or as dask likes."""
    size = filters.shape[2]
    ys, xs = np.divmod(np.arange((x.shape[1] - size + 1) * (x.shape[2] - size + 1)), x.shape[2] - size + 1)
    lowered = im2col(x, ys, xs, size)
    weights = np.ascontiguousarray(filters.reshape(len(filters), -1).T)
    m, n = len(lowered), len(filters)
    works = {}
    for name, (rows, columns) in {
        "m/2": (-(-m // 2), n),
        "m/4": (-(-m // 4), n),
        "m/8": (-(-m // 8), n),
        "m/2, n/2": (-(-m // 2), -(-n // 2)),
        "n/2": (m, -(-n // 2)),
        "auto": ("auto", "auto"),
    }.items():
        a = da.from_array(lowered, chunks=(rows, -1 if rows != "auto" else "auto"))
        b = da.from_array(weights, chunks=(-1 if columns != "auto" else "auto", columns))
        a, b = client.persist([a, b])
        wait([a, b])
        works[name] = lambda a=a, b=b: client.persist(da.matmul(a, b))
    return works
