"""What of dates is not what it looks like: files of several days that are taken for bands of one, one mask for all
dates, and numbers that stand for other values on other dates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from pipeline.flow.crew import Watch
from pipeline.flow.rasters import rasters_of
from pipeline.raster.dates import DateStack, MaskedDates
from pipeline.raster.geotiff import RasterSource
from pipeline.raster.masks import OWN_MASKS, unmasked
from pipeline.raster.names import band_names
from pipeline.raster.scene import SceneInfo, Source
from pipeline.raster.stack import StackSource
from pipeline.raster.times import BAND, day_named, undated
from pipeline.untrusted import one_line


def tell_dates(source: Source, watch: Watch) -> None:
    """Warn of each of these."""
    scene = unmasked(source)
    texts = [_one_mask(source) if isinstance(source, MaskedDates) else ""]
    texts += [_no_dates(scene)] if isinstance(scene, StackSource) else []
    texts += [_different(scene.info)] if isinstance(scene, DateStack) else []
    for text in filter(None, texts):
        watch.warn(one_line(f"{source.info.name}: {text}"))


def _one_mask(source: MaskedDates) -> str:
    """Of one file that masks all dates."""
    files = [[file.path for file in rasters_of(member.mask)] for member in source.members]
    if len(files) < 2 or any(own != files[0] for own in files):
        return ""
    return f"{files[0][0]} masks all {len(files)} dates alike, and clouds are of one day; {OWN_MASKS}"


def _no_dates(scene: StackSource) -> str:
    """Of files of several days with the same bands."""
    days: dict[str, set[str]] = defaultdict(set)
    for member in scene.members:
        for file in rasters_of(member):
            day = day_named(file.path)
            if day is not None:
                days[day].update(_words(file))
    alike = {day for day, words in days.items() if any(words & days[other] for other in days if other != day)}
    if not alike:
        return ""
    between = f"{len(alike)} days ({min(alike)} to {max(alike)})"
    return f"its files are of {between} and have the same bands: --stack makes dates of them"


def _words(file: RasterSource) -> Iterator[str]:
    """What the bands of a file are known by, whatever its day."""
    if file.info.bands == band_names([None]):
        yield undated(Path(file.path).name)
    else:
        yield from file.info.bands


def _different(info: SceneInfo) -> str:
    """Of bands whose scale or offset is another on other dates; the first of them."""
    each: dict[str, dict[tuple[float, float], str]] = defaultdict(dict)
    for name, tags, pair in zip(info.bands, info.band_tags, zip(info.scales, info.offsets, strict=True), strict=True):
        each[tags[BAND]].setdefault(pair, name.partition(" ")[0])
    for band, pairs in each.items():
        if len(pairs) > 1:
            words = [f"scale {scale:.9g} and offset {offset:.9g} on {day}" for (scale, offset), day in pairs.items()]
            return (
                f"numbers of its dates stand for different values: {band} has {', '.join(words)}; they are kept as "
                "they are, with scale and offset of each band: apply these before you compare dates"
            )
    return ""
