"""Some bands of a store of ours, or those of one date of a stack of dates, as a source of their own.

A chunk holds all bands: it is decoded whole, and the others are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.grid import Window
from pipeline.raster.fingerprint import content_fingerprint
from pipeline.raster.names import choose
from pipeline.raster.nodata import valid_from
from pipeline.raster.scene import SceneInfo, Source
from pipeline.raster.store_source import StoreSource
from pipeline.raster.times import ACQUIRED, BAND, TIME, iso, moment

NAMED = 60
"""Dates that a line has room for."""


@dataclass(frozen=True)
class StoreBands:
    """Bands of a store. Picklable, without an open handle."""

    store: StoreSource
    positions: tuple[int, ...]
    """Of the store's bands, from 0."""
    info: SceneInfo

    @property
    def tile(self) -> int:
        """The side of the store's chunks."""
        return self.store.tile

    def read(self, window: Window, *, once: bool = False) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window: block (band, y, x), and valid (y, x) where these bands are: what only others lack is valid.

        What the store's mask takes out, though no band of it says so, is missing in all.

        Raises:
            SourceError: a chunk of the window is missing or damaged.
        """
        whole, every = self.store.read(window, once=once)
        block = whole[list(self.positions)]
        if every.all():
            return block, every
        nodata = self.info.nodata if self.info.masked else None
        valid = valid_from(block, (nodata,) * len(block))
        unsaid = ~every & valid
        if unsaid.any():
            valid &= every | ~valid_from(whole, (nodata,) * len(whole))
        return block, valid


def stored(source: Source) -> StoreSource | None:
    """The store that a source is, or has its bands of; None where it is none."""
    if isinstance(source, StoreBands):
        return source.store
    return source if isinstance(source, StoreSource) else None


def select_bands(
    store: StoreSource, bidx: Sequence[int] | None, bands: Sequence[str] | None, date: str | None = None
) -> StoreSource | StoreBands:
    """The bands of a store asked for by number (from 1) or by name, in this order; the store itself for all of them.

    Of a `date` of a stack they are counted and called as on that date, and the scene is one that knows its time.

    Raises:
        ConfigError: there is no such band or date, or both ways are used.
    """
    info, positions = store.info, tuple(range(len(store.info.bands)))
    if date is not None:
        positions, info = _date(store, date)
    chosen = choose(info.bands, bidx, bands, store.path)
    positions, info = tuple(positions[one] for one in chosen), info.select(chosen)
    if date is None and positions == tuple(range(len(store.info.bands))):
        return store
    identity = content_fingerprint(store.info.fingerprint.encode(), repr((positions, info.bands)).encode())
    return StoreBands(store, positions, replace(info, fingerprint=identity))


def _date(store: StoreSource, text: str) -> tuple[tuple[int, ...], SceneInfo]:
    """The positions of the bands of one date, a day or a time in ISO 8601, and the facts of that scene."""
    said = [tags.get(TIME) for tags in store.info.band_tags]
    times = sorted({time for time in said if time is not None})
    if not times:
        raise ConfigError(f"{store.path} is no stack of dates, which --date chooses one of; leave it out")
    asked = text.strip()
    try:
        when = moment(asked)
        found = [time for time in times if _fits(moment(time), when, day=len(asked) <= len("2016-01-17"))]
    except ValueError:
        raise ConfigError(f"--date {text}: is no time; give one of {_listed(times)}") from None
    if not found:
        raise ConfigError(f"{store.path}: no date {asked}; there are {_listed(times)}")
    if len(found) > 1:
        raise ConfigError(f"{store.path}: {len(found)} dates are of {asked}; give the time of one: {_listed(found)}")
    positions = tuple(number for number, time in enumerate(said) if time == found[0])
    return positions, as_date(store.info.select(positions), moment(found[0]))


def _fits(time: datetime, when: datetime, *, day: bool) -> bool:
    return time.date() == when.date() if day else time == when


def as_date(info: SceneInfo, when: datetime) -> SceneInfo:
    """The bands of one date as a scene: called as on that date, its time a tag of the scene, as files tell it."""
    names = tuple(tags.get(BAND, band) for band, tags in zip(info.bands, info.band_tags, strict=True))
    kept = {name: value for name, value in info.tags.items() if name.upper() not in ACQUIRED}
    return replace(
        info,
        name=when.date().isoformat(),  # a stack is called by its first date
        bands=names if len(set(names)) == len(names) else info.bands,
        tags=kept | {ACQUIRED[0]: iso(when)},
        band_tags=tuple({key: tags[key] for key in tags if key not in (TIME, BAND)} for tags in info.band_tags),
    )


def _listed(times: Sequence[str]) -> str:
    """Dates as people write them: days, or times where a day has several."""
    days = [time[: len("2016-01-17")] for time in times]
    words = days if len(set(days)) == len(days) else list(times)
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")
