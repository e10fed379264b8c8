"""Tiles of which a bound leaves little but a constant for each band, or for most, though their values vary: told, for
most often it is the mean that made the bound so wide, or a band of larger numbers than the others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import Bound, read_figures, read_header
from pipeline.codec.container import Kind
from pipeline.flow.crew import Watch
from pipeline.flow.paperwork import counted
from pipeline.flow.tasks import Receipt
from pipeline.raster.scene import Source

F64 = NDArray[np.float64]
SAMPLED = 16384  # pixels of a tile, about, of which variances are taken
_CONSTANT = {Kind.MEAN, Kind.MASK, Kind.FIGURES}


def varied_and_flat(chunk: bytes, variances: F64) -> tuple[bool, bool]:
    """Of a container: whether its block is known to vary, and whether what is kept of it is a constant for each band,
    or most bands vary by less than the error. variances (band,): `variances_of` the block.

    Of a block that is kept otherwise nothing more is asked: it varies.
    """
    header = read_header(chunk)
    figures = read_figures(header, chunk)
    if figures is None or not figures.elements:
        return False, False
    flat = not header.rank and {kind for kind, _, _ in header.sections} <= _CONSTANT
    drowned = np.count_nonzero((variances > 0) & (variances < figures.error / figures.elements))
    most = 2 * drowned > np.count_nonzero(variances)
    return not flat or figures.error > 0, (flat or bool(most)) and figures.error > 0


def variances_of(block: NDArray[Any], valid: NDArray[np.bool_]) -> F64:
    """Variance of each band of block (band, y, x) over about SAMPLED of its valid pixels (y, x), data units squared; 0
    where there is nothing finite."""
    every = max(1, math.isqrt(valid.size // SAMPLED))
    values = block[:, ::every, ::every][:, valid[::every, ::every]].astype(np.float64)
    finite = np.isfinite(values)
    count = np.maximum(1, np.count_nonzero(finite, axis=1))
    with np.errstate(all="ignore"):  # by hand: nanvar warns of bands without any, and filters are no thread's own
        means = np.where(finite, values, 0.0).sum(axis=1) / count
        squares = np.where(finite, values - means[:, None], 0.0) ** 2
        variances: F64 = np.nan_to_num(squares.sum(axis=1) / count, posinf=0.0)
    return variances


def tell_constants(source: Source, receipt: Receipt, bound: Bound | None, watch: Watch) -> None:
    """Warn where more than half of the tiles that vary, of those made now, are constants as stored."""
    if bound is None or 2 * receipt.flat <= receipt.varied:
        return
    what, remedy = "", "give a smaller --rmse, or --lossless"
    if bound.mode == "snr":
        what, remedy = (
            " (it counts the mean as signal, of all bands together)",
            "give --rmse in data units, or a higher --snr",
        )
    watch.warn(
        f"{source.info.name}: {receipt.flat} of {counted(receipt.varied, 'tile')} with values that vary became "
        f"constants, or most of their bands: {bound} allows larger errors than they vary by{what}; "
        f"store bands of other units apart, or {remedy}"
    )
