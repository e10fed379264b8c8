"""The report's clouds of points: what tiles cost against what they keep, and what stages compute for each byte."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.report.data import Rates, Stage
from pipeline.report.svg import Element, add, drawing, markup, number, ticks
from pipeline.report.words import size

MOST_DOTS = 2000
"""More tiles than this are thinned evenly."""

_DECIBELS = 6.0
"""A cloud's axis shows at least so many: or else tiles that all meet one bound would look far apart."""
_WIDTH, _HEIGHT = 460.0, 310.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 22.0, 26.0, 42.0
_STRIP = 30.0
"""Height of the strip for what lost nothing, above the decibels."""
_BYTE_RATES = range(3, 13)
"""Powers of ten of the lines of equal bytes a second: 1 kB/s to 1 TB/s."""

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Roof:
    """A stage as a point: FLOPs for each byte that it reads and writes, FLOPs a second of processor."""

    name: str
    intensity: float
    rate: float

    @property
    def bytes_rate(self) -> float:
        """Bytes that a core asks for in a second."""
        return self.rate / self.intensity


def roofs(stages: Sequence[Stage]) -> list[Roof]:
    """The stages whose FLOPs, bytes and seconds are known."""
    found = []
    for stage in stages:
        moved, seconds = stage.bytes_in + stage.bytes_out, stage.cpu_seconds or stage.seconds
        if stage.flops and moved and seconds > 0:
            found.append(Roof(stage.name, stage.flops / moved, stage.flops / seconds))
    return found


