"""What an earlier run found while it made the tiles that are there: its receipt knows, and is about to be replaced."""

from __future__ import annotations

from typing import Any

from pipeline.flow.journal import Plan, configuration_hash
from pipeline.flow.receipts import SceneReceipt
from pipeline.flow.tasks import Receipt

_KEPT: dict[str, type] = {"mended": int, "undeclared_fill": str, "mask": dict}
_KEY = "scene_configuration_hash"
"""The store that the facts are of."""


def with_recalled(found: dict[str, Any], plan: Plan, counted: Receipt, receipt: SceneReceipt) -> dict[str, Any]:
    """The facts of a scene's map, those of the run before where tiles were there already and it had the same store."""
    key = configuration_hash(plan.configuration)
    before = receipt.facts_before() if counted.resumed else {}
    if before.get(_KEY) == key:
        found = found | {name: before[name] for name, kind in _KEPT.items() if type(before.get(name)) is kind}
    return found | {_KEY: key}
