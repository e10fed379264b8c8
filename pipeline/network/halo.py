"""Receptive fields by walking backwards: outputs [a, b] of a stage need its inputs [a·s − p, b·s − p + (k − 1)·d].

One axis at a time; a square network has the same walk on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Stage(NamedTuple):
    """A convolution or a pool along one axis; `before` is the padding before it (negative: inputs passed over)."""

    size: int
    stride: int = 1
    before: int = 0
    dilation: int = 1


def needed(stages: Sequence[Stage], first: int, last: int) -> tuple[int, int]:
    """The input pixels [low, high], both inclusive, that outputs [first, last] of the stages are made of."""
    for stage in reversed(stages):
        first = first * stage.stride - stage.before
        last = last * stage.stride - stage.before + (stage.size - 1) * stage.dilation
    return first, last


def reach(stages: Sequence[Stage], cell: int) -> tuple[int, int]:
    """Pixels (before, after) that an output needs beyond its own cell of `cell` pixels; never negative."""
    low, high = needed(stages, 0, 0)
    return max(0, -low), max(0, high - (cell - 1))


def centred(size: int, cell: int) -> Stage:
    """A pool of `size` in the middle of each cell of `cell` pixels: from i·cell + (cell − size) // 2 on."""
    return Stage(size, cell, -((cell - size) // 2))


def mirrored(low: int, high: int, length: int) -> NDArray[np.intp]:
    """Pixels [low, high] of a scene continued by symmetric reflection: indices in [0, length), NumPy's "symmetric"."""
    places = np.arange(low, high + 1, dtype=np.intp) % (2 * length)
    return np.minimum(places, 2 * length - 1 - places)
