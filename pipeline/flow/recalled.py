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
    return found | (_recalled(receipt, key) if counted.resumed else {}) | {_KEY: key}


def _recalled(receipt: SceneReceipt, key: str) -> dict[str, Any]:
    try:
        facts = json.loads((place(receipt.folder) / "receipt.json").read_bytes())["facts"]
        if facts[_KEY] != key:
            return {}
        return {name: facts[name] for name, kind in _KEPT.items() if type(facts.get(name)) is kind}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
