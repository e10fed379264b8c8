"""A source's cells as numbers to learn from: float32, scales and offsets applied, and seeded samples of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.answers.scaling import cells_of
from pipeline.errors import TerrasketchError, TileError
from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid, Tile, Window
from pipeline.raster.scene import Source
from pipeline.raster.store_bands import stored

F32 = NDArray[np.float32]
Bool = NDArray[np.bool_]
Gather = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
"""The results of a function, in the order of its arguments."""

CELLS = 20_000
"""Most cells that are learnt from."""


@dataclass(frozen=True)
class Values:
    """A scene or a feature store, read in tiles of `tile`."""

    source: Source
    tile: int

    @classmethod
    def of(cls, source: Source, tile: int) -> Values:
        """A store is read in its own tiles, a raster in tiles of `tile` pixels."""
        store = stored(source)
        return cls(source, tile if store is None else store.tile)

    @property
    def grid(self) -> Grid:
        """The tiles."""
        return Grid(self.source.info.height, self.source.info.width, self.tile)

    def read(self, window: Window) -> tuple[F32, Bool]:
        """The values (F, y, x) float32, 0 where not valid, and valid (y, x). Raises SourceError."""
        block, valid = self.source.read(window)
        info = self.source.info
        values = block.astype(np.float32)
        if set(info.scales) != {1.0} or set(info.offsets) != {0.0}:
            scale, offset = (np.array(part, np.float32)[:, None, None] for part in (info.scales, info.offsets))
            values = values * scale + offset
        valid = valid & np.isfinite(values).all(axis=0)
        values[:, ~valid] = 0.0
        return values, valid

    def rows(self, window: Window, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[F32, Bool]:
        """The values (n, F) at cells of a window, counted within it, and which of these are valid (n,)."""
        values, valid = self.read(window)
        return np.ascontiguousarray(values[:, rows, columns].T), valid[rows, columns]


@dataclass(frozen=True)
class Look:
    """One task of a pass that learns: what `step` finds on a tile. Picklable."""

    values: Values
    step: Callable[[Values, Any], Any]

    def __call__(self, task: Any) -> Any:
        try:
            with one_blas_thread():
                return self.step(self.values, task)
        except TerrasketchError as error:
            raise TileError(f"{self.values.source.info.name}: {error}") from error


def sample_cells(values: Values, seed: int, gather: Gather, count: int = CELLS) -> F32:
    """At most `count` valid cells as rows (n, F), every tile's share, each tile by a generator of its own.

    Raises:
        TileError: a tile cannot be read.
    """
    tiles = len(values.grid)
    shares = [count * (index + 1) // tiles - count * index // tiles for index in range(tiles)]
    tasks = [(index, share, seed) for index, share in enumerate(shares) if share]
    found = list(gather(Look(values, _some_cells), tasks))
    return np.concatenate(found)


def _some_cells(values: Values, task: tuple[int, int, int]) -> F32:
    index, share, seed = task
    tile: Tile = values.grid[index]
    block, valid = values.read(tile.window)
    rows = cells_of(block, valid)
    if len(rows) <= share:
        return rows
    rng = np.random.default_rng([seed, tile.row, tile.column])
    return rows[np.sort(rng.choice(len(rows), share, replace=False))]
