"""What is told of a scene that was read, for its user to judge."""

from __future__ import annotations

from functools import partial
from typing import Any

from pipeline.codec import Bound
from pipeline.flow.class_bands import tell_classes
from pipeline.flow.constants import tell_constants
from pipeline.flow.crew import Watch
from pipeline.flow.empty import tell_empty
from pipeline.flow.feature_job import FeatureJob
from pipeline.flow.holes import holes_text
from pipeline.flow.infinite import tell_infinite
from pipeline.flow.lacking import tell_lacking
from pipeline.flow.masked_share import tell_mask
from pipeline.flow.mended import tell_mended
from pipeline.flow.networks import AnyBank
from pipeline.flow.not_finite import tell_features
from pipeline.flow.rim import tell_rim
from pipeline.flow.speckle import tell_speckle
from pipeline.flow.tasks import Receipt
from pipeline.flow.undeclared import tell_fill
from pipeline.flow.unread import tell_unread
from pipeline.raster.scene import Source


def tell_made(job: FeatureJob, bank: AnyBank, receipt: Receipt, watch: Watch, name: str | None = None) -> None:
    """Warn of what is wrong with the features that a job made; name: the scene's, in place of that of what it reads.

    Raises:
        SourceError: the scene is read once more, for its dates, and cannot be.
    """
    holes = partial(holes_text, job.source, job.tile)
    tell_features(name or job.source.info.name, bank, job.pool, job.stride, receipt, watch, holes)


def tell_scene(source: Source, counted: Receipt, quality: str, bound: Bound | None, watch: Watch) -> dict[str, Any]:
    """Warn of what the map of a scene met, denoised in this quality; the facts that a receipt keeps of it."""
    tell_classes(source, quality, bound, watch)
    tell_unread(source, watch)
    tell_empty(source, counted, watch)
    tell_constants(source, counted, bound, watch)
    tell_infinite(source, counted, bound, watch)
    tell_lacking(source, counted, watch)
    tell_rim(source, watch)
    tell_speckle(source, counted, quality, watch)
    facts: dict[str, Any] = {"mended": tell_mended(source, counted, watch)}
    facts |= {"undeclared_fill": tell_fill(source, counted.ends, watch)}
    facts |= {"mask": tell_mask(source, counted, watch, heeded=quality != "none")}
    return {name: fact for name, fact in facts.items() if fact}
