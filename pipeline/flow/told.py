"""What is told of a scene that a run has read, for its user to judge; kept in the receipt where one is written."""

from __future__ import annotations

from pipeline.codec import Bound
from pipeline.flow.constants import tell_constants
from pipeline.flow.crew import Watch
from pipeline.flow.empty import tell_empty
from pipeline.flow.masked_share import tell_mask
from pipeline.flow.receipts import SceneReceipt
from pipeline.flow.tasks import Receipt
from pipeline.flow.undeclared import tell_fill
from pipeline.flow.written_since import tell_written_since
from pipeline.raster.scene import Source


def tell_scene(raw: Source, counted: Receipt, bound: Bound, receipt: SceneReceipt, watch: Watch) -> None:
    """Warn of what the map of a scene met, or did not meet because its tiles were there already."""
    tell_empty(raw, counted, watch)
    tell_constants(raw, counted, bound, watch)
    if fill := tell_fill(raw, counted.ends, watch):
        receipt.facts["undeclared_fill"] = fill
    if mask := tell_mask(raw, counted, watch):
        receipt.facts["mask"] = mask
    if counted.resumed and (written := tell_written_since(receipt.name, raw, receipt.earlier, watch)):
        receipt.facts["written_since"] = written
