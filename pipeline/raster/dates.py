"""Dates of one place on one grid as one scene of time x band bands, in the order of time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, SourceError
from pipeline.grid import Window
from pipeline.raster.dates_given import check_no_items, dates_in, same_time_remedy
from pipeline.raster.fingerprint import content_fingerprint
from pipeline.raster.masks import MaskedSource, unmasked
from pipeline.raster.nodata import valid_from
from pipeline.raster.object_stores import METADATA
from pipeline.raster.open import open_source
from pipeline.raster.references import is_address
from pipeline.raster.same_place import crs_words, same_crs, same_transform, transform_words
from pipeline.raster.scene import SceneInfo, Source
from pipeline.raster.stac_assets import read_item
from pipeline.raster.stac_json import is_stac, split_reference
from pipeline.raster.store_bands import as_date
from pipeline.raster.times import (
    BAND,
    EARLIEST,
    TIME,
    acquisition_time,
    file_time,
    holds_several_days,
    iso,
    moment,
    named_times,
)

_ONE_GRID = "a stack has one grid: warp it to that (gdalwarp, or rio warp --like)"


@dataclass(frozen=True)
class DateStack:
    """Scenes of one grid one behind the other. Picklable, without an open handle."""

    members: tuple[Source, ...]
    info: SceneInfo

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window: block (time·band, y, x), and valid (y, x) where every date is.

        Where a date has no pixel its bands hold the sentinel; those of the other dates are as they are.

        Raises:
            SourceError: the pixels of one date cannot be read.
        """
        block = np.empty((len(self.info.bands), *window.shape), self.info.dtype)
        valid = np.ones(window.shape, bool)
        for part, member in zip(np.split(block, len(self.members)), self.members, strict=True):
            values, real = member.read(window)
            part[...] = values
            nodata = np.nan if self.info.nodata is None and part.dtype.kind == "f" else self.info.nodata
            if not real.all() and nodata is not None:
                # By a mask: no band says so, by the sentinel, NaN or an infinity.
                part[:, ~real & valid_from(part, (nodata,) * len(part))] = nodata
            valid &= real
        return block, valid


@dataclass(frozen=True)
class MaskedDates(MaskedSource):
    """Dates with masks: a pixel teaches where it is clear on all of them."""

    members: tuple[MaskedSource, ...] = ()

    def clear(self, window: Window) -> NDArray[np.bool_]:
        """(y, x) bool. Raises SourceError."""
        return np.asarray(np.logical_and.reduce([member.clear(window) for member in self.members]), bool)

    def identity(self) -> dict[str, Any]:
        """What of the masks decides bytes."""
        return {str(number): member.identity() for number, member in enumerate(self.members)}


def open_dates(
    paths: Sequence[str],
    *,
    times: Sequence[str] | None = None,
    name: str | None = None,
    opener: Callable[..., Source] = open_source,
    **options: Any,
) -> Source:
    """Open the dates of one place, or a folder of them, as one scene of bands `2016-01-17 B02`, in order of time.

    Args:
        paths: rasters, folders of band files, STAC items or what `opener` takes, one a date; or one folder of rasters.
        times: when they were taken, ISO 8601, one for each path in its order; found in items, tags and names else.
        name: of the scene, in warnings and stores; by default that of the first date in time, and -stack.
        opener: opens one date as `open_source` does, whose options it takes.
        options: of every date.

    Raises:
        SourceError: a date is not there or cannot be opened, its time is not to be found, or its grid or bands are not
            the first's.
        ConfigError: as many times as paths are wanted, or one is no time.
    """
    if len(paths) == 1 and os.path.isdir(paths[0]) and not (Path(paths[0]) / METADATA).is_file():
        paths = dates_in(Path(paths[0]))
    if len(paths) < 2:
        _check_there(paths)
        for path in paths:
            check_no_items(path)
        raise ConfigError("--stack wants two dates or more; name their files, or their folder")
    if times is not None and len(times) != len(paths):
        raise ConfigError(f"{len(times)} --times for {len(paths)} dates; give one for each file, in their order")
    opened = [opener(path, **options) for path in paths]
    infos = [_of_one_date(path, source.info) for path, source in zip(paths, opened, strict=True)]
    whens = [_said(text) for text in times] if times else [_found(p, i) for p, i in zip(paths, infos, strict=True)]
    order = sorted(range(len(paths)), key=lambda number: whens[number])
    for one, two in pairwise(order):
        if whens[one] == whens[two]:
            both = f"{paths[one]} and {paths[two]} are both of {iso(whens[one])}"
            raise SourceError(f"{both}; {same_time_remedy(paths[one], paths[two])}")
    for number in order:
        _check_same(paths[order[0]], infos[order[0]], paths[number], infos[number])
    name = name or f"{infos[order[0]].name}-stack"
    return _stacked(name, [(opened[number], infos[number], whens[number]) for number in order])


def _check_there(paths: Sequence[str]) -> None:
    """Refuse the one path that was given where it is none, as a pattern that matches nothing."""
    for path in paths:
        # What begins with < is the XML of a VRT.
        if not (path.startswith("<") or is_address(path) or os.path.exists(split_reference(path)[0])):
            raise SourceError(
                f"{path}: there is no such file; is the path or pattern right, and seen from the right folder?"
            )


def times_of(info: SceneInfo) -> tuple[tuple[int, ...], tuple[str, ...]] | None:
    """Seconds since 1970 and the name on its date of each band of a stack; None where a scene is none."""
    if not info.band_tags or not all(TIME in tags and BAND in tags for tags in info.band_tags):
        return None
    try:
        seconds = tuple(int(_said(tags[TIME]).timestamp()) for tags in info.band_tags)
    except ConfigError:
        return None
    return seconds, tuple(tags[BAND] for tags in info.band_tags)


