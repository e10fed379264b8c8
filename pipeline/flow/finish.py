"""The finish of a scene: COGs from the stores, then the STAC item and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import Workflow
from pipeline.flow.crew import Crew
from pipeline.flow.paperwork import write_item
from pipeline.flow.receipts import SceneReceipt
from pipeline.flow.report import write_scene_report
from pipeline.flow.write import store_to_cog, writing_threads
from pipeline.raster.chunks import remove_tree
from pipeline.raster.masks import unmasked
from pipeline.raster.scene import Source
from pipeline.raster.stac import is_undated
from pipeline.raster.stack import times_coarser
from pipeline.raster.store_source import StoreSource
from pipeline.storage import place


def finish_scene(
    workflow: Workflow,
    raw: Source,
    stored: StoreSource,
    features: StoreSource | None,
    receipt: SceneReceipt,
    crew: Crew,
) -> None:
    """Write what the workflow asks for and is not there yet; the receipt learns whether anything was new."""
    folder = place(receipt.folder)
    for leftover in folder.glob(".*.partial") if isinstance(folder, Path) else ():  # of a writer that was killed
        remove_tree(leftover)
    new = not (receipt.resumed and receipt.was_done())
    for name, store in (("denoised", stored), ("features", features)):
        target = folder / f"{name}.tif"
        if store is None or name not in workflow.write.cog:
            continue
        if not target.is_file():
            crew.watch.note(f"{receipt.name}: write {target.name}")
            store_to_cog(place(store.path), target, overwrite=True, threads=writing_threads(crew.workers))
            new = True
    report = folder / "report.html"
    if new or not (folder / "item.json").is_file() or (workflow.write.report and not report.is_file()):
        crew.watch.note(f"{receipt.name}: write the report and the STAC item")
        receipt.facts |= _facts(receipt)
        if workflow.write.report:
            receipt.facts |= write_scene_report(report, workflow, raw, stored, features, receipt)
        about, coarser = features.info if features else None, times_coarser(unmasked(raw))
        item = write_item(folder, stored.info, about, _processing(workflow), receipt.inputs, coarser)
        receipt.facts["undated"] = is_undated(item)
        new = True
    receipt.status = "done" if new else "complete"


def _facts(receipt: SceneReceipt) -> dict[str, Any]:
    scene = receipt.stages[0]
    ratio = scene.raw_bytes / scene.stored_bytes if scene.stored_bytes else None
    return {"raw_bytes": scene.raw_bytes, "stored_bytes": scene.stored_bytes, "ratio": ratio}


def _processing(workflow: Workflow) -> dict[str, Any]:
    mode, value = workflow.compress.bound
    return {
        "denoise": workflow.denoise.quality,
        "compress": mode if value is None else f"{mode} {value:g}",
        "features": workflow.features.bank if workflow.features else None,
    }
