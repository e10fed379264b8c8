"""The statistics of bands, as GDAL writes them into files: QGIS and others stretch a map by them at first sight."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Window
from pipeline.jit import jit
from pipeline.raster.nodata import valid_from

WORDS = ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV")
PERCENTILES = (2, 98)
"""Between these QGIS stretches a picture of several bands. GDAL has no tags for them; ours go with its own."""
_SAMPLED = 1 << 12


class Statistics:
    """Least and largest value, mean and standard deviation of each band, counted while windows go by.

    A band's pixels are those that GDAL's mask of the band shows: holes of one band are none of the others'. Percentiles
    are those of pixels on a regular lattice, at most 4096 of them, wherever the windows cut.
    """

    def __init__(self, bands: int, height: int = 0, width: int = 0, nodata: float | None = None) -> None:
        self._least, self._most = np.full(bands, np.inf), np.full(bands, -np.inf)
        self._mean, self._square = np.zeros(bands), np.zeros(bands)
        self._count, self._pixels = np.zeros(bands, np.int64), 0
        self._nodata = nodata
        self._step = max(1, math.ceil(math.sqrt(height * width / _SAMPLED)))
        self._samples: list[list[NDArray[Any]]] = [[] for _ in range(bands)]

    def add(self, window: Window, block: NDArray[Any], shown: NDArray[np.bool_] | None) -> None:
        """Count a window of the file: block (band, y, x) as it is there, and the file's mask (y, x), if any."""
        self._pixels += math.prod(window.shape)
        step = self._step
        places = (slice(-window.y0 % step, None, step), slice(-window.x0 % step, None, step))
        for band, values in enumerate(block):
            real = valid_from(values[None], (self._nodata,))
            if shown is not None:
                real &= shown
            self._add(band, np.ascontiguousarray(values), real)
            self._samples[band].append(values[places][real[places]])

    def tags(self) -> list[dict[str, str]]:
        """GDAL's tags of each band; of a band where nothing is valid, that it is so."""
        deviation = np.sqrt(self._square / np.maximum(self._count, 1))
        found = zip(self._count, self._least, self._most, self._mean, deviation, strict=True)
        return [
            ({f"STATISTICS_{word}": f"{value:.9g}" for word, value in zip(WORDS, values, strict=True)} if count else {})
            | {"STATISTICS_VALID_PERCENT": f"{100 * count / max(1, self._pixels):.4g}"}
            for count, *values in found
        ]

    def percentiles(self) -> list[dict[str, str]]:
        """Tags of the percentiles of each band; none of a band of which no pixel of the lattice is valid."""
        samples = [np.concatenate(parts) if parts else np.empty(0) for parts in self._samples]
        return [_percentile_tags(sample) if sample.size else {} for sample in samples]

    def _add(self, band: int, values: NDArray[Any], real: NDArray[np.bool_]) -> None:
        """Chan, Golub, LeVeque 1979: means and squared deviations of parts to those of the whole."""
        least, most, mean, square, count = _moments(values, real)
        if not count:
            return
        both, step = self._count[band] + count, mean - self._mean[band]
        self._square[band] += square + step**2 * (self._count[band] * (count / both))
        self._mean[band] += step * (count / both)
        self._count[band] = both
        self._least[band], self._most[band] = min(self._least[band], least), max(self._most[band], most)


def _percentile_tags(sample: NDArray[Any]) -> dict[str, str]:
    found = zip(PERCENTILES, np.percentile(sample, PERCENTILES), strict=True)
    return {f"STATISTICS_PERCENTILE_{part}": f"{value:.9g}" for part, value in found}


@jit
def _moments(values: NDArray[Any], real: NDArray[np.bool_]) -> tuple[float, float, float, float, int]:
    """Least, most, mean and sum of squared deviations of the real pixels of a band (y, x), and how many they are.

    Row by row, by way of the first of them, so that a large mean takes no digits away.
    """
    height, width = values.shape
    count = 0
    for y in range(height):
        for x in range(width):
            count += real[y, x]
    if count == 0:
        return np.inf, -np.inf, 0.0, 0.0, count
    y, x = 0, 0
    while not real[y, x]:
        x += 1
        if x == width:
            y, x = y + 1, 0
    first = values[y, x]
    shift, total, squares = np.float64(first), 0.0, 0.0
    low, high = first, first
    for row in range(height):
        for column in range(width):
            # Without a branch: where nothing is real, the first value adds nothing.
            raw = values[row, column] if real[row, column] else first
            low = raw if raw < low else low
            high = raw if raw > high else high
            value = np.float64(raw) - shift
            total += value
            squares += value * value
    square = max(0.0, squares - total * total / count)
    return np.float64(low), np.float64(high), shift + total / count, square, count
