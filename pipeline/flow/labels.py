"""Labels of a vector file on the cells of a map: a row of features and a label for each valid cell of each geometry."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.errors import ConfigError, SourceError
from pipeline.flow import drawn
from pipeline.flow.crew import Crew
from pipeline.flow.drawn import Drawn
from pipeline.flow.holes import or_else
from pipeline.flow.paperwork import counted
from pipeline.flow.stands import stands
from pipeline.flow.values import Look, Values
from pipeline.raster.owners import HALF_OPEN, owned
from pipeline.raster.placement import Placement
from pipeline.raster.places import Places, read_places
from pipeline.untrusted import one_line

Index = NDArray[np.intp]

MOST_CLASSES = 255
MOST_NUMBER = 1e30
"""Of a label: its square is summed, and maps of float32 have room for what is predicted beyond."""
_LARGEST_SINGLE = int(shapely.GeometryType.POLYGON)


@dataclass(frozen=True)
class Labelled:
    """n labelled cells of a map, each of them once."""

    features: NDArray[np.float32]
    """(n, F)"""
    labels: NDArray[Any]
    """(n,) float64 numbers, or positions in `classes`."""
    rows: Index
    columns: Index
    """(n,) where the cells are."""
    place: Index
    """(n,) the place each belongs to: a point, a line or a polygon, alone or part of a geometry of several."""
    stand: Index
    """(n,) the same, but places of one label that lie next to each other are one."""
    classes: tuple[str, ...]
    """Names of the classes, sorted; none where the labels are numbers."""
    added: NDArray[np.bool_]
    """(n,) True for cells that are there for their class's sake alone; the others are an even sample of all."""


def labelled(values: Values, path: str, field: str, kind: str, seed: int, crew: Crew) -> Labelled:
    """The cells of the geometries that have a label; at most MOST_ROWS, a seeded sample of them, and FEWEST of each
    class that has fewer in it.

    kind: classes, numbers, or auto: numbers are numbers, anything else is a class.

    Raises:
        SourceError: the file cannot be read, or none of its places with a label has a valid cell, or those of one class
            alone have some.
        ConfigError: there is no such field, or its values are not what `kind` says.
        TileError: a tile cannot be read.
    """
    info = values.source.info
    frame = read_places(path, Placement.of(info.geo, info.name), info.name)
    own, classes = _labels_of(frame, path, field, kind)
    shapes, whole = parts_of(np.array(frame.geometry.values, dtype=object))
    bare, own = len(frame) - len(np.unique(whole)), own[whole]
    shapes[np.isnan(own)] = None
    found = _members(values, shapes, own, bool(classes), seed)
    if found.tied:
        have = "cell has" if found.tied == 1 else "cells have"
        crew.watch.warn(one_line(f"{path}: {found.tied} {have} equal shares of several {field}: left out"))
    if not found.claiming:
        raise SourceError(f"{path}: no place of it with a {field} lies in {info.name}; is its CRS the right one?")
    if not len(found.labels):
        raise SourceError(f"{path}: no cell of {info.name} has one {field} alone; give places that do not overlap")
    features, there = _looked_up(values, found.cells, crew)
    if not there.any():
        remedy = or_else(values.source, values.tile, "give places that have values")
        raise SourceError(one_line(f"{path}: its places lie on nodata of {info.name}{remedy}"))
    _, place, rows, columns = found.cells[:, there]
    none = int(np.isnan(own).sum())
    # Of places in a sample it is not known why: they may have valid cells that are not in it.
    size = len(found.labels)
    why = "on nodata" if size < drawn.MOST_ROWS else f"no valid cell in the sample of {size} cells"
    left = {
        "no geometry": bare,
        f"no value in {field}": none,
        f"outside {info.name}": len(shapes) - none - found.claiming,
        "no cell of which their label has the most": found.claiming - found.heard,
        why: found.leading - len(np.unique(place)),
    }
    if any(left.values()):
        crew.watch.warn(left_out_text(path, left, bare + len(shapes)))
    labels = found.labels[there].astype(np.intp if classes else np.float64)
    if classes and (labels == labels[0]).all():
        some = f"{len(np.unique(place))} of {counted(bare + len(shapes), 'place')}"
        remedy = or_else(values.source, values.tile, "give places of two classes or more that have values")
        what = f"of {field}, {classes[labels[0]]} alone has values in {info.name} ({some})"
        raise SourceError(one_line(f"{path}: {what}{remedy}"))
    stand = stands(found.shapes, place, labels)
    return Labelled(features, labels, rows, columns, place, stand, classes, found.added[there])


