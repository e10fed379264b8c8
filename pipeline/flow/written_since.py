"""A scene that was written to after its tiles were computed: told, for its fingerprint does not read all of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import SourceError
from pipeline.flow.crew import Watch
from pipeline.raster.fingerprint import NOT_PIXELS
from pipeline.raster.gdal import gdal_env, open_reader
from pipeline.raster.geotiff import RasterSource
from pipeline.raster.scene import Source
from pipeline.untrusted import one_line

GRACE = 10.0
"""Seconds by which the clock of a file system may differ from the machine's."""


def tell_written_since(name: str, source: Source, history: list[dict[str, Any]], watch: Watch) -> str | None:
    """Warn where a local file of a scene is younger than the first run that computed tiles of it; the same as a text.

    history: the runs before this one, oldest first, as a receipt has them.
    """
    begun = next((run["started"] for run in history if run["computed"]), None)
    try:
        first = datetime.fromisoformat(begun or "").timestamp()
    except ValueError:
        return None
    written, path = max(_written(source), default=(0.0, ""))
    if written <= first + GRACE:
        return None
    at = datetime.fromtimestamp(written, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = one_line(
        f"{name}: {path} was written to at {at}, after the run of {begun} that computed its tiles; they stand as they "
        "are, and --overwrite makes them anew"
    )
    watch.warn(text)
    return text


def _written(source: Any) -> Iterator[tuple[float, str]]:
    """When each local file behind a source, and behind what it is made of, was written last; its path."""
    if isinstance(source, RasterSource):
        with suppress(OSError, SourceError), gdal_env(source.path), open_reader(source.path) as dataset:
            for path in dataset.files:
                if os.path.isfile(path) and not path.lower().endswith(NOT_PIXELS):
                    yield os.stat(path).st_mtime, path
        return
    parts = getattr(source, "source", None), getattr(source, "mask", None), *getattr(source, "members", ())
    for part in parts:
        if part is not None:
            yield from _written(part)
