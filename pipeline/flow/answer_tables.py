"""What was found, as GeoParquet: a row for each hit or detection, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from pipeline.raster.cells import Cells
from pipeline.raster.geoparquet import BBOX, BOX, GEOMETRY, boxes_column, write_geoparquet
from pipeline.raster.placement import Placement, moved
from pipeline.raster.scene import SceneInfo

Index = NDArray[np.intp]


def write_cells(
    path: Path, info: SceneInfo, rows: Index, columns: Index, attributes: Mapping[str, NDArray[Any]]
) -> None:
    """Cells (row, column) of a map as polygons in its CRS.

    Raises:
        SourceError: the map cannot be placed.
        OutputError: the file cannot be written.
    """
    placement = Placement.of(info.geo, info.name)
    wkb, boxes = Cells(placement, info.height, info.width, 1).geometries(rows, columns)
    _write(path, placement, "Polygon", wkb, boxes, attributes)


def write_shapes(path: Path, info: SceneInfo, shapes: NDArray[Any], attributes: Mapping[str, NDArray[Any]]) -> None:
    """Polygons in pixel coordinates (x, y) of a map, in its CRS.

    Raises:
        SourceError: the map cannot be placed.
        OutputError: the file cannot be written.
    """
    placement = Placement.of(info.geo, info.name)
    placed = shapely.transform(shapes, lambda xy: np.stack(placement.to_world(xy[:, 0], xy[:, 1]), axis=1))
    west, _, east, _ = shapely.bounds(placed).reshape(-1, 4).T
    placed = shapely.orient_polygons(moved(placed, placement.homeward(west, east)))
    wkb = pa.array(shapely.to_wkb(placed, byte_order=1, flavor="iso"), pa.binary())
    _write(path, placement, "Polygon", wkb, shapely.bounds(placed).reshape(-1, 4), attributes)


def _write(
    path: Path,
    placement: Placement,
    kind: str,
    wkb: pa.Array,
    boxes: NDArray[np.float64],
    attributes: Mapping[str, NDArray[Any]],
) -> None:
    arrays = {name: pa.array(values) for name, values in attributes.items()}
    ends = [pa.field(GEOMETRY, pa.binary()), pa.field(BBOX, BOX)]
    schema = pa.schema([*(pa.field(name, array.type) for name, array in arrays.items()), *ends])
    with write_geoparquet(path, schema, placement.crs_wkt, [kind], overwrite=True) as file:
        file.write(pa.table([*arrays.values(), wkb, boxes_column(boxes)], schema=schema), boxes)
