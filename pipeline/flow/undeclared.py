"""A fill value that nobody declared: told, for it counts as data. A bound of --snr takes it for signal, and it drowns
the rest. And fill values that are declared, but do not go together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.flow.crew import Watch
from pipeline.flow.ends import Ends, Pair
from pipeline.flow.far import Far
from pipeline.flow.paperwork import counted, share_text
from pipeline.raster.geotiff import RasterSource
from pipeline.raster.masks import MaskedSource
from pipeline.raster.nodata import EXACT
from pipeline.raster.scene import SceneInfo, Source
from pipeline.raster.stack import StackSource
from pipeline.raster.store_bands import stored
from pipeline.untrusted import one_line

SOME = 16
"""Pixels of one value, at least: less may be a ship."""
FAR, FAR_OF_MOST, FAR_OF_USUAL = 10.0, 1.0, 0.1
"""Widths of all other values that a fill lies away from them; the largest of unsigned integers, which sensors that are
saturated give too, and what is usual may be nearer."""
ALIKE, ALIKE_SHARE = 0.95, 0.001
"""Pixels that are 0 in the first and the last band, over those of the band that has more, and over all, from which they
are told: what is dark is not as dark in all bands."""
_USUAL = (-9999.0, -99999.0, -999.0, -99.0, -32768.0, -32767.0)
_NO_DATA_BEYOND = 1e15


def tell_fill(source: Source, pair: Pair, watch: Watch) -> str | None:
    """Warn of a value, at the ends of what was read now, that looks like a fill and is none as the source has it; the
    same as a text. Of a store of ours it was told when that was made.
    """
    scene = source.source if isinstance(source, MaskedSource) else source
    tell_different(scene, watch)
    text = None if stored(scene) is not None else fill_text(source.info, pair)
    if text is not None:
        watch.warn(text)
    return text


def tell_different(scene: Source, watch: Watch) -> None:
    """Warn of bands of different nodata for which no one can stand: what one band has not is taken from all."""
    own = scene.nodata if isinstance(scene, RasterSource | StackSource) else ()
    words = ["none" if value is None else f"{value:.9g}" for value in dict.fromkeys(own)]
    if scene.info.nodata is None and len(words) > 1 and np.dtype(scene.info.dtype).kind != "f":
        watch.warn(
            one_line(
                f"{scene.info.name}: its bands have different nodata ({', '.join(words)}), and {scene.info.dtype} has "
                "no value for all of them: what is missing in one band is taken from all; give floats, or one nodata"
            )
        )


def fill_text(info: SceneInfo, pair: Pair) -> str | None:
    """What is to be said of a scene of which these are the ends; None where no value looks like a fill."""
    found = ((band, fill_of(ends, np.dtype(info.dtype))) for band, ends in ((0, pair.first), (-1, pair.last)))
    for band, fill in found:
        if fill is not None:
            value, low, high, share = (str(part).removesuffix(".0") for part in fill)
            what = f"{share} of the pixels read of {info.bands[band]} are {value}, all others {low} to {high}"
            return _told(info, what, value)
    zeros = zeros_alike(pair, np.dtype(info.dtype)) if len(info.bands) > 1 and info.nodata is None else None
    if zeros is None:
        return far_text(info, pair.far)
    return _told(info, f"{zeros} of the pixels read are 0 in {info.bands[0]} and in {info.bands[-1]}", "0")


def far_text(info: SceneInfo, far: Far) -> str | None:
    """What is to be said of a few pixels that outweigh all others of their tile; None without any."""
    dtype = np.dtype(info.dtype)
    if not far.pixels or (dtype.kind in "iu" and abs(far.value) > EXACT):
        return None
    value, low, high = (str(dtype.type(part)).removesuffix(".0") for part in (far.value, far.low, far.high))
    where = f"{value} in {info.bands[far.band]} at row {far.y}, column {far.x}; all others of that tile {low} to {high}"
    whose = "its tile" if far.pixels == 1 else "their tiles"
    what = f"the values of {counted(far.pixels, 'pixel')} ({where}) are nearly all that an SNR of {whose} has as signal"
    if far.alike:
        return f"{_told(info, what, value)}; or give --rmse, which does not hang on them"
    return one_line(f"{info.name}: {what}: give --rmse, which does not hang on them, or write what is none as nodata")


def _told(info: SceneInfo, what: str, value: str) -> str:
    remedy = (
        f"say --nodata={value}, in a workflow read: {{nodata: {value}}}, and --overwrite what was made without"
        if info.nodata is None
        else f"write them as {info.nodata:.9g} first: a scene has one nodata"
    )
    return one_line(
        f"{info.name}: {what}, and no nodata sets them apart: they count as data; if they are none, {remedy}"
    )


def zeros_alike(pair: Pair, dtype: np.dtype[Any]) -> str | None:
    """The share of pixels that are 0 in both of two bands of more than a few classes, at an end of what they hold; None
    where few are, or many are 0 in one band alone."""
    most = 0
    for ends in (pair.first, pair.last):
        low = ends.least == 0
        count, width = (ends.leasts, ends.most - ends.above) if low else (ends.mosts, ends.below - ends.least)
        measured = 0 < width < np.inf and (dtype.kind == "f" or width >= SOME)
        if 0 not in (ends.least, ends.most) or not measured:
            return None
        most = max(most, count)
    some = pair.zeros >= max(SOME, ALIKE_SHARE * pair.first.seen, ALIKE * most)
    return share_text(pair.zeros / pair.first.seen) if some else None


def fill_of(ends: Ends, dtype: np.dtype[Any]) -> tuple[Any, Any, Any, str] | None:
    """A value that looks like a fill, the least and the most of all others, and its share; None without."""
    ways = (
        (ends.least, ends.leasts, ends.above, ends.most),
        (ends.most, ends.mosts, ends.least, ends.below),
    )
    for value, number, low, high in ways:
        gap, width = max(low - value, value - high), high - low
        if number < SOME or value == 0 or not 0 < width < np.inf or (dtype.kind in "iu" and abs(value) > EXACT):
            continue
        if gap > _far(value, low, dtype) * width:
            return dtype.type(value), dtype.type(low), dtype.type(high), share_text(number / ends.seen)
    return None


def _far(value: float, low: float, dtype: np.dtype[Any]) -> float:
    """How many widths of all others, which begin at `low`, are far away from them for such a value."""
    if value in _USUAL or abs(value) > _NO_DATA_BEYOND or value < 0 <= low:
        return FAR_OF_USUAL
    unsigned = dtype.kind == "u" and value == np.iinfo(dtype).max
    return FAR_OF_MOST if unsigned else FAR
