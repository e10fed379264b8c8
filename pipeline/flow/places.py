"""Features at places: a row for each point or polygon of a vector file, from the tiles they lie in and no other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from pipeline.errors import OutputError, SourceError
from pipeline.flow.crew import Watch
from pipeline.flow.labels import left_out_text, reasons_of
from pipeline.flow.tables import feature_fields
from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid
from pipeline.raster.files import drafts
from pipeline.raster.geoparquet import BBOX, BOX, GEOMETRY, TableWriter, boxes_column, rows_per_group, write_geoparquet
from pipeline.raster.names import unique
from pipeline.raster.placement import Placement
from pipeline.raster.places import Places, read_places
from pipeline.raster.scene import SceneInfo
from pipeline.raster.store_source import StoreSource, open_store
from pipeline.storage import Place

CELLS = "cells"


@dataclass(frozen=True)
class AtPlaces:
    """The features of a scene at the geometries of a file: which tiles they need, and the table of them.

    `tile` is the side of the tiles of the feature map in pixels of the scene, a multiple of `stride`.
    """

    path: str
    scene: SceneInfo
    tile: int
    stride: int

    @cached_property
    def placement(self) -> Placement:
        """Where the scene lies. Raises SourceError where it cannot be placed."""
        return Placement.of(self.scene.geo, self.scene.name)

    @cached_property
    def frame(self) -> geopandas.GeoDataFrame:
        """The file's rows, in the scene's CRS. Raises SourceError."""
        return read_places(self.path, self.placement, self.scene.name)

    @cached_property
    def places(self) -> Places:
        """The rows' geometries over the cells of the map."""
        height, width = (-(-side // self.stride) for side in (self.scene.height, self.scene.width))
        grid = Grid(height, width, self.tile // self.stride)
        return Places.over(self.frame.geometry.values, self.placement, self.stride, grid)

    @cached_property
    def tiles(self) -> tuple[int, ...]:
        """Numbers of the tiles that are needed, in order. Raises SourceError where there are none."""
        if not self.places.tiles:
            raise SourceError(f"{self.path}: no place of it lies in {self.scene.name}; is its CRS the right one?")
        return tuple(self.places.tiles)

    def write(self, store: Place, target: Place, watch: Watch, *, overwrite: bool = False) -> int:
        """Write the table: the file's attributes, cells, a column for each feature, geometry, bbox; a row for each row.

        `cells` counts the valid cells that features are the mean of; without any, features are null, of which `watch`
        is told. Memory: the vector file, and a row group; the sums lie in a file beside the target. Returns the number
        of rows.

        Raises:
            SourceError: the store is damaged.
            OutputError: the target exists (without overwrite) or cannot be written; nothing is left behind.
        """
        source = open_store(store)
        schema = _schema(self._attributes(slice(0, None)).schema, source.info.bands)
        with drafts(target) as folder:
            total, count, met = self._sums(source, folder / "sums")
            with write_geoparquet(target, schema, self.placement.crs_wkt, self._types(), overwrite=overwrite) as file:
                self._write_rows(file, schema, total, count)
        if left := reasons_of(self.frame.geometry.values, met, count, self.scene.name):
            watch.warn(left_out_text(self.path, left, len(count), "without features"))
        return file.count

    def _sums(self, source: StoreSource, path: Path) -> tuple[NDArray[np.float64], NDArray[np.int32], set[int]]:
        """Sums of the features over each geometry's valid cells (n, F), in a file, the number of these (n,), and which
        geometries have cells, valid or not.
        """
        shape = (len(self.frame), len(source.info.bands))
        try:
            total = np.memmap(path, np.float64, "w+", shape=shape)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}; check its folder") from error
        count, met = np.zeros(len(self.frame), np.int32), set()
        with one_blas_thread():
            for number in self.tiles:
                block, valid = source.read(self.places.grid[number].window)
                for shape_number, rows, columns in self.places.members(number):
                    met.add(shape_number)
                    real = valid[rows, columns]
                    total[shape_number] += block[:, rows[real], columns[real]].sum(axis=1, dtype=np.float64)
                    count[shape_number] += np.count_nonzero(real)
        return total, count, met

    def _write_rows(
        self,
        file: TableWriter,
        schema: pa.Schema,
        total: NDArray[np.float64],
        count: NDArray[np.int32],
    ) -> None:
        """A row group at a time, in the file's order."""
        step = rows_per_group(schema)
        geometries = self.frame.geometry.values
        for first in range(0, len(count), step):
            part = slice(first, first + step)
            none = count[part] == 0
            means = (total[part] / np.maximum(count[part], 1)[:, None]).astype(np.float32)
            columns = self._attributes(part).columns
            features = [pa.array(np.ascontiguousarray(values), mask=none) for values in means.T]
            boxes = shapely.bounds(geometries[part])
            wkb = pa.array(shapely.to_wkb(geometries[part], byte_order=1, flavor="iso"), pa.binary())
            arrays = [*columns, pa.array(count[part]), *features, wkb, boxes_column(boxes)]
            file.write(pa.table(arrays, schema=schema), boxes)

    def _attributes(self, part: slice) -> pa.Table:
        """The file's other columns, of one schema for all rows. Raises SourceError."""
        frame = self.frame.drop(columns=self.frame.geometry.name)
        try:
            whole = pa.Schema.from_pandas(frame, preserve_index=False)
            return pa.Table.from_pandas(frame[part], whole, preserve_index=False).replace_schema_metadata()
        except (pa.ArrowException, TypeError, ValueError) as error:
            text = " ".join(str(error).split())
            raise SourceError(f"{self.path}: its attributes fit no table: {text}; leave them out") from error

    def _types(self) -> list[str]:
        """The kinds of geometries there are, as GeoParquet calls them."""
        geometries = self.frame.geometry
        named = zip(geometries.geom_type, geometries.has_z, strict=True)
        return sorted({f"{kind} Z" if deep else kind for kind, deep in named if isinstance(kind, str)})


def _schema(start: pa.Schema, features: tuple[str, ...]) -> pa.Schema:
    """Attributes keep their names before cells and features, but geometry and bbox are where GeoParquet looks."""
    names = tuple(unique([GEOMETRY, BBOX, *map(str, start.names), CELLS]))
    *attributes, cells = (
        field.with_name(name) for field, name in zip([*start, pa.field(CELLS, pa.int32())], names[2:], strict=True)
    )
    ends = [pa.field(GEOMETRY, pa.binary()), pa.field(BBOX, BOX)]
    return pa.schema([*attributes, cells, *feature_fields(features, names), *ends])
