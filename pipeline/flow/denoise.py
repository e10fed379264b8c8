"""Denoising by tiles: window with halo from the source, patch SVDs in the heart, the tile's own pixels out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise import Denoised, denoise_block, model_file
from pipeline.denoise.block import is_clouded
from pipeline.denoise.defects import Repair
from pipeline.denoise.model import SceneModel
from pipeline.errors import BankError, ConfigError, SourceError
from pipeline.flow.read import read_tile
from pipeline.grid import Tile
from pipeline.network import bank_file
from pipeline.raster.dates import TIME
from pipeline.raster.masks import clear_of
from pipeline.raster.nodata import restore
from pipeline.raster.scene import SceneInfo, Source
from pipeline.storage import place

QUALITIES, BASES = ("none", "fast", "quality"), ("tile", "scene")
REPAIRS = ("auto", "all", "stripes", "none")
FILE_KINDS = {"key": "U", **model_file.KINDS}
"""What the file of a scene's model holds; `key` is the configuration it was fitted under."""
_WIDE_TILE = 192


class ModelFile(NamedTuple):
    """Where the model of a scene is kept, and the SHA-256 of its bytes."""

    path: str
    digest: str

    def load(self) -> SceneModel:
        """The model, read once in a process.

        Raises:
            SourceError: the file is not there, or is another one by now.
        """
        return _load(self)


@lru_cache(maxsize=4)
def _load(file: ModelFile) -> SceneModel:
    path = place(file.path)
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != file.digest:
            raise ValueError("another run has replaced it")
        return model_file.from_arrays(bank_file.read(path, FILE_KINDS))
    except (OSError, BankError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{path}: the basis of the scene cannot be read: {reason}; run again") from error


@dataclass(frozen=True)
class Denoising:
    """How a scene is denoised."""

    quality: str = "fast"
    """none | fast | quality"""
    sigma: float | None = None
    """Data units; None = found by itself, on each tile or once for the scene."""
    basis: str = "tile"
    """tile | scene: whether each tile finds noise, planes and bases of its own, or all tiles share the scene's."""
    repair: str = "auto"
    """all | stripes | none: which defects are mended before (denoise/defects.py); auto is all, of dates stripes."""
    model: ModelFile | None = None
    """Of the scene, once it has been fitted; without it tiles use their own."""

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise ConfigError(f"quality {self.quality!r} is not known to denoise; use none, fast or quality")
        if isinstance(self.sigma, int | float) and not 0 <= self.sigma < float("inf"):
            raise ConfigError(f"sigma {self.sigma!r} is not a noise level; give a number >= 0 in data units, or None")
        if self.basis not in BASES:
            raise ConfigError(f"basis {self.basis!r} is not known to denoise; use {' or '.join(BASES)}")
        if self.repair not in REPAIRS:
            raise ConfigError(f"repair {self.repair!r} is not known to denoise; use {', '.join(REPAIRS)}")

    def halo(self, tile: int) -> int:
        """Pixels borrowed on each side. Small tiles need more, where they learn from their own patches."""
        if self.quality == "none":
            return 0
        return 16 if tile >= _WIDE_TILE or self.basis == "scene" else 32

    def configuration(self, dates: bool = False) -> dict[str, Any]:
        """What decides the bytes, of a scene or of `dates` of one, for the configuration hash; bases of the tile are
        not named, as before."""
        named: dict[str, Any] = {"quality": self.quality, "sigma": "auto" if self.sigma is None else self.sigma}
        if self.quality == "none":
            return named
        chosen = {"basis": self.basis, "repair": self.mends(dates) if dates else self.repair}
        return named | {name: value for name, value in chosen.items() if value not in ("tile", "auto")}

    def mends(self, dates: bool) -> Repair:
        """What is mended of a scene, or of `dates` of one: what stands on one date alone is no fault of a sensor."""
        if self.repair == "auto":
            return "stripes" if dates else "all"
        return cast(Repair, self.repair)

    def block(
        self,
        block: NDArray[Any],
        valid: NDArray[np.bool_],
        origin: tuple[int, int],
        clear: NDArray[np.bool_] | None = None,
        *,
        dates: bool = False,
    ) -> Denoised:
        """Denoise block (band, y, x), whose first pixel stands at origin (y, x) of the scene, learning where clear.

        dates: whether its bands are of several dates.
        """
        repair = self.mends(dates)
        model = None if self.model is None else replace(self.model.load(), repair=repair)
        words: dict[str, Any] = {"origin": origin, "model": model, "clear": clear, "repair": repair}
        return denoise_block(block, valid, quality=self.quality, sigma=self.sigma, **words)


def denoised_tile(
    source: Source, tile: Tile, side: int, denoising: Denoising
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read and denoise one tile: block (band, y, x) in the source's dtype, valid (y, x); invalid pixels as read."""
    found = denoised_and_read(source, tile, side, denoising)
    return found.block, found.valid


class Read(NamedTuple):
    """A tile, denoised, and what was read."""

    block: NDArray[Any]
    """(band, y, x), in the source's dtype"""
    valid: NDArray[np.bool_]
    """(y, x)"""
    clear: NDArray[np.bool_] | None
    """(y, x); None where nothing says so"""
    original: NDArray[Any]
    """(band, y, x), as read"""
    mended: int = 0
    """Values that were taken for impulses or dead lines"""
    clouded: bool = False
    """Whether it was learnt from masked pixels too, for few were clear"""


def denoised_and_read(source: Source, tile: Tile, side: int, denoising: Denoising) -> Read:
    """As `denoised_tile`, which pixels of the tile are clear, and how they were read."""
    block, valid, outer = read_tile(source, tile, denoising.halo(side))
    clear = clear_of(source, outer)
    place = tile.window.within(outer)
    inner, real = block[:, *place], valid[place]
    taught = None if clear is None else clear[place]
    if denoising.quality == "none" or not real.any():  # its halo may hold pixels, which are not asked for
        return Read(inner, real, taught, inner)
    result = denoising.block(block, valid, (outer.y0, outer.x0), clear, dates=is_of_dates(source.info))
    mended = 0 if result.holes is None else int(np.count_nonzero(result.holes[:, *place]))
    clouded = clear is not None and denoising.model is None and is_clouded(valid, clear)
    return Read(settle(result, place, inner, real, source.info.nodata), real, taught, inner, mended, clouded)


def is_of_dates(info: SceneInfo) -> bool:
    """Whether the bands of a scene are of several dates (raster/dates.py)."""
    return len({tags[TIME] for tags in info.band_tags if TIME in tags}) > 1


def settle(
    result: Denoised, place: tuple[slice, slice], original: NDArray[Any], valid: NDArray[np.bool_], nodata: float | None
) -> NDArray[Any]:
    """A denoised tile, halo trimmed, in its original's dtype; what was not denoised as it was, to the last bit.

    Float32 has fewer digits than int32 and float64: bands without noise must not pass through it.
    """
    block = restore(result.block[:, *place], valid, original, nodata)
    kept = result.sigma == 0 if result.touched else slice(None)
    block[kept] = original[kept]
    return block
