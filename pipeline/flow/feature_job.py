"""The second map: scene window with halo, or its factors -> convolutional features -> one chunk of the feature store.

A wide bank is convolved in groups of filters, always the same ones: so the bytes do not depend on who does which. Where
there are fewer tiles than workers, the groups are tasks of their own (`shared_slabs`), whose slabs lie in the store
until the tile's chunk is put together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import OutputError, TerrasketchError, unwritable
from pipeline.flow.factored import mosaic_of
from pipeline.flow.networks import AnyBank, block_window, featurise, load_bank
from pipeline.flow.not_finite import feature_counts
from pipeline.flow.tasks import Wrote
from pipeline.flow.threads import one_blas_thread
from pipeline.gemm.partition import cuts
from pipeline.grid import Grid, Part, Tile
from pipeline.network import Bank, features_mosaic
from pipeline.network.int8 import NODATA, Coding
from pipeline.raster.chunks import (
    PARTIAL,
    check_crc32c,
    chunk_path,
    filled_up,
    is_whole,
    pack_whole,
    put_chunk,
    whole_size,
)
from pipeline.raster.scene import Source
from pipeline.raster.store_source import StoreSource
from pipeline.storage import Place, is_url, place

FEATURES = "features"
F32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class FeatureJob:
    """Fill a store with the features of a scene. The bank travels as a path: workers load it once."""

    source: Source
    store: str
    tile: int
    bank: str
    digest: str
    """Of the bank that lies there."""
    pool: int
    stride: int
    only: tuple[int, ...] | None = None
    """Numbers of the tiles that are wanted; None for all."""
    coding: Coding | None = None
    """Of features in int8; None for float32."""
    model: str = ""
    """The ONNX file of a network; its bank holds the rest."""
    domain: str = "pixels"
    """pixels, or factors where the source is a compressed store of ours."""

    @property
    def grid(self) -> Grid:
        """The tiles of the map in scene pixels; tile is a multiple of stride."""
        whole = Grid(self.source.info.height, self.source.info.width, self.tile)
        return whole if self.only is None else Part(whole.height, whole.width, whole.tile, self.only)

    def run(self, tile: Tile) -> Wrote:
        """One tile, unless its chunk is there and whole."""
        raw, path = self.raw_bytes(tile), self.chunk(tile)
        size = whole_size(path, check_crc32c)
        if size is not None:
            return Wrote(raw, size, resumed=True)
        (features, valid), clipped = self.compute(tile), 0
        counts = feature_counts(features, valid, self.source, tile)
        side = self.tile // self.stride
        shape = (len(features), side, side)
        # Chunks are large: none of the three is in memory while another is made of the next.
        if self.coding is None:
            full = filled_up(features, shape, np.nan)
        else:
            codes, clipped = self.coding.encode(features)
            full = filled_up(codes, shape, NODATA)
            del codes
        del features
        parts = pack_whole(full)
        del full
        put_chunk(place(self.store), path, *parts)
        for number in range(len(self.groups) if self.has_slabs else 0):
            self._slab_path(tile, number).unlink(missing_ok=True)
        wrote = Wrote(raw, sum(map(len, parts)), clipped=clipped)
        wrote.count(counts)
        return wrote

    def raw_bytes(self, tile: Tile) -> int:
        """Bytes of the tile's pixels in the scene's own dtype."""
        height, width = tile.window.shape
        return len(self.source.info.bands) * height * width * np.dtype(self.source.info.dtype).itemsize

    def compute(self, tile: Tile) -> tuple[F32, Bool]:
        """The features (F, y, x) of a window of whole cells, NaN where not valid; and which cells are valid."""
        bank = self._load()
        return self._features(tile, bank) if isinstance(bank, Bank) else self._compute(tile, bank)

    @property
    def groups(self) -> list[slice]:
        """The groups of filters that a tile is convolved in: one, but of a wide bank."""
        return filter_groups(self._load())

    def _load(self) -> AnyBank:
        """The bank, its projection folded into the filters where these meet factors."""
        bank = load_bank(self.bank, self.model, self.digest)
        return bank.over_bands() if self.domain == "factors" and isinstance(bank, Bank) else bank

    def put_slab(self, tile: Tile, number: int) -> None:
        """Compute the features of one group of filters and leave them in the store for `run`.

        Raises:
            OutputError: the store cannot be written.
        """
        if is_whole(self.chunk(tile), check_crc32c):
            return
        bank = self._load()
        assert isinstance(bank, Bank)
        features, whole = self._compute(tile, _group(bank, number))
        path = self._slab_path(tile, number)
        temporary = path.with_suffix(".tmp")
        try:
            path.parent.mkdir(exist_ok=True)
            with temporary.open("wb") as file:
                np.save(file, features)
                np.save(file, whole)
            temporary.replace(path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {unwritable(error)}") from error

    def _features(self, tile: Tile, bank: Bank) -> tuple[F32, Bool]:
        """All features (F, cells_y, cells_x) of a tile, group by group; and which cells are valid."""
        groups = filter_groups(bank)
        if len(groups) == 1:
            return self._compute(tile, bank)
        n, signs = len(bank.filters), 2 if bank.signs == "both" else 1
        side_y, side_x = (-(-length // self.stride) for length in tile.window.shape)
        features, usable = np.empty((len(bank.features), side_y, side_x), np.float32), np.ones((side_y, side_x), bool)
        for number, own in enumerate(groups):
            slab, whole = self._slab(tile, bank, number)
            usable &= whole
            count = own.stop - own.start
            for sign in range(signs):
                features[sign * n + own.start : sign * n + own.stop] = slab[sign * count : (sign + 1) * count]
            if number == 0:
                features[signs * n :] = slab[signs * count :]
        features[:, ~usable] = np.nan
        return features, usable

    def _slab(self, tile: Tile, bank: Bank, number: int) -> tuple[F32, Bool]:
        """The features of one group: another task's, or computed here."""
        try:
            if not self.has_slabs:
                raise FileNotFoundError(self.store)
            with self._slab_path(tile, number).open("rb") as file:
                return np.load(file, allow_pickle=False), np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return self._compute(tile, _group(bank, number))

    def _compute(self, tile: Tile, bank: AnyBank) -> tuple[F32, Bool]:
        """Features (F, cells_y, cells_x) of a tile and which cells are valid."""
        shape = (self.source.info.height, self.source.info.width)
        if self.domain == "factors":
            assert isinstance(self.source, StoreSource)
            assert isinstance(bank, Bank)
            mosaic = mosaic_of(self.source, tile.window, bank.halo(self.pool, self.stride))
            return features_mosaic(mosaic, bank, pool=self.pool, stride=self.stride, window=tile.window)
        outer = block_window(bank, self.pool, self.stride, tile.window, shape)
        block, valid = self.source.read(outer)
        return featurise(
            block,
            valid,
            bank,
            pool=self.pool,
            stride=self.stride,
            window=tile.window,
            outer=outer,
            scene_shape=shape,
        )

    def chunk(self, tile: Tile) -> Place:
        """Where the tile's chunk lies."""
        return chunk_path(place(self.store), FEATURES, 0, tile.row, tile.column)

    @property
    def has_slabs(self) -> bool:
        """Whether groups of filters may be tasks of their own: not where looking for slabs is a request each."""
        return not is_url(self.store)

    def _slab_path(self, tile: Tile, number: int) -> Path:
        return Path(self.store) / PARTIAL / f"{tile.row}.{tile.column}.{number}.slab"


