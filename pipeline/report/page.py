"""The report of one scene: one self-contained HTML file, the same bytes for the same data."""

from __future__ import annotations

import os
from typing import Any

import jinja2
import numpy as np

from pipeline.bands import Composite, Triple, composites
from pipeline.errors import OutputError
from pipeline.report import charts, pictures, scatter, sentences, words
from pipeline.report.data import F32, ReportData
from pipeline.report.svg import number
from pipeline.storage import ObjectPath, Place, place, put_whole

_SEEN = 4
"""Every so many rows and columns are looked at to choose a date."""


def render(data: ReportData) -> str:
    """The whole page as HTML. Text from files (names, paths, messages) is escaped, here and in the charts."""
    total = sum(stage.seconds for stage in data.stages)
    return template("report.html.j2").render(
        thumbnail=_thumbnail(data),
        data=data,
        figures=words.key_figures(data),
        plates=_plates(data),
        detail=_detail(data),
        residual=_residual(data),
        noise=_noise(data),
        storage=_storage(data),
        spectra=_spectra(data),
        features=_features(data),
        stages=[words.stage_row(stage, total) for stage in data.stages],
        has_flops=any(stage.flops for stage in data.stages),
        roofs=_roofs(data),
        history=words.history_rows(data.history, data.command),
        source=words.source_rows(data.source, data.step),
        options=words.option_rows(data.options),
        versions=sorted(data.versions.items()),
    )


