"""What is told of a scene that was read, for its user to judge."""

from __future__ import annotations

from typing import Any

from pipeline.codec import Bound
from pipeline.flow.class_bands import tell_classes
from pipeline.flow.constants import tell_constants
from pipeline.flow.crew import Watch
from pipeline.flow.empty import tell_empty
from pipeline.flow.infinite import tell_infinite
from pipeline.flow.lacking import tell_lacking
from pipeline.flow.masked_share import tell_mask
from pipeline.flow.mended import tell_mended
from pipeline.flow.rim import tell_rim
from pipeline.flow.tasks import Receipt
from pipeline.flow.undeclared import tell_fill
from pipeline.flow.unread import tell_unread
from pipeline.raster.scene import Source


def tell_scene(source: Source, counted: Receipt, quality: str, bound: Bound | None, watch: Watch) -> dict[str, Any]:
    """Warn of what the map of a scene met, denoised in this quality; the facts that a receipt keeps of it."""
    tell_classes(source, quality, bound, watch)
    tell_unread(source, watch)
    tell_empty(source, counted, watch)
    tell_constants(source, counted, bound, watch)
    tell_infinite(source, counted, bound, watch)
    tell_lacking(source, counted, watch)
    tell_rim(source, watch)
    facts: dict[str, Any] = {"mended": tell_mended(source, counted, watch)}
    facts |= {"undeclared_fill": tell_fill(source, counted.ends, watch)}
    facts |= {"mask": tell_mask(source, counted, watch, heeded=quality != "none")}
    return {name: fact for name, fact in facts.items() if fact}
