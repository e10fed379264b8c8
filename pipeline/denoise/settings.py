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
# Planes up to which those of many bands are denoised by larger patches.
FEW = 16
# Directions of a basis for each class: by few, noise sorts the patches, and is taken for what a class has in common.
SORTED_BY = 6


@dataclass(frozen=True)
class Second:
    """Patches of another side, whose result is averaged with the first's."""

    patch: int
    """Side, pixels."""
    apply: tuple[int, int]
    """Pixels (down, across) between those that are denoised."""
    below: float = math.inf
    """Pixels for each column of the first patch matrix below which a block has them."""


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
    rows: int = 16
    """Patches for each column of the patch matrix that a basis is learnt from, where the block has them."""
    headroom: float = 2.0
    """Directions kept for each that stands above the noise of all patches: a class may raise what the whole buries."""
    lean: float | None = None
    """The same in place of `headroom` where AMPLE patches for each column have told the directions well..."""
    lean_below: float = math.inf
    """... and where they are fewer than this: more of them tell fainter directions, too."""
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
    second: Second | None = None
    sampled: bool = False
    """Whether the noise of a large block is read from a part of it."""
    scattered: bool = True
    """Whether the patches that teach stand anywhere in their cells: at every place of what repeats itself."""

    @property
    def shift(self) -> int:
        """Pixels by which each row of the patches that are denoised stands to the right of the row before."""
        return int(self.apply[0] < self.apply[1])

    @property
    def widest(self) -> int:
        """Side of the largest patches that a block may be cut into."""
        return self.patch if self.second is None else max(self.patch, self.second.patch)

    def learning(self, pixels: int, planes: int) -> tuple[int, int]:
        """Steps of `learn`, or `fine`, shorter still where a block of so many pixels would give few patches."""
        columns = planes * self.patch**2
        plenty = pixels >= PLENTY * columns * self.learn[0] * self.learn[1]
        steps = self.learn if plenty or self.fine is None else self.fine
        area = max(1, pixels // (self.rows * columns))
        down = min(steps[0], math.isqrt(area))
        return down, min(steps[1], area // down)

    def sizes(self, pixels: int, planes: int, side: int) -> list[Settings]:
        """These, and for so few pixels as `second` is for, the same with its patches, if the block is wide enough."""
        other = self.second
        if other is None or other.patch > side or pixels >= other.below * planes * self.patch**2:
            return [self]
        return [self, replace(self, patch=other.patch, apply=other.apply)]

    def directions(self, patches: float, columns: int) -> float:
        """Directions kept for each above the noise of so many patches of so many columns."""
        lean = AMPLE * columns <= patches < self.lean_below * columns
        return self.lean if lean and self.lean is not None else self.headroom

    def aligned(self, replicated: bool) -> Settings:
        """The same, on even steps where every pixel of a band stands there two by two: odd ones would mix pairs."""
        if not replicated:
            return self
        second = None if self.second is None else replace(self.second, apply=(2, 2))
        return replace(self, learn=(2, 2), apply=(2, 2), second=second, scattered=False)


# Of up to KEEP_ALL bands.
FAST = Settings(
    5,
    (3, 4),
    (1, 4),
    ((8, 18), (16, 60)),
    5,
    rows=12,
    headroom=1.5,
    lean=1.25,
    leading=0.4,
    rough=0.7,
    kaiser=1.0,
    fine=(3, 3),
    second=Second(4, (1, 4), 70),
    sampled=True,
)
# Of four to six noisy bands smaller patches, closer together, and sorted by more of their few directions.
FAST_SIX = replace(FAST, patch=4, learn=(3, 3), apply=(1, 3), leading=0.8, rough=0.6, second=Second(5, (1, 4), 110))
FAST_THREE = replace(FAST, leading=0.8, rough=0.6)
QUALITY = Settings(
    5,
    (3, 3),
    (1, 1),
    ((8, 18), (16, 50)),
    6,
    rows=12,
    headroom=1.5,
    lean=1.35,
    lean_below=60,
    leading=0.35,
    rough=0.8,
    second=Second(4, (1, 1), 50),
)
# Of more bands, whose planes are many, or few.
MANY_FAST = Settings(
    3,
    (2, 2),
    (1, 2),
    ((8, 6), (12, 30)),
    4,
    headroom=1.25,
    sure=4,
    second=Second(2, (1, 2), 150),
    sampled=True,
)
MANY_QUALITY = Settings(3, (2, 2), (1, 1), ((8, 6), (16, 20)), 5, headroom=1.25, sure=4, second=Second(2, (1, 1), 150))
FEW_FAST = replace(MANY_FAST, patch=4, second=None)
FEW_QUALITY = replace(MANY_QUALITY, patch=4, second=Second(3, (1, 2)))


def settings_for(quality: str, bands: int, planes: int | None = None) -> Settings:
    """Settings for "fast" or "quality", of bands that leave so many planes of unit noise. As long as it is not known
    how many, all of few bands are taken for noisy, and many bands to leave more than FEW.

    Of few planes larger patches are still told from the noise; of many, and few pixels, smaller ones better.
    """
    if quality not in ("fast", "quality"):
        raise ConfigError(f"quality {quality!r} is not known to denoise; use fast or quality")
    fast = quality == "fast"
    if bands <= KEEP_ALL:
        planes = bands if planes is None else planes
        if not fast:
            return QUALITY
        return FAST if planes > 6 else FAST_SIX if planes > 3 else FAST_THREE
    if planes is None or planes > FEW:
        return MANY_FAST if fast else MANY_QUALITY
    return FEW_FAST if fast else FEW_QUALITY


def groups(planes: int, patch: int) -> list[slice]:
    """Planes denoised together: as many as a patch matrix holds."""
    step = max(1, MAX_COLUMNS // patch**2)
    return [slice(start, min(start + step, planes)) for start in range(0, planes, step)]
