"""Values of single bands that were taken for impulses or dead lines and replaced: told, for they are gone."""

from __future__ import annotations

from pipeline.flow.crew import Watch
from pipeline.flow.paperwork import counted, share_text
from pipeline.flow.tasks import Receipt
from pipeline.raster.scene import Source
from pipeline.untrusted import one_line


def tell_mended(source: Source, receipt: Receipt, watch: Watch) -> int:
    """Warn of those of the tiles made now; their number, 0 where some tiles were there already and were not seen."""
    if receipt.mended:
        share = share_text(receipt.mended / max(1, receipt.seen * len(source.info.bands)))
        what = f"{counted(receipt.mended, 'value')} of single bands ({share}) taken for impulses or dead lines"
        what += ", and replaced; --repair none (denoise: {repair: none} in a workflow) leaves them"
        watch.warn(one_line(f"{source.info.name}: {what}"))
    return 0 if receipt.resumed else receipt.mended
