"""Rasters on disk for the tests of raster/, written and read by rasterio alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning

from pipeline.grid import Grid, Window
from pipeline.raster.scene import Source

UTM = "EPSG:32618"
NORTH_UP = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0)


@contextmanager
def rasterio_open(path: Path | str, *words: Any, **profile: Any) -> Iterator[Any]:
    """rasterio.open without its warning about missing georeference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = rasterio.open(path, *words, **profile)
    with dataset:
        yield dataset


def write_tif(
    path: Path, block: NDArray[Any], then: Callable[[Any], None] = lambda dataset: None, **profile: Any
) -> Path:
    """A GTiff of block (band, y, x); `then` adds to it what rasterio's profile has not."""
    bands, height, width = block.shape
    words: dict[str, Any] = {"driver": "GTiff", "dtype": block.dtype, "crs": UTM, "transform": NORTH_UP} | profile
    words = {key: value for key, value in words.items() if value is not None}
    with rasterio_open(path, "w", count=bands, height=height, width=width, **words) as dataset:
        dataset.write(block)
        then(dataset)
    return path


def numbers(bands: int, height: int, width: int, dtype: str = "uint16", seed: int = 0) -> NDArray[Any]:
    """Positive values, none of them 0."""
    return np.random.default_rng(seed).integers(1, 200, (bands, height, width)).astype(dtype)


def read_all(source: Source, tile: int = 64) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The whole scene, tile by tile."""
    info = source.info
    block = np.zeros((len(info.bands), info.height, info.width), info.dtype)
    valid = np.zeros((info.height, info.width), bool)
    for piece in Grid(info.height, info.width, tile):
        part, real = source.read(piece.window)
        assert part.dtype == info.dtype
        assert part.flags.c_contiguous
        assert real.dtype == bool
        block[:, *piece.window.slices], valid[piece.window.slices] = part, real
    return block, valid


def whole(source: Source) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The whole scene in one window."""
    return source.read(Window(0, source.info.height, 0, source.info.width))
