"""Reading a store of ours by windows: whole chunks through Zarr, the last ones kept for the neighbours' halos.

In an object store a chunk is one request; it may be kept as long as the store was made of the same things.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.grid import Grid, Tile, Window
from pipeline.raster import cache
from pipeline.raster.cache import Held, rows_of
from pipeline.raster.chunks import chunk_path, read_chunk
from pipeline.raster.nodata import valid_from
from pipeline.raster.object_stores import METADATA
from pipeline.raster.scene import SceneInfo
from pipeline.raster.store_check import LOW_RANK, check_chunk, codec_names, decoded, open_array
from pipeline.raster.zarr_store import read_attributes
from pipeline.storage import ObjectPath, Place, place

VARIABLES = ("scene", "features")
_AGAIN = "write it again: `run` does, `compress` writes the whole store with --overwrite"


@dataclass(frozen=True)
class StoreSource:
    """A store of ours as a Source: picklable, without an open handle.

    `variable` is `scene` or `features`; `tile` is the side of its chunks.
    """

    path: str
    variable: str
    tile: int
    info: SceneInfo

    @cached_property
    def _place(self) -> Place:
        return place(self.path)

    @cached_property
    def _array(self) -> zarr.Array[Any]:
        shape = (len(self.info.bands), self.info.height, self.info.width)
        return open_array(self._place / self.variable, shape, (shape[0], self.tile, self.tile))

    @cached_property
    def _valid(self) -> zarr.Array[Any] | None:
        path = self._place / "valid"
        if not ((path / METADATA).is_file() if isinstance(path, ObjectPath) else path.is_dir()):
            return None
        return open_array(path, (self.info.height, self.info.width), (self.tile, self.tile))

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("path", "variable", "tile", "info")}

    def read(self, window: Window, *, once: bool = False) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The block (band, y, x) of a window in the store's dtype, and its valid (y, x) bool.

        Whoever comes back to none of its chunks says `once`: they are not kept.

        Raises:
            SourceError: a chunk of the window is missing or damaged.
        """
        height, width = window.shape
        grid = Grid(self.info.height, self.info.width, self.tile)
        rows = range(window.y0 // self.tile, -(-window.y1 // self.tile))
        columns = range(window.x0 // self.tile, -(-window.x1 // self.tile))
        alone = window == grid[rows[0] * grid.columns + columns[0]].window
        if not (once or alone):  # who reads chunk by chunk comes back to none
            self._reserve(height)
        if alone and once and self._valid is None:  # the chunk itself, which may be large
            chunk = self._chunk(self.variable, (0, rows[0], columns[0]), window)
            return chunk, self._valid_of(chunk)
        block = np.empty((len(self.info.bands), height, width), self._array.dtype)
        valid = np.ones((height, width), bool)
        for row in rows:
            for column in columns:
                tile = grid[row * grid.columns + column]
                inside = window.overlap(tile.window)
                target, place = inside.within(window), inside.within(tile.window)
                block[:, *target] = self._chunk(self.variable, (0, row, column), tile.window)[:, *place]
                if self._valid is not None:
                    valid[target] = self._chunk("valid", (row, column), tile.window)[place]
        return block, valid if self._valid is not None else self._valid_of(block)

    def _valid_of(self, block: NDArray[Any]) -> NDArray[np.bool_]:
        """Which pixels of a block are valid where no `valid` says so."""
        # Features in int8 have a sentinel; scenes that are masked have `valid`.
        told = self.info.masked and block.dtype.kind != "f"
        return valid_from(block, (self.info.nodata if told else None,) * len(block))

    @property
    def arrays(self) -> dict[str, zarr.Array[Any]]:
        """What is cut into chunks of tiles: the variable, and `valid` where there is one. Raises SourceError."""
        return {self.variable: self._array} | ({} if self._valid is None else {"valid": self._valid})

    @cached_property
    def is_low_rank(self) -> bool:
        """Whether the chunks of the variable are containers of our own."""
        return LOW_RANK in codec_names(self._array)

    def valid_of(self, tile: Tile) -> NDArray[np.bool_] | None:
        """What the store says of the validity of a tile's pixels (y, x); None where it holds no `valid`.

        Raises:
            SourceError: the chunk is missing or damaged.
        """
        return None if self._valid is None else self._chunk("valid", (tile.row, tile.column), tile.window)

    def interpret(self, tile: Tile, name: str, read: Callable[[bytes], Held]) -> Held:
        """What `read` makes of the bytes of a tile's chunk of the variable; kept with the decoded chunks under `name`.

        Raises:
            SourceError: the chunk is missing or damaged.
        """
        path = chunk_path(self._place, self.variable, 0, tile.row, tile.column)
        self._reserve(self.tile)
        return self._kept(path, name, tile.window, self._array, lambda: read(read_chunk(path)))

    def _reserve(self, height: int) -> None:
        """Room for the rows of chunks that windows of this height touch."""
        pixel = len(self.info.bands) * np.dtype(self.info.dtype).itemsize + 1
        owner = (self.path, self.variable, self.info.fingerprint)
        cache.shared.reserve(owner, rows_of(height, self.tile, self.info.width * pixel))

    def _chunk(self, variable: str, index: tuple[int, ...], window: Window) -> NDArray[Any]:
        path = chunk_path(self._place, variable, *index)
        array = self._valid if variable == "valid" else self._array
        assert array is not None
        return self._kept(path, "", window, array, lambda: decoded(array, path, window))

    def _kept(self, path: Place, name: str, window: Window, array: zarr.Array[Any], load: Callable[[], Held]) -> Held:
        def refusal(error: Exception) -> SourceError:
            reason = " ".join(str(error).split())
            return SourceError(f"{path}: damaged chunk ({window}): {reason}; delete it and {_AGAIN}")

        missing = f"{path}: missing chunk ({window}); {_AGAIN}"

        def checked() -> Held:
            try:
                return load()
            except SourceError:
                raise
            except Exception as error:  # zarr passes on whatever a codec raises
                if isinstance(path, ObjectPath) and isinstance(error, OSError):
                    lost = isinstance(error, FileNotFoundError)
                    raise SourceError(missing if lost else f"{path}: cannot be read: {error.strerror}") from error
                raise refusal(error) from error

        store = self._place
        if isinstance(path, ObjectPath) or isinstance(
            store, ObjectPath
        ):  # its fingerprint tells what is in it; to look at its date is a request more
            return cache.shared.get((str(path), name, self.info.fingerprint), checked)
        try:
            facts = check_chunk(store, path, array)
        except FileNotFoundError:
            raise SourceError(missing) from None
        except (OSError, ValueError) as error:
            raise refusal(error) from error
        return cache.shared.get((str(path), name, facts.st_mtime_ns, facts.st_ino, facts.st_size), checked)


def open_store(path: Place) -> StoreSource:
    """Open a store that `compress`, `denoise`, `features` or `run` wrote.

    Raises:
        SourceError: it is not a store of ours, or its metadata are damaged.
    """
    attributes = read_attributes(path)
    try:
        info = SceneInfo.from_json(attributes["source"])
        variable, tile = str(attributes["variable"]), int(attributes["tile"])
        Grid(info.height, info.width, tile)
    except Exception as error:  # whatever a mapping that is not ours lacks
        raise SourceError(f"{path}: the store's metadata are damaged: {' '.join(str(error).split())}") from error
    if variable not in VARIABLES:
        raise SourceError(f"{path}: holds no {' or '.join(VARIABLES)}, but {variable!r}")
    bands = len(info.bands)
    array = open_array(path / variable, (bands, info.height, info.width), (bands, tile, tile))
    identity = f"{info.fingerprint}-{attributes.get('configuration_hash')}"
    return StoreSource(str(path), variable, tile, replace(info, dtype=str(array.dtype), fingerprint=identity))
