"""GeoParquet 1.1, written in row groups of bounded size, whole or not at all.

Geometries are WKB in the column `geometry`, with their boxes in the column `bbox`, by which readers leave out row
groups they do not need. https://geoparquet.org/releases/v1.1.0
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
from numpy.typing import NDArray

from pipeline.raster.cog import check_output
from pipeline.raster.files import drafts, give, writing
from pipeline.storage import Place

GEOMETRY, BBOX = "geometry", "bbox"
GROUP_BYTES = 32 << 20
FEWEST_ROWS, MOST_ROWS = 256, 65536
BOX = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])


class TableWriter:
    """Takes tables of one schema, in order and of any size, and writes them in row groups of equal length."""

    def __init__(self, file: pq.ParquetWriter, schema: pa.Schema, rows: int) -> None:
        self._file = file
        self._rows = rows
        self._waiting = schema.empty_table()
        self._box = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self.count = 0

    def write(self, table: pa.Table, boxes: NDArray[np.float64]) -> None:
        """Add the rows of a table; boxes (n, 4) of their geometries, NaN for none."""
        known = boxes[np.isfinite(boxes).all(axis=1)]
        if len(known):
            self._box[:2] = np.minimum(self._box[:2], known[:, :2].min(axis=0))
            self._box[2:] = np.maximum(self._box[2:], known[:, 2:].max(axis=0))
        self.count += len(table)
        waiting = pa.concat_tables([self._waiting, table])
        whole = len(waiting) // self._rows * self._rows
        for first in range(0, whole, self._rows):
            self._file.write_table(waiting.slice(first, self._rows), self._rows)
        self._waiting = waiting.slice(whole)

    def finish(self) -> list[float] | None:
        """Write what is waiting; the box around all geometries, None without any."""
        if len(self._waiting):
            self._file.write_table(self._waiting, self._rows)
        return self._box.tolist() if np.isfinite(self._box).all() else None


@contextmanager
def write_geoparquet(
    path: Place, schema: pa.Schema, crs_wkt: str | None, geometry_types: Sequence[str], *, overwrite: bool = False
) -> Iterator[TableWriter]:
    """A writer of tables of `schema`, which has `geometry` (WKB) and `bbox`; the file is there when the block ends.

    Args:
        crs_wkt: CRS of the geometries; None says that it is unknown.
        geometry_types: GeoParquet's names of what geometries there are; empty where that is not known.

    Raises:
        OutputError: the file exists, or cannot be written; nothing is left behind.
    """
    check_output(path, overwrite)
    with drafts(path) as folder:
        draft = folder / "table.parquet"
        # Arrow takes a schema's metadata from the schema as it was first written, with all but the box around the rows;
        # readers of Parquet find that too, in the file's own.
        told = schema.with_metadata(_geo(_metadata(crs_wkt, geometry_types, None)))
        with _writing(path), pq.ParquetWriter(draft, told, compression="zstd", use_dictionary=False) as file:
            writer = TableWriter(file, schema, rows_per_group(schema))
            yield writer
            file.add_key_value_metadata(_geo(_metadata(crs_wkt, geometry_types, writer.finish())))
        give(draft, path, _reason)


def rows_per_group(schema: pa.Schema) -> int:
    """Rows of about GROUP_BYTES."""
    width = sum(field.type.bit_width // 8 if pa.types.is_primitive(field.type) else 100 for field in schema)
    return max(FEWEST_ROWS, min(MOST_ROWS, GROUP_BYTES // max(1, width)))


def boxes_column(boxes: NDArray[np.float64]) -> pa.Array:
    """Boxes (n, 4) as the column `bbox`; rows of NaN are null."""
    children = [pa.array(column) for column in np.ascontiguousarray(boxes.T)]
    return pa.StructArray.from_arrays(children, fields=list(BOX), mask=pa.array(np.isnan(boxes).any(axis=1)))


def _metadata(crs_wkt: str | None, geometry_types: Sequence[str], box: list[float] | None) -> dict[str, Any]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": list(geometry_types),
        "crs": None if crs_wkt is None else pyproj.CRS.from_wkt(crs_wkt).to_json_dict(),
        "covering": {BBOX: {name: [BBOX, name] for name in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if box is not None:
        column["bbox"] = box
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def _geo(facts: dict[str, Any]) -> dict[str, str]:
    return {"geo": json.dumps(facts)}


def _writing(path: Place) -> AbstractContextManager[None]:
    return writing(path, (OSError, pa.ArrowException), _reason)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())
