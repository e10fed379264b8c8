"""Pixels that lack a band and have others: told where they are many, for they are stored and not denoised."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.flow.by_date import WHOLE, Dates
from pipeline.flow.crew import Watch
from pipeline.flow.paperwork import counted, share_text
from pipeline.flow.tasks import Receipt
from pipeline.raster.nodata import real_elements
from pipeline.raster.scene import Source
from pipeline.untrusted import one_line

MANY = 0.01
"""Of the pixels that have any value: at the edges of swaths bands end a few pixels apart."""


def lacking_pixels(
    block: NDArray[Any], valid: NDArray[np.bool_], nodata: float | None, dates: Dates | None = None
) -> int:
    """How many pixels of block (band, y, x), not all of them valid (y, x), lack a band and have others, of a date of
    it where it has dates."""
    if len(block) < 2 or valid.all():
        return 0
    real = real_elements(block, valid, nodata)
    found = np.zeros(valid.shape, bool)
    for bands in [WHOLE] if dates is None else map(dates.bands, range(len(dates))):
        found |= real[bands].any(axis=0) & ~real[bands].all(axis=0)
    return int(np.count_nonzero(found))


def tell_lacking(source: Source, receipt: Receipt, watch: Watch) -> None:
    """Warn of those of the tiles made now, where they are many."""
    where = " of the new tiles" if receipt.resumed else ""
    text = lacking_text(source.info.name, receipt.lacking, receipt.seen, where)
    if text is not None:
        watch.warn(text)


def lacking_text(name: str, lacking: int, seen: int, where: str = "") -> str | None:
    """What is to be said of so many pixels that lack a band, beside those that lack none, or none of some date; None
    where they are few."""
    share = min(1.0, lacking / max(1, lacking + seen))
    if share <= MANY:
        return None
    what = f"{counted(lacking, 'pixel')}{where} ({share_text(share)}) lack a band and have others"
    return one_line(f"{name}: {what}: stored as read, not denoised; choose bands that go together")
