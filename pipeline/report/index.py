"""The index of many scenes: one self-contained page, a line for each, failures first, with links to the reports."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report import words
from pipeline.report.page import template, write_page
from pipeline.report.svg import number
from pipeline.storage import Place

THUMBNAILS_BYTES = 19_000_000
"""All thumbnails of an index together; scenes beyond that go without, so that a browser can hold the page."""

HEAD = 1 << 15
"""Bytes of a report that its thumbnail is found in."""

_THUMBNAIL = re.compile(rb'<meta name="thumbnail" content="(data:image/jpeg;base64,[A-Za-z0-9+/]+=*)">')
_OURS = b'<meta name="generator" content="terrasketch index">'
_ORDER = ("failed", "interrupted", "gone", "waiting", "done")


@dataclass(frozen=True)
class IndexRow:
    """One scene of the index; None where nothing is known."""

    name: str
    status: str
    """failed, interrupted, gone, waiting or done."""
    reason: str = ""
    """Why it failed."""
    href: str | None = None
    """Of its report, relative to the index."""
    thumbnail: str | None = None
    """A data URI; empty where there may be one that is left out."""
    raw_bytes: float | None = None
    stored_bytes: float | None = None
    snr: float | None = None
    """dB; infinite where nothing was lost."""
    seconds: float | None = None
    failures: int = 0
    """Of its parts, where it did not fail as a whole."""


def render_index(title: str, rows: Sequence[IndexRow]) -> str:
    """The page as HTML: `rows` in their order, but what failed first. The same rows give the same bytes."""
    ordered = sorted(rows, key=lambda row: _ORDER.index(row.status) if row.status in _ORDER else len(_ORDER))
    left, shown = THUMBNAILS_BYTES, []
    for order, row in enumerate(ordered):
        picture = row.thumbnail if row.thumbnail and len(row.thumbnail) <= left else None
        left -= len(picture or "")
        shown.append(_line(order, row, picture))
    without = sum(row.thumbnail is not None for row in ordered) - sum(line["thumbnail"] is not None for line in shown)
    pictured = any(line["thumbnail"] for line in shown)
    return template("index.html.j2").render(
        title=title, rows=shown, figures=_figures(rows), without=without, pictured=pictured
    )


def write_index(target: Place, title: str, rows: Sequence[IndexRow]) -> None:
    """Write the page whole or not at all. Raises OutputError when it cannot be written."""
    write_page(target, render_index(title, rows), "the index")


def is_index(head: bytes) -> bool:
    """Whether a file that begins so is an index of ours."""
    return _OURS in head[:1000]


def thumbnail_of(head: bytes) -> str | None:
    """The thumbnail of a report that begins so."""
    found = _THUMBNAIL.search(head)
    return found[1].decode("ascii") if found else None


def _figures(rows: Sequence[IndexRow]) -> list[tuple[str, str, str]]:
    """The header's figures: (what, figure, remark)."""
    counts = [(status, sum(row.status == status for row in rows)) for status in _ORDER]
    told = ", ".join(f"{count:,} {status}" for status, count in counts if count)
    figures = [("Scenes", f"{len(rows):,}", told)]
    sized = [(row.raw_bytes, row.stored_bytes) for row in rows if row.raw_bytes and row.stored_bytes]
    if sized:
        raw, stored = (sum(sizes) for sizes in zip(*sized, strict=True))
        figures.append(("Compression", f"{raw / stored:,.1f}×", f"{words.size(raw)} raw, {words.size(stored)} stored"))
    noisy = [row.snr for row in rows if row.snr is not None and not math.isnan(row.snr)]
    if noisy:
        figures.append(("Signal to noise", words.decibels(statistics.median(noisy)), "median of the scenes"))
    spent = [row.seconds for row in rows if row.seconds is not None]
    if spent:
        remark = "of the last runs, summed over the scenes, rasters and reports too"
        figures.append(("Time", words.duration(sum(spent)), remark))
    return figures


def _line(order: int, row: IndexRow, thumbnail: str | None) -> dict[str, Any]:
    """A row as the table shows it, each figure with the number that it is sorted by."""
    ratio = row.raw_bytes / row.stored_bytes if row.raw_bytes and row.stored_bytes else None
    failures = f"{row.failures:,} failure{'s' * (row.failures != 1)}" if row.failures else ""
    return {
        "order": order,
        "name": row.name,
        "status": row.status,
        "rank": _ORDER.index(row.status) if row.status in _ORDER else len(_ORDER),
        "reason": row.reason or failures,
        "href": row.href,
        "thumbnail": thumbnail,
        "figures": [
            _figure(ratio, "" if ratio is None else f"{ratio:,.1f}×"),
            _figure(row.snr, words.decibels(row.snr)),
            _figure(row.raw_bytes, "" if row.raw_bytes is None else words.size(row.raw_bytes)),
            _figure(row.stored_bytes, "" if row.stored_bytes is None else words.size(row.stored_bytes)),
            _figure(row.seconds, "" if row.seconds is None else words.duration(row.seconds)),
        ],
    }


def _figure(value: float | None, text: str) -> dict[str, str]:
    """A figure and the number that JavaScript reads of it."""
    if value is None or math.isnan(value):
        return {"value": "", "text": "–"}
    return {"value": "Infinity" if value == math.inf else repr(float(value)), "text": text or number(value)}
