"""Dates as one scene, and what each of them is denoised with: by itself, or with the others.

What a place looks like on other days tells of few bands how they are to be smoothed, and of many bands less than the
bands of the day do (docs/algorithms.md, "Dates").
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Window
from pipeline.raster.dates import TIME, DateStack, MaskedDates
from pipeline.raster.masks import clear_of, masked_like, unmasked
from pipeline.raster.nodata import valid_from
from pipeline.raster.scene import SceneInfo, Source

Bool = NDArray[np.bool_]
Bands = slice | NDArray[np.intp]

WHOLE = slice(None)
APART = 6
"""Bands of a date that are denoised by themselves."""
LEAST_TOGETHER = 0.5
"""Of the pixels that some date has, what all must have for dates of fewer bands to be denoised as one block."""


@dataclass(frozen=True, eq=False)
class Dates:
    """The bands of each date of a scene of several."""

    bands: tuple[Bands, ...]
    apart: bool
    """Whether each is denoised by itself; else together, where all dates have a value."""

    @property
    def how(self) -> str:
        """For the configuration of a store."""
        return "apart" if self.apart else "together"

    def valid(self, block: NDArray[Any], valid: Bool, nodata: float | None) -> list[Bool]:
        """Where each date has all its bands (y, x), by the sentinels of block (band, y, x); what is not valid (y, x)
        though no band says so is missing on all dates."""
        each = [valid_from(block[bands], (nodata,) * len(block[bands])) for bands in self.bands]
        unsaid = ~valid & np.logical_and.reduce(each)
        return [own & ~unsaid for own in each] if unsaid.any() else each

    def are_together(self, valid: Bool, each: Sequence[Bool]) -> bool:
        """Whether a block is denoised as one, of whose dates these (y, x) pixels are valid on all and on each."""
        some, all_of_them = np.count_nonzero(np.logical_or.reduce(each)), np.count_nonzero(valid)
        return not self.apart and bool(all_of_them >= LEAST_TOGETHER * some)


def dates_among(labels: Sequence[Hashable]) -> Dates | None:
    """The dates of bands with these labels, in the order in which they come; None of fewer than two."""
    numbers: dict[Hashable, list[int]] = {}
    for number, label in enumerate(labels):
        numbers.setdefault(label, []).append(number)
    if len(numbers) < 2:
        return None
    bands = tuple(map(_indices, numbers.values()))
    return Dates(bands, min(map(len, numbers.values())) >= APART)


def dates_of(info: SceneInfo) -> Dates | None:
    """The dates of a scene whose bands are of several (raster/dates.py)."""
    labels = [tags.get(TIME) for tags in info.band_tags]
    return None if len({*labels} - {None}) < 2 else dates_among(labels)


def bands_together(info: SceneInfo) -> list[int]:
    """How many bands each block of a scene has that is denoised as one."""
    dates = dates_of(info)
    numbers = np.arange(len(info.bands))
    return [len(numbers)] if dates is None or not dates.apart else [len(numbers[bands]) for bands in dates.bands]


def _indices(numbers: list[int]) -> Bands:
    """The bands of these numbers, which are rising; a slice, and no copy, where they are neighbours."""
    first, last = numbers[0], numbers[-1]
    return slice(first, last + 1) if last - first + 1 == len(numbers) else np.array(numbers)


def clear_on(source: Source, window: Window, dates: Dates | None) -> list[Bool | None]:
    """Where (y, x) the mask of each date lets learn; the one mask of all of them, or None, where there are no more.

    Raises:
        SourceError: a mask cannot be read.
    """
    if dates is not None and isinstance(source, MaskedDates) and len(source.members) == len(dates.bands):
        return [member.clear(window) for member in source.members]
    return [clear_of(source, window)] * (1 if dates is None else len(dates.bands))


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
    numbers = np.arange(len(block))
    for bands, own, clear in zip((WHOLE,) if dates is None else dates.bands, each, masks, strict=True):
        yield numbers[bands].tolist(), block[bands], own if clear is None else own & clear


@dataclass(frozen=True)
class OneDate:
    """The bands of one date of a scene. Picklable where that is."""

    source: Source
    dates: Dates
    number: int

    @property
    def info(self) -> SceneInfo:
        """The facts of the scene, of these bands."""
        whole = self.source.info
        return whole.select(np.arange(len(whole.bands))[self.dates.bands[self.number]].tolist())

    def read(self, window: Window) -> tuple[NDArray[Any], Bool]:
        """A window's block (band, y, x) of the date, and where (y, x) it has all its bands. Raises SourceError."""
        block, valid = self.source.read(window)
        own = self.dates.valid(block, valid, self.source.info.nodata)[self.number]
        return block[self.dates.bands[self.number]], own


def one_date(source: Source, dates: Dates, number: int) -> Source:
    """One date of a scene to learn from, with its mask; its own file, where the scene is made of those."""
    bare = unmasked(source)
    if isinstance(bare, DateStack) and len(bare.members) == len(dates.bands):
        member: Source = bare.members[number]
        masks = source.members if isinstance(source, MaskedDates) else ()
        return masked_like(masks[number], member) if masks else member
    return masked_like(source, OneDate(bare, dates, number))