def filter_groups(bank: AnyBank) -> list[slice]:
    """The groups of filters that a bank is convolved in; the same on any number of workers."""
    if not isinstance(bank, Bank):
        return [slice(0, len(bank.features))]
    n, channels, size, _ = bank.filters.shape
    if bank.groups > 1:
        return [slice(0, n)]
    return cuts(1, n, channels * size * size, taps=size * size).filters


def put_slab(task: tuple[FeatureJob, int, int]) -> None:
    """The task: one group of filters of one tile. What goes wrong shows again when the tile itself is computed."""
    job, index, number = task
    try:
        with one_blas_thread():
            job.put_slab(job.grid[index], number)
    except OutputError:
        raise
    except (TerrasketchError, MemoryError):
        return


def shared_slabs(job: FeatureJob, workers: int) -> list[tuple[FeatureJob, int, int]]:
    """What `put_slab` has to do before the map where there are fewer tiles than workers; nothing elsewhere."""
    tiles, groups = len(job.grid), len(job.groups)
    if tiles >= workers or groups == 1 or not job.has_slabs:
        return []
    return [(job, index, number) for index in range(tiles) for number in range(groups)]


def _group(bank: Bank, number: int) -> Bank:
    """One group of filters; the spectra go with the first."""
    return bank.part(filter_groups(bank)[number], spectra=bank.spectra and number == 0)
