"""Which table of features is asked for: the words of `features` that are for .parquet outputs."""

from __future__ import annotations

from functools import partial
from typing import Any

from pipeline.errors import ConfigError
from pipeline.flow.crew import Watch
from pipeline.flow.networks import feature_tile
from pipeline.flow.places import AtPlaces
from pipeline.flow.stages import TABLES
from pipeline.flow.tables import store_to_grid
from pipeline.raster.placement import Placement
from pipeline.raster.scene import Source
from pipeline.storage import Place


def table_of(
    dst: Place,
    source: Source,
    tile: int,
    stride: int,
    geometry: str | None,
    at: str | None,
    dtype: str,
    overwrite: bool,
) -> dict[str, Any]:
    """What makes a table of the features, where one is asked for, and which tiles it needs: words of write_features.

    Raises:
        ConfigError: options of tables for another output, or for the other table.
        SourceError: the scene cannot be placed, or the places cannot be read.
    """
    given = [word for word, value in (("--geometry", geometry), ("--at", at)) if value is not None]
    if dtype != "float32" and dst.suffix in TABLES:
        raise ConfigError(f"--dtype {dtype} is for .zarr and .tif outputs; the columns of {dst} are float32")
    if given and dst.suffix not in TABLES:
        raise ConfigError(f"{given[0]} is for .parquet outputs, got {dst}")
    if len(given) > 1:
        raise ConfigError("--geometry is for the cells of the map, --at for the places of a file; give one of them")
    if dst.suffix not in TABLES:
        return {}
    if at is not None:
        places = AtPlaces(at, source.info, feature_tile(tile, stride), stride)
        return {"finish": partial(places.write, overwrite=overwrite), "only": places.tiles}
    Placement.of(source.info.geo, source.info.name)
    centres = geometry == "centre"

    def finish(store: Place, target: Place, _: Watch) -> int:
        return store_to_grid(store, target, source.info, stride, centres=centres, overwrite=overwrite)

    return {"finish": finish}
