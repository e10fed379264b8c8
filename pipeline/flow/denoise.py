"""Denoising by tiles: window with halo from the source, patch SVDs in the heart, the tile's own pixels out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise import Denoised, denoise_block
from pipeline.flow.read import read_tile
from pipeline.grid import Tile
from pipeline.raster.nodata import restore
from pipeline.raster.scene import Source

_WIDE_TILE = 192


@dataclass(frozen=True)
class Denoising:
    """`quality` none | fast | quality; `sigma` in data units, None = found by itself on each tile."""

    quality: str = "fast"
    sigma: float | None = None

    def halo(self, tile: int) -> int:
        """Pixels borrowed on each side. Small tiles need more, having fewer patches of their own to learn from."""
        if self.quality == "none":
            return 0
        return 16 if tile >= _WIDE_TILE else 32

    def configuration(self) -> dict[str, Any]:
        """What decides the bytes, for the configuration hash."""
        return {"quality": self.quality, "sigma": "auto" if self.sigma is None else self.sigma}


def denoised_tile(
    source: Source, tile: Tile, side: int, denoising: Denoising
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read and denoise one tile: block (band, y, x) in the source's dtype, valid (y, x); invalid pixels as read."""
    block, valid, outer = read_tile(source, tile, denoising.halo(side))
    if denoising.quality == "none":
        return block, valid
    place = tile.window.within(outer)
    origin = (outer.y0, outer.x0)
    result = denoise_block(block, valid, quality=denoising.quality, sigma=denoising.sigma, origin=origin)
    inner, real = block[:, *place], valid[place]
    return settle(result, place, inner, real, source.info.nodata), real


def settle(
    result: Denoised, place: tuple[slice, slice], original: NDArray[Any], valid: NDArray[np.bool_], nodata: float | None
) -> NDArray[Any]:
    """A denoised tile, halo trimmed, in its original's dtype; what was not denoised as it was, to the last bit.

    Float32 has fewer digits than int32 and float64: bands without noise must not pass through it.
    """
    block = restore(result.block[:, *place], valid, original, nodata)
    kept = slice(None) if result.rank == 0 else result.sigma == 0
    block[kept] = original[kept]
    return block
