"""The runs that worked on the outputs of one scene, as their receipt remembers them: a line each, the last KEPT."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from pipeline.storage import Place

KEPT = 50
"""Runs that a receipt names, the present one among them."""

_KINDS: dict[str, type | tuple[type, ...]] = {
    "started": str,
    "command": str,
    "status": str,
    "computed": int,
    "found": int,
    "failures": int,
    "seconds": (int, float),
}


def now() -> str:
    """The present in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def earlier_runs(receipt: Place) -> list[dict[str, Any]]:
    """The history of a receipt.json, oldest run first, without what is too old or no run of ours."""
    try:
        runs = json.loads(receipt.read_text("utf-8"))["history"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    if not isinstance(runs, list):
        return []
    return [{name: run[name] for name in _KINDS} for run in runs if _is_run(run)][1 - KEPT :]


def _is_run(run: Any) -> bool:
    if not isinstance(run, dict) or not all(isinstance(run.get(name), kind) for name, kind in _KINDS.items()):
        return False
    return math.isfinite(run["seconds"])
