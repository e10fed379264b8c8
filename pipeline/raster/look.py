"""How a raster is best shown at first sight, and the tags by which a COG tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rasterio.io import DatasetWriter

from pipeline.bands import Triple, default_rgb, true_colour
from pipeline.errors import SourceError
from pipeline.raster.gdal import GDAL_ERRORS, gdal_env, open_reader, reason
from pipeline.raster.scene import SceneInfo
from pipeline.raster.spectrum import known_wavelengths
from pipeline.raster.statistics import PERCENTILES, WORDS, Statistics

_COLOURS = ("red", "green", "blue")
_UNTOLD = {"undefined", "gray"}
_BY_STAC = {"MINIMUM": "minimum", "MAXIMUM": "maximum", "MEAN": "mean", "STDDEV": "stddev"}


@dataclass(frozen=True)
class Look:
    """Statistics of bands, and one picture."""

    statistics: tuple[Mapping[str, float], ...]
    """Of each band, in STAC's words; empty where the file does not tell."""
    rgb: Triple
    """Bands, counted from 0, as red, green and blue."""
    rescale: tuple[tuple[float, float], ...]
    """Values of the three that are black and full colour; empty where the file does not tell."""


def with_colours(info: SceneInfo) -> SceneInfo:
    """The scene whose bands say which are red, green and blue, if names or wavelengths do and the file said nothing."""
    chosen = true_colour(info.bands, known_wavelengths(info))
    if chosen is None or not set(info.colorinterp) <= _UNTOLD or len(set(chosen)) < 3:
        return info
    colours = ["undefined"] * len(info.bands)
    for band, colour in zip(chosen, _COLOURS, strict=True):
        colours[band] = colour
    return replace(info, colorinterp=tuple(colours))


def write_statistics(dataset: DatasetWriter, counted: Statistics) -> None:
    """Tag every band with what was counted."""
    for band, tags in enumerate(counted.tags(), 1):
        dataset.update_tags(band, **tags)
    for band, tags in enumerate(counted.percentiles(), 1):
        dataset.update_tags(band, **tags)


def look_of(path: str, info: SceneInfo) -> Look:
    """The look of a COG of ours, by its tags alone.

    Raises:
        SourceError: it cannot be opened.
    """
    try:
        with gdal_env(path), open_reader(path) as dataset:
            statistics = tuple(_statistics(dataset.tags(band)) for band in dataset.indexes)
            shares = [found.get("valid_percent", 0.0) / 100 for found in statistics]
            rgb = default_rgb(info.bands, known_wavelengths(info), shares)
            pairs = tuple(_percentiles(dataset.tags(band + 1)) for band in rgb)
    except GDAL_ERRORS as error:
        raise SourceError(f"{path}: {reason(error)}; write it again").of(path) from error
    told = tuple(pair for pair in pairs if pair is not None)
    return Look(statistics, rgb, told if len(told) == len(pairs) else ())


def _statistics(tags: Mapping[str, str]) -> dict[str, float]:
    found = {_BY_STAC[word]: float(tags[f"STATISTICS_{word}"]) for word in WORDS if f"STATISTICS_{word}" in tags}
    if "STATISTICS_VALID_PERCENT" in tags:
        found["valid_percent"] = float(tags["STATISTICS_VALID_PERCENT"])
    return found


def _percentiles(tags: Mapping[str, str]) -> tuple[float, float] | None:
    names = [f"STATISTICS_PERCENTILE_{part}" for part in PERCENTILES]
    if not all(name in tags for name in names):
        return None
    low, high = (float(tags[name]) for name in names)
    return low, high if high > low else low + 1.0
