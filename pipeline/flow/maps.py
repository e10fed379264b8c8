"""A map of answers: a model over every tile of a source, into a store beside the target, which becomes a COG.

The model travels as a file: workers load it once. Nothing is left of a map that could not be made in full.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Anomaly, Groups, Regressor, Similar
from pipeline.errors import ConfigError, OutputError, unwritable
from pipeline.flow.crew import Crew
from pipeline.flow.holes import tell_unanswered
from pipeline.flow.journal import Plan, alone
from pipeline.flow.stages import fill, raise_failures
from pipeline.flow.tasks import Receipt, Wrote
from pipeline.flow.unread import tell_unread
from pipeline.flow.values import Values
from pipeline.flow.write import store_windows
from pipeline.grid import Grid, Halo, Tile
from pipeline.network import bank_file
from pipeline.raster.chunks import chunk_path, pack, put_chunk, remove_tree
from pipeline.raster.cog import Colours, check_folder, check_output, write_cog
from pipeline.raster.names import is_cog
from pipeline.raster.scene import SceneInfo
from pipeline.raster.store_source import StoreSource, open_store
from pipeline.raster.zarr_store import Variable
from pipeline.storage import followed

VARIABLE = "features"
TABLE = ".parquet"
KINDS: dict[str, type[Any]] = {"similar": Similar, "groups": Groups, "anomaly": Anomaly, "regress": Regressor}


class Model(Protocol):
    """A frozen dataclass of arrays."""

    def answer(self, block: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[Any]:
        """A map (1, y, x) of a block (F, y, x)."""


@dataclass(frozen=True)
class Layer:
    """What a map holds: the name of its one band, float32 with NaN or uint8 with 0 for nodata, and of classes their
    colours and names, from value 1 on.
    """

    name: str
    dtype: str
    colours: Colours | None = None
    classes: tuple[str, ...] = ()

    @property
    def fill(self) -> float:
        """What stands where there is no answer."""
        return 0 if self.dtype == "uint8" else float("nan")

    def info(self, info: SceneInfo) -> SceneInfo:
        """The facts of the map of this scene."""
        return replace(
            info,
            bands=(self.name,),
            dtype=self.dtype,
            nodata=float(self.fill),
            scales=(1.0,),
            offsets=(0.0,),
            units=(None,),
            band_tags=({},),
            colorinterp=("palette" if self.colours else "gray",),
            masked=True,
        )


@dataclass(frozen=True)
class MapJob:
    """Fill a store with the answers of a model."""

    values: Values
    store: str
    layer: Layer
    kind: str
    model: str
    digest: str
    halo: int = 0

    @property
    def grid(self) -> Grid:
        """The tiles of the source."""
        return self.values.grid

    def run(self, tile: Tile) -> Wrote:
        """One tile."""
        info = self.values.source.info
        outer = tile.window.expand(Halo.even(self.halo), info.height, info.width)
        block, valid = self.values.read(outer)
        model: Model = load_model(self.model, self.kind, self.digest)
        whole = model.answer(block, valid)
        answer = whole[:, *tile.window.within(outer)]
        data = pack(np.ascontiguousarray(answer), (1, self.values.tile, self.values.tile), self.layer.fill)
        put_chunk(Path(self.store), self.chunk(tile), data)
        raw = block.shape[0] * int(np.prod(tile.window.shape)) * np.dtype(info.dtype).itemsize
        # Groups see their own cell alone: the tile has no halo, and no cell counts twice.
        sums = model.sums(block, valid, whole) if isinstance(model, Groups) else None
        return Wrote(raw, len(data), sums=sums)

    def chunk(self, tile: Tile) -> Path:
        """Where the tile's chunk lies."""
        path = chunk_path(Path(self.store), VARIABLE, 0, tile.row, tile.column)
        assert isinstance(path, Path)
        return path


