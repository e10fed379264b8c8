"""The rasters that a scene is read from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.raster.geotiff import RasterSource


def rasters_of(source: Any) -> Iterator[RasterSource]:
    """Those behind a source, and behind what it is made of, in order: members, then a mask."""
    if isinstance(source, RasterSource):
        yield source
        return
    for part in (getattr(source, "source", None), *getattr(source, "members", ()), getattr(source, "mask", None)):
        if part is not None:
            yield from rasters_of(part)