def _of_one_date(path: str, info: SceneInfo) -> SceneInfo:
    """The facts of a date; of one that was taken out of a stack, as on that date.

    Raises:
        SourceError: it is a stack itself.
    """
    times = sorted({tags.get(TIME, "") for tags in info.band_tags})
    if len(times) > 1:
        raise SourceError(
            f"{path} is {len(times)} dates itself; give the files of its dates, which "
            f"`decompress STORE DATE.tif --date {times[-1][:10]}` writes"
        )
    try:
        return as_date(info, moment(times[0])) if times[0] else info
    except ValueError:
        return info


def _stacked(name: str, dates: list[tuple[Source, SceneInfo, datetime]]) -> Source:
    members, infos, whens = zip(*dates, strict=True)
    days = [when.date().isoformat() for when in whens]
    labels = days if len(set(days)) == len(days) else [iso(when) for when in whens]
    tags = tuple(
        {**of_band, TIME: iso(when), BAND: band}
        for info, when in zip(infos, whens, strict=True)
        for band, of_band in zip(info.bands, info.band_tags, strict=True)
    )
    first = infos[0]
    info = replace(
        first,
        name=name,
        bands=tuple(f"{label} {band}" for label, one in zip(labels, infos, strict=True) for band in one.bands),
        dtype=str(np.result_type(*(one.dtype for one in infos))),
        scales=sum((one.scales for one in infos), ()),
        offsets=sum((one.offsets for one in infos), ()),
        units=sum((one.units for one in infos), ()),
        tags=dict(sorted(set(first.tags.items()).intersection(*(one.tags.items() for one in infos)))),
        band_tags=tags,
        colorinterp=("undefined",) * len(tags),
        masked=any(one.masked for one in infos),
        fingerprint=content_fingerprint(*(one.fingerprint.encode() for one in infos)),
    )
    scene = DateStack(tuple(unmasked(member) for member in members), info)
    masks = tuple(member for member in members if isinstance(member, MaskedSource))
    return MaskedDates(scene, masks[0].mask, masks[0].rule, masks[0].name, masks) if masks else scene


def _check_same(first_path: str, first: SceneInfo, path: str, info: SceneInfo) -> None:
    """Refuse a date whose grid, bands or sentinel are not the first's, naming what differs."""
    one, other = first.geo, info.geo
    alike = same_transform(one.transform, other.transform, first.height, first.width)
    for same, its, was, now, remedy in (
        (
            (first.height, first.width) == (info.height, info.width),
            "shape is",
            f"{first.height} x {first.width} pixels",
            f"{info.height} x {info.width} pixels",
            _ONE_GRID,
        ),
        (same_crs(one, other), "CRS is", crs_words(one), crs_words(other), _ONE_GRID),
        (alike, "transform is", transform_words(one.transform), transform_words(other.transform), _ONE_GRID),
        (
            first.bands == info.bands,
            "bands are",
            ", ".join(first.bands),
            ", ".join(info.bands),
            "give dates of the same bands, or choose them with --bands",
        ),
        (
            repr(first.nodata) == repr(info.nodata),
            "nodata is",
            _nodata_words(first),
            _nodata_words(info),
            "say it for all with --nodata",
        ),
    ):
        if not same:
            of = "those of" if its.endswith("are") else "that of"
            raise SourceError(f"{path}: its {its} {now}, {of} {first_path} {was}; {remedy}")
    if info.masked and info.nodata is None and np.dtype(info.dtype).kind != "f":
        raise SourceError(f"{path} has a mask and no nodata to say so on one date alone; give --nodata")


def _found(path: str, info: SceneInfo) -> datetime:
    """When a date was taken: by its STAC item, else by its name and its tags, which must agree on the day.

    When its file was made counts where that is of the day of its name, or nothing else tells.
    """
    if is_stac(path):
        item = read_item(path)
        when = item.datetime or item.common_metadata.start_datetime
        if when is not None and when.astimezone(UTC) != EARLIEST:  # which our items say where nothing tells it
            return when.astimezone(UTC)
    # Of a file, of what a store was made of, or of the folder where that alone says it.
    names = (Path(path).name, info.name, Path(path).resolve().parent.name)
    name = next(filter(named_times, names), "")
    named, tagged = named_times(name), acquisition_time(info.tags)
    if holds_several_days(name):
        same = [when for when in named if tagged is not None and when.date() == tagged.date()]
        if not same:
            days = ", ".join(sorted({when.date().isoformat() for when in named}))
            raise SourceError(f"{path}: its name holds several dates ({days}); say which by --times")
        named = same
    if named and tagged is not None and named[0].date() != tagged.date():
        raise SourceError(
            f"{path}: its name says {named[0].date()}, its tags say {tagged.date()}; say which by --times"
        )
    made = file_time(info.tags)
    if tagged is None and made is not None and (not named or named[0].date() == made.date()):
        tagged = made
    if not named and tagged is None:
        raise SourceError(f"{path}: neither a STAC item, its tags nor its name say when it was taken; give --times")
    return tagged if tagged is not None else named[0]


def _said(text: str) -> datetime:
    try:
        return moment(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time; give --times 2016-01-17,2016-02-06T15:56:22 in ISO 8601") from None


def _nodata_words(info: SceneInfo) -> str:
    return "none" if info.nodata is None else f"{info.nodata:.17g}"
