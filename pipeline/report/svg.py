"""The pen of the charts: an SVG as an element tree, so that every name is escaped by construction."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from markupsafe import Markup

Element = ElementTree.Element


def drawing(width: float, height: float, label: str, kind: str) -> Element:
    """An empty drawing of width x height units; `label` is what a screen reader says of it."""
    box = f"0 0 {_text(width)} {_text(height)}"
    return Element("svg", {"viewBox": box, "role": "img", "aria-label": label, "class": kind})


def add(parent: Element, tag: str, text: str = "", **attributes: float | str) -> Element:
    """Add <tag> to parent; `_` in a name stands for `-`, and a last `_` is dropped (class_)."""
    named = {name.rstrip("_").replace("_", "-"): _text(value) for name, value in attributes.items()}
    child = ElementTree.SubElement(parent, tag, named)
    if text:
        child.text = text
    return child


def markup(root: Element) -> Markup:
    """The drawing as HTML that needs no further escaping."""
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def path(xs: list[float], ys: list[float | None]) -> str:
    """A polyline's `d`, lifted where y is None; a point between two gaps becomes a dot of no length."""
    parts: list[str] = []
    down = False
    for x, y in zip(xs, ys, strict=True):
        if y is not None:
            parts.append(f"{'L' if down else 'M'}{_text(x)} {_text(y)}" + ("" if down else "h0"))
        down = y is not None
    return "".join(parts)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten) within low..high."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
    return [index * size for index in range(first, last + 1)]


def number(value: float | None, digits: int = 3, trim: bool = True) -> str:
    """A number of so many significant digits plain if short, trailing zeros trimmed; a dash for None, NaN."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    power = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded value: 0.9996 is 1.00
    if not -4 <= power < 7:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    text = f"{value:.{max(0, digits - 1 - power)}f}"
    if trim and "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")


def short(name: str, longest: int = 10) -> str:
    """A name cut in the middle to so many characters, for an axis: names differ at their ends."""
    if len(name) <= longest:
        return name
    head = (longest - 1) // 2
    return f"{name[:head]}…{name[head + 1 - longest :]}"


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}".rstrip("0").rstrip(".")
