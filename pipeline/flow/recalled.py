"""What an earlier run found while it made the tiles that are there: its receipt knows, and is about to be replaced."""

from __future__ import annotations

import json
from typing import Any

from pipeline.flow.journal import Plan, configuration_hash
from pipeline.flow.receipts import SceneReceipt
from pipeline.flow.tasks import Receipt
from pipeline.storage import place

_KEPT: dict[str, type] = {"mended": int, "undeclared_fill": str, "mask": dict}
_KEY = "scene_configuration_hash"
"""The store that the facts are of."""


def with_recalled(found: dict[str, Any], plan: Plan, counted: Receipt, receipt: SceneReceipt) -> dict[str, Any]:
    """The facts of a scene's map, those of the run before where tiles were there already and it had the same store."""
    key = configuration_hash(plan.configuration)
    if not counted.resumed:
        return found | {_KEY: key}
    known = _recalled(receipt, key)
    if known is not None:
        return found | known | {_KEY: key}
    # Of the new tiles alone: the run before was stopped, and has told nothing.
    return {name: fact for name, fact in found.items() if name != "mended"} | {_KEY: key}


def _recalled(receipt: SceneReceipt, key: str) -> dict[str, Any] | None:
    try:
        facts = json.loads((place(receipt.folder) / "receipt.json").read_bytes())["facts"]
        if facts[_KEY] != key:
            return None
        return {name: facts[name] for name, kind in _KEPT.items() if type(facts.get(name)) is kind}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
