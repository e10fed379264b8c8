"""Denoising by tiles: window with halo from the source, patch SVDs in the heart, the tile's own pixels out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise import Denoised, denoise_block, model_file
from pipeline.denoise.defects import Repair
from pipeline.denoise.model import SceneModel
from pipeline.denoise.patches import Place
from pipeline.errors import BankError, ConfigError, SourceError
from pipeline.flow.by_date import WHOLE, Bands, Bool, Dates
from pipeline.network import bank_file
from pipeline.storage import place

QUALITIES, BASES = ("none", "fast", "quality"), ("tile", "scene")
REPAIRS = ("auto", "all", "stripes", "none")
FILE_KINDS = {"key": "U", **model_file.KINDS}
"""What the file of a scene's model holds; `key` is the configuration it was fitted under."""
KEPT = 128
"""Models that a process keeps, of 1 to 3 MB each."""
WIDE_TILE = 192
"""From this side on halos of WIDE_HALO give a tile enough to learn from; a smaller tile's are half of its side, at
least SCENE_HALO twice and at most LARGEST_HALO."""
SCENE_HALO, WIDE_HALO, LARGEST_HALO = 16, 48, 64


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


@lru_cache(maxsize=KEPT)
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
    """all | stripes | none: which defects are mended before (denoise/defects.py); auto is all, of dates together
    stripes."""
    models: tuple[ModelFile | None, ...] = ()
    """Of the scene, or of each group of its dates, once they have been fitted; tiles without one use their own."""

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise ConfigError(f"quality {self.quality!r} is not known to denoise; use none, fast or quality")
        if isinstance(self.sigma, int | float) and not 0 <= self.sigma < float("inf"):
            raise ConfigError(f"sigma {self.sigma!r} is not a noise level; give a number >= 0 in data units, or None")
        if self.basis not in BASES:
            raise ConfigError(f"basis {self.basis!r} is not known to denoise; use {' or '.join(BASES)}")
        if self.repair not in REPAIRS:
            raise ConfigError(f"repair {self.repair!r} is not known to denoise; use {', '.join(REPAIRS)}")

    def halo(self, tile: int, dates: Dates | None = None) -> int:
        """Pixels borrowed on each side: to learn from, or where the bases are the scene's as far as a pixel reaches.

        Neighbours learn alike from what they share. Of dates together those learn by themselves that not all have.
        """
        if self.quality == "none":
            return 0
        by_scene = self.basis == "scene" and (dates is None or dates.how == "apart")
        if by_scene:
            return SCENE_HALO
        return WIDE_HALO if tile >= WIDE_TILE else min(max(2 * SCENE_HALO, tile // 2), LARGEST_HALO)

    def configuration(self, dates: Dates | None = None) -> dict[str, Any]:
        """What decides the bytes, of a scene or of `dates` of one, for the configuration hash; bases of the tile are
        not named, as before."""
        named: dict[str, Any] = {"quality": self.quality, "sigma": "auto" if self.sigma is None else self.sigma}
        if self.quality == "none":
            return named
        chosen = {"basis": self.basis, "repair": self.repair}
        named |= {} if dates is None else {"dates": dates.how}
        return named | {name: value for name, value in chosen.items() if value not in ("tile", "auto")}

    def mends(self, dates: int = 1) -> Repair:
        """What is mended of a scene, or of so many `dates` together: what stands on one of several is no fault of a
        sensor."""
        if self.repair == "auto":
            return "all" if dates == 1 else "stripes"
        return cast(Repair, self.repair)

    def fitted(self, number: int) -> int | None:
        """The number of a model, where it has been fitted."""
        return number if number < len(self.models) and self.models[number] is not None else None

    def model(self, number: int) -> SceneModel:
        """The model of this number, which has been fitted."""
        file = self.models[number]
        assert file is not None
        return file.load()

    def block(
        self,
        block: NDArray[Any],
        valid: Bool,
        origin: tuple[int, int],
        clear: Bool | None = None,
        *,
        repair: Repair = "all",
        model: SceneModel | None = None,
        bands: Bands = WHOLE,
        place: Place | None = None,
    ) -> Denoised:
        """Denoise block (band, y, x), whose first pixel stands at origin (y, x) of the scene, learning where clear.

        model: the scene's, in place of the block's own. bands: which of the scene's they are. place: the rows and
        columns that are wanted.
        """
        model = None if model is None else replace(model, repair=repair)
        sigma = self.sigma if self.sigma is None or np.ndim(self.sigma) == 0 else np.asarray(self.sigma)[bands]
        words: dict[str, Any] = {"origin": origin, "model": model, "clear": clear, "repair": repair, "place": place}
        return denoise_block(block, valid, quality=self.quality, sigma=sigma, **words)
