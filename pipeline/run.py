"""The whole flow on one screen: scenes in; two maps and a finish for each; a folder of outputs each.

(1) raw window + halo -> denoise -> trim -> encode -> a chunk of scene.zarr
(2) scene.zarr window + halo -> features -> a chunk of features.zarr
(3) COGs, STAC item, report and receipt, from the stores

What we analyse is what we archive, and a chunk that is there is done.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.codec import Bound
from pipeline.config import Workflow
from pipeline.errors import ClusterError, ConfigError, Interrupted, OutputError, ResumeError, TerrasketchError
from pipeline.flow.banks import bank_of_run, check_scene, check_wanted
from pipeline.flow.compress import SceneJob, scene_plan
from pipeline.flow.crew import Crew
from pipeline.flow.denoise import Denoising
from pipeline.flow.factored import choose_domain
from pipeline.flow.feature_job import FeatureJob
from pipeline.flow.features import feature_plan
from pipeline.flow.finish import finish_scene
from pipeline.flow.journal import Plan, alone
from pipeline.flow.networks import model_of
from pipeline.flow.networks import settled as settled_bank
from pipeline.flow.quantise import stored_coding, with_coding
from pipeline.flow.read import open_scene
from pipeline.flow.receipts import SceneReceipt, StageReceipt
from pipeline.flow.stages import MakeJob, fill, filling, raise_failures, settled
from pipeline.plan import batch_size
from pipeline.raster.chunks import remove_tree
from pipeline.raster.masks import masked_like
from pipeline.raster.scene import Source
from pipeline.raster.store_source import StoreSource, open_store

OUTPUTS = (
    "scene.zarr",
    "features.zarr",
    "features.zarr.sums",
    "denoised.tif",
    "features.tif",
    "bank.npz",
    "basis.npz",
    "item.json",
    "report.html",
    "receipt.json",
)
"""What a run writes into the folder of a scene."""


def run_workflow(workflow: Workflow, crew: Crew, command: str, *, overwrite: bool = False) -> list[SceneReceipt]:
    """Run every scene of a workflow; a scene that fails does not stop the others.

    Raises:
        ConfigError: there are no scenes, two would share a folder, or no bank has the name asked for.
        BankError: the bank asked for cannot be loaded.
        ModelError: the network asked for cannot be read.
        Interrupted: the crew was stopped; run again to resume.
        ClusterError: there is nobody left to do the work.
    """
    if workflow.features is not None:
        check_wanted(workflow.features)
    receipts = []
    for name, paths in name_scenes(workflow.sources, workflow.read.stack).items():
        receipt = SceneReceipt(name, str(Path(workflow.out) / name), paths, command)
        receipts.append(receipt)
        try:
            with alone(Path(receipt.folder) / ".running"):
                run_scene(workflow, crew, receipt, overwrite)
                if receipt.status != "complete":
                    receipt.write(workflow.model_dump())
        except Interrupted as stopped:
            raise Interrupted(f"{stopped}; run the same command again to resume") from stopped
        except ClusterError:
            raise
        except Exception as error:  # whatever ends one scene, the others go on
            _record(receipt, error, workflow, crew)
    return receipts


def run_scene(workflow: Workflow, crew: Crew, receipt: SceneReceipt, overwrite: bool = False) -> None:
    """One scene through the two maps and the finish; the receipt is filled on the way."""
    crew.watch.note(f"{receipt.name}: read {', '.join(receipt.inputs)}")
    raw = open_scene(receipt.inputs, **workflow.read.model_dump(exclude={"tile"}))
    if overwrite:
        _clear(Path(receipt.folder), receipt.inputs)
    if workflow.features is not None:
        check_scene(workflow.features, raw.info)
    stored, plan = _store_scene(workflow, raw, crew, receipt)
    teacher = masked_like(raw, stored)
    features = _store_features(workflow, stored, teacher, plan, crew, receipt) if workflow.features else None
    finish_scene(workflow, raw, stored, features, receipt, crew.watch)


def name_scenes(sources: list[str | list[str]], dates: bool = False) -> dict[str, list[str]]:
    """A folder name for each scene: the stem of its (first) path, in characters any file system takes; `-stack` behind
    it where its paths are dates.

    Raises:
        ConfigError: there are no scenes, or two have the same name.
    """
    if not sources:
        raise ConfigError("no scenes to run; name some in the workflow's `sources`, on the command line, or by -")
    names: dict[str, list[str]] = {}
    for source in sources:
        paths = [source] if isinstance(source, str) else list(source)
        stem = Path(paths[0].rstrip("/")).name
        name = re.sub(r"[^\w.+-]", "_", stem.rsplit(".", 1)[0] if "." in stem[1:] else stem).strip(".") or "scene"
        name += "-stack" * dates
        if name in names:
            raise ConfigError(
                f"{paths[0]} and {names[name][0]} would both be written to {name}/; run them with two --out"
            )
        names[name] = paths
    return names


def _record(receipt: SceneReceipt, error: Exception, workflow: Workflow, crew: Crew) -> None:
    """Write down why a scene failed, if there is room to write."""
    known = isinstance(error, TerrasketchError)
    receipt.fail(error if known else TerrasketchError(f"unexpected {type(error).__name__}: {error}"))
    crew.watch.note(f"{receipt.name}: failed: {receipt.failures[0]}")
    if isinstance(error, ResumeError):
        return  # the receipt that is there tells of the outputs that are there
    try:
        receipt.write(workflow.model_dump())
    except OutputError as full:
        crew.watch.note(str(full))


def _clear(folder: Path, inputs: list[str]) -> None:
    """Remove the outputs of an earlier run, and nothing else.

    Raises:
        ConfigError: an input is one of them.
    """
    outputs = [folder / name for name in OUTPUTS] + [folder / f"{name}.partial" for name in OUTPUTS]
    for path in inputs:
        if any(Path(path).absolute().is_relative_to(output.absolute()) for output in outputs):
            raise ConfigError(f"{path} is an output of this run, and would be overwritten; give another --out")
    for output in outputs:
        remove_tree(output)


def _store_scene(workflow: Workflow, raw: Source, crew: Crew, receipt: SceneReceipt) -> tuple[StoreSource, Plan]:
    tile, wanted = workflow.read.tile, workflow.compress
    sigma = None if workflow.denoise.sigma == "auto" else workflow.denoise.sigma
    denoising = Denoising(workflow.denoise.quality, sigma, workflow.denoise.basis)
    basis = Path(receipt.folder) / "basis.npz"
    bound = Bound(*wanted.bound)
    plan = scene_plan(Path(receipt.folder) / "scene.zarr", raw, tile, denoising, bound, wanted.effort)
    crew.watch.note(f"{receipt.name}: denoise ({denoising.quality}) and compress ({bound})")
    return _stage(
        "denoise + compress",
        plan,
        lambda store: SceneJob(raw, store, tile, settled(denoising, raw, plan, basis, crew), bound, wanted.effort),
        batch_size(raw.info, tile),
        ("denoised.tif", "item.json", "report.html"),
        crew,
        receipt,
    ), plan


def _store_features(
    workflow: Workflow, stored: StoreSource, teacher: Source, scene: Plan, crew: Crew, receipt: SceneReceipt
) -> StoreSource:
    wanted = workflow.features
    assert wanted is not None
    crew.watch.note(f"{receipt.name}: bank {wanted.bank}")
    bank, path, made = bank_of_run(wanted, teacher, stored.tile, Path(receipt.folder), scene.configuration)
    tile, pool, stride = settled_bank(bank, workflow.read.tile, wanted.pool, wanted.stride)
    final = Path(receipt.folder) / "features.zarr"
    domain = choose_domain(stored, bank, pool, stride, wanted.domain)
    job = FeatureJob(stored, str(final), tile, str(path), pool, stride, model=model_of(bank), domain=domain.name)
    if wanted.dtype == "int8":
        coding = stored_coding(final, final.with_name(final.name + ".partial"))
        job = replace(job, coding=coding) if coding else with_coding(job, len(bank.features), crew.gather)
    plan = feature_plan(final, stored, tile, bank, made, pool, stride, scene.configuration, job.coding, domain.name)
    crew.watch.note(f"{receipt.name}: {len(bank.features)} features of {bank.name}, {domain}")
    receipt.facts["features"] = str(domain)
    crew.warm()
    return _stage(
        "features",
        plan,
        partial(filling, job, bank, crew),
        1 if model_of(bank) else batch_size(stored.info, tile),
        ("features.tif", "item.json", "report.html"),
        crew,
        receipt,
    )


def _stage(
    name: str,
    plan: Plan,
    make_job: MakeJob,
    batch: int,
    products: tuple[str, ...],
    crew: Crew,
    receipt: SceneReceipt,
) -> StoreSource:
    if not plan.begun:  # what was made of an earlier store says nothing of this one
        for product in products:
            remove_tree(Path(receipt.folder) / product)
    start = time.perf_counter()
    path, result = fill(plan, make_job, name, crew, batch)
    receipt.stages.append(StageReceipt.of(name, result, time.perf_counter() - start))
    receipt.failures += result.failures
    raise_failures(result.failures, receipt.name)
    return open_store(path)
