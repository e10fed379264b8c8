"""Points and polygons of a vector file, and the cells of a feature map that belong to each.

A point belongs to the cell it falls in. Anything else belongs to the cells whose centre it covers, or, where it covers
none, to those it touches. All of it is decided in cell coordinates, where cells are unit squares, rotated grid or not.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.grid import Grid, Tile
from pipeline.raster.placement import Placement

F64 = NDArray[np.float64]
Index = NDArray[np.intp]

CENTRE = (0.5, 0.5)
"""Of a cell, along columns and rows."""

_TABLES = (".csv", ".tsv")
_DEGREES = (("longitude", "latitude"), ("lon", "lat"), ("long", "lat"), ("lng", "lat"))
_COORDINATES = (*_DEGREES, ("x", "y"), ("easting", "northing"))
_PARQUET = (".parquet", ".geoparquet")
_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    pyogrio.errors.DataSourceError,
    shapely.errors.ShapelyError,
)


def read_places(path: str, placement: Placement, name: str) -> geopandas.GeoDataFrame:
    """The geometries and attributes of a vector file, in the CRS of the scene `name`.

    Raises:
        SourceError: it cannot be read, or its CRS and the scene's cannot be brought together.
    """
    try:
        frame = geopandas.read_parquet(path) if path.endswith(_PARQUET) else geopandas.read_file(path)
    except _DAMAGE as error:
        # Versions of pyogrio part the reason from a hint of theirs by "; " or ". ".
        text = " ".join(str(error).split()).removeprefix(f"{path}: ").partition(" It might help")[0].rstrip(".;")
        text = text.removeprefix(f"'{path}' ") or type(error).__name__
        raise SourceError(f"{path}: the places cannot be read: {text}; give a file of points or polygons") from error
    table = path.lower().endswith(_TABLES)
    if not isinstance(frame, geopandas.GeoDataFrame) or frame.empty:
        remedy = _converted(path, frame) if table else "give a file of points or polygons"
        raise SourceError(f"{path}: there is no geometry in it; {remedy}")
    wkt = placement.crs_wkt
    if frame.crs is None and wkt is None:
        return frame
    if frame.crs is None or wkt is None:
        lacking, other = (path, name) if frame.crs is None else (name, path)
        remedy = _converted(path, frame) if table and frame.crs is None else "set it"
        raise SourceError(
            f"{lacking} has no CRS and {other} has one, so it is not known where the places lie; {remedy}"
        )
    try:
        return frame.to_crs(pyproj.CRS.from_wkt(wkt))
    except pyproj.exceptions.ProjError as error:
        text = " ".join(str(error).split())
        raise SourceError(f"{path}: its CRS cannot be brought to that of {name}: {text}") from error


def _converted(path: str, table: Any) -> str:
    """How to make places of a table of pandas, which has no CRS, and coordinates in columns or a geometry in words."""
    columns = {str(name).lower(): str(name) for name in table.columns}
    known = [pair for pair in _COORDINATES if columns.keys() >= set(pair)]
    words = ["ogr2ogr", "-oo", "AUTODETECT_TYPE=YES", "-a_srs", "EPSG:CODE"]
    if not isinstance(table, geopandas.GeoDataFrame):
        x, y = (columns[name] for name in known[0]) if known else ("COLUMN", "COLUMN")
        words[1:1] = ["-oo", f"X_POSSIBLE_NAMES={x}", "-oo", f"Y_POSSIBLE_NAMES={y}"]
        if known and known[0] in _DEGREES:
            words[-1] = "EPSG:4326"
    file = Path(path)
    return f"convert it: {shlex.join([*words, file.with_suffix('.gpkg').name, file.name])}"


@dataclass(frozen=True)
class Places:
    """Geometries over the cells of a map, in cell coordinates.

    Cell (row, column) is [column, column + 1) x [row, row + 1).
    """

    shapes: NDArray[Any]
    """(n,) shapely geometries; None and empty ones belong to no cell."""
    grid: Grid
    """The tiles of the map, in cells."""
    centre: tuple[float, float] = CENTRE
    """The point of a cell that is its centre, along columns and rows."""

    @classmethod
    def over(
        cls, geometries: Any, placement: Placement, stride: int, grid: Grid, centre: tuple[float, float] = CENTRE
    ) -> Places:
        """Geometries in the CRS of the scene, over its cells of stride x stride pixels, in any turn of the globe."""

        def to_cells(xy: F64) -> F64:
            return np.stack(placement.to_pixels(xy[:, 0], xy[:, 1]), axis=1) / stride

        shapes = shapely.force_2d(np.asarray(geometries, dtype=object))
        known = np.isfinite(shapely.bounds(shapes)).all(axis=1)  # not where a CRS has no place for them
        shapes = np.array(np.where(known, shapes, None), dtype=object)
        shapes = placement.sought(shapes, stride * grid.height, stride * grid.width)
        return cls(shapely.transform(shapes, to_cells), grid, centre)

    @cached_property
    def tiles(self) -> dict[int, Index]:
        """Numbers of the tiles that geometries meet, in order, and which they are, in order."""
        boxes = [shapely.box(t.window.x0, t.window.y0, t.window.x1, t.window.y1) for t in self.grid]
        pairs = shapely.STRtree(boxes).query(self.shapes, predicate="intersects")
        order = np.lexsort(pairs)
        shapes, tiles = pairs[:, order]
        numbers, first = np.unique(tiles, return_index=True)
        parts = np.split(shapes, first[1:]) if len(numbers) else []
        return dict(zip(numbers.tolist(), parts, strict=True))

    @cached_property
    def covering(self) -> NDArray[np.bool_]:
        """(n,) whether a geometry covers the centre of any cell."""
        covers = np.zeros(len(self.shapes), bool)
        for number, shapes in self.tiles.items():
            for shape in shapes[~covers[shapes]]:
                covers[shape] = len(_covered(self.shapes[shape], self.grid[number], self.centre)[0]) > 0
        return covers

    def outlined(self, shape: int, number: int) -> tuple[Index, Index]:
        """Rows and columns, within this tile, of the cells that a geometry touches and does not fill."""
        return _outlined(self.shapes[shape], self.grid[number])

    def members(self, number: int) -> Iterator[tuple[int, Index, Index]]:
        """The geometries that have cells in this tile: which, and rows and columns of the cells within the tile."""
        tile = self.grid[number]
        for shape in self.tiles[number].tolist():
            geometry = self.shapes[shape]
            if geometry.geom_type == "Point":
                rows, columns = _cell_of(geometry, tile)
            elif self.covering[shape]:
                rows, columns = _covered(geometry, tile, self.centre)
            else:
                rows, columns = _touched(geometry, tile)
            if len(rows):
                yield shape, rows, columns


def _cell_of(point: Any, tile: Tile) -> tuple[Index, Index]:
    """The cell a point falls in, where that is in the tile."""
    row, column = int(np.floor(point.y)), int(np.floor(point.x))
    window = tile.window
    if not (window.y0 <= row < window.y1 and window.x0 <= column < window.x1):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    return np.array([row - window.y0]), np.array([column - window.x0])


def _covered(geometry: Any, tile: Tile, centre: tuple[float, float]) -> tuple[Index, Index]:
    """The cells of the tile whose centre the geometry covers, its edge included."""
    top, left, rows, columns = _candidates(geometry, tile)
    inside = shapely.intersects_xy(geometry, columns + centre[0], rows + centre[1])
    ys, xs = np.nonzero(inside)
    return ys + top - tile.window.y0, xs + left - tile.window.x0


def _touched(geometry: Any, tile: Tile) -> tuple[Index, Index]:
    """The cells of the tile that the geometry touches."""
    top, left, rows, columns = _candidates(geometry, tile)
    ys, xs = np.nonzero(shapely.intersects(geometry, shapely.box(columns, rows, columns + 1, rows + 1)))
    return ys + top - tile.window.y0, xs + left - tile.window.x0


def _outlined(geometry: Any, tile: Tile) -> tuple[Index, Index]:
    """The cells of the tile that the geometry touches and does not fill: squares of many cells are halved until they
    are single ones, less those that it fills or does not touch.
    """
    shapely.prepare(geometry)
    height, width = tile.window.shape
    side = 1 << (max(height, width) - 1).bit_length()
    rows, columns = np.zeros((2, 1), np.intp)
    while len(rows):
        x, y = columns + tile.window.x0, rows + tile.window.y0
        boxes = shapely.box(x, y, x + side, y + side)
        cut = shapely.intersects(geometry, boxes) & ~shapely.contains_properly(geometry, boxes)
        rows, columns = rows[cut], columns[cut]
        if side == 1:
            break
        side //= 2
        rows = np.concatenate([rows, rows, rows + side, rows + side])
        columns = np.concatenate([columns, columns + side, columns, columns + side])
        inside = (rows < height) & (columns < width)
        rows, columns = rows[inside], columns[inside]
    return rows, columns


def _candidates(geometry: Any, tile: Tile) -> tuple[int, int, Index, Index]:
    """The cells of the tile that touch the geometry's box: first row and column, and rows and columns as a grid."""
    shapely.prepare(geometry)
    x0, y0, x1, y1 = geometry.bounds
    window = tile.window
    top, left = max(window.y0, int(np.ceil(y0)) - 1), max(window.x0, int(np.ceil(x0)) - 1)
    bottom, right = min(window.y1, int(np.floor(y1)) + 1), min(window.x1, int(np.floor(x1)) + 1)
    rows, columns = np.mgrid[top : max(top, bottom), left : max(left, right)]
    return top, left, rows, columns
