"""What the clouds of points mean, in sentences made of their own figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.report.data import Noise, Rates, Stage
from pipeline.report.scatter import Roof, roofs
from pipeline.report.svg import number
from pipeline.report.words import decibels, size

_KEPT = {
    "snr": "Each tile keeps the bound by itself: no dot lies below the line.",
    "rmse": "Each tile keeps the bound by itself: no dot lies above the line.",
    "max_error": "The line is the largest error of any value; the root mean square of a tile's errors lies below it.",
    "lossless": "Nothing was lost: tiles differ in their bits alone.",
}


def about_rates(rates: Rates, noise: Noise | None) -> list[str]:
    """What the store costs, what it keeps, and how its error compares with the noise that was in the scene."""
    bits, snr, rmse = rates.whole
    share = number(100 * bits / rates.raw_bits)
    kept = "without loss" if rmse == 0 else f"at {decibels(snr)}, an error of {number(rmse)} data units (rms)"
    found = [
        f"A dot is a tile, the ring all of them: {number(bits)} of the raw {rates.raw_bits} bits "
        f"of a valid pixel ({share}\u00a0%), {kept}.",
    ]
    if rates.mode in _KEPT:
        found.append(_KEPT[rates.mode])
    found.append("Tiles to the right hold more that cannot be foretold from its surroundings, and so take more bits.")
    level = _level(noise)
    if level and rmse > 0:
        found.append(
            f"Storing added {number(rmse / level)} times the noise that was found in the raw scene "
            f"({number(level)} data units, rms over the bands)."
        )
    return found


def about_roofs(stages: Sequence[Stage]) -> list[tuple[str, str]]:
    """(stage, words) of each stage that multiplies: how many bytes a core asks for, and whether it had to wait."""
    by_name = {stage.name: stage for stage in stages}
    return [(point.name, _about_roof(point, by_name[point.name])) for point in roofs(stages)]


def _about_roof(point: Roof, stage: Stage) -> str:
    told = (
        f"{number(point.intensity)} FLOP for each byte, {number(point.rate / 1e9)} GFLOP in a second of "
        f"a core. A core asks for {size(point.bytes_rate)}/s: arithmetic is the limit unless bytes come slower."
    )
    if not stage.cpu_seconds or not stage.seconds:
        return told
    share = min(1.0, stage.cpu_seconds / stage.seconds)
    waited = "" if share > 0.95 else "; it waited for bytes or for a free core in the rest"
    return f"{told} It computed in {number(100 * share)} % of its busy time{waited}."


def _level(noise: Noise | None) -> float | None:
    """Noise of the raw scene, root mean square over the bands."""
    if noise is None:
        return None
    level = math.sqrt(float(np.mean(np.square(noise.sigma))))
    return level if math.isfinite(level) and level > 0 else None
