"""A window with its halo, denoised: a scene as one block; dates together, each by itself, or as their holes want."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise import Denoised
from pipeline.denoise.block import is_clouded
from pipeline.denoise.defects import Repair
from pipeline.denoise.patches import Place
from pipeline.flow.by_date import WHOLE, Bands, Bool, Dates, all_of, clear_on, dates_of, joined
from pipeline.flow.denoise import Denoising
from pipeline.flow.read import read_tile
from pipeline.grid import Tile
from pipeline.raster.nodata import restore
from pipeline.raster.scene import Source


@dataclass
class Masked:
    """What masks take out of learning in a tile, in pixels; of dates that are denoised one by one, of each date."""

    judged: int = 0
    """Valid pixels."""
    out: int = 0
    """Those of them that are not clear."""
    clouded: bool = False
    """Whether it was learnt from pixels that are not clear too, for few are."""
    unheeded: int = 0
    """Pixels that are not clear and were learnt from."""
    on: dict[int, int] = field(default_factory=dict)
    """Of what is clouded, by the number of a date: what its mask takes out."""

    def count(self, valid: Bool, clear: Bool | None, clouded: bool = False) -> None:
        """Add what a mask takes out of valid (y, x) pixels."""
        out = 0 if clear is None else int(np.count_nonzero(valid & ~clear))
        self.judged, self.out = self.judged + int(np.count_nonzero(valid)), self.out + out
        if clouded:
            self.clouded, self.unheeded = True, self.unheeded + out


class Made(NamedTuple):
    """What came of a window, its halo trimmed."""

    block: NDArray[Any]
    """(band, y, x), in the dtype it was read in"""
    masked: Masked
    seen: int
    """Pixels that have all bands, or all of some date"""
    mended: int = 0
    """Values that were taken for impulses or dead lines"""


class _Part(NamedTuple):
    """What is denoised as one block."""

    bands: Bands
    valid: Bool
    wanted: Bool
    """(y, x) of the window without its halo: where the result counts."""
    clear: Bool | None
    repair: Repair
    model: int | None
    """Number of the model, where there is one."""
    dates: tuple[int, ...]
    counted: bool = True
    """Whether its mask is told of."""


def denoised_window(
    denoising: Denoising,
    block: NDArray[Any],
    valid: Bool,
    origin: tuple[int, int],
    place: Place,
    nodata: float | None,
    *,
    clear: Sequence[Bool | None] = (None,),
    dates: Dates | None = None,
) -> Made:
    """Denoise block (band, y, x), whose first pixel stands at origin (y, x) of the scene, and keep what is at place.

    Args:
        valid: (y, x), where all bands are; what each date has, `nodata` says.
        clear: (y, x), where may be learnt; of each date, where there are dates.
    """
    result, masked, mended = block[:, *place].copy(), Masked(), 0
    each = [valid] if dates is None else dates.valid(block, valid, nodata)
    for part in _parts(denoising, each, place, clear, dates):
        own = part.valid[place]
        if part.counted:
            anew = part.model is None and bool(own.any())
            clouded = anew and part.clear is not None and is_clouded(part.valid, part.clear)
            masked.count(own, None if part.clear is None else part.clear[place], clouded)
            if clouded:
                masked.on |= _on_dates(part.dates, own, clear, place)
        if not part.wanted.any():  # its halo may hold pixels, which are not asked for
            continue
        model = None if part.model is None else denoising.model(part.model)
        words: dict[str, Any] = {"repair": part.repair, "model": model, "bands": part.bands, "place": place}
        found = denoising.block(block[part.bands], part.valid, origin, part.clear, **words)
        kept = settle(found, place, block[part.bands][:, *place], own, nodata)
        result[part.bands] = np.where(part.wanted, kept, result[part.bands])
        mended += 0 if found.holes is None else int(np.count_nonzero(found.holes[:, *place] & part.wanted))
    seen = np.count_nonzero(np.logical_or.reduce(each)[place])
    return Made(result, masked, int(seen), mended)


def _parts(
    denoising: Denoising,
    each: Sequence[Bool],
    place: Place,
    clear: Sequence[Bool | None],
    dates: Dates | None,
) -> Iterator[_Part]:
    """The blocks that a window is denoised in: the whole; of dates, what `joined` says, and what is left of each."""
    if dates is None:
        model = denoising.fitted(0)
        yield _Part(WHOLE, each[0], each[0][place], clear[0], denoising.mends(), model, ())
        return
    for number, group in enumerate(dates.groups):
        repair, model = denoising.mends(len(group)), denoising.fitted(number)
        together, shared = joined(group, each)
        if len(together) > 1:
            masks = all_of([clear[date] for date in together])
            whole = model if together == group else None
            bands = dates.bands(*together)
            yield _Part(bands, shared, shared[place], masks, repair, whole, together)
        for date in group:
            left = len(together) > 1 and date in together
            wanted = each[date][place] & ~shared[place] if left else each[date][place]
            own = model if len(group) == 1 else None
            yield _Part(dates.bands(date), each[date], wanted, clear[date], repair, own, (date,), not left)


def _on_dates(dates: Sequence[int], valid: Bool, clear: Sequence[Bool | None], place: Place) -> dict[int, int]:
    """By the numbers of these dates, the valid (y, x) pixels that their masks take out; nothing of a mask of all."""
    if len(clear) < 2 or all(one is clear[0] for one in clear):
        return {}
    masks = {date: clear[date] for date in dates}
    return {date: int(np.count_nonzero(valid & ~one[place])) for date, one in masks.items() if one is not None}


class Read(NamedTuple):
    """A tile, denoised, and what was read."""

    block: NDArray[Any]
    """(band, y, x), in the source's dtype"""
    valid: Bool
    """(y, x)"""
    original: NDArray[Any]
    """(band, y, x), as read"""
    masked: Masked
    seen: int
    """Pixels that have all bands, or all of some date"""
    mended: int = 0
    """Values that were taken for impulses or dead lines"""


