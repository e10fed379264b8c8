"""Dates as one scene, and what each of them is denoised with: by itself, or with the others.

What a place looks like on other days tells of few bands how they are to be smoothed, and of many bands less than the
bands of the day do (docs/algorithms.md, "Dates").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Window
from pipeline.raster.dates import DateStack, MaskedDates
from pipeline.raster.masks import clear_of, masked_like, unmasked
from pipeline.raster.nodata import valid_from
from pipeline.raster.scene import SceneInfo, Source
from pipeline.raster.times import TIME

Bool = NDArray[np.bool_]
Bands = slice | NDArray[np.intp]

WHOLE = slice(None)
APART = 6
"""Bands of a date that is denoised by itself."""
LEAST_TOGETHER = 0.5
"""Of the pixels of the date that has most, what all dates must have that are denoised as one block."""


@dataclass(frozen=True)
class Dates:
    """The bands of each date of a scene of several."""

    numbers: tuple[tuple[int, ...], ...]
    """Of the bands of each date, rising, from 0."""

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of the dates that are denoised together: those of few bands; each of the others is alone."""
        few = tuple(number for number, bands in enumerate(self.numbers) if len(bands) < APART)
        alone = ((number,) for number, bands in enumerate(self.numbers) if len(bands) >= APART)
        return tuple(sorted([*alone, few])) if few else tuple(alone)

    @property
    def how(self) -> str:
        """For the configuration of a store."""
        groups = self.groups
        return "together" if len(groups) == 1 else "mixed" if len(groups) < len(self.numbers) else "apart"

    def bands(self, *dates: int) -> Bands:
        """The bands of these dates, in the scene's order; a slice, and no copy, where they are neighbours."""
        bands = sorted(band for date in dates for band in self.numbers[date])
        neighbours = bands[-1] - bands[0] + 1 == len(bands)
        return slice(bands[0], bands[-1] + 1) if neighbours else np.array(bands)

    def only(self, chosen: Sequence[int]) -> Dates:
        """These dates, of a block of their bands alone."""
        bands = sorted(band for date in chosen for band in self.numbers[date])
        at = {band: number for number, band in enumerate(bands)}
        return Dates(tuple(tuple(at[band] for band in self.numbers[date]) for date in chosen))

    def valid(self, block: NDArray[Any], valid: Bool, nodata: float | None) -> list[Bool]:
        """Where each date has all its bands (y, x), by the sentinels of block (band, y, x); what is not valid (y, x)
        though no band says so is missing on all dates."""
        each = []
        for date in range(len(self.numbers)):
            part = block[self.bands(date)]
            each.append(valid_from(part, (nodata,) * len(part)))
        unsaid = ~valid & np.logical_and.reduce(each)
        return [own & ~unsaid for own in each] if unsaid.any() else each

    def __len__(self) -> int:
        return len(self.numbers)


def joined(group: Sequence[int], each: Sequence[Bool]) -> tuple[tuple[int, ...], Bool]:
    """The dates of a group that are denoised as one block, and where (y, x) all of these are valid.

    They are taken from the one that has most pixels downwards, as long as enough are left that all have: a date that
    has few takes nothing from the others.

    Args:
        each: (y, x) of every date of the scene, where it is valid.
    """
    first, *rest = sorted(group, key=lambda date: (-np.count_nonzero(each[date]), date))
    chosen, shared = [first], each[first]
    least = LEAST_TOGETHER * np.count_nonzero(shared)
    for date in rest:
        both = shared & each[date]
        if np.count_nonzero(both) >= max(1.0, least):
            chosen, shared = [*chosen, date], both
    return tuple(sorted(chosen)), shared


def dates_among(labels: Sequence[str | None]) -> Dates | None:
    """The dates of bands with these labels, in the order in which they come; None of fewer than two. Bands without one
    are as those of a date of their own."""
    if len({*labels} - {None}) < 2:
        return None
    numbers: dict[str | None, list[int]] = {}
    for number, label in enumerate(labels):
        numbers.setdefault(label, []).append(number)
    return Dates(tuple(map(tuple, numbers.values())))


def dates_of(info: SceneInfo) -> Dates | None:
    """The dates of a scene whose bands are of several (raster/dates.py)."""
    return dates_among([tags.get(TIME) for tags in info.band_tags])


def bands_together(info: SceneInfo) -> list[int]:
    """How many bands each block of a scene has that is denoised as one."""
    dates = dates_of(info)
    if dates is None:
        return [len(info.bands)]
    return [sum(len(dates.numbers[date]) for date in group) for group in dates.groups]


def clear_on(source: Source, window: Window, dates: Dates | None) -> list[Bool | None]:
    """Where (y, x) the mask of each date lets learn; the one mask of all of them, or None, where there are no more.

    Raises:
        SourceError: a mask cannot be read.
    """
    if dates is not None and isinstance(source, MaskedDates) and len(source.members) == len(dates):
        return [member.clear(window) for member in source.members]
    return [clear_of(source, window)] * (1 if dates is None else len(dates))


def all_of(clear: Sequence[Bool | None]) -> Bool | None:
    """Where (y, x) all masks let learn; None where there are none."""
    masks = [one for one in clear if one is not None]
    return np.logical_and.reduce(masks) if masks else None


def lessons_of_dates(source: Source, window: Window) -> Iterator[tuple[list[int], NDArray[Any], Bool]]:
    """Of each date of a window, or of the whole where there are none: the numbers of its bands, its block (band, y, x)
    and where (y, x) it teaches.

    Raises:
        SourceError: pixels or a mask cannot be read.
    """
    dates = dates_of(source.info)
    block, valid = source.read(window)
    masks = clear_on(source, window, dates)
    each = [valid] if dates is None else dates.valid(block, valid, source.info.nodata)
    for number, (own, clear) in enumerate(zip(each, masks, strict=True)):
        bands = [*range(len(block))] if dates is None else [*dates.numbers[number]]
        yield bands, block[bands], own if clear is None else own & clear


@dataclass(frozen=True)
class SomeDates:
    """The bands of some dates of a scene. Picklable where that is."""

    source: Source
    dates: Dates
    chosen: tuple[int, ...]

    @property
    def info(self) -> SceneInfo:
        """The facts of the scene, of these bands."""
        whole = self.source.info
        return whole.select(np.arange(len(whole.bands))[self.dates.bands(*self.chosen)].tolist())

    def read(self, window: Window) -> tuple[NDArray[Any], Bool]:
        """A window's block (band, y, x) of these dates, and where (y, x) they have all bands. Raises SourceError."""
        block, valid = self.source.read(window)
        each = self.dates.valid(block, valid, self.source.info.nodata)
        return block[self.dates.bands(*self.chosen)], np.logical_and.reduce([each[date] for date in self.chosen])


def some_dates(source: Source, dates: Dates, chosen: tuple[int, ...]) -> Source:
    """Some dates of a scene, rising, with their masks; of files no others are read."""
    if len(chosen) == len(dates):
        return source
    bare = unmasked(source)
    part: Source = SomeDates(bare, dates, chosen)
    if isinstance(bare, DateStack) and len(bare.members) == len(dates):
        part = replace(bare, members=tuple(bare.members[date] for date in chosen), info=part.info)
    if isinstance(source, MaskedDates) and len(source.members) == len(dates):
        return replace(source, source=part, members=tuple(source.members[date] for date in chosen))
    return masked_like(source, part)
