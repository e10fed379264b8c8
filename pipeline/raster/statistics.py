"""The statistics of bands, as GDAL writes them into files: QGIS and others stretch a map by them at first sight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Window

Piece = tuple[Window, NDArray[Any], NDArray[np.bool_] | None]


class Statistics:
    """Least and largest value, mean and standard deviation of each band, counted while windows go by."""

    def __init__(self, bands: int) -> None:
        self._least, self._most = np.full(bands, np.inf), np.full(bands, -np.inf)
        self._mean, self._square = np.zeros(bands), np.zeros(bands)
        self._count, self._pixels = 0, 0

    def over(self, windows: Iterable[Piece]) -> Iterator[Piece]:
        """The same windows, counted."""
        for window, block, valid in windows:
            self._pixels += math.prod(window.shape)
            rows = block.reshape(len(block), -1) if valid is None else block[:, valid]
            if rows.shape[1]:
                self._add(rows.astype(np.float64))
            yield window, block, valid

    def tags(self) -> list[dict[str, str]]:
        """GDAL's tags of each band; none where nothing is valid."""
        if not self._count:
            return []
        share = f"{100 * self._count / self._pixels:.4g}"
        deviation = np.sqrt(self._square / self._count)
        found = zip(self._least, self._most, self._mean, deviation, strict=True)
        words = ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV")
        return [
            {f"STATISTICS_{word}": f"{value:.9g}" for word, value in zip(words, values, strict=True)}
            | {"STATISTICS_VALID_PERCENT": share}
            for values in found
        ]

    def _add(self, rows: NDArray[np.float64]) -> None:
        """Chan, Golub, LeVeque 1979: means and squared deviations of parts to those of the whole."""
        count, mean = rows.shape[1], rows.mean(axis=1)
        square = ((rows - mean[:, None]) ** 2).sum(axis=1)
        both, step = self._count + count, mean - self._mean
        self._square += square + step**2 * (self._count * count / both)
        self._mean += step * (count / both)
        self._count = both
        self._least = np.minimum(self._least, rows.min(axis=1))
        self._most = np.maximum(self._most, rows.max(axis=1))
