"""What a path holds, in plain figures: a scene, a store of ours, a bank, or a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import BankError, ConfigError, SourceError, StorageError
from pipeline.flow.by_date import Dates, dates_of
from pipeline.flow.compress import SCENE
from pipeline.flow.crew import Nobody, Watch
from pipeline.flow.read import is_store, open_scene, sample_windows
from pipeline.flow.report import measure_noise, storage_facts
from pipeline.flow.speckle import tell_found
from pipeline.flow.unread import tell_unread
from pipeline.flow.verify import verify as verify_store
from pipeline.grid import Grid
from pipeline.network import Bank
from pipeline.network.model_facts import model_facts
from pipeline.network.network_bank import PREFIX, SUFFIX, network_facts, split
from pipeline.raster.chunks import chunk_path
from pipeline.raster.masks import unmasked
from pipeline.raster.scene import Source
from pipeline.raster.store_bands import stored
from pipeline.raster.store_check import check_head
from pipeline.raster.store_source import StoreSource
from pipeline.raster.times import BAND, TIME
from pipeline.raster.zarr_store import read_attributes
from pipeline.storage import ObjectPath, place

_SIDE = 256
"""Of the windows that are looked at of what has no tiles of its own."""


def inspect_path(
    paths: Sequence[str], *, verify: bool = False, watch: Watch | None = None, **reading: Any
) -> dict[str, Any]:
    """Everything worth knowing at a glance, in words of DESIGN and JSON types.

    Of the chunks of a store sizes, heads and tails are looked at; all of each is read, and its checksum computed, only
    to `verify`.

    Raises:
        ConfigError: what is to be verified is no store.
        SourceError: it is none of ours and no raster.
        BankError: it ends in .npz and is no bank.
        ModelError: it ends in .onnx and is no network that we run.
    """
    if verify and not (len(paths) == 1 and is_store(paths[0])):
        if len(paths) == 1 and isinstance(gone := place(paths[0]), Path) and not gone.exists():
            raise SourceError(f"{gone}: there is no such store to verify; is the path right?")
        raise ConfigError(f"--verify reads the chunks of one store of ours; {', '.join(paths)} is none, leave it out")
    if len(paths) == 1 and (paths[0].startswith(PREFIX) or paths[0].lower().endswith(SUFFIX)):
        return model_facts(split(paths[0])[0])
    if len(paths) == 1 and paths[0].endswith(".npz"):
        try:
            return network_facts(place(paths[0]))
        except BankError as error:  # not the file of a network
            if isinstance(error.__cause__, StorageError):
                raise
            return _bank(Bank.load(place(paths[0])))
    source = open_scene(paths, **reading)
    tell_unread(source, watch or Nobody())
    facts, store = _scene(source), stored(unmasked(source))
    checked = verify_store(store).to_json() if verify and store is not None else {}
    if len(paths) == 1 and is_store(paths[0]) and isinstance(source, StoreSource):
        return facts | _store(source) | checked
    if checked:  # under a mask, or of some bands; of chunks that are damaged there is no noise
        return facts | checked
    sigma = measure_noise(source)
    if sigma is not None:
        tell_found(source, watch or Nobody())
    named = None if sigma is None else dict(zip(source.info.bands, _rounded(sigma), strict=True))
    return facts | {"noise": named}


def _scene(source: Source) -> dict[str, Any]:
    info = source.info
    return {
        "name": info.name,
        "shape": [len(info.bands), info.height, info.width],
        "dtype": info.dtype,
        "bands": list(info.bands),
        "crs": f"EPSG:{info.geo.epsg}" if info.geo.epsg else info.geo.crs_wkt,
        "transform": list(info.geo.transform) if info.geo.transform else None,
        "gcps": len(info.geo.gcps),
        "nodata": info.nodata,
        "masked": info.masked,
        "scales": list(info.scales),
        "offsets": list(info.offsets),
    } | _dates(unmasked(source))


def _dates(source: Source) -> dict[str, Any]:
    """Of a stack the time and the bands of each date, and the share of its pixels that lack one: of the sample windows,
    where these can be read and are not requests."""
    info, dates = source.info, dates_of(source.info)
    if dates is None:
        return {}
    missing = _missing(source, dates)
    return {
        "dates": [
            {
                "time": info.band_tags[bands[0]].get(TIME),
                "bands": [info.band_tags[band].get(BAND, info.bands[band]) for band in bands],
            }
            | ({} if missing is None else {"missing": round(missing[number], 4)})
            for number, bands in enumerate(dates.numbers)
        ]
    }


def _missing(source: Source, dates: Dates) -> list[float] | None:
    store = stored(source)
    if not source.info.masked:
        return [0.0] * len(dates)
    if store is not None and isinstance(place(store.path), ObjectPath):
        return None
    lacking, seen = np.zeros(len(dates), np.int64), 0
    try:
        for window in sample_windows(source, _SIDE):
            each = dates.valid(*source.read(window), source.info.nodata)
            lacking += [np.count_nonzero(~valid) for valid in each]
            seen += each[0].size
    except SourceError:  # of a store: what is missing or damaged is told below
        return None
    return [float(count) / seen for count in lacking]


def _store(source: StoreSource) -> dict[str, Any]:
    """Modes, ratio and ranks of a store, from its attributes and the chunks' sizes and headers."""
    attributes = read_attributes(place(source.path))
    grid = Grid(source.info.height, source.info.width, source.tile)
    sizes = _sizes(source, source.variable, grid)
    there = [size for size in sizes if size is not None]
    # A scene with holes has a chunk of its mask beside each of its own.
    masks = _sizes(source, "valid", grid) if source.variable == SCENE and source.info.masked else []
    stored = sum(there) + sum(size for size in masks if size is not None)
    raw = len(source.info.bands) * source.info.height * source.info.width * np.dtype(source.info.dtype).itemsize
    configuration = _mapping(attributes.get("configuration"))
    facts: dict[str, Any] = {
        "variable": source.variable,
        "tile": source.tile,
        "tiles": len(grid),
        "missing": len(sizes) - len(there),
        "denoise": configuration.get("denoise"),
        "compress": configuration.get("compress"),
        "effort": configuration.get("effort"),
        "features": configuration.get("features"),
        "raw_bytes": raw,
        "stored_bytes": stored,
        "ratio": round(raw / stored, 3) if stored else None,
        "version": attributes.get("version"),
        "configuration_hash": attributes.get("configuration_hash"),
    }
    # Of the wrong length, or without a head: what is wrong in other ways shows to who reads the whole of it.
    if not (source.variable == SCENE and source.is_low_rank):
        facts["cut_short"] = _cut_short(source, grid, sizes)
        return {name: value for name, value in facts.items() if value is not None}
    storage = storage_facts(source, raw, stored, None)
    if storage.tile_bytes is not None:
        facts["cut_short"] = len(there) - int(np.count_nonzero(storage.tile_bytes >= 0))
    if storage.rank_map is not None and (storage.rank_map >= 0).any():
        real = storage.rank_map[storage.rank_map >= 0]
        facts |= {
            "snr": storage.snr,
            "rmse": storage.rmse,
            "rank": {"min": int(real.min()), "median": float(np.median(real)), "max": int(real.max())},
            "rank_per_tile": storage.rank_map.tolist(),
        }
    return {name: value for name, value in facts.items() if value is not None}


