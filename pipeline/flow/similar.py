"""Where it looks like here: features of the places asked about -> cosine to every cell -> a map, and the best cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.answers import Similar, best, peaks
from pipeline.errors import ConfigError, SourceError
from pipeline.flow.answer_tables import write_cells
from pipeline.flow.crew import Crew
from pipeline.flow.holes import blamed, or_else
from pipeline.flow.labels import left_out_text, reasons_of
from pipeline.flow.maps import TABLE, Layer, tiles_of, write_map
from pipeline.flow.tasks import Receipt
from pipeline.flow.values import Look, Values, sample_cells
from pipeline.raster.placement import Placement
from pipeline.raster.places import Places, read_places
from pipeline.raster.store_source import StoreSource
from pipeline.untrusted import one_line

Index = NDArray[np.intp]
F32 = NDArray[np.float32]

MOST_PLACES = 1000
LAYER = Layer("similarity", "float32")


@dataclass(frozen=True)
class Asked:
    """The places asked about: features (Q, F), and all their valid cells, (n,) rows and columns of the map."""

    features: F32
    rows: Index
    columns: Index


def points(values: Values, at: list[tuple[float, float]], crs: str | None) -> NDArray[Any]:
    """Points (x, y), in `crs` or in the scene's, as geometries in the scene's.

    Raises:
        ConfigError: no such CRS, or the scene has none to bring points to.
    """
    wkt = Placement.of(values.source.info.geo, values.source.info.name).crs_wkt
    shapes = geopandas.GeoSeries([shapely.Point(xy) for xy in at], crs=None)
    if crs is None:
        return np.asarray(shapes.values, dtype=object)
    if wkt is None:
        raise ConfigError(f"{values.source.info.name} has no CRS; leave out --crs and give pixels: column,row")
    try:
        return np.asarray(shapes.set_crs(crs).to_crs(wkt).values, dtype=object)
    except Exception as error:  # pyproj raises several kinds
        raise ConfigError(f"--crs {crs}: {' '.join(str(error).split())}; give a code such as EPSG:4326") from error


def shapes_of(values: Values, path: str) -> NDArray[Any]:
    """The geometries of a vector file in the scene's CRS. Raises SourceError."""
    info = values.source.info
    return np.asarray(read_places(path, Placement.of(info.geo, info.name), info.name).geometry.values, dtype=object)


def asked(values: Values, shapes: NDArray[Any], words: str, crew: Crew, remedy: str = "give places in it") -> Asked:
    """The features of geometries in the scene's CRS: of each, the mean over its valid cells. `words` for messages, and
    the `remedy` where none of them lies in the scene.

    Those that have no valid cell in the scene are left out, and counted in a warning.

    Raises:
        SourceError: none of them has one.
        ConfigError: there are too many.
        TileError: a tile cannot be read.
    """
    info = values.source.info
    if len(shapes) > MOST_PLACES:
        raise ConfigError(f"{words}: {len(shapes)} places, more than {MOST_PLACES}; give fewer, such as one of a kind")
    placement = Placement.of(info.geo, info.name)
    places = Places.over(shapes, placement, 1, values.grid)
    members = [(number, *found) for number in places.tiles for found in places.members(number)]
    if not members:
        left, bottom, right, top = placement.bounds(info.height, info.width)
        raise SourceError(
            f"{words}: not in {info.name}, which spans x {left:.10g} to {right:.10g}, y {bottom:.10g} to {top:.10g}; "
            f"{remedy}"
        )
    total = np.zeros((len(shapes), len(info.bands)))
    count = np.zeros(len(shapes), np.int64)
    rows, columns = [], []
    tasks = [(number, r, c) for number, _, r, c in members]
    for (number, shape, r, c), (found, valid) in zip(members, crew.gather(Look(values, _at), tasks), strict=True):
        total[shape] += found[valid].sum(axis=0, dtype=np.float64)
        count[shape] += np.count_nonzero(valid)
        window = values.grid[number].window
        rows.append(r[valid] + window.y0)
        columns.append(c[valid] + window.x0)
    if not count.any():
        remedy = or_else(values.source, values.tile, "give a place that has values")
        raise SourceError(one_line(f"{words}: nodata in {info.name}{remedy}"))
    known = count > 0
    if reasons := reasons_of(shapes, {shape for _, shape, *_ in members}, count, info.name):
        crew.watch.warn(left_out_text(words, reasons, len(shapes)))
    features = (total[known] / count[known, None]).astype(np.float32)
    return Asked(features, np.concatenate(rows), np.concatenate(columns))


def write_similar(
    values: Values, places: Asked, target: Path, crew: Crew, *, top: int, apart: int, seed: int
) -> tuple[Receipt, dict[str, Any]]:
    """Write the map of similarity at `target`, and the `top` cells beside it as GeoParquet.

    apart: cells between hits, and between hits and the places asked about. Returns the receipt, and what was found.

    Raises:
        OutputError, TileError: as for `write_map`.
        BlockError: the scene is flat, or all nodata.
    """
    crew.watch.note(f"{values.source.info.name}: the scale of {len(values.source.info.bands)} features")
    with blamed(values.source, values.tile):
        model = Similar.to(places.features, sample_cells(values, seed, crew.gather))

    def finish(store: StoreSource, _: Receipt) -> dict[str, Any]:
        rows, columns, similarity = hits(store, places, top, apart)
        attributes: dict[str, NDArray[Any]] = {"rank": np.arange(1, len(rows) + 1, dtype=np.int32)}
        attributes |= {"row": rows.astype(np.int32), "column": columns.astype(np.int32), "similarity": similarity}
        write_cells(target.with_suffix(TABLE), store.info, rows, columns, attributes)
        return {"hits": len(rows), "best": float(similarity[0]) if len(rows) else None}

    return write_map(values, target, LAYER, "similar", model, crew, finish=finish, beside=[target.with_suffix(TABLE)])


def hits(store: StoreSource, places: Asked, top: int, apart: int) -> tuple[Index, Index, F32]:
    """The `top` peaks of a map, best first, none within `apart` cells of a place asked about: rows, columns, values."""
    tree = cKDTree(np.stack([places.rows, places.columns], axis=1).astype(np.float64))
    found: tuple[Index, Index, F32] = (np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32))
    for tile, plane, inner in tiles_of(store, apart):
        ys, xs = np.nonzero(peaks(plane, apart)[inner])
        own = plane[inner][ys, xs]
        rows, columns = ys + tile.window.y0, xs + tile.window.x0
        first = best(own, rows, columns, top + len(places.rows) * (2 * apart + 1) ** 2)
        rows, columns, own = rows[first], columns[first], own[first]
        distance, _ = tree.query(np.stack([rows, columns], axis=1), p=np.inf)
        far = distance > apart
        rows = np.concatenate([found[0], rows[far]])
        columns = np.concatenate([found[1], columns[far]])
        own = np.concatenate([found[2], own[far]])
        kept = best(own, rows, columns, top)
        found = rows[kept], columns[kept], own[kept]
    return found


def _at(values: Values, task: tuple[int, Index, Index]) -> tuple[F32, NDArray[np.bool_]]:
    number, rows, columns = task
    return values.rows(values.grid[number].window, rows, columns)
