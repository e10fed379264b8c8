"""The creation options of our COGs: those of GDAL's driver, GTiff's words for them, and what we choose."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import numpy as np
from rasterio.enums import Resampling
from rasterio.env import getenv, hasenv

from pipeline.errors import ConfigError
from pipeline.raster.scene import SceneInfo

BLOCK_BYTES = 8 << 20
BLOCK = 512
LEVEL = "1"
"""Of DEFLATE: half the time of GDAL's 6, for files 2 or 3 % larger."""
# GTiff's words that people give for a COG: tiled it is anyway, and its blocks are square.
_OF_GTIFF = {"BLOCKXSIZE": "BLOCKSIZE", "BLOCKYSIZE": "BLOCKSIZE", "ZLEVEL": "LEVEL", "ZSTD_LEVEL": "LEVEL"}
_OF_OVERVIEWS = {"OVERVIEWS", "OVERVIEW_COUNT", "TILING_SCHEME", "TARGET_SRS"}
_HOME = os.getpid()
_PREDICTED = ("DEFLATE", "LZW", "ZSTD")


def cog_options(info: SceneInfo, overview_resampling: str, given: Mapping[str, str]) -> dict[str, str]:
    """The driver's creation options: DEFLATE, which everything reads, and blocks of at most 8 MiB, by powers of two."""
    asked = {key.upper(): str(value) for key, value in given.items()}
    asked = {_OF_GTIFF.get(key, key): value for key, value in asked.items() if key != "TILED"}
    pixel = len(info.bands) * np.dtype(info.dtype).itemsize
    ours = {"COMPRESS": "DEFLATE", "BLOCKSIZE": str(block_side(pixel)), "BIGTIFF": "IF_SAFER"}
    if "COMPRESS" not in asked:
        ours["LEVEL"] = LEVEL
    ours["OVERVIEW_RESAMPLING"] = overview_resampling.upper()
    if not _OF_OVERVIEWS & asked.keys():
        ours["OVERVIEWS"] = "AUTO" if overview_factors(info) else "NONE"  # AUTO takes those that are there
    if asked.get("COMPRESS", "DEFLATE").upper() in _PREDICTED:
        ours["PREDICTOR"] = "YES"
    options = ours | asked
    size = options["BLOCKSIZE"]
    if not size.isdecimal() or int(size) % 16 or not int(size):
        raise ConfigError(f"BLOCKSIZE={size}: give a multiple of 16")
    if options["OVERVIEW_RESAMPLING"].lower() not in Resampling.__members__:
        names = ", ".join(sorted(Resampling.__members__))
        raise ConfigError(f"no overview resampling {options['OVERVIEW_RESAMPLING']}; there are {names}")
    return options


def block_side(pixel: int) -> int:
    """The side of blocks of pixels of so many bytes that are at most 8 MiB: a power of two, as windows' often are."""
    return max(16, min(BLOCK, 1 << (math.isqrt(BLOCK_BYTES // pixel).bit_length() - 1)))


def is_sparse(options: Mapping[str, str]) -> bool:
    """Whether blocks may be missing."""
    return options.get("SPARSE_OK", "NO").upper() in ("YES", "TRUE", "ON")


def may_share_out(options: Mapping[str, str]) -> bool:
    """Whether we may say how many threads compress: nobody else does, and a block that is lost is found missing.

    GDAL leaves out a block that one of its threads could not compress. A forked process has none of the threads that
    GDAL may have started before, and would wait for them for ever.
    """
    theirs = getenv() if hasenv() else {}
    told = "GDAL_NUM_THREADS" in os.environ or "GDAL_NUM_THREADS" in theirs or "NUM_THREADS" in options
    return not (told or os.getpid() != _HOME or is_sparse(options))


def overview_factors(info: SceneInfo) -> list[int]:
    """Overviews by halves until one fits in a block of 512 pixels; none for a scene that does."""
    halvings = math.ceil(math.log2(max(info.height, info.width, BLOCK) / BLOCK))
    return [2**level for level in range(1, halvings + 1)]