@lru_cache(maxsize=4)
def load_model(path: str, kind: str, _digest: str) -> Any:
    """The model that `write_map` left at this path."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return KINDS[kind](**arrays)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {unwritable(error)}") from error


def check_map(target: Path, overwrite: bool, beside: Sequence[Path] = ()) -> None:
    """Refuse a target that is no COG by its name, and one that is there already, or a file that is written beside it.

    Raises:
        ConfigError, OutputError
    """
    if not is_cog(target):
        raise ConfigError(f"{target}: a map is a COG, ending in .tif or .tiff, got {target.suffix or 'no ending'}")
    for path in (target, *beside):
        check_output(path, overwrite)
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give the name of a file")
    check_folder(target)


def write_map(
    values: Values,
    target: Path,
    layer: Layer,
    kind: str,
    model: Model,
    crew: Crew,
    *,
    halo: int = 0,
    finish: Callable[[StoreSource, Receipt], Any] = lambda store, receipt: None,
    beside: Sequence[Path] = (),
) -> tuple[Receipt, Any]:
    """Write the map of a model as a COG; `finish` sees the whole map as a store, and the receipt, before that.

    Returns the receipt, and what `finish` does.

    `beside` are the files that `finish` writes: they go again where the map cannot be written.

    Raises:
        OutputError: it cannot be written.
        TileError: a tile could not be computed. Nothing is left of the target then.
    """
    real = followed(target)
    staging = real.absolute().with_name(real.name + ".staging")
    path = staging.with_name(staging.name + ".model.npz")
    with alone(real.with_name(f".{real.name}.running"), target):
        try:
            content = bank_file.pack({field.name: getattr(model, field.name) for field in fields(model)})  # type: ignore[arg-type]
            digest = hashlib.sha256(content).hexdigest()
            bank_file.write(path, content)
            plan = _plan(staging, values, layer, kind, digest)
            _clear(plan)
            tell_unread(values.source, crew.watch)
            store, receipt = fill(
                plan,
                lambda store: MapJob(values, store, layer, kind, str(path), digest, halo),
                kind,
                crew,
            )
            raise_failures(receipt, values.source.info.name)
            with _together(beside):
                found = finish(open_store(store), receipt)
                if len(values.source.info.bands) > 1:  # of which a pixel may lack some
                    tell_unanswered(values.source, values.tile, _answered(open_store(store), layer), crew.watch)
                crew.watch.note(f"write {target}")
                assert isinstance(store, Path)
                _to_cog(store, target, layer)
            return receipt, found
        finally:
            _clear(_plan(staging, values, layer, kind, ""))
            remove_tree(path)


@contextmanager
def _together(beside: Sequence[Path]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for path in map(followed, beside):
            path.unlink(missing_ok=True)
        raise


def tiles_of(store: StoreSource, halo: int = 0) -> Iterator[tuple[Tile, NDArray[Any], tuple[slice, slice]]]:
    """Every tile of a finished map with its halo: (y, x) values, and where the tile lies in them."""
    height, width = store.info.height, store.info.width
    for tile in Grid(height, width, store.tile):
        outer = tile.window.expand(Halo.even(halo), height, width)
        yield tile, store.read(outer)[0][0], tile.window.within(outer)


def _answered(store: StoreSource, layer: Layer) -> int:
    """How many cells of a finished map have an answer."""
    planes = (plane[inner] for _, plane, inner in tiles_of(store))
    return sum(int(np.count_nonzero(plane if layer.fill == 0 else ~np.isnan(plane))) for plane in planes)


def _plan(staging: Path, values: Values, layer: Layer, kind: str, digest: str) -> Plan:
    variable = Variable(VARIABLE, layer.dtype, layer.fill, "feature", (layer.name,))
    info = layer.info(values.source.info)
    return Plan(staging, info, values.tile, (variable,), {"kind": kind, "model": digest, "tile": values.tile})


def _to_cog(store: Path, target: Path, layer: Layer) -> None:
    source = open_store(store)
    write_cog(
        target,
        replace(source.info, nodata=layer.fill),
        store_windows(source),
        overwrite=True,
        overview_resampling="nearest" if layer.colours else "average",
        colours=layer.colours,
        categories=("", *layer.classes) if layer.classes else (),
        statistics=layer.colours is None,
    )


def _clear(plan: Plan) -> None:
    remove_tree(plan.final)
    remove_tree(plan.partial)
