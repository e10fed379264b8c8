"""What a rival made of a block, and the search for its coarsest step that keeps a bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import Bound

Block = NDArray[Any]
F64 = NDArray[np.float64]

# A search ends within this of the bound, in octaves of the step: 0.003 dB, 0.0005 bits a sample.
CLOSE = 5e-4
# The same where the rest is not lost: while something else is sought, or where the next band may spend it.
ROUGH = 2e-3
ROUNDS = 10
# No guess moves further than this at once, in octaves, nor by a slope outside of these.
STRIDE = 3.0
SLOPES = (0.1, 2.0)


@dataclass(frozen=True)
class Coded:
    """A block as one rival stores it."""

    nbytes: int
    """All that the decoder needs."""
    decoded: Block
    """As `block`: its shape, rounded and clipped to its dtype."""
    setting: str
    encode: Callable[[], object]
    """Codes the block again at the setting found, from the raw values."""
    decode: Callable[[], Block]
    step: float = 0.0
    """log2 of the step, where one was searched."""


def rounded(values: NDArray[Any], like: Block) -> Block:
    """`values` in the integer dtype of `like`."""
    info = np.iinfo(like.dtype)
    return np.clip(np.rint(values), info.min, info.max).astype(like.dtype)


def squared_error(block: Block, decoded: Block) -> float:
    """Mean of e² over all elements, in data units squared."""
    return float(np.mean((decoded.astype(np.float64) - block) ** 2))


def allowed_error(block: Block, bound: Bound) -> float:
    """The mean squared error that an snr bound leaves."""
    assert bound.mode == "snr"
    assert bound.value is not None
    return float(np.mean(block.astype(np.float64) ** 2)) / 10 ** (bound.value / 10)


def keeps(block: Block, decoded: Block, bound: Bound) -> bool:
    """Whether every promise of the bound holds for these values."""
    if bound.mode == "snr":
        return squared_error(block, decoded) <= allowed_error(block, bound) * (1 + 1e-9)
    return int(np.abs(decoded.astype(np.int64) - block).max()) <= (bound.value or 0)


def fewest(tried: list[Coded]) -> Coded | None:
    """The smallest of them, if there is one."""
    return min(tried, key=lambda one: one.nbytes, default=None)


def coarsest(
    attempt: Callable[[float], Coded],
    block: Block,
    allowed: float,
    start: float,
    limits: tuple[float, float] = (-math.inf, math.inf),
    close: float = CLOSE,
) -> Coded | None:
    """The fewest bytes found whose mean squared error is at most `allowed`; None if every attempt missed it.

    attempt: of log2 of a step; the error goes about as the step squared. A step of slope one first, then secants,
    then false position between the nearest on either side, halfway from the sixth guess on: rivals' errors leap.
    It ends within `close` octaves of the bound.
    """
    best: Coded | None = None
    seen: list[tuple[float, float]] = []
    at = min(max(start, limits[0]), limits[1])
    for _ in range(ROUNDS):
        coded = attempt(at)
        gap = 0.5 * math.log2(max(squared_error(block, coded.decoded), 1e-12) / allowed)
        seen.append((at, gap))
        if gap <= 0 and (best is None or coded.nbytes < best.nbytes):
            best = coded
        at = min(max(_guess(seen), limits[0]), limits[1])
        if -close <= gap <= 0 or any(abs(at - past) < 1e-6 for past, _ in seen):
            break
    return best


def _guess(seen: list[tuple[float, float]]) -> float:
    """Where the gap should be just below 0, of the (place, gap) seen so far."""
    at, gap = seen[-1]
    kept, missed = [one for one in seen if one[1] <= 0], [one for one in seen if one[1] > 0]
    if kept and missed:
        low, high = max(kept, key=lambda one: one[1]), min(missed, key=lambda one: one[1])
        share = (-CLOSE / 2 - low[1]) / (high[1] - low[1])
        if len(seen) > 5 and high[1] - low[1] > 8 * CLOSE:
            share = 0.5
        return low[0] + (high[0] - low[0]) * min(max(share, 0.02), 0.98)
    slope = 1.0
    if len(seen) > 1:
        before = seen[-2]
        slope = min(max((gap - before[1]) / (at - before[0]), SLOPES[0]), SLOPES[1])
    return at - min(max((gap + CLOSE / 2) / slope, -STRIDE), STRIDE)
