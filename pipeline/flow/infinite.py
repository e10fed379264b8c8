"""Infinities of a scene: told, for averages have no use for them, and where they are kept their tiles cost more."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import Bound
from pipeline.flow.crew import Watch
from pipeline.flow.paperwork import counted
from pipeline.flow.tasks import Receipt
from pipeline.raster.scene import Source
from pipeline.untrusted import one_line


def keeps_infinities(bound: Bound) -> bool:
    """Whether an infinity is a value under this bound: an average over a tile cannot be kept with one."""
    return bound.mode in ("lossless", "max_error")


def infinite_pixels(block: NDArray[Any], nodata: float | None, bound: Bound | None) -> int:
    """How many pixels of block (band, y, x) have an infinity that is not the nodata value; 0 where nobody is told."""
    told = bound is not None and bound.mode != "lossless" and block.dtype.kind == "f"
    if not told or (nodata is not None and np.isinf(nodata)):
        return 0
    return int(np.count_nonzero(np.isinf(block).any(axis=0)))


def tell_infinite(source: Source, receipt: Receipt, bound: Bound | None, watch: Watch) -> None:
    """Warn of the pixels, of tiles made now, of which a lossy bound loses infinities or keeps them dearly."""
    if not receipt.infinite or bound is None:
        return
    what = (
        "kept, and their tiles stored without loss; if they mark what is missing, say --nodata inf"
        if keeps_infinities(bound)
        else f"taken as missing, as {bound} is an average; --max-error or --lossless keep them"
    )
    watch.warn(one_line(f"{source.info.name}: {counted(receipt.infinite, 'pixel')} with infinities: {what}"))
