"""The statistics of bands, as GDAL writes them into files: QGIS and others stretch a map by them at first sight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Window
from pipeline.jit import jit

Piece = tuple[Window, NDArray[Any], NDArray[np.bool_] | None]
WORDS = ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV")
PERCENTILES = (2, 98)
"""Between these QGIS stretches a picture of several bands. GDAL has no tags for them; ours go with its own."""
_SAMPLED = 1 << 12


class Statistics:
    """Least and largest value, mean and standard deviation of each band, counted while windows go by.

    Percentiles are those of pixels on a regular lattice, at most 4096 of them, wherever the windows cut.
    """

    def __init__(self, bands: int, height: int = 0, width: int = 0) -> None:
        self._least, self._most = np.full(bands, np.inf), np.full(bands, -np.inf)
        self._mean, self._square = np.zeros(bands), np.zeros(bands)
        self._count, self._pixels = 0, 0
        self._step = max(1, math.ceil(math.sqrt(height * width / _SAMPLED)))
        self._samples: list[NDArray[Any]] = []

    def over(self, windows: Iterable[Piece]) -> Iterator[Piece]:
        """The same windows, counted."""
        for window, block, valid in windows:
            self._pixels += math.prod(window.shape)
            self._add(block, np.ones(window.shape, bool) if valid is None else valid)
            self._sample(window, block, valid)
            yield window, block, valid

    def tags(self) -> list[dict[str, str]]:
        """GDAL's tags of each band; none where nothing is valid."""
        if not self._count:
            return []
        share = f"{100 * self._count / self._pixels:.4g}"
        deviation = np.sqrt(self._square / self._count)
        found = zip(self._least, self._most, self._mean, deviation, strict=True)
        return [
            {f"STATISTICS_{word}": f"{value:.9g}" for word, value in zip(WORDS, values, strict=True)}
            | {"STATISTICS_VALID_PERCENT": share}
            for values in found
        ]

    def percentiles(self) -> list[dict[str, str]]:
        """Tags of the percentiles of each band; none where no pixel of the lattice is valid."""
        sample = np.concatenate(self._samples, axis=1) if self._samples else np.empty((0, 0))
        if not sample.size:
            return []
        found = np.percentile(sample, PERCENTILES, axis=1)
        return [
            {f"STATISTICS_PERCENTILE_{part}": f"{value:.9g}" for part, value in zip(PERCENTILES, values, strict=True)}
            for values in found.T
        ]

    def _add(self, block: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Chan, Golub, LeVeque 1979: means and squared deviations of parts to those of the whole."""
        least, most, mean, square, count = _moments(np.ascontiguousarray(block), np.ascontiguousarray(valid))
        if not count:
            return
        both, step = self._count + count, mean - self._mean
        self._square += square + step**2 * (self._count * count / both)
        self._mean += step * (count / both)
        self._count = both
        self._least, self._most = np.minimum(self._least, least), np.maximum(self._most, most)

    def _sample(self, window: Window, block: NDArray[Any], valid: NDArray[np.bool_] | None) -> None:
        step = self._step
        places = (slice(-window.y0 % step, None, step), slice(-window.x0 % step, None, step))
        chosen = block[:, *places].reshape(len(block), -1)
        self._samples.append(chosen.copy() if valid is None else chosen[:, valid[places].ravel()])


@jit
def _moments(
    block: NDArray[Any], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]:
    """Least, most, mean and sum of squared deviations of each band (band,) of block (band, y, x), and how many pixels.

    Row by row, by way of the first valid value of the band, so that a large mean takes no digits away.
    """
    bands, height, width = block.shape
    least, most = np.full(bands, np.inf), np.full(bands, -np.inf)
    mean, square = np.zeros(bands), np.zeros(bands)
    count = 0
    for y in range(height):
        for x in range(width):
            count += valid[y, x]
    if count == 0:
        return least, most, mean, square, count
    y, x = 0, 0
    while not valid[y, x]:
        x += 1
        if x == width:
            y, x = y + 1, 0
    for band in range(bands):
        first = block[band, y, x]
        shift, total, squares = np.float64(first), 0.0, 0.0
        low, high = first, first
        for row in range(height):
            for column in range(width):
                # Without a branch: where nothing is valid, the first value adds nothing.
                raw = block[band, row, column] if valid[row, column] else first
                low = raw if raw < low else low
                high = raw if raw > high else high
                value = np.float64(raw) - shift
                total += value
                squares += value * value
        mean[band] = shift + total / count
        square[band] = max(0.0, squares - total * total / count)
        least[band], most[band] = low, high
    return least, most, mean, square, count