def _looked_up(values: Values, cells: Index, crew: Crew) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The features of the valid ones among the cells (4, n), and which these are. Raises TileError."""
    tile, _, rows, columns = cells
    numbers = np.unique(tile)
    chosen = [np.flatnonzero(tile == number) for number in numbers]
    tasks = [(int(number), rows[own], columns[own]) for number, own in zip(numbers, chosen, strict=True)]
    found = list(crew.gather(Look(values, _cells), tasks))
    order = np.argsort(np.concatenate(chosen))
    there = np.concatenate([valid for _, valid in found])[order]
    return np.concatenate([part for part, _ in found])[order[there]], there


def parts_of(geometries: NDArray[Any]) -> tuple[NDArray[Any], Index]:
    """Points, lines and polygons, those of geometries of several one by one, and which geometry (n,) each is of.

    A file with one geometry for each class has places all the same: what is held out is a place, not a class.
    """
    shapes, own = shapely.get_parts(geometries, return_index=True)
    while (shapely.get_type_id(shapes) > _LARGEST_SINGLE).any():  # collections of collections
        shapes, of = shapely.get_parts(shapes, return_index=True)
        own = own[of]
    known = ~shapely.is_empty(shapes)
    return shapes[known], own[known]


def reasons_of(shapes: NDArray[Any], met: Collection[int], count: NDArray[Any], name: str) -> dict[str, int]:
    """Why geometries have no valid cells in the scene `name`, and how many for each reason; empty where all have some.

    met: which of them have cells at all. count: (n,) how many valid ones.
    """
    bare = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    outside = ~bare
    outside[list(met)] = False
    left = {"no geometry": bare, f"outside {name}": outside, "on nodata": (count == 0) & ~bare & ~outside}
    return {reason: int(of.sum()) for reason, of in left.items() if of.any()}


def left_out_text(path: str, left: dict[str, int], count: int, what: str = "left out") -> str:
    """What is to be said of places that nothing is known of: how many of `count` for which reason, and `what` of it."""
    words: list[str] = []
    for reason, number in left.items():
        verb = ("has", "have") if reason.startswith("no ") else ("lies", "lie")
        of = "" if words else f" of {counted(count, 'place')}"
        words += [f"{number}{of} {verb[number > 1]} {reason}"] if number else []
    return one_line(f"{path}: {', '.join(words)}: {what}")


def _labels_of(frame: geopandas.GeoDataFrame, path: str, field: str, kind: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The label of each geometry, NaN for none; and the names of the classes, none for numbers."""
    if field not in frame.columns or field == frame.geometry.name:
        there = ", ".join(str(name) for name in frame.columns if name != frame.geometry.name) or "none"
        raise ConfigError(f"{path}: no field {field}; there are {there}")
    column = frame[field]
    numeric = column.dtype.kind in "iuf"
    if kind != "classes" and _is_date(column):
        raise ConfigError(
            f"{path}: {field} is a date; give a field of numbers or words, or --kind classes to tell dates apart"
        )
    if kind == "numbers" and not numeric:
        raise ConfigError(f"{path}: {field} holds no numbers; leave out --kind, or give another field")
    if kind == "numbers" or (kind == "auto" and numeric):
        numbers = column.to_numpy(np.float64, na_value=np.nan)
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        large = numbers[np.abs(numbers) > MOST_NUMBER]
        if len(large):
            raise ConfigError(
                f"{path}: {field} holds {large[0]:g}, beyond {MOST_NUMBER:g}; scale it, or leave it empty where there "
                "is no label"
            )
        return numbers, ()
    # Formats that have no null for words have empty ones; some of those that have keep both.
    words = ["" if none else _word(value) for value, none in zip(column, column.isna(), strict=True)]
    classes = tuple(sorted({word for word in words if word}, key=_class_key))
    if not 2 <= len(classes) <= MOST_CLASSES:
        found = "1 class" if len(classes) == 1 else f"{len(classes)} classes"
        raise ConfigError(f"{path}: {field} holds {found}; 2 to {MOST_CLASSES} can be told apart")
    position = {name: float(number) for number, name in enumerate(classes)}
    return np.array([position.get(word, np.nan) for word in words]), classes


def _is_date(column: Any) -> bool:
    """Whether a field's values are dates, with times or without: of geopandas, or objects of Python."""
    known = column.dropna()
    return column.dtype.kind == "M" or (len(known) > 0 and all(isinstance(value, date) for value in known))


def _word(value: Any) -> str:
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value) if whole else value).strip()


def _class_key(name: str) -> tuple[int, float, str]:
    """Numbers before words, 2 before 10."""
    return (0, float(name), name) if name.lstrip("-").isdecimal() else (1, 0.0, name)


@dataclass(frozen=True)
class _Members:
    """Cells of places, one label each, a seeded sample where they are too many."""

    shapes: NDArray[Any]
    """The places, in cells."""
    cells: Index
    """(4, n): tile, place, row and column of the map."""
    labels: NDArray[np.float64]
    """(n,)"""
    added: NDArray[np.bool_]
    """(n,) those that are there for their class's sake."""
    claiming: int
    """How many places have cells at all,"""
    heard: int
    """how many of these have a part in a label,"""
    leading: int
    """and how many of these are the first of a cell."""
    tied: int
    """How many cells have no label, since several have the same right."""


def _members(values: Values, shapes: NDArray[Any], own: NDArray[np.float64], classes: bool, seed: int) -> _Members:
    """The cells of the geometries. own: the label of each geometry."""
    info = values.source.info
    places = Places.over(shapes, Placement.of(info.geo, info.name), 1, values.grid, HALF_OPEN)
    sample, tied = Drawn(classes), 0
    claiming, heard, leading = np.zeros((3, len(shapes)), bool)
    for number in places.tiles:
        tile = values.grid[number]
        found = owned(places, number, own, classes)
        claiming[found.claiming] = heard[found.heard] = leading[found.place] = True
        tied += found.tied
        lots = np.random.default_rng([seed, tile.row, tile.column]).random(len(found.rows))
        rows, columns = found.rows + tile.window.y0, found.columns + tile.window.x0
        sample.add(lots, number, found.place, rows, columns, found.labels)
    claims, parts, firsts = (int(np.count_nonzero(those)) for those in (claiming, heard, leading))
    return _Members(places.shapes, *sample.cells(), claims, parts, firsts, tied)


def _cells(values: Values, task: tuple[int, Index, Index]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    number, rows, columns = task
    window = values.grid[number].window
    return values.rows(window, rows - window.y0, columns - window.x0)