def denoised_tile(source: Source, tile: Tile, side: int, denoising: Denoising) -> tuple[NDArray[Any], Bool]:
    """Read and denoise one tile: block (band, y, x) in the source's dtype, valid (y, x); invalid pixels as read."""
    found = denoised_and_read(source, tile, side, denoising)
    return found.block, found.valid


def denoised_and_read(source: Source, tile: Tile, side: int, denoising: Denoising) -> Read:
    """As `denoised_tile`, how the tile was read, and what masks take out of learning."""
    dates = dates_of(source.info)
    block, valid, outer = read_tile(source, tile, denoising.halo(side, dates))
    place = tile.window.within(outer)
    clear, inner, real = clear_on(source, outer, dates), block[:, *place], valid[place]
    if denoising.quality == "none":
        masked = Masked()
        masked.count(real, all_of(clear))
        each = [real] if dates is None else dates.valid(inner, real, source.info.nodata)
        return Read(inner, real, inner, masked, int(np.count_nonzero(np.logical_or.reduce(each))))
    words: dict[str, Any] = {"clear": clear, "dates": dates}
    made = denoised_window(denoising, block, valid, (outer.y0, outer.x0), place, source.info.nodata, **words)
    return Read(made.block, real, inner, made.masked, made.seen, made.mended)


def settle(result: Denoised, place: Place, original: NDArray[Any], valid: Bool, nodata: float | None) -> NDArray[Any]:
    """A denoised tile, halo trimmed, in its original's dtype; what was not denoised as it was, to the last bit.

    Float32 has fewer digits than int32 and float64: bands without noise must not pass through it.
    """
    block = restore(result.block[:, *place], valid, original, nodata)
    kept = ~result.touched
    block[kept] = original[kept]
    if result.astray is not None:
        block[:, result.astray[place]] = original[:, result.astray[place]]
    return block