def rate_chart(rates: Rates) -> Markup:
    """A dot for each tile, a ring for the whole store, a line for the bound, a square for the raw values.

    Across: bits for each valid pixel and band, by powers of two. Up: SNR, with a strip for what lost nothing; or the
    error in data units, from 0, where the bound is one of the error.
    """
    by_snr = in_decibels(rates)
    root = drawing(_WIDTH, _HEIGHT, "Bits of each tile against what it keeps; the text tells of it", "cloud")
    x, y = _bits_axis(root, rates), _kept_axis(root, rates, by_snr)
    if rates.value is not None:
        at = y(rates.value)
        add(root, "path", d=f"M{_LEFT:.2f} {at:.2f}H{_WIDTH - _RIGHT:.2f}", class_="bound")
        add(root, "text", "bound", x=_WIDTH - _RIGHT, y=at + (14 if by_snr else -5), text_anchor="end")
    kept = rates.snr if by_snr else rates.rmse
    step = max(1, -(-len(kept) // MOST_DOTS))
    for bits, value in zip(rates.bits[::step].tolist(), kept[::step].tolist(), strict=True):
        if not math.isnan(value):
            add(root, "circle", cx=x(bits), cy=y(value), r=2.8, class_="tile")
    raw_x, raw_y = x(rates.raw_bits), y(math.inf if by_snr else 0.0)
    add(root, "rect", x=raw_x - 5, y=raw_y - 5, width=10, height=10, class_="raw")
    add(root, "text", "raw", x=raw_x - 10, y=raw_y + (4 if by_snr else -6), text_anchor="end")
    value = rates.whole[1 if by_snr else 2]
    if not math.isnan(value):
        add(root, "circle", cx=x(rates.whole[0]), cy=y(value), r=7, class_="whole")
    return markup(root)


def roof_chart(points: Sequence[Roof]) -> Markup:
    """FLOPs a second of a core against FLOPs for each byte, by powers of ten, with lines of equal bytes a second.

    Source: Williams, Waterman, Patterson 2009. The roofs themselves are not drawn: nobody measured this machine's.
    """
    root = drawing(
        _WIDTH, _HEIGHT, "Arithmetic rate of each stage against its intensity; the table has the numbers", "cloud"
    )
    low_x, high_x = _decades([point.intensity for point in points])
    low_y, high_y = _decades([point.rate / 1e9 for point in points])
    base = _HEIGHT - _BOTTOM

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log10(value) - low_x) / (high_x - low_x)

    def y(value: float) -> float:
        return base - (base - _TOP) * (math.log10(value) - low_y) / (high_y - low_y)

    for power in range(low_x, high_x + 1):
        _mark_x(root, x(10.0**power), number(10.0**power))
    for power in range(low_y, high_y + 1):
        _mark_y(root, y(10.0**power), number(10.0**power))
    for power in _BYTE_RATES:
        _byte_line(root, x, y, power - 9, f"{size(10.0**power)}/s", (low_x, high_x, low_y, high_y))
    _axis_names(root, "FLOP for each byte read and written", "GFLOP in a second of a core")
    for point in points:
        at, up = x(point.intensity), y(point.rate / 1e9)
        left = at > _WIDTH - 130
        add(root, "circle", cx=at, cy=up, r=5, class_="dot")
        anchor = "end" if left else "start"
        add(root, "text", point.name, x=at + (-10 if left else 10), y=up + 4, text_anchor=anchor, class_="name")
    return markup(root)


def in_decibels(rates: Rates) -> bool:
    """Whether what is kept is told by its SNR, not by its error."""
    return rates.mode not in ("rmse", "max_error")


def _bits_axis(root: Element, rates: Rates) -> Scale:
    """Powers of two from the cheapest tile's to a little more than the raw values'."""
    low = max(-10, math.floor(math.log2(float(rates.bits.min()))))
    high = math.log2(max(float(rates.bits.max()), float(rates.raw_bits))) + 0.25

    def x(bits: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log2(max(bits, 2.0**low)) - low) / (high - low)

    for power in range(low, math.floor(high) + 1):
        _mark_x(root, x(2.0**power), number(2.0**power))
    return x


def _kept_axis(root: Element, rates: Rates, by_snr: bool) -> Scale:
    """Decibels under a strip for what lost nothing; or the error from 0."""
    top, base = _TOP + (_STRIP if by_snr else 0.0), _HEIGHT - _BOTTOM
    low, high = _kept_span(rates, by_snr)

    def y(value: float) -> float:
        return _TOP + 10 if math.isinf(value) else top + (base - top) * (high - value) / (high - low)

    for mark in ticks(low, high):
        _mark_y(root, y(mark), number(mark, 4))
    if by_snr:
        _mark_y(root, y(math.inf), "no loss")
    _axis_names(root, "bits for each valid pixel and band", "SNR, dB" if by_snr else "error (rms), data units")
    return y


def _kept_span(rates: Rates, by_snr: bool) -> tuple[float, float]:
    values = [*(rates.snr if by_snr else rates.rmse).tolist(), rates.whole[1 if by_snr else 2]]
    known = [value for value in values if math.isfinite(value)] + ([] if rates.value is None else [rates.value])
    if not by_snr:
        return 0.0, 1.12 * max(known, default=0.0) or 1.0
    low, high = min(known, default=0.0), max(known, default=0.0)
    room = max(0.1 * (high - low), (_DECIBELS - high + low) / 2)
    return low - room, high + room


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Powers of ten around the values, with a fifth of a decade of room; two of them or more."""
    logs = [math.log10(value) for value in values]
    low, high = math.floor(min(logs) - 0.2), math.ceil(max(logs) + 0.2)
    return (low, high) if high > low + 1 else (low - (max(logs) < low + 0.5), high + (max(logs) >= low + 0.5))


def _byte_line(root: Element, x: Scale, y: Scale, power: float, label: str, ends: tuple[int, int, int, int]) -> None:
    """All points of one byte rate, 10^power GB a second: rate = intensity times it."""
    low_x, high_x, low_y, high_y = ends
    first, last = max(low_x, low_y - power), min(high_x, high_y - power)
    if last - first < 0.3:
        return
    start, end = (10.0**first, 10.0 ** (first + power)), (10.0**last, 10.0 ** (last + power))
    line = f"M{x(start[0]):.2f} {y(start[1]):.2f}L{x(end[0]):.2f} {y(end[1]):.2f}"
    add(root, "path", d=line, class_="slant")
    right = last == high_x
    add(
        root,
        "text",
        label,
        x=x(end[0]) - (4 if right else 0),
        y=y(end[1]) + (14 if right else 11),
        text_anchor="end",
        class_="faint",
    )


def _mark_x(root: Element, x: float, text: str) -> None:
    base = _HEIGHT - _BOTTOM
    add(root, "path", d=f"M{x:.2f} {base:.2f}v4", class_="grid")
    add(root, "text", text, x=x, y=base + 17, text_anchor="middle")


def _mark_y(root: Element, y: float, text: str) -> None:
    add(root, "path", d=f"M{_LEFT:.2f} {y:.2f}H{_WIDTH - _RIGHT:.2f}", class_="grid")
    add(root, "text", text, x=_LEFT - 6, y=y + 4, text_anchor="end")


def _axis_names(root: Element, across: str, up: str) -> None:
    add(root, "text", up, x=0, y=12, class_="axis")
    add(root, "text", across, x=(_LEFT + _WIDTH - _RIGHT) / 2, y=_HEIGHT - 6, text_anchor="middle", class_="axis")
