"""Finished feature stores out as GeoParquet: a row for each cell that has features, tile by tile, in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid, Tile
from pipeline.raster.cells import Cells
from pipeline.raster.geoparquet import BBOX, BOX, GEOMETRY, boxes_column, write_geoparquet
from pipeline.raster.names import unique
from pipeline.raster.placement import Placement
from pipeline.raster.scene import SceneInfo
from pipeline.raster.store_source import StoreSource, open_store
from pipeline.storage import Place

ROW, COLUMN = "row", "column"


def store_to_grid(
    store: Place, target: Place, scene: SceneInfo, stride: int, *, centres: bool = False, overwrite: bool = False
) -> int:
    """Write the cells of a feature store as rows: row, column, a column for each feature, geometry, bbox.

    Cells without features are left out. Returns the number of rows.

    Args:
        scene: what the features are of; cells are stride x stride of its pixels.
        centres: points in the middle of the cells in place of their outlines.

    Raises:
        SourceError: the store is damaged, or the scene cannot be placed.
        OutputError: the target exists (without overwrite) or cannot be written; nothing is left behind.
    """
    source = open_store(store)
    placement = Placement.of(scene.geo, scene.name)
    cells = Cells(placement, scene.height, scene.width, stride, centres)
    schema = _schema(source.info.bands)
    with (
        one_blas_thread(),
        write_geoparquet(target, schema, placement.crs_wkt, [cells.geometry_type], overwrite=overwrite) as file,
    ):
        for tile in Grid(source.info.height, source.info.width, source.tile):
            file.write(*_rows(source, tile, cells, schema))
    return file.count


def feature_fields(features: tuple[str, ...], taken: tuple[str, ...]) -> list[pa.Field]:
    """Columns of the features, by name, unlike those that are taken."""
    names = list(unique([*taken, *features]))[len(taken) :]
    return [pa.field(name, pa.float32()) for name in names]


def _schema(features: tuple[str, ...]) -> pa.Schema:
    places = [pa.field(ROW, pa.int32()), pa.field(COLUMN, pa.int32())]
    ends = [pa.field(GEOMETRY, pa.binary()), pa.field(BBOX, BOX)]
    return pa.schema([*places, *feature_fields(features, (ROW, COLUMN, GEOMETRY, BBOX)), *ends])


def _rows(source: StoreSource, tile: Tile, cells: Cells, schema: pa.Schema) -> tuple[pa.Table, NDArray[Any]]:
    """The valid cells of a tile, row by row."""
    block, valid = source.read(tile.window)
    ys, xs = np.nonzero(valid)
    rows, columns = ys + tile.window.y0, xs + tile.window.x0
    geometries, boxes = cells.geometries(rows, columns)
    places = [pa.array(index.astype(np.int32)) for index in (rows, columns)]
    features = [pa.array(plane[ys, xs]) for plane in block]
    return pa.table([*places, *features, geometries, boxes_column(boxes)], schema=schema), boxes
