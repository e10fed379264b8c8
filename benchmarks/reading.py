"""Reading and writing by windows, beside rasterio's plain loop and rioxarray's to_raster under its lock."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import dask
import dask.array as da
import rasterio
import rioxarray  # noqa: F401  (adds .rio)
import xarray as xr
from numpy.typing import NDArray
from rasterio.shutil import copy
from rasterio.windows import Window as RasterWindow

from benchmarks.tables import print_table
from pipeline.flow.flight import run_map
from pipeline.flow.tasks import Wrote
from pipeline.grid import Grid, Halo, Tile, Window
from pipeline.raster.chunks import chunk_path, pack, put_chunk
from pipeline.raster.open import open_source
from pipeline.raster.scene import Source
from sample_data.generator import TRANSFORM, Settings, write_scene

BANDS, TILE, HALO, THREADS = 4, 256, 16, 2
Work = Callable[[], object]


LAYOUTS: dict[str, dict[str, Any]] = {
    "COG, DEFLATE, blocks of 512": {"driver": "COG", "compress": "deflate", "predictor": "yes", "overviews": "none"},
    "GTiff, Zstandard, blocks of 256": {"driver": "GTiff", "compress": "zstd", "predictor": 2, "tiled": True},
    "GTiff, not compressed, blocks of 256": {"driver": "GTiff", "tiled": True, "interleave": "band"},
}
CACHE = 1 << 30
"""Bytes of GDAL's block cache for the loops of rasterio: its default, a twentieth of the memory, is as good as this."""


def main(smoke: bool) -> None:
    """CPU and wall seconds of all windows of one scene, in turn, as ratios."""
    side = 512 if smoke else 6000  # several times our caches, so that a second pass finds nothing of the first
    rounds = 1 if smoke else 3
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "scene.tif"
        write_scene(first, Settings(height=side, width=side, bands=BANDS, seed=1))
        print(f"{BANDS} x {side} x {side} uint16, windows of {TILE} with halo {HALO}, pixels and mask")
        for name, layout in LAYOUTS.items():
            path = Path(folder) / "copy.tif"
            copy(first, path, **layout)
            print(f"\n{name}\n")
            print_ratios("reader", readers(path), rounds)
            path.unlink()
        with rasterio.open(first) as file:
            block = file.read()
        print("\nThe same pixels from memory to disk in tiles\n")
        print_ratios("writer", writers(block, Path(folder)), rounds)


def print_ratios(kind: str, works: dict[str, Work], rounds: int) -> None:
    """A row each, over the first."""
    found = timed(list(works.values()), rounds)
    rows = [
        [name, f"{cpu:.2f}", f"{cpu / found[0][0]:.2f}", f"{wall:.2f}", f"{wall / found[0][1]:.2f}"]
        for name, (cpu, wall) in zip(works, found, strict=True)
    ]
    print_table([kind, "CPU s", "over ours", "wall s", "over ours"], rows)


def timed(works: Sequence[Work], rounds: int) -> list[tuple[float, float]]:
    """Median CPU and wall seconds of each, in turn, after one round that does not count."""
    times: list[list[tuple[float, float]]] = [[] for _ in works]
    for turn in range(rounds + 1):
        for work, spent in zip(works, times, strict=True):
            cpu, wall = time.process_time(), time.perf_counter()
            work()
            if turn:
                spent.append((time.process_time() - cpu, time.perf_counter() - wall))
    return [(median(cpu for cpu, _ in spent), median(wall for _, wall in spent)) for spent in times]


@dataclass(frozen=True)
class Reading:
    """Tiles with halo, as every map of ours reads them."""

    grid: Grid
    source: Source

    def run(self, tile: Tile) -> Wrote:
        """Read, and nothing else."""
        return Wrote(self.source.read(with_halo(tile, self.grid))[0].nbytes)


def with_halo(tile: Tile, grid: Grid) -> Window:
    """What is read of a tile."""
    return tile.window.expand(Halo.even(HALO), grid.height, grid.width)


def readers(path: Path) -> dict[str, Work]:
    """Ours, and rasterio as people write it: one after the other, or by threads that have a file of their own each."""
    source = open_source(str(path))
    grid = source.info.grid(TILE)
    windows = [with_halo(tile, grid) for tile in grid]

    def ours(threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            run_map(Reading(grid, source), pool, threads)

    def plain() -> None:
        with rasterio.Env(GDAL_CACHEMAX=CACHE), rasterio.open(path) as file:
            for window in windows:
                both(file, window)

    def each() -> None:
        with rasterio.Env(GDAL_CACHEMAX=CACHE):
            for window in windows:
                with rasterio.open(path) as file:
                    both(file, window)

    def threads() -> None:
        own = threading.local()

        def one(window: Window) -> None:
            if not hasattr(own, "file"):
                own.file = rasterio.open(path)
            both(own.file, window)

        with rasterio.Env(GDAL_CACHEMAX=CACHE), ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(one, windows):
                pass

    return {
        f"terrasketch, {THREADS} threads": lambda: ours(THREADS),
        "terrasketch, one thread": lambda: ours(1),
        "rasterio, opened once, a loop": plain,
        f"rasterio, opened once by each of {THREADS} threads": threads,
        "rasterio, opened for every window": each,
    }


def both(file: Any, window: Window) -> None:
    """Pixels and mask."""
    shape = RasterWindow(window.x0, window.y0, window.shape[1], window.shape[0])
    file.read(window=shape)
    file.dataset_mask(window=shape)


@dataclass(frozen=True)
class Writing:
    """Tiles of an array into chunks of a store, as every map of ours writes them."""

    grid: Grid
    block: NDArray[Any]
    store: Path

    def run(self, tile: Tile) -> Wrote:
        """Packed, checksummed, put whole under its name."""
        window = tile.window
        piece = self.block[:, window.y0 : window.y1, window.x0 : window.x1]
        data = pack(piece, (BANDS, TILE, TILE), 0)
        put_chunk(self.store, chunk_path(self.store, "scene", 0, tile.row, tile.column), data)
        return Wrote(piece.nbytes, len(data))


def writers(block: NDArray[Any], folder: Path) -> dict[str, Work]:
    """Ours on THREADS threads, and to_raster of a lazy array under a lock with the codecs that people use."""
    store = folder / "store"
    store.mkdir()
    job = Writing(Grid(*block.shape[1:], TILE), block, store)

    def ours() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            run_map(job, pool, THREADS)

    def to_raster(**options: Any) -> None:
        lazy = da.from_array(block, chunks=(BANDS, TILE, TILE), name=False)
        scene = xr.DataArray(lazy, dims=("band", "y", "x")).rio.write_transform(TRANSFORM)
        with dask.config.set(scheduler="threads", num_workers=THREADS):
            scene.rio.to_raster(folder / "out.tif", tiled=True, lock=threading.Lock(), **options)

    return {
        f"terrasketch's Zarr, Zstandard 3, {THREADS} threads": ours,
        "to_raster, deflate": lambda: to_raster(compress="deflate", predictor=2),
        "to_raster, Zstandard 3": lambda: to_raster(compress="zstd", zstd_level=3, predictor=2),
        "to_raster, not compressed": to_raster,
    }