def template(name: str) -> jinja2.Template:
    """A page's template; whatever is put into it is escaped."""
    loader = jinja2.PackageLoader("pipeline.report", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def write_report(path: str | os.PathLike[str] | ObjectPath, data: ReportData) -> None:
    """Render `data` to `path`: a temporary name first, then renamed, so that no half page is ever seen there.

    Raises OutputError when the file cannot be written; nothing is left behind then.
    """
    write_page(place(path), render(data), "the report")


def write_page(target: Place, html: str, what: str) -> None:
    """Write a page whole or not at all.

    Raises OutputError when it cannot be written; nothing is left behind then.
    """
    # A file name that is no UTF-8 arrives with surrogates, which must not break the page.
    page = html.encode("utf-8", errors="replace")
    try:
        put_whole(target, page)
    except OSError as error:
        raise OutputError(f"{target}: {what} cannot be written: {error.strerror}; free the path or the disk") from error


def _composites(data: ReportData) -> list[Composite]:
    """The pictures; of dates those of the one of which most is seen."""
    shares = np.isfinite(data.before[:, ::_SEEN, ::_SEEN]).mean(axis=(1, 2)).tolist()
    return composites(data.band_names, data.wavelengths, data.rgb, shares)


def _thumbnail(data: ReportData) -> str:
    """The main picture of what is stored, as the index of many scenes shows it."""
    chosen = list(_composites(data)[0].bands)
    after = pictures.thin(data.after[chosen])
    return pictures.thumbnail(pictures.stretch(after, pictures.stretch_limits(after)))


def _plates(data: ReportData) -> list[dict[str, Any]]:
    """One before/after pair per composite."""
    shown = _composites(data)
    before, after = pictures.thin(data.before), pictures.thin(data.after)
    return [_plate(composite.label, composite.bands, data, before, after) for composite in shown]


def _detail(data: ReportData) -> dict[str, Any] | None:
    if data.detail is None:
        return None
    bands = _composites(data)[0].bands
    rows, columns = data.detail.before.shape[1:]
    y0, x0 = data.detail.y0, data.detail.x0
    plate = _plate("Detail", bands, data, data.detail.before, data.detail.after)
    place = f"every pixel of rows {y0:,}–{y0 + rows - 1:,}, columns {x0:,}–{x0 + columns - 1:,}"
    return plate | {"place": place, "sharp": True}


def _plate(label: str, bands: Triple, data: ReportData, before: F32, after: F32) -> dict[str, Any]:
    chosen = list(bands)
    limits = pictures.stretch_limits(before[chosen])
    old = pictures.rgb_picture(pictures.stretch(before[chosen], limits))
    new = pictures.rgb_picture(pictures.stretch(after[chosen], limits))
    names = " / ".join(data.band_names[band] for band in dict.fromkeys(bands))
    sharp = max(old.width, old.height) < 200
    return {"label": label, "bands": names, "before": old, "after": new, "place": "", "sharp": sharp}


def _residual(data: ReportData) -> dict[str, Any]:
    """What was taken away, in the first band of the main picture, at the detail's or the picture's pixels."""
    band = _composites(data)[0].bands[0]
    before, after = pictures.thin(data.before[band]), pictures.thin(data.after[band])
    scaled, limit = pictures.difference(before, after)
    bar = charts.colour_bar(f"−{number(limit)}", "0", f"+{number(limit)}", pictures.DIVERGING)
    picture = pictures.ramp_picture(scaled, pictures.DIVERGING)
    return {"band": data.band_names[band], "picture": picture, "bar": bar, "none": limit == 0}


def _noise(data: ReportData) -> dict[str, Any] | None:
    noise = data.noise
    if noise is None:
        return None
    change = pictures.change_rms(data.before, data.after)
    rows = []
    for band, name in enumerate(data.band_names):
        sigma, spread = float(noise.sigma[band]), float(noise.std[band])
        quiet = spread > 0 and sigma > 0
        rows.append(
            {
                "name": name,
                "nm": "" if data.wavelengths is None else number(data.wavelengths[band], 5),
                "mean": _cell(noise.mean[band], 4),
                "std": _cell(spread, 4),
                "sigma": _cell(sigma),
                "share": f"{_cell(100 * sigma / spread)} %" if quiet else "–",
                "snr": words.decibels(20 * float(np.log10(spread / sigma))) if quiet else "–",
                "change": _cell(change[band]),
                "storing": "" if noise.stored_error is None else _cell(noise.stored_error[band]),
                "after": "" if noise.sigma_after is None else _cell(noise.sigma_after[band]),
            }
        )
    chart = charts.noise_chart(data.band_names, noise.sigma, change, noise.sigma_after, data.wavelengths)
    return {"chart": chart, "rows": rows, "left": noise.sigma_after is not None}


def _roofs(data: ReportData) -> dict[str, Any] | None:
    points = scatter.roofs(data.stages)
    if not points:
        return None
    return {"chart": scatter.roof_chart(points), "sentences": sentences.about_roofs(data.stages)}


def _cell(value: float, digits: int = 3) -> str:
    """A number of a table's column, its zeros kept."""
    return number(float(value), digits, trim=False)


def _storage(data: ReportData) -> dict[str, Any] | None:
    storage = data.storage
    if storage is None:
        return None
    maps = []
    for values, unit in ((storage.rank_map, "components"), (storage.tile_bytes, "bytes")):
        if values is not None:
            low, high = charts.limits(values)
            bar = charts.colour_bar(f"{low:,}", "", f"{high:,} {unit}", pictures.SEQUENTIAL)
            maps.append({"unit": unit, "map": charts.tile_map(values, unit), "bar": bar, "shape": values.shape})
    bands, height, width = data.source.shape
    bits = 8 * storage.stored_bytes / max(1, bands * height * width)
    rows = [
        ("Raw", words.size(storage.raw_bytes)),
        ("Stored", words.size(storage.stored_bytes)),
        ("Ratio", words.ratio(storage.raw_bytes, storage.stored_bytes)),
        ("Bits per pixel and band, missing ones too", number(bits)),
        ("Bound asked for", storage.requested or "none"),
        ("SNR reached", words.decibels(storage.snr)),
        ("RMSE reached", "–" if storage.rmse is None else f"{number(storage.rmse)} data units"),
    ]
    cloud = None
    if storage.rates is not None:
        cloud = {
            "chart": scatter.rate_chart(storage.rates),
            "sentences": sentences.about_rates(storage.rates, data.noise),
        }
    return {"rows": rows, "maps": maps, "cloud": cloud}


def _spectra(data: ReportData) -> dict[str, Any]:
    """Spectra of a few unlike pixels, and a small map of where they are."""
    places = pictures.choose_pixels(data.after)
    shown = []
    for index, (y, x) in enumerate(places, start=1):
        title = f"pixel {index}, row {y * data.step:,}, column {x * data.step:,}"
        old, new = data.before[:, y, x], data.after[:, y, x]
        chart = charts.spectrum_chart(title, old, new, data.band_names, data.wavelengths)
        shown.append({"index": index, "title": title, "chart": chart})
    height, width = data.after.shape[1:]
    bands = list(_composites(data)[0].bands)
    step = max(1, -(-max(height, width) // 220))
    small = data.after[bands, ::step, ::step]
    picture = pictures.rgb_picture(pictures.stretch(small, pictures.stretch_limits(small)))
    dots = [
        {"index": i + 1, "x": 100 * (x + 0.5) / width, "y": 100 * (y + 0.5) / height} for i, (y, x) in enumerate(places)
    ]
    return {"charts": shown, "picture": picture, "dots": dots}


def _features(data: ReportData) -> dict[str, Any] | None:
    if data.features is None:
        return None
    components, share = pictures.principal_components(pictures.thin(data.features.sample))
    there = np.isfinite(components[0])
    picture = pictures.palette_picture(pictures.stretch(components, pictures.stretch_limits(components)))
    count = data.features.count if data.features.count is not None else len(data.features.sample)
    shares = ", ".join(f"{100 * part:.1f} %" for part in share)
    return {"picture": picture, "count": f"{count:,}", "bank": data.features.bank, "shares": shares} | {
        "there": bool(there.any()),
        "missing": f"{100 * (1 - there.mean()):.1f} %" if not there.all() else "",
    }
