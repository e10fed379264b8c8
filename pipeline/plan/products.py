"""The bytes that a run writes beside the chunks of its stores, at most: rasters, bank, report, item, receipt."""

from __future__ import annotations

import math

import numpy as np

from pipeline.config import Workflow
from pipeline.raster.cog_options import overview_factors
from pipeline.raster.scene import SceneInfo

DEFLATED = 1.01
"""Noise that DEFLATE makes no smaller, and the places of blocks."""
PAGE = 4 << 20
"""Of a report's pictures, charts and words: about 3 MB at most."""
PAPERS = 1 << 20
"""Item, receipt with a thousand failures, metadata of stores and rasters."""
OF_BAND, OF_TILE = 4096, 512
"""Of every band or feature, and of every tile, in all papers and journals."""


def product_bytes(info: SceneInfo, workflow: Workflow, features: int, feature_bytes: int, bank: int) -> int:
    """Bytes at most of what is written of a scene beside the values of its stores.

    Args:
        features: how many there are; 0 without.
        feature_bytes: of the store of features.
        bank: bytes of the numbers of the bank that is kept beside it.
    """
    pixels, bands = info.height * info.width, len(info.bands)
    raw = bands * pixels * np.dtype(info.dtype).itemsize
    rasters = raw * ("denoised" in workflow.write.cog) + feature_bytes * ("features" in workflow.write.cog)
    # A mask for each raster, and `valid` of each store.
    masks = pixels * (2 * bool(workflow.write.cog) + 2)
    smaller = sum(
        math.prod(-(-side // factor) for side in (info.height, info.width)) for factor in overview_factors(info)
    )
    tiles = math.prod(-(-side // workflow.read.tile) for side in (info.height, info.width))
    papers = PAPERS + OF_BAND * (bands + features) + OF_TILE * tiles + (PAGE if workflow.write.report else 0)
    return int(DEFLATED * (rasters * (1 + smaller / pixels) + masks)) + papers + 2 * bank
