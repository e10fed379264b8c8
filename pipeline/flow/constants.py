"""Tiles of which a bound leaves nothing but a constant for each band, though their values vary: told, for most often
it is the mean that made the bound so wide.
"""

from __future__ import annotations

from pipeline.codec import Bound, read_figures, read_header
from pipeline.codec.container import Kind
from pipeline.flow.crew import Watch
from pipeline.flow.paperwork import counted
from pipeline.flow.tasks import Receipt
from pipeline.raster.scene import Source

_CONSTANT = {Kind.MEAN, Kind.MASK, Kind.FIGURES}


def varied_and_flat(chunk: bytes) -> tuple[bool, bool]:
    """Of a container: whether its block is known to vary, and whether what is kept of it is a constant for each band.

    Of a block that is kept otherwise nothing more is asked: it varies.
    """
    header = read_header(chunk)
    figures = read_figures(header, chunk)
    if figures is None or not figures.elements:
        return False, False
    flat = not header.rank and {kind for kind, _, _ in header.sections} <= _CONSTANT
    return not flat or figures.error > 0, flat and figures.error > 0


def tell_constants(source: Source, receipt: Receipt, bound: Bound | None, watch: Watch) -> None:
    """Warn where more than half of the tiles that vary, of those made now, are constants as stored."""
    if bound is None or 2 * receipt.flat <= receipt.varied:
        return
    what, remedy = "", "give a smaller --rmse, or --lossless"
    if bound.mode == "snr":
        what, remedy = " (it counts the mean as signal)", "give --rmse in data units, or a higher --snr"
    watch.warn(
        f"{source.info.name}: {receipt.flat} of {counted(receipt.varied, 'tile')} with values that vary became "
        f"constants: {bound} allows larger errors than they vary by{what}; {remedy}"
    )