def _cut_short(source: StoreSource, grid: Grid, sizes: list[int | None]) -> int:
    """How many plain chunks are not of the length that they begin with."""
    store, array, cut = place(source.path), source.arrays[source.variable], 0
    for tile, size in zip(grid, sizes, strict=True):
        if size is None:
            continue
        try:
            check_head(store, chunk_path(store, source.variable, 0, tile.row, tile.column), array)
        except (OSError, ValueError):
            cut += 1
    return cut


def _sizes(source: StoreSource, variable: str, grid: Grid) -> list[int | None]:
    """Bytes of each tile's chunk of a variable; None where there is none. In an object store by listing it."""
    front = () if variable == "valid" else (0,)
    store = place(source.path)
    if isinstance(store, ObjectPath):
        try:
            listed = dict((store / variable / "c").below())
        except OSError as error:
            raise SourceError(f"{store}: cannot be listed: {error.strerror}") from error
        return [listed.get("/".join(map(str, (*front, tile.row, tile.column)))) for tile in grid]
    paths = (chunk_path(store, variable, *front, tile.row, tile.column) for tile in grid)
    return [path.stat().st_size if path.is_file() else None for path in paths]


def _mapping(value: Any) -> dict[str, Any]:
    """The value, or nothing where a store that is not ours holds another kind."""
    return value if isinstance(value, dict) else {}


def _bank(bank: Bank) -> dict[str, Any]:
    front = {"components": len(bank.projection), "hidden": list(bank.hidden.shape)}
    return {
        "bank": bank.name,
        "bands": list(bank.bands),
        **{name: value for name, value in front.items() if value not in (0, [0] * 4)},
        "filters": list(bank.filters.shape),
        "features": len(bank.features),
        "pool": bank.pool,
        "mean": _rounded(bank.mean),
        "std": _rounded(bank.std),
    }


def _rounded(values: Any) -> list[float]:
    return [float(f"{value:.5g}") for value in np.asarray(values).ravel()]
