"""How finely a block is cut into patches, for each quality and number of bands.

Source: docs/algorithms.md, "Denoise".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pipeline.denoise.whiten import KEEP_ALL
from pipeline.errors import ConfigError

# Columns of the widest patch matrix; more planes than fit are denoised in groups, strongest first.
MAX_COLUMNS = 640
# Patches for each column of the patch matrix from which more teach a basis little.
PLENTY = 25
# The same, from which the directions that they show are told well.
AMPLE = 20
# Directions of a basis for each class: by few, noise sorts the patches, and is taken for what a class has in common.
SORTED_BY = 6


@dataclass(frozen=True)
class Settings:
    """How finely a block is cut into patches."""

    patch: int
    """Side of a patch, pixels."""
    learn: tuple[int, int]
    """Pixels (down, across) between the patches that the basis and the classes are learnt from."""
    apply: tuple[int, int]
    """Pixels between the patches that are denoised and folded back."""
    classes: tuple[tuple[int, int], ...]
    """Most classes of patches, and the pixels for each direction of the basis that one wants: of small blocks, and of
    large ones."""
    rounds: int
    """How often patches are sorted into the classes that the last round fitted."""
    shift: int = 0
    """Pixels by which each row of the patches that are denoised stands to the right of the row before."""
    rows: int = 16
    """Patches for each column of the patch matrix that a basis is learnt from, where the block has them."""
    headroom: float = 2.0
    """Directions kept for each that stands above the noise of all patches: a class may raise what the whole buries."""
    lean: float | None = None
    """The same in place of `headroom` where AMPLE patches for each column have told the directions well."""
    leading: float = 0.5
    """Share of those above the noise that patches are sorted by: the faint ones say little of the class."""
    rough: float = 1.0
    """Share of those by which they are sorted until the last round."""
    kaiser: float = 2.0
    """Shape of the window that weighs a patch's pixels in the overlap average."""
    fine: tuple[int, int] | None = None
    """Pixels in place of `learn` where that gives no plenty of patches."""
    sure: int = 8
    """Classes told apart by however few directions; one more wants SORTED_BY of them for each."""
    second: tuple[int, int] | None = None
    """Side of other patches, whose result is averaged with the first's where a block has fewer pixels than so many for
    each column."""
    sampled: bool = False
    """Whether the noise of a large block is read from a part of it."""

    def learning(self, pixels: int, planes: int) -> tuple[int, int]:
        """Steps of `learn`, or `fine`, shorter still where a block of so many pixels would give few patches."""
        columns = planes * self.patch**2
        plenty = pixels >= PLENTY * columns * self.learn[0] * self.learn[1]
        steps = self.learn if plenty or self.fine is None else self.fine
        area = max(1, pixels // (self.rows * columns))
        down = min(steps[0], math.isqrt(area))
        return down, min(steps[1], area // down)

    def sizes(self, pixels: int, planes: int) -> list[Settings]:
        """These, and where so many pixels teach a basis badly, the same with patches of the second side."""
        if self.second is None or pixels >= self.second[1] * planes * self.patch**2:
            return [self]
        return [self, replace(self, patch=self.second[0])]

    def directions(self, patches: float, columns: int) -> float:
        """Directions kept for each above the noise of so many patches of so many columns."""
        return self.headroom if self.lean is None or patches < AMPLE * columns else self.lean

    def aligned(self, replicated: bool) -> Settings:
        """The same, on even steps where every pixel of a band stands there two by two: odd ones would mix pairs."""
        return replace(self, learn=(2, 2), apply=(2, 2), shift=0) if replicated else self


def settings_for(quality: str, bands: int) -> Settings:
    """Settings for "fast" or "quality"; many bands leave few planes, which want smaller patches."""
    few = bands <= KEEP_ALL
    if quality == "fast":
        if few:
            return Settings(
                5,
                (4, 4),
                (1, 4),
                ((8, 18), (12, 60)),
                5,
                shift=1,
                rows=12,
                headroom=1.5,
                lean=1.25,
                rough=0.6,
                kaiser=1.0,
                fine=(3, 3),
                second=(4, 70),
                sampled=True,
            )
        classes = (8, 6), (12, 30)
        return Settings(3, (2, 2), (1, 2), classes, 4, shift=1, headroom=1.25, sure=4, sampled=True)
    if quality == "quality":
        if few:
            return Settings(5, (3, 3), (1, 1), ((8, 18), (16, 50)), 4, rows=12, headroom=1.5, second=(4, 50))
        return Settings(3, (2, 2), (1, 1), ((8, 6), (16, 20)), 5, headroom=1.25, sure=4)
    raise ConfigError(f"quality {quality!r} is not known to denoise; use fast or quality")


def groups(planes: int, patch: int) -> list[slice]:
    """Planes denoised together: as many as a patch matrix holds."""
    step = max(1, MAX_COLUMNS // patch**2)
    return [slice(start, min(start + step, planes)) for start in range(0, planes, step)]
