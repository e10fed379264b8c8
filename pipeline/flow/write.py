"""Finished stores out as COGs: one window at a time, in bounded memory."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid, Tile, Window
from pipeline.machine import cores
from pipeline.raster.cog import write_cog
from pipeline.raster.cog_options import BLOCK, block_side
from pipeline.raster.look import with_colours
from pipeline.raster.store_bands import StoreBands, select_bands
from pipeline.raster.store_source import StoreSource, open_store
from pipeline.storage import Place

MOST_THREADS = 4
"""That make one COG: each has blocks of all bands in hand, and one thread fills the file that they compress."""
PIECE_BYTES, AHEAD_BYTES = 6 << 20, 16 << 20
"""Of chunks that are written together, and of the most that is decoded ahead."""
Piece = tuple[Window, NDArray[Any], NDArray[np.bool_] | None]


def writing_threads(workers: int = MOST_THREADS) -> int:
    """How many threads make a COG where so many workers are asked for; they may be on other machines."""
    return max(1, min(MOST_THREADS, workers, cores()))


def store_to_cog(
    store: Place,
    target: Place,
    *,
    overwrite: bool = False,
    creation_options: Mapping[str, str] | None = None,
    threads: int = 1,
    bidx: Sequence[int] | None = None,
    bands: Sequence[str] | None = None,
    date: str | None = None,
) -> None:
    """Write a store of ours as a COG with its CRS, transform, dtype, nodata or mask, band names and tags; or some of
    its bands, or one date of a stack.

    It says what a viewer asks first: statistics of its bands, and which of them are red, green and blue. The bytes do
    not depend on how many threads read chunks ahead and compress blocks.

    Raises:
        ConfigError: there is no such band or date.
        SourceError: the store is damaged.
        OutputError: the target exists (without overwrite) or cannot be written; nothing is left behind.
    """
    source = select_bands(open_store(store), bidx, bands, date)
    with one_blas_thread(), closing(store_windows(source, ahead=threads > 1)) as windows:
        write_cog(
            target,
            with_colours(source.info),
            windows,
            overwrite=overwrite,
            creation_options=dict(creation_options or {}),
            statistics=True,
            threads=threads,
        )


def store_windows(source: StoreSource | StoreBands, *, ahead: bool = False) -> Generator[Piece]:
    """A store in windows of whole chunks in raster order: window, block and valid (None where every pixel is real).

    A thread of its own decodes the one `ahead` of who takes them, if it is not large. Small chunks go together: files
    have blocks like these, and GDAL some bytes for each. Large ones come in strips, whose copies are small.
    """

    def read(tile: Tile) -> Piece:
        block, valid = source.read(tile.window, once=True)
        return tile.window, block, (valid if source.info.masked else None)

    whole = source.store if isinstance(source, StoreBands) else source  # all bands of a chunk are decoded
    side, pixel = source.tile, len(whole.info.bands) * np.dtype(source.info.dtype).itemsize
    while 2 * side <= BLOCK and pixel * (2 * side) ** 2 <= PIECE_BYTES:
        side *= 2
    grid = Grid(source.info.height, source.info.width, side)
    if not ahead or pixel * side**2 > AHEAD_BYTES:
        height = block_side(pixel) if pixel * side**2 > AHEAD_BYTES else side
        for tile in grid:
            yield from _strips(*read(tile), height)
        return
    tiles = iter(grid)
    with ThreadPoolExecutor(1, thread_name_prefix="terrasketch-ahead") as pool:
        coming = pool.submit(read, next(tiles))
        for tile in tiles:
            piece, coming = coming.result(), pool.submit(read, tile)
            yield piece
        yield coming.result()


def _strips(window: Window, block: NDArray[Any], valid: NDArray[np.bool_] | None, height: int) -> Generator[Piece]:
    """A piece in strips of so many rows, views of it."""
    for y in range(0, window.shape[0], height):
        strip = Window(window.y0 + y, min(window.y1, window.y0 + y + height), window.x0, window.x1)
        rows = slice(y, y + height)
        yield strip, block[:, rows], None if valid is None else valid[rows]
