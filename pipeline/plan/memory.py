"""The memory of a process: the libraries, GDAL's block cache, our cache of decoded chunks, and for each task at work
the arrays its stage needs at its worst moment, in multiples of the tile with halo.

The multiples are measured (docs/benchmarks.md) and rounded up: a run's peak stays at or below the plan.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.config import Workflow
from pipeline.denoise.settings import MAX_COLUMNS, settings_for
from pipeline.flow.by_date import bands_together
from pipeline.flow.report import FEATURE_CELLS, NOISE_SIDE
from pipeline.flow.scene_basis import SCORES, spread_windows
from pipeline.flow.write import writing_threads
from pipeline.grid import Window
from pipeline.raster.cog_options import BLOCK_BYTES, block_side
from pipeline.raster.scene import SceneInfo
from pipeline.report.data import PICTURE_PIXELS

FINISH = 220 << 20
"""COG driver and report, one scene at a time, beside the report's pictures of every band and its tiles for noise."""
COG_COPIES, SCENE_CHUNKS, PLAIN_CHUNKS = 2, 3, 2
"""Of a block in the hands of each thread that compresses, and of each strip that is written, raw and compressed; of the
stores' chunks that rasters and report are made of: features are coded beside decoded, or two are decoded in turn."""
DENOISE_MULTIPLE, SCORES_MULTIPLE, SCENE_FIXED = 10, 1.25, 24 << 20
"""Of what is denoised as one block, with halo, in float32; the scores of its patches come on top, at their most one for
each column."""
CODE_MULTIPLE = {"fast": 8, "best": 13}
"""Of the block of all bands, by effort; it does not come on top: a block is denoised before it is coded."""
BASIS_DRIVER = 3 * 4 * SCORES
"""Scores and sums that the driver holds while it learns the bases of a scene."""
FEATURE_BLOCKS, FEATURE_CHUNKS, FEATURE_FIXED = 4, 2.25, 24 << 20
FRONT_MAPS = 0.5
"""Components and hidden maps are there once or twice, where a band is FEATURE_BLOCKS times."""
NETWORK_MAPS, WEIGHT_COPIES = 1.5, 2
"""Of the maps that a network needs at one time, and of its weights: as read, and made ready."""


def basis_windows(info: SceneInfo, workflow: Workflow) -> list[Window]:
    """The windows that the bases of a scene are learnt from; none where tiles have their own."""
    shared = workflow.denoise.basis == "scene" and workflow.denoise.quality != "none"
    return spread_windows(info.height, info.width) if shared else []


def basis_memory(info: SceneInfo, workflow: Workflow, workers: int) -> int:
    """Bytes at work while the bases of a scene are learnt."""
    windows = basis_windows(info, workflow)
    if not windows:
        return 0
    pixels = max(window.shape[0] * window.shape[1] for window in windows)
    task = denoise_memory(info, workflow.denoise.quality, pixels) + SCENE_FIXED
    return int(workers * task + BASIS_DRIVER)


def denoise_memory(info: SceneInfo, quality: str, pixels: int) -> float:
    """Bytes at work while so many pixels of a scene are denoised; of dates one by one those of one, beside all dates as
    read and as they come."""
    if quality == "none":
        return 0.0
    together = bands_together(info)
    bands = max(together)
    settings = settings_for(quality, bands)
    columns = min(MAX_COLUMNS, settings.patch**2 * bands)
    multiple = DENOISE_MULTIPLE + SCORES_MULTIPLE * columns / (bands * settings.apply[0] * settings.apply[1])
    held = 2 * np.dtype(info.dtype).itemsize * len(info.bands) if len(together) > 1 else 0
    return (multiple * 4 * bands + held) * pixels


def finish_memory(info: SceneInfo, workflow: Workflow, features: int, workers: int, chunk: Chunk | None) -> int:
    """Bytes at work while rasters and report are written; chunk: of the store of features."""
    pixels, bands, write = info.height * info.width, len(info.bands), workflow.write
    pictures = bands * (12 * min(pixels, PICTURE_PIXELS) + 32 * min(pixels, NOISE_SIDE**2))
    side = min(workflow.read.tile, max(info.height, info.width))
    scene = Chunk(side, bands * np.dtype(info.dtype).itemsize)
    stores = {"denoised": SCENE_CHUNKS * scene.nbytes} | ({"features": PLAIN_CHUNKS * chunk.nbytes} if chunk else {})
    strips = {"denoised": scene.strip} | ({"features": chunk.strip} if chunk else {})
    reads = max((size for name, size in stores.items() if write.report or name in write.cog), default=0)
    rasters = max((COG_COPIES * size for name, size in strips.items() if name in write.cog), default=0)
    threads = (writing_threads(workers) - 1) * COG_COPIES * BLOCK_BYTES if write.cog else 0
    return FINISH + reads + rasters + threads + pictures + 3 * 4 * FEATURE_CELLS**2 * features


class Chunk(NamedTuple):
    """Of a store: so many pixels or cells on a side, and the bytes of one with all bands."""

    side: int
    pixel: int

    @property
    def nbytes(self) -> int:
        """Decoded; a chunk at the scene's edge is filled up."""
        return self.pixel * self.side**2

    @property
    def strip(self) -> int:
        """Of the rows of it that are written at a time."""
        return self.pixel * self.side * min(self.side, block_side(self.pixel))
