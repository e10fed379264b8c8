"""A few pixels that outweigh all others of their tile: a bound of --snr takes them for signal, and drowns the rest."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.stray import stray
from pipeline.grid import Window
from pipeline.raster.nodata import valid_from

FAR = 1000.0
"""Distances of nearly all others from their median beyond which a pixel may do that; denoising minds less."""
OUTWEIGHS = 10.0
"""Energy of pixels that are astray over that of all others of a tile from which they decide its SNR: 10 dB."""


class Far(NamedTuple):
    """Such pixels of some tiles, and the one that outweighs its tile most; they add up."""

    pixels: int = 0
    weight: float = 0.0
    """its energy over that of all others"""
    value: float = 0.0
    band: int = 0
    y: int = 0
    x: int = 0
    """in the scene"""
    low: float = 0.0
    high: float = 0.0
    """the least and the most of all others of its band and tile"""
    alike: bool = True
    """whether all of them have one value, as a fill has"""

    def joined(self, other: Far) -> Far:
        """Of both."""
        worst = max(self, other, key=lambda one: (one.weight, -one.band, -one.y, -one.x))
        one = self.value == other.value or not (self.pixels and other.pixels)
        return worst._replace(pixels=self.pixels + other.pixels, alike=self.alike and other.alike and one)


NO_FAR = Far()
"""Of no pixels."""


def far_of(block: NDArray[Any], valid: NDArray[np.bool_], window: Window, nodata: float | None) -> Far:
    """Those of block (band, y, x), any real dtype, of a window of the scene, where valid (y, x)."""
    if stray(block, valid, FAR) is None:
        return NO_FAR
    found, pixels, others = NO_FAR, np.zeros(valid.shape, np.bool_), 0.0
    largest: list[float] = []
    values: set[float] = set()
    for number in range(len(block)):
        # Of dates together a band may lack what others have.
        real = valid & valid_from(block[number : number + 1], (nodata,))
        astray = stray(block[number : number + 1], real, FAR)
        rest = block[number][real if astray is None else real & ~astray]
        with np.errstate(over="ignore"):
            others += float(np.square(rest, dtype=np.float64).sum())
            if astray is None:
                continue
            pixels |= astray
            values |= {float(block[number][astray].min()), float(block[number][astray].max())}
            sizes = np.where(astray, np.square(block[number], dtype=np.float64), 0.0)
        largest.append(float(sizes.sum()))
        y, x = (int(at) for at in np.unravel_index(np.argmax(sizes), sizes.shape))
        if found.pixels == 0 or sizes[y, x] > found.weight:
            value, low, high = (one.item() for one in (block[number, y, x], rest.min(), rest.max()))
            found = Far(1, float(sizes[y, x]), value, number, window.y0 + y, window.x0 + x, low, high)
    if not sum(largest) > OUTWEIGHS * others:
        return NO_FAR
    weight = found.weight / others if others else np.inf
    return found._replace(pixels=int(np.count_nonzero(pixels)), weight=weight, alike=len(values) == 1)
