"""A scene whose files are younger than the run that computed its tiles: told, for its fingerprint does not read all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import SourceError
from pipeline.flow.crew import Watch
from pipeline.flow.rasters import rasters_of
from pipeline.raster.fingerprint import NOT_PIXELS
from pipeline.raster.gdal import GDAL_ERRORS, gdal_env, open_reader
from pipeline.raster.scene import Source
from pipeline.untrusted import one_line

GRACE = 10.0
"""Seconds by which the clock of a file system may differ from the machine's. Dates to come tell nothing."""


def tell_written_since(name: str, source: Source, history: list[dict[str, Any]], watch: Watch) -> str | None:
    """Warn where a local file of a scene is younger than the first run that computed tiles of it; the same as a text.

    history: the runs before this one, oldest first, as a receipt has them.
    """
    begun = next((run["started"] for run in history if run["computed"]), None)
    try:
        first = datetime.fromisoformat(begun or "").timestamp()
    except ValueError:
        return None
    present = datetime.now(UTC).timestamp()
    known = [one for one in _written(source) if first + GRACE < one[0] <= present + GRACE]
    if not known:
        return None
    written, path = max(known)
    at = datetime.fromtimestamp(written, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = one_line(
        f"{name}: {path} has a date ({at}) after that of the run that computed its tiles ({begun}); they stand as they "
        "are, and if pixels were changed since, --overwrite makes them anew"
    )
    watch.warn(text)
    return text


def _written(source: Source) -> Iterator[tuple[float, str]]:
    """When each file of this machine behind a source, and behind what it is made of, was written last; its path."""
    for raster in rasters_of(source):
        for path in _files(raster.path):
            with suppress(OSError):
                yield os.stat(path).st_mtime, path


def _files(path: str) -> list[str]:
    """The files with pixels behind a local raster; none of what GDAL finds in other places."""
    if not os.path.isfile(path):
        return []
    if not path.lower().endswith(".vrt"):
        return [path]
    with suppress(SourceError, *GDAL_ERRORS), gdal_env(path), open_reader(path) as dataset:
        return [file for file in dataset.files if os.path.isfile(file) and not file.lower().endswith(NOT_PIXELS)]
    return []
