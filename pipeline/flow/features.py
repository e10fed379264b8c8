"""The second map: scene window with halo -> convolutional features -> one chunk of the feature store.

Banks are fitted here too, because fitting needs windows of scenes: a few, spread evenly, the same each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BankError, ConfigError
from pipeline.flow.compress import source_identity
from pipeline.flow.journal import Plan
from pipeline.flow.networks import AnyBank, block_window, featurise, is_mean, load_bank
from pipeline.flow.read import sample
from pipeline.flow.tasks import Wrote
from pipeline.grid import Grid, Tile
from pipeline.network import BANKS, Bank, fit_bank
from pipeline.raster.chunks import check_crc32c, chunk_path, is_whole, pack, put_chunk
from pipeline.raster.scene import SceneInfo, Source
from pipeline.raster.zarr_store import Variable

FEATURES = "features"


@dataclass(frozen=True)
class FeatureJob:
    """Fill a store with the features of a scene. The bank travels as a path: workers load it once."""

    source: Source
    store: str
    tile: int
    bank: str
    pool: int
    stride: int
    model: str = ""
    """The ONNX file of a network; its bank holds the rest."""

    @property
    def grid(self) -> Grid:
        """The tiles of the map in scene pixels; tile is a multiple of stride."""
        return Grid(self.source.info.height, self.source.info.width, self.tile)

    def run(self, tile: Tile) -> Wrote:
        """One tile, unless its chunk is there and whole."""
        store, raw = Path(self.store), self.raw_bytes(tile)
        path = chunk_path(store, FEATURES, 0, tile.row, tile.column)
        if is_whole(path, check_crc32c):
            return Wrote(raw, path.stat().st_size, resumed=True)
        features = self.compute(tile)
        side = self.tile // self.stride
        data = pack(features, (len(features), side, side), np.nan)
        put_chunk(store, path, data)
        return Wrote(raw, len(data))

    def raw_bytes(self, tile: Tile) -> int:
        """Bytes of the tile's pixels in the scene's own dtype."""
        height, width = tile.window.shape
        return len(self.source.info.bands) * height * width * np.dtype(self.source.info.dtype).itemsize

    def compute(self, tile: Tile) -> NDArray[np.float32]:
        """The features of the tile's cells, (F, y, x), NaN where not valid."""
        info = self.source.info
        bank, shape = load_bank(self.bank, self.model), (info.height, info.width)
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


def feature_tile(tile: int, stride: int) -> int:
    """The smallest multiple of stride that is at least `tile`: cells never straddle tiles."""
    return -(-tile // stride) * stride


def feature_info(info: SceneInfo, names: tuple[str, ...], rows: int, columns: int) -> SceneInfo:
    """The facts of the feature map: cells of rows x columns pixels of the scene, the last ones may hang over."""
    count = len(names)
    return replace(
        info,
        bands=names,
        height=-(-info.height // rows),
        width=-(-info.width // columns),
        dtype="float32",
        nodata=float("nan"),
        scales=(1.0,) * count,
        offsets=(0.0,) * count,
        geo=info.geo.scaled(rows, columns),
        masked=True,
        **_plain_labels(count),
    )


def _plain_labels(count: int) -> dict[str, Any]:
    return {"units": (None,) * count, "band_tags": ({},) * count, "colorinterp": ("undefined",) * count}


def feature_plan(
    final: Path,
    source: Source,
    tile: int,
    bank: AnyBank,
    made: dict[str, Any],
    pool: int,
    stride: int,
    upstream: Any = None,
) -> Plan:
    """The store of `FeatureJob`.

    `made` says what the bank was made from (a file's digest, or the options it was fitted with), `upstream` is the
    configuration of the scene store the features are of, where there is one.
    """
    info = source.info
    features = Variable(
        FEATURES,
        "float32",
        float("nan"),
        "feature",
        bank.features,
        attributes={"long_name": list(bank.features), "bank": bank.name},
    )
    configuration = {
        "source": upstream or source_identity(source),
        "grid": {"height": info.height, "width": info.width, "tile": tile},
        "features": {"bank": made, "pool": pool, "stride": stride},
    }
    mean = is_mean(bank)
    cell = (info.height, info.width) if mean else (stride, stride)
    side = 1 if mean else tile // stride
    return Plan(final, feature_info(info, bank.features, *cell), side, (features,), configuration)


def fit(
    name: str,
    sources: Sequence[Source],
    tile: int,
    *,
    count: int | None = None,
    size: int | None = None,
    seed: int = 0,
) -> Bank:
    """Fit a bank on samples of one or more scenes with the same bands.

    Raises:
        BankError: the scenes' bands differ, or no valid pixel was found.
        ConfigError: no bank has this name.
    """
    check_bank_name(name)
    bands = sources[0].info.bands
    for source in sources[1:]:
        if source.info.bands != bands:
            raise BankError(
                f"{source.info.name} has bands {', '.join(source.info.bands)}, but {sources[0].info.name} has "
                f"{', '.join(bands)}; a bank is fitted on scenes with the same bands (choose them with -b)"
            )
    samples = (window for source in sources for window in sample(source, tile))
    return fit_bank(name, samples, bands=bands, count=count, size=size, seed=seed)


def check_bank_name(name: str) -> None:
    """Refuse the name of a bank that nobody can fit.

    Raises:
        ConfigError: no bank has this name.
    """
    if name not in BANKS:
        raise ConfigError(
            f"no bank is called {name}; choose one of {', '.join(BANKS)}, give the path of a BANK.npz, or onnx:MODEL"
        )


def check_bank(bank: AnyBank, info: SceneInfo, where: str) -> None:
    """Refuse a bank that was fitted on other bands.

    Raises:
        BankError: the bands differ in number, name or order.
    """
    bank.check_scene(info.bands, f"{info.name} ({where})")


def check_stride(pool: int, stride: int) -> None:
    """Refuse a pool or stride below one pixel."""
    if pool < 1 or stride < 1:
        raise ConfigError(f"--pool and --stride must be at least 1, got {pool} and {stride}")
