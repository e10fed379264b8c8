"""OUT/index.html: all scenes of a folder of outputs on one page, those of earlier runs too."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from pipeline import report
from pipeline.flow.summary import DONE, read_summary
from pipeline.raster.names import natural_key
from pipeline.report.index import HEAD
from pipeline.storage import Place

INDEX = "index.html"
MOST_PICTURES = 3000
"""Scenes whose pictures are looked for, so that memory is bounded: more never fit on the page."""
_LARGEST = 1e300
_READERS = 8
"""Scenes read at once: in an object store each is two requests."""


def write_gallery(out: Place, *, many: bool) -> None:
    """Write the index of the scenes that `out`'s summary names: where there are `many`, or an index has begun.

    A file of this name that is not ours stays.

    Raises:
        OutputError: the index cannot be written, or the summary is none.
    """
    target = out / INDEX
    head = _head(target)
    if not (many or head) or (target.exists() and not report.is_index(head)):
        return
    scenes = read_summary(out)
    names = sorted(scenes, key=lambda name: (natural_key(name), name))
    with ThreadPoolExecutor(_READERS) as pool:
        rows = list(pool.map(lambda n: _row(out / names[n], scenes[names[n]], n < MOST_PICTURES), range(len(names))))
    report.write_index(target, out.resolve().name or "scenes", rows)


def _row(folder: Place, scene: dict[str, Any], pictured: bool) -> report.IndexRow:
    """A scene as its summary and its receipt tell; the receipt is the truth where there is one."""
    receipt = _receipt(folder)
    facts, outputs = _dict(receipt, "facts"), _dict(receipt, "outputs")
    status = str(scene["status"] if scene["status"] == "failed" else receipt.get("status", scene["status"]))
    if status in DONE:
        status = "done" if receipt else "gone"
    failed = status == "failed"
    there = "report.html" in outputs
    failures = receipt.get("failures")
    return report.IndexRow(
        name=folder.name,
        status=status,
        reason=_reason(scene, failures) if failed else "",
        href=f"{quote(folder.name)}/report.html" if there else None,
        thumbnail=_thumbnail(folder, pictured) if there else None,
        raw_bytes=_number(facts.get("raw_bytes")),
        stored_bytes=_number(facts.get("stored_bytes")),
        snr=_snr(facts),
        seconds=_number(receipt.get("seconds")),
        failures=len(failures) if isinstance(failures, list) and not failed else 0,
    )


def _thumbnail(folder: Place, pictured: bool) -> str | None:
    """The picture of a report; empty where it is not looked for."""
    return report.thumbnail_of(_head(folder / "report.html")) if pictured else ""


def _reason(scene: dict[str, Any], failures: Any) -> str:
    """The first failure, and how many more there are."""
    first = _dict(scene, "failure").get("error")
    lines = [str(line) for line in failures] if isinstance(failures, list) else []
    more = f" (and {len(lines) - 1:,} more)" if len(lines) > 1 else ""
    return f"{first or (lines[0] if lines else 'no reason is known')}{more}"


def _snr(facts: dict[str, Any]) -> float | None:
    """JSON has no infinity: an error of 0 tells of it."""
    snr = _number(facts.get("snr"))
    return float("inf") if snr is None and facts.get("rmse") == 0 else snr


def _receipt(folder: Place) -> dict[str, Any]:
    try:
        found = json.loads((folder / "receipt.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _dict(receipt: dict[str, Any], name: str) -> dict[str, Any]:
    found = receipt.get(name)
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float | None:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if real and abs(value) < _LARGEST else None


def _head(path: Place) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""
