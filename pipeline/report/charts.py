"""The report's charts as inline SVG: noise per band, spectra of a pixel, maps of tiles, colour bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup

from pipeline.report.data import Floats, Ints
from pipeline.report.pictures import SEQUENTIAL, finite_or_none, ramp_colour, ramp_picture
from pipeline.report.svg import Element, add, drawing, markup, number, path, short, ticks

NAMED_BANDS = 40
"""More bands than this are drawn without their names, against wavelength where it is known."""

FEW_BANDS = 14
"""Up to so many bands there is room for more than a name: a wavelength, or the name in a small chart."""

NUMBERED_TILES = 400
"""More tiles than this are a picture, without a number in each."""


def noise_chart(
    names: Sequence[str],
    sigma: Floats,
    change: Floats,
    after: Floats | None,
    wavelengths: Sequence[float] | None,
) -> Markup:
    """Bars of noise per band (data units), a dot for the rms of what was taken away, a line for the rest."""
    named = len(names) <= NAMED_BANDS
    bottom = 62.0 if named and not _roomy(names, 100) else 40.0
    width, height, left, top = 900.0, 240.0 + bottom, 62.0, 28.0
    left_over = [None] * len(names) if after is None else finite_or_none(after)
    known = [value for value in (*finite_or_none(sigma), *finite_or_none(change), *left_over) if value is not None]
    high = max(known, default=0.0) * 1.08 or 1.0
    root = drawing(width, height, "Bar chart of noise per band; the table below has its numbers", "wide")
    plot = height - top - bottom

    def y(value: float) -> float:
        return top + plot * (1 - value / high)

    _y_axis(root, ticks(0, high), y, left, width - 8)
    add(root, "text", "noise, standard deviation in data units", x=0, y=12, class_="axis")
    xs, thick = _places(names, None if named else wavelengths, left, width - 8)
    rows = zip(xs, names, finite_or_none(sigma), finite_or_none(change), strict=True)
    for (x, name, noise, removed), rest in zip(rows, left_over, strict=True):
        group = add(root, "g")
        add(group, "title", f"{name}: noise {number(noise)}, removed {number(removed)}, left {number(rest)}")
        if noise is not None:
            add(group, "rect", x=x - thick / 2, y=y(noise), width=thick, height=y(0) - y(noise), class_="bar")
        if rest is not None:
            add(group, "path", d=f"M{x - thick / 2:.2f} {y(rest):.2f}h{thick:.2f}", class_="left")
        if removed is not None:
            add(group, "circle", cx=x, cy=y(removed), r=min(4.0, max(1.8, thick / 3)), class_="dot")
    if named:
        _band_names(root, xs, names, wavelengths, height - bottom, 100)
    else:
        _scale(root, wavelengths, len(names), left, width - 8, height - bottom)
    return markup(root)


def spectrum_chart(
    title: str, before: Floats, after: Floats, names: Sequence[str], wavelengths: Sequence[float] | None
) -> Markup:
    """One pixel's spectrum in data units, before (thin) and after (thick), on a scale of its own."""
    width, height, left, top, bottom = 300.0, 194.0, 46.0, 12.0, 38.0
    values = [value for value in (*finite_or_none(before), *finite_or_none(after)) if value is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    low, high = low - margin, high + margin
    root = drawing(width, height, f"Spectrum of {title}, before and after", "small")

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / (high - low)

    _y_axis(root, ticks(low, high, 5), y, left, width - 6)
    xs, _ = _places(before, wavelengths, left, width - 6)
    order = sorted(range(len(xs)), key=xs.__getitem__)
    for kind, spectrum in (("before", before), ("after", after)):
        ys = [None if value is None else y(value) for value in finite_or_none(spectrum)]
        line = _lifted([xs[i] for i in order], [ys[i] for i in order])
        add(root, "path", d=path(*line), class_=f"line {kind}")
    if wavelengths is None and len(names) <= FEW_BANDS and _roomy(names, 40):
        _band_names(root, xs, names, None, height - bottom, 40)
    else:
        _scale(root, wavelengths, len(xs), left, width - 6, height - bottom)
    return markup(root)


def tile_map(values: Ints, unit: str) -> Markup:
    """(tile row, tile column) as one square per tile, cividis from least to most; negative = empty."""
    rows, columns = values.shape
    low, high = limits(values)
    scaled = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    scaled = np.where(values < 0, np.nan, scaled)
    root = drawing(40 * columns, 40 * rows, f"Map of {unit} per tile, {rows} rows of {columns} tiles", "map")
    if values.size > NUMBERED_TILES:
        step = max(1, -(-max(rows, columns) // 600))
        uri = ramp_picture(scaled[::step, ::step], SEQUENTIAL).uri
        size = {"width": 40 * columns, "height": 40 * rows}
        add(
            root,
            "image",
            href=uri,
            x=0,
            y=0,
            **size,
            preserveAspectRatio="none",
            style="image-rendering:pixelated",
        )
        return markup(root)
    for (row, column), value in np.ndenumerate(values):
        cell = add(root, "g")
        x, y = 40 * column, 40 * row
        if value < 0:
            add(cell, "title", f"row {row}, column {column}: empty")
            add(cell, "rect", x=x + 0.5, y=y + 0.5, width=39, height=39, class_="empty")
            add(cell, "text", "–", x=x + 20, y=y + 24, class_="cell")
            continue
        red, green, blue = ramp_colour(float(scaled[row, column]), SEQUENTIAL)
        ink = "#111" if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else "#fff"
        add(cell, "title", f"row {row}, column {column}: {value:,} {unit}")
        add(cell, "rect", x=x + 0.5, y=y + 0.5, width=39, height=39, fill=f"rgb({red},{green},{blue})")
        add(cell, "text", compact(int(value)), x=x + 20, y=y + 24, class_="cell", style=f"fill:{ink}")
    return markup(root)


def colour_bar(low: str, middle: str, high: str, ramp: tuple[tuple[int, int, int], ...]) -> Markup:
    """A ramp with three labels: least, middle, most."""
    root = drawing(260, 30, f"Colour scale from {low} to {high}", "scale")
    for step in range(52):
        red, green, blue = ramp_colour(step / 51, ramp)
        add(root, "rect", x=5 * step, y=0, width=5.5, height=11, fill=f"rgb({red},{green},{blue})")
    for x, label, anchor in ((0, low, "start"), (130, middle, "middle"), (260, high, "end")):
        add(root, "text", label, x=x, y=25, text_anchor=anchor)
    return markup(root)


def limits(values: Ints) -> tuple[int, int]:
    """Least and greatest of the values that are not negative; (0, 0) where there are none."""
    found = values[values >= 0]
    return (int(found.min()), int(found.max())) if found.size else (0, 0)


def compact(value: int) -> str:
    """A count in at most four characters: 950, 12k, 3.4M."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            part = value / size
            return f"{part:.1f}{letter}" if part < 9.95 else f"{part:.0f}{letter}"
    return str(value)


def _places(
    bands: Sequence[str] | Floats, wavelengths: Sequence[float] | None, left: float, right: float
) -> tuple[list[float], float]:
    """x of each band, and the width of a bar that leaves a gap to its neighbour."""
    count = len(bands)
    where = np.arange(count) if wavelengths is None else np.asarray(wavelengths, np.float64)
    low, high = _span(wavelengths, count)
    xs = left + (right - left) * (np.where(np.isfinite(where), where, low) - low) / (high - low)
    gaps = np.diff(np.sort(xs))
    typical = float(np.median(gaps)) if gaps.size else right - left
    return xs.tolist(), min(56.0, max(1.2, 0.7 * typical))


def _lifted(xs: list[float], ys: list[float | None]) -> tuple[list[float], list[float | None]]:
    """The line with a break wherever bands are missing: no spectrum was measured across an absorption gap."""
    gaps = np.diff(xs)
    wide = {index + 1 for index in np.flatnonzero(gaps > 4 * np.median(gaps))} if len(xs) > NAMED_BANDS else set()
    line_x: list[float] = []
    line_y: list[float | None] = []
    for index, (x, y) in enumerate(zip(xs, ys, strict=True)):
        if index in wide:
            line_x.append(x)
            line_y.append(None)
        line_x.append(x)
        line_y.append(y)
    return line_x, line_y


def _span(wavelengths: Sequence[float] | None, count: int) -> tuple[float, float]:
    """Range of the x axis: half a band of room on both sides."""
    if wavelengths is None or not np.isfinite(wavelengths).any():
        return -0.5, count - 0.5
    low, high = float(np.nanmin(wavelengths)), float(np.nanmax(wavelengths))
    room = (high - low) / (2 * count) or 0.5
    return low - room, high + room


def _y_axis(root: Element, marks: list[float], y: Callable[[float], float], left: float, right: float) -> None:
    for mark in marks:
        at = y(mark)
        add(root, "path", d=f"M{left:.2f} {at:.2f}H{right:.2f}", class_="grid")
        add(root, "text", number(mark, 4), x=left - 6, y=at + 4, text_anchor="end")


def _scale(
    root: Element, wavelengths: Sequence[float] | None, count: int, left: float, right: float, base: float
) -> None:
    """Round numbers along x: nm, or the band's number counted from 1."""
    low, high = _span(wavelengths, count)
    shift = 0 if wavelengths is not None else 1
    for mark in ticks(low + shift, high + shift, 6 if right - left > 400 else 4):
        if shift and mark != int(mark):
            continue
        x = left + (right - left) * (mark - shift - low) / (high - low)
        add(root, "path", d=f"M{x:.2f} {base:.2f}v4", class_="grid")
        add(root, "text", number(mark, 4), x=x, y=base + 17, text_anchor="middle")
    name = "band number" if wavelengths is None else "wavelength, nm"
    add(root, "text", name, x=(left + right) / 2, y=base + 32, text_anchor="middle", class_="axis")


def _roomy(names: Sequence[str], letters: int) -> bool:
    """Whether all names fit side by side into so many letters."""
    return len(names) * max(len(short(name)) for name in names) <= letters


def _band_names(
    root: Element,
    xs: list[float],
    names: Sequence[str],
    wavelengths: Sequence[float] | None,
    base: float,
    letters: int,
) -> None:
    """Each band's name under its place, slanted where `letters` do not hold all names; wavelength below."""
    for index, (x, name) in enumerate(zip(xs, names, strict=True)):
        if _roomy(names, letters):
            add(root, "text", short(name), x=x, y=base + 17, text_anchor="middle")
            if wavelengths is not None and len(names) <= FEW_BANDS:
                nm = f"{number(wavelengths[index], 4)} nm"
                add(root, "text", nm, x=x, y=base + 33, text_anchor="middle", class_="axis")
        else:
            turn = f"rotate(-50 {x:.2f} {base + 14:.2f})"
            add(root, "text", short(name), x=x, y=base + 14, text_anchor="end", transform=turn)
