"""Windows, tiles and halos: integers and slices, nothing else.

Invariant: block[..., *w.within(w.expand(halo, height, width))] is w's own block, at every edge of the scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.errors import ConfigError


class Halo(NamedTuple):
    """Pixels borrowed from the neighbours on each side of a window."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def even(cls, pixels: int) -> Halo:
        """The same number of pixels on all four sides."""
        return cls(pixels, pixels, pixels, pixels)


MOST_SIDE = 1 << 24
"""Of a scene, in pixels: the world at 2.4 m."""
MOST_TILES = 1 << 24
"""Of one scene; what a file of a few bytes that claims to be endless can make us walk through."""


@dataclass(frozen=True, slots=True)
class Window:
    """The half-open rectangle [y0, y1) x [x0, x1) of a scene, in pixels."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x) extent in pixels."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this window in a (y, x) array of the whole scene."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def expand(self, halo: Halo, height: int, width: int) -> Window:
        """This window with its halo, clipped (never padded) at the edge of a height x width scene."""
        return Window(
            max(0, self.y0 - halo.top),
            min(height, self.y1 + halo.bottom),
            max(0, self.x0 - halo.left),
            min(width, self.x1 + halo.right),
        )

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Index of this window in a (y, x) array of `outer`: block[..., *w.within(outer)] trims the halo."""
        return (
            slice(self.y0 - outer.y0, self.y1 - outer.y0),
            slice(self.x0 - outer.x0, self.x1 - outer.x0),
        )

    def overlap(self, other: Window) -> Window:
        """What both hold; they do overlap."""
        return Window(max(self.y0, other.y0), min(self.y1, other.y1), max(self.x0, other.x0), min(self.x1, other.x1))

    def to_json(self) -> dict[str, int]:
        """The window in rasterio's words: rasterio.windows.Window(**window.to_json())."""
        return {"col_off": self.x0, "row_off": self.y0, "width": self.x1 - self.x0, "height": self.y1 - self.y0}

    def __str__(self) -> str:
        return f"rows {self.y0}:{self.y1}, columns {self.x0}:{self.x1}"


@dataclass(frozen=True, slots=True)
class Tile:
    """One square of the grid: its place in the grid and its window in the scene."""

    row: int
    column: int
    window: Window


@dataclass(frozen=True, slots=True)
class Grid:
    """A height x width scene in tiles of `tile` x `tile` pixels; the last row and column may be smaller."""

    height: int
    width: int
    tile: int

    def __post_init__(self) -> None:
        if self.tile < 1 or self.height < 1 or self.width < 1:
            raise ConfigError(
                f"a grid needs a scene and a tile of at least 1 pixel, got {self.height} x {self.width} "
                f"in tiles of {self.tile}; give --tile a positive number"
            )
        if self.rows * self.columns > MOST_TILES:
            raise ConfigError(
                f"{self.height} x {self.width} pixels in tiles of {self.tile} are {self.rows * self.columns} tiles, "
                f"more than {MOST_TILES}; give a larger --tile"
            )

    @property
    def rows(self) -> int:
        """Number of tile rows."""
        return -(-self.height // self.tile)

    @property
    def columns(self) -> int:
        """Number of tile columns."""
        return -(-self.width // self.tile)

    def spread(self, count: int) -> tuple[int, ...]:
        """Numbers of at most `count` tiles, in even steps from the first to the last."""
        last, count = len(self) - 1, min(count, len(self))
        return tuple(dict.fromkeys(round(n * last / max(1, count - 1)) for n in range(count)))

    def __len__(self) -> int:
        return self.rows * self.columns

    def __getitem__(self, index: int) -> Tile:
        """The tile of this number, counted in raster order."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        row, column = divmod(index, self.columns)
        y0, x0 = row * self.tile, column * self.tile
        window = Window(y0, min(y0 + self.tile, self.height), x0, min(x0 + self.tile, self.width))
        return Tile(row, column, window)

    def __iter__(self) -> Iterator[Tile]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True, slots=True)
class Part(Grid):
    """Some tiles of a grid, counted from 0 in the order of their numbers in the whole."""

    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Tile:
        """The tile of this place in `numbers`; its row, column and window are those it has in the whole grid."""
        return Grid(self.height, self.width, self.tile)[self.numbers[index]]
