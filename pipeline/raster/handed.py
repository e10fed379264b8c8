"""The windows that a raster is written of, as they are handed over, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Window
from pipeline.raster.cog_options import BLOCK

Piece = tuple[Window, NDArray[Any], NDArray[np.bool_] | None]
"""A window, its block (band, y, x), and valid (y, x), None for all valid."""
Windows = Iterable[Piece]


def with_block(windows: Windows, block: int) -> tuple[Windows, int]:
    """The same windows, and a side of blocks that none of them cuts where they are squares; else the given one."""
    rest = iter(windows)
    first = next(rest, None)
    if first is None:
        return rest, block
    height, width = first[0].shape
    whole = height == width <= BLOCK and width % 16 == 0
    held = [first]
    del first
    return _again(held, rest), width if whole else block


def _again(held: list[Piece], rest: Iterator[Piece]) -> Iterator[Piece]:
    """What was taken off an iterator, and the rest; nothing is held once it was given, as `chain` does."""
    yield held.pop()
    yield from rest
