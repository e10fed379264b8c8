"""Finished stores out as COGs: one window at a time, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid, Window
from pipeline.raster.cog import write_cog
from pipeline.raster.look import with_colours
from pipeline.raster.store_source import StoreSource, open_store
from pipeline.storage import Place


def store_to_cog(
    store: Place, target: Place, *, overwrite: bool = False, creation_options: Mapping[str, str] | None = None
) -> None:
    """Write a store of ours as a COG with its CRS, transform, dtype, nodata or mask, band names and tags.

    It says what a viewer asks first: statistics of its bands, and which of them are red, green and blue.

    Raises:
        SourceError: the store is damaged.
        OutputError: the target exists (without overwrite) or cannot be written; nothing is left behind.
    """
    source = open_store(store)
    with one_blas_thread():
        write_cog(
            target,
            with_colours(source.info),
            store_windows(source),
            overwrite=overwrite,
            creation_options=dict(creation_options or {}),
            statistics=True,
        )


def store_windows(source: StoreSource) -> Iterator[tuple[Window, NDArray[Any], NDArray[np.bool_] | None]]:
    """Every chunk of a store in raster order: its window, block and valid (None where every pixel is real)."""
    for tile in Grid(source.info.height, source.info.width, source.tile):
        block, valid = source.read(tile.window)
        yield tile.window, block, (valid if source.info.masked else None)
