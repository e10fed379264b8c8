"""What a chunk promises about its error: the mode and its value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

from pipeline.errors import ConfigError

Mode = Literal["lossless", "snr", "rmse", "max_error"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Bound:
    """The promise of one chunk, over its valid elements as they are decoded (rounded and clipped to the dtype).

    snr        10·log10(Σx² / Σe²) >= value, in decibels of the raw values (their mean counts as signal)
    rmse       √(Σe² / count) <= value, in data units
    max_error  |e| <= value for every element, in data units
    lossless   e = 0; value is None

    Raises ConfigError for an unknown mode or a value that means nothing.
    """

    mode: Mode
    value: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"unknown bound {self.mode!r}; say one of {', '.join(MODES)}")
        if self.mode == "lossless":
            if self.value is not None:
                raise ConfigError(f"a lossless bound takes no value, got {self.value!r}; leave it out")
            return
        value = _number(self.value)
        if not math.isfinite(value):
            raise ConfigError(f"a bound of {self.mode} needs a finite number, got {' '.join(repr(self.value).split())}")
        if self.mode != "snr" and value < 0:
            raise ConfigError(f"a bound of {self.mode} cannot be negative, got {self.value!r}")
        object.__setattr__(self, "value", value)

    def __str__(self) -> str:
        if self.value is None:
            return self.mode
        return f"{self.mode} {self.value:g}{' dB' if self.mode == 'snr' else ''}"


def _number(value: Any) -> float:
    """A real number of any kind, or an array of one without axes, as a float; NaN for what is none."""
    if hasattr(value, "item") and not getattr(value, "shape", ()):
        value = value.item()
    try:
        return math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:
        return math.nan
