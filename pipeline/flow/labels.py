"""Labels of a vector file on the cells of a map: a row of features and a label for each valid cell of each geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, SourceError
from pipeline.flow.crew import Crew
from pipeline.flow.values import Look, Values
from pipeline.raster.placement import Placement
from pipeline.raster.places import Places, read_places

Index = NDArray[np.intp]

MOST_ROWS = 20_000
MOST_CLASSES = 255


@dataclass(frozen=True)
class Labelled:
    """n labelled cells of a map."""

    features: NDArray[np.float32]
    """(n, F)"""
    labels: NDArray[Any]
    """(n,) float64 numbers, or positions in `classes`."""
    rows: Index
    columns: Index
    """(n,) where the cells are."""
    place: Index
    """(n,) the geometry each belongs to."""
    classes: tuple[str, ...]
    """Names of the classes, sorted; none where the labels are numbers."""


def labelled(values: Values, path: str, field: str, kind: str, seed: int, crew: Crew) -> Labelled:
    """The cells of the geometries that have a label; at most MOST_ROWS, a seeded sample of them.

    kind: classes, numbers, or auto: numbers are numbers, anything else is a class.

    Raises:
        SourceError: the file cannot be read, or none of its places with a label has a valid cell.
        ConfigError: there is no such field, or its values are not what `kind` says.
        TileError: a tile cannot be read.
    """
    info = values.source.info
    frame = read_places(path, Placement.of(info.geo, info.name), info.name)
    own, classes = _labels_of(frame, path, field, kind)
    shapes = np.array(frame.geometry.values, dtype=object)
    shapes[np.isnan(own)] = None
    tile, place, rows, columns = _members(values, shapes, seed)
    if not len(tile):
        raise SourceError(f"{path}: no place of it with a {field} lies in {info.name}; is its CRS the right one?")
    numbers = np.unique(tile)
    chosen = [np.flatnonzero(tile == number) for number in numbers]
    tasks = [(int(number), rows[cells], columns[cells]) for number, cells in zip(numbers, chosen, strict=True)]
    found = list(crew.gather(Look(values, _cells), tasks))
    features = np.concatenate([part for part, _ in found])
    valid = np.concatenate([part for _, part in found])
    order = np.concatenate(chosen)[valid]
    if not len(order):
        raise SourceError(f"{path}: its places lie on nodata of {info.name}; give places that have values")
    place, rows, columns = place[order], rows[order], columns[order]
    labels = own[place].astype(np.intp if classes else np.float64)
    return Labelled(features[valid], labels, rows, columns, place, classes)


def _labels_of(frame: geopandas.GeoDataFrame, path: str, field: str, kind: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The label of each geometry, NaN for none; and the names of the classes, none for numbers."""
    if field not in frame.columns or field == frame.geometry.name:
        there = ", ".join(str(name) for name in frame.columns if name != frame.geometry.name) or "none"
        raise ConfigError(f"{path}: no field {field}; there are {there}")
    column = frame[field]
    numeric = column.dtype.kind in "iuf"
    if kind == "numbers" and not numeric:
        raise ConfigError(f"{path}: {field} holds no numbers; leave out --kind, or give another field")
    if kind == "numbers" or (kind == "auto" and numeric):
        numbers = column.to_numpy(np.float64, na_value=np.nan)
        return np.where(np.isfinite(numbers), numbers, np.nan), ()
    words = [None if none else _word(value) for value, none in zip(column, column.isna(), strict=True)]
    classes = tuple(sorted({word for word in words if word is not None}, key=_class_key))
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise ConfigError(f"{path}: {field} holds {len(classes)} classes; 2 to {MOST_CLASSES} can be told apart")
    position = {name: float(number) for number, name in enumerate(classes)}
    return np.array([np.nan if word is None else position[word] for word in words]), classes


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def _class_key(name: str) -> tuple[int, float, str]:
    """Numbers before words, 2 before 10."""
    return (0, float(name), name) if name.lstrip("-").isdecimal() else (1, 0.0, name)


def _members(values: Values, shapes: NDArray[Any], seed: int) -> tuple[Index, Index, Index, Index]:
    """Cells of the geometries: tile, geometry, row and column of the map; a seeded sample where they are too many."""
    info = values.source.info
    places = Places.over(shapes, Placement.of(info.geo, info.name), 1, values.grid)
    parts = []
    for number in places.tiles:
        window = values.grid[number].window
        for shape, r, c in places.members(number):
            parts.append((np.full(len(r), number), np.full(len(r), shape), r + window.y0, c + window.x0))
    if not parts:
        return tuple(np.empty(0, np.intp) for _ in range(4))  # type: ignore[return-value]
    tile, place, rows, columns = (np.concatenate(column).astype(np.intp) for column in zip(*parts, strict=True))
    if len(tile) <= MOST_ROWS:
        return tile, place, rows, columns
    kept = np.sort(np.random.default_rng(seed).choice(len(tile), MOST_ROWS, replace=False))
    return tile[kept], place[kept], rows[kept], columns[kept]


def _cells(values: Values, task: tuple[int, Index, Index]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    number, rows, columns = task
    window = values.grid[number].window
    return values.rows(window, rows - window.y0, columns - window.x0)
