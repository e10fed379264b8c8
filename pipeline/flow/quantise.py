"""The range of a scene's features, found on windows spread over it before the map begins: what int8 is scaled by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TileError
from pipeline.flow.feature_job import FeatureJob
from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid, Tile
from pipeline.network.int8 import Coding
from pipeline.raster.object_stores import is_begun
from pipeline.raster.scene import SceneInfo
from pipeline.raster.zarr_store import read_attributes
from pipeline.storage import Place

WINDOWS, CELLS, PIXELS = 64, 32, 512
Gather = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
"""The results of a function, in the order of its arguments."""


def with_coding(job: FeatureJob, features: int, gather: Gather) -> FeatureJob:
    """The job, with its features in int8: coded over their range on at most WINDOWS windows of the scene.

    Raises:
        TileError: a window cannot be read.
    """
    low, high = np.full(features, np.inf, np.float32), np.full(features, -np.inf, np.float32)
    for least, most in gather(partial(_range, job), _windows(job)):
        np.fmin(low, least, out=low)
        np.fmax(high, most, out=high)
    return replace(job, coding=Coding.over(low, high))


def stored_coding(*stores: Place) -> Coding | None:
    """The coding of the first of these stores that is there, begun or finished; None without any."""
    for store in stores:
        if is_begun(store):
            return coding_of(SceneInfo.from_json(read_attributes(store)["source"]))
    return None


def coding_of(info: SceneInfo) -> Coding | None:
    """How the values of a feature store are coded; None where they are float32."""
    return Coding(info.scales, info.offsets) if info.dtype == "int8" else None


def _windows(job: FeatureJob) -> list[Tile]:
    """Windows of whole cells, spread evenly, the same for the same scene and stride."""
    info = job.source.info
    grid = Grid(info.height, info.width, job.stride * max(1, min(CELLS, PIXELS // job.stride)))
    chosen = np.unique(np.linspace(0, len(grid) - 1, min(WINDOWS, len(grid))).round().astype(int))
    return [grid[int(index)] for index in chosen]


def _range(job: FeatureJob, tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Smallest and largest value of each feature in a window; infinities where none is valid."""
    try:
        with one_blas_thread():
            features = job.compute(tile)[0]
    except MemoryError as error:
        raise TileError(f"{job.source.info.name}, {tile.window}: no memory for its features") from error
    real = np.isfinite(features)
    low = features.min(axis=(1, 2), initial=np.inf, where=real)
    return low, features.max(axis=(1, 2), initial=-np.inf, where=real)
