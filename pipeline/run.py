"""The whole flow on one screen: scenes in; two maps and a finish for each; a folder of outputs each.

(1) raw window + halo -> denoise -> trim -> encode -> a chunk of scene.zarr
(2) scene.zarr window + halo -> features -> a chunk of features.zarr
(3) COGs, STAC item, report and receipt, from the stores; and of many scenes a collection, a summary and an index

What we analyse is what we archive, and a chunk that is there is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial

from pipeline.codec import Bound
from pipeline.config import Workflow
from pipeline.errors import (
    ClusterError,
    ConfigError,
    Interrupted,
    OutputError,
    ResumeError,
    StorageError,
    TerrasketchError,
)
from pipeline.flow.arithmetic import map_flops, scene_flops
from pipeline.flow.banks import bank_of_run, check_scene, check_wanted
from pipeline.flow.chunk_size import check_scene_chunk
from pipeline.flow.collection import write_collection
from pipeline.flow.compress import SceneJob, scene_plan
from pipeline.flow.crew import Counting, Crew
from pipeline.flow.denoise import Denoising
from pipeline.flow.factored import choose_domain
from pipeline.flow.feature_job import FeatureJob
from pipeline.flow.features import feature_plan
from pipeline.flow.finish import finish_scene
from pipeline.flow.gallery import write_gallery
from pipeline.flow.journal import Plan, alone
from pipeline.flow.networks import model_of, seen_text
from pipeline.flow.networks import settled as settled_bank
from pipeline.flow.not_finite import tell_weights
from pipeline.flow.outputs import check_ours, clear
from pipeline.flow.quantise import stored_coding, with_coding
from pipeline.flow.read import open_scene
from pipeline.flow.recalled import with_recalled
from pipeline.flow.receipts import SceneReceipt
from pipeline.flow.sources import name_scenes
from pipeline.flow.stages import MakeJob, fill, filling, raise_failures, settled
from pipeline.flow.storing import SAMPLED, known_facts, storing_facts
from pipeline.flow.summary import Summary, remember
from pipeline.flow.tasks import Receipt
from pipeline.flow.threads import in_background
from pipeline.flow.told import tell_made, tell_scene
from pipeline.flow.undated import tell_undated
from pipeline.flow.written_since import tell_written_since
from pipeline.grid import Grid
from pipeline.raster.chunks import remove_tree
from pipeline.raster.masks import masked_like
from pipeline.raster.scene import Source
from pipeline.raster.store_source import StoreSource, open_store
from pipeline.storage import place

Finish = Callable[[], SceneReceipt]


def run_workflow(
    workflow: Workflow,
    crew: Crew,
    command: str,
    *,
    overwrite: bool = False,
    scenes: dict[str, list[str]] | None = None,
) -> Iterator[SceneReceipt]:
    """Run every scene of a workflow, in order, as they are asked for; one that fails does not stop the others.

    While the maps of a scene run, the scene before it is finished. `scenes` are the paths by the names of the folders;
    by default those of the workflow's sources.

    Raises:
        ConfigError: there are no scenes, two would share a folder, or no bank has the name asked for.
        BankError: the bank asked for cannot be loaded.
        ModelError: the network asked for cannot be read.
        Interrupted: the crew was stopped; run again to resume.
        ClusterError: there is nobody left to do the work.
    """
    if workflow.features is not None:
        check_wanted(workflow.features)
    scenes = name_scenes(workflow.sources, workflow.out, dates=workflow.read.stack) if scenes is None else scenes
    summary = Summary(workflow.out, scenes, workflow.model_dump(), command)
    before: Future[SceneReceipt] | None = None
    try:
        summary.save()
        for name, paths in scenes.items():
            receipt = SceneReceipt(name, str(place(workflow.out) / name), paths, command)
            finish = map_scene(workflow, crew, receipt, overwrite)
            if before is not None:
                yield _told(before, summary, crew)
            before = in_background(finish)
        if before is not None:
            yield _told(before, summary, crew)
    except (Interrupted, ClusterError) as stopped:
        if before is not None:
            _told(before, summary, crew)
        if isinstance(stopped, ClusterError):
            raise
        raise Interrupted(f"{summary.where(name, stopped)}; run the same command again to resume") from stopped
    finally:
        with suppress(TerrasketchError):
            summary.save()
    tell_undated(summary.undated, crew.watch)
    write_collection(place(workflow.out), list(scenes), many=len(scenes) > 1)
    if workflow.write.report:
        write_gallery(place(workflow.out), many=len(scenes) > 1)


def map_scene(workflow: Workflow, crew: Crew, receipt: SceneReceipt, overwrite: bool = False) -> Finish:
    """One scene through the two maps; what is left to do is its finish, which fails no more than the receipt says.

    Raises:
        Interrupted: the crew was stopped.
        ClusterError: there is nobody left to do the work.
    """
    held, start = ExitStack(), time.perf_counter()
    try:
        if not overwrite:
            receipt.recall()
        try:
            held.enter_context(alone(place(receipt.folder) / ".running"))
            if not overwrite:
                check_ours(place(receipt.folder), _used(workflow, receipt))
        except OutputError as error:  # another run is there, or somebody's files, and the receipt is not ours
            held.close()
            receipt.kept_off = True
            receipt.fail(error)
            crew.watch.note(f"{receipt.name}: failed: {receipt.failures[0]}")
            return lambda: receipt
        finish = _maps(workflow, crew, receipt, overwrite)
        receipt.seconds = time.perf_counter() - start
    except (Interrupted, ClusterError):
        receipt.seconds = time.perf_counter() - start
        with held, suppress(OutputError, StorageError):
            receipt.interrupted(workflow.model_dump())
        raise
    except Exception as error:  # whatever ends one scene, the others go on
        receipt.seconds = time.perf_counter() - start
        _record(receipt, error, workflow, crew)
        held.close()
        return lambda: receipt

    def finished() -> SceneReceipt:
        with held:
            try:
                receipt.stage, begun = "finish", time.perf_counter()
                finish()
                receipt.finish_seconds = time.perf_counter() - begun
                receipt.seconds += receipt.finish_seconds
                if receipt.status != "complete":
                    receipt.write(workflow.model_dump())
            except Exception as error:
                _record(receipt, error, workflow, crew)
        return receipt

    return finished


def _maps(workflow: Workflow, crew: Crew, receipt: SceneReceipt, overwrite: bool) -> Callable[[], None]:
    crew.watch.note(f"{receipt.name}: read {', '.join(receipt.inputs)}")
    raw = open_scene(receipt.inputs, name=receipt.name, **workflow.read.model_dump(exclude={"tile"}))
    check_scene_chunk(raw.info, workflow.read.tile)
    if workflow.features is not None:
        check_scene(workflow.features, raw.info, workflow.read.tile)
    if overwrite:  # what cannot be made takes nothing away
        clear(place(receipt.folder), _used(workflow, receipt))
    stored, plan = _store_scene(workflow, raw, crew, receipt)
    teacher = masked_like(raw, stored)
    features = _store_features(workflow, stored, teacher, plan, crew, receipt) if workflow.features else None
    return partial(finish_scene, workflow, raw, stored, features, receipt, crew)


def _used(workflow: Workflow, receipt: SceneReceipt) -> list[str]:
    """What a scene is read from, a bank that was fitted among it: never to be taken away."""
    bank = workflow.features.bank if workflow.features else ""
    return [*receipt.inputs, *([bank] if bank.endswith(".npz") else [])]


def _told(finishing: Future[SceneReceipt], summary: Summary, crew: Crew) -> SceneReceipt:
    """The receipt of a scene, once it is finished and in the summary."""
    receipt = finishing.result()
    remember(summary, receipt, crew.watch.note)
    return receipt


def _record(receipt: SceneReceipt, error: Exception, workflow: Workflow, crew: Crew) -> None:
    """Write down why a scene failed, if there is room to write."""
    wrong_words = isinstance(error, ConfigError) and not receipt.stages and (receipt.was_done() or receipt.computed)
    if isinstance(error, ResumeError) or wrong_words:  # the receipt that is there tells of the outputs that are there
        receipt.refuse(error)
        crew.watch.note(f"{receipt.name}: {receipt.status}: {receipt.failures[0]}")
        return
    known = isinstance(error, TerrasketchError)
    receipt.fail(error if known else TerrasketchError(f"unexpected {type(error).__name__}: {error}"))
    crew.watch.note(f"{receipt.name}: failed: {receipt.failures[0]}")
    try:
        receipt.write(workflow.model_dump())
    except (OutputError, StorageError) as full:
        crew.watch.note(str(full))


def _store_scene(workflow: Workflow, raw: Source, crew: Crew, receipt: SceneReceipt) -> tuple[StoreSource, Plan]:
    tile, wanted = workflow.read.tile, workflow.compress
    sigma = None if workflow.denoise.sigma == "auto" else workflow.denoise.sigma
    denoising = Denoising(workflow.denoise.quality, sigma, workflow.denoise.basis, workflow.denoise.repair)
    basis = place(receipt.folder) / "basis.npz"
    bound = Bound(*wanted.bound)
    plan = scene_plan(place(receipt.folder) / "scene.zarr", raw, tile, denoising, bound, wanted.effort)
    grid, known = Grid(raw.info.height, raw.info.width, tile), known_facts(plan, receipt)
    lossy = workflow.write.report and bound.mode != "lossless"
    asked = grid.spread(SAMPLED) if lossy and known is None else ()
    crew.watch.note(f"{receipt.name}: denoise ({denoising.quality}) and compress ({bound})")
    stored, counted = _stage(
        "denoise + compress",
        plan,
        lambda store: SceneJob(
            raw, store, tile, settled(denoising, raw, plan, basis, crew), bound, wanted.effort, asked
        ),
        ("denoised.tif", "item.json", "report.html"),
        crew,
        receipt,
        scene_flops(raw.info, tile, denoising),
    )
    told = tell_scene(raw, counted, denoising.quality, bound, crew.watch)
    receipt.facts |= with_recalled(told, plan, counted, receipt)
    receipt.facts |= known or storing_facts(plan, counted.storing, asked, len(grid))
    if counted.resumed and (written := tell_written_since(receipt.name, raw, receipt.earlier, crew.watch)):
        receipt.facts["written_since"] = written
    return stored, plan


def _store_features(
    workflow: Workflow, stored: StoreSource, teacher: Source, scene: Plan, crew: Crew, receipt: SceneReceipt
) -> StoreSource:
    wanted = workflow.features
    assert wanted is not None
    crew.watch.note(f"{receipt.name}: bank {wanted.bank}")
    bank, path, made = bank_of_run(wanted, teacher, stored.tile, place(receipt.folder), scene.configuration)
    tile, pool, stride = settled_bank(bank, workflow.read.tile, wanted.pool, wanted.stride)
    final = place(receipt.folder) / "features.zarr"
    domain = choose_domain(stored, bank, pool, stride, wanted.domain)
    where = str(path), bank.digest()
    job = FeatureJob(stored, str(final), tile, *where, pool, stride, model=model_of(bank), domain=domain.name)
    if wanted.dtype == "int8":
        coding = stored_coding(final, final.with_name(final.name + ".partial"))
        job = replace(job, coding=coding) if coding else with_coding(job, len(bank.features), crew.gather)
    plan = feature_plan(final, stored, tile, bank, made, pool, stride, scene.configuration, job.coding, domain.name)
    crew.watch.note(f"{receipt.name}: {len(bank.features)} features of {bank.name}{seen_text(bank)}, {domain}")
    receipt.facts["features"] = str(domain)
    tell_weights(bank, crew.watch)
    crew.warm()
    made_store, counted = _stage(
        "features",
        plan,
        partial(filling, job, bank, crew),
        ("features.tif", "item.json", "report.html"),
        crew,
        receipt,
        map_flops(job, bank, crew.workers),
    )
    tell_made(job, bank, counted, crew.watch, receipt.name)
    return made_store


def _stage(
    name: str,
    plan: Plan,
    make_job: MakeJob,
    products: tuple[str, ...],
    crew: Crew,
    receipt: SceneReceipt,
    flops: float | None,
) -> tuple[StoreSource, Receipt]:
    if not plan.begun:  # what was made of an earlier store says nothing of this one
        for product in products:
            remove_tree(place(receipt.folder) / product)
    receipt.stage, start = name, time.perf_counter()
    counting = Counting(crew.watch)
    try:
        path, result = fill(plan, make_job, name, replace(crew, watch=counting))
    except (Interrupted, ClusterError):  # what it had written by then stays, and the history counts it
        receipt.add(name, counting.total, time.perf_counter() - start)
        raise
    receipt.add(name, result, time.perf_counter() - start, flops)
    raise_failures(result, receipt.name)
    return open_store(path), result
