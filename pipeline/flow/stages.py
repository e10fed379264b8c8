"""One stage at a time, from any source to one output: what the single-stage commands call, and `run` is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.codec import Bound
from pipeline.errors import ConfigError, OutputError, TileError, elsewhere
from pipeline.flow.basis_files import remove_models
from pipeline.flow.compress import SceneJob, scene_plan
from pipeline.flow.crew import Crew, Watch
from pipeline.flow.denoise import Denoising
from pipeline.flow.factored import choose_domain
from pipeline.flow.feature_job import FeatureJob, put_slab, shared_slabs
from pipeline.flow.features import check_bank, feature_plan
from pipeline.flow.journal import Plan, alone, configuration_hash
from pipeline.flow.network_mean import mean_job, remove_sums
from pipeline.flow.networks import AnyBank, is_mean, model_of
from pipeline.flow.not_finite import tell_weights
from pipeline.flow.paperwork import counted
from pipeline.flow.quantise import with_coding
from pipeline.flow.scene_basis import with_basis
from pipeline.flow.seen import check_seen
from pipeline.flow.tasks import Job, Receipt
from pipeline.flow.told import tell_made, tell_scene
from pipeline.flow.unread import tell_unread
from pipeline.flow.write import store_to_cog, writing_threads
from pipeline.gemm.memory import let_go
from pipeline.machine import give_back
from pipeline.raster import cache
from pipeline.raster.chunks import is_unfinished, publish, remove_tree
from pipeline.raster.cog import check_folder, check_output, try_creation_options
from pipeline.raster.names import is_cog
from pipeline.raster.object_stores import METADATA
from pipeline.raster.scene import SceneInfo, Source
from pipeline.storage import ObjectPath, Place, followed, lies_in, place

TABLES = (".parquet",)
MakeJob = Callable[[str], Job]
"""From the path of the store to fill to the job that fills it."""
Finish = Callable[[Place, Place, Watch], object]
"""Makes the output, at its second path, of the store at its first, and tells what there is to be warned of."""


def fill(plan: Plan, make_job: MakeJob, stage: str, crew: Crew) -> tuple[Place, Receipt]:
    """Fill a store, or what is missing of it; it gets its own name once no tile is missing.

    What follows reads other blocks than the map did: those of the map make room first.
    """
    path = plan.begin()
    job = make_job(str(path))
    if isinstance(job, FeatureJob):
        with suppress(TileError):  # the tile computes what is missing by itself
            for _ in crew.gather(put_slab, shared_slabs(job, crew.workers)):
                pass
    receipt = crew.run(stage, job)
    rest()  # the finish is here, whoever worked
    if receipt.failures:
        return path, receipt
    check_seen(job, receipt)
    return plan.finish(path), receipt


def rest() -> None:
    """Let go of what a map had in memory beside its tasks."""
    cache.shared.drop()
    let_go()
    give_back()


def write_scene(
    source: Source,
    target: Place,
    tile: int,
    denoising: Denoising,
    bound: Bound | None,
    crew: Crew,
    *,
    effort: str = "fast",
    overwrite: bool = False,
    creation_options: Mapping[str, str] | None = None,
) -> Receipt:
    """Denoise and store a scene: a Zarr store (compressed under `bound`, plain without one), or a COG.

    Raises:
        ConfigError: the output does not take the creation options.
        OutputError: the target exists, or cannot be written.
        TileError: a tile could not be computed. Nothing is left of the target then.
    """
    staging = staging_path(target, overwrite)
    plan = scene_plan(staging, source, tile, denoising, bound, effort)
    basis = staging.with_name(staging.name + ".basis.npz")

    def make_job(store: str) -> Job:
        return SceneJob(source, store, tile, settled(denoising, source, plan, basis, crew), bound, effort)

    stage = "compress" if denoising.quality == "none" else "denoise"
    try:
        receipt = _whole(plan, make_job, stage, crew, target, creation_options)
        tell_scene(source, receipt, denoising.quality, bound, crew.watch)
        return receipt
    finally:
        remove_models(basis)


def settled(denoising: Denoising, source: Source, plan: Plan, path: Place, crew: Crew) -> Denoising:
    """The denoising, with the basis of the scene where that is asked for; kept at `path`, where workers read it.

    Raises:
        TileError: a window of the scene cannot be read.
        OutputError: the file cannot be written.
    """
    if denoising.quality != "none" and denoising.basis == "scene":
        crew.watch.note(f"{source.info.name}: bases of the scene")
    return with_basis(source, denoising, path, configuration_hash(plan.configuration), crew.gather)


def write_features(
    source: Source,
    target: Place,
    tile: int,
    bank: AnyBank,
    bank_path: Place,
    pool: int,
    stride: int,
    crew: Crew,
    *,
    domain: str = "auto",
    overwrite: bool = False,
    creation_options: Mapping[str, str] | None = None,
    finish: Finish | None = None,
    only: tuple[int, ...] | None = None,
    dtype: str = "float32",
) -> Receipt:
    """Write the features of a scene as a Zarr store, a COG, or whatever `finish` makes of the store.

    tile, pool and stride as `settled` gives them. `only` names the tiles that `finish` wants; the others are not
    computed. dtype: float32 or int8; `domain` as for `choose_domain`.

    Raises:
        BankError: the bank does not fit the scene.
        ConfigError: factors are wanted of a source that has none, or the output does not take the creation options.
        OutputError: the target exists, or cannot be written.
        TileError: a tile could not be computed. Nothing is left of the target then.
    """
    check_bank(bank, source.info, str(bank_path))
    tell_unread(source, crew.watch)
    tell_weights(bank, crew.watch)
    chosen = choose_domain(source, bank, pool, stride, domain)
    crew.watch.note(f"{source.info.name}: {len(bank.features)} features of {bank.name}, {chosen}")

    staging = staging_path(target, overwrite, TABLES)
    digest = bank.digest()
    job = FeatureJob(
        source, str(staging), tile, str(bank_path), digest, pool, stride, only, model=model_of(bank), domain=chosen.name
    )
    if dtype == "int8":
        crew.watch.note(f"{source.info.name}: the range of the features")
        job = with_coding(job, len(bank.features), crew.gather)
    plan = feature_plan(
        staging, source, tile, bank, {"digest": digest}, pool, stride, coding=job.coding, domain=chosen.name
    )
    make_job: MakeJob = partial(filling, job, bank, crew)
    receipt = _whole(plan, make_job, "features", crew, target, creation_options, finish)
    tell_made(job, bank, receipt, crew.watch)
    return receipt


def filling(job: FeatureJob, bank: AnyBank, crew: Crew, store: str) -> Job:
    """The job for the store at this path, or, where the mean over the scene is wanted, what is left to do once its
    tiles are summed.

    Raises:
        TileError: a tile could not be summed.
    """
    job = replace(job, store=store)

    def told(stage: str, sums: Job) -> Receipt:
        receipt = crew.run(stage, sums)
        tell_made(job, bank, receipt, crew.watch)
        return receipt

    return mean_job(job, told) if is_mean(bank) else job


def staging_path(target: Place, overwrite: bool, more: tuple[str, ...] = ()) -> Place:
    """Where the store is filled before it becomes `target`; a store in an object store is filled where it will be.

    Raises:
        ConfigError: the ending is neither .zarr nor a COG's, nor one of `more`.
        OutputError: the target exists and is not to be overwritten.
    """
    if target.suffix not in (".zarr", *more) and not is_cog(target):
        known = ".zarr (Zarr v3), .tif or .tiff (COG)" + " or .parquet (GeoParquet)" * bool(more)
        raise ConfigError(f"{target}: outputs end in {known}, got {target.suffix or 'no ending'}")
    check_output(target, overwrite)
    if isinstance(target, ObjectPath):
        return _object_staging(target)
    if target.is_dir() and not (target.suffix == ".zarr" and (target / "zarr.json").is_file()):
        raise OutputError(f"{target} is a folder and no Zarr store; it is not ours to replace, give another name")
    check_folder(target)
    real = followed(target).absolute()  # workers may stand in another folder
    return real.with_name(real.name + ".staging")


def check_creation(target: Place, info: SceneInfo, given: Mapping[str, str] | None) -> None:
    """Refuse creation options that the output, of such a scene, does not take, before anything is computed.

    Raises:
        ConfigError: the output is no COG, or one cannot be made with them.
    """
    if not given:
        return
    if not is_cog(target):
        words = " ".join(f"--co {name}={value}" for name, value in given.items())
        raise ConfigError(f"{target}: {words} is for a COG; leave it out, or give an output ending in .tif or .tiff")
    try_creation_options(info, given)


def _object_staging(target: ObjectPath) -> ObjectPath:
    try:
        ours = target.suffix == ".zarr" and ((target / METADATA).is_file() or is_unfinished(target))
        foreign = not ours and target.is_dir()
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {elsewhere(error.strerror)}") from error
    if foreign:
        raise OutputError(f"{target} holds objects and no Zarr store; it is not ours to replace, give another name")
    return target if target.suffix == ".zarr" else target.with_name(target.name + ".staging")


def check_apart(sources: Sequence[str | Place], target: Place) -> None:
    """Refuse to write an output over its own input, whatever --overwrite says.

    Raises:
        OutputError: one of them is, or lies in, the other.
    """
    output = target.resolve()
    for source in sources:
        other = place(source).resolve()
        if not isinstance(other, ObjectPath) and not other.exists():
            continue
        if lies_in(other, output) or lies_in(output, other):
            raise OutputError(f"{target} is the input {source}, or in it, or holds it; give another output")


def raise_failures(receipt: Receipt, name: str) -> None:
    """Turn the failures of a map into one error.

    Raises:
        TileError: there are any.
    """
    if receipt.failures:
        more = f" (and {counted(receipt.failed - 1, 'more tile')})" if receipt.failed > 1 else ""
        raise TileError(f"{name}: {receipt.failures[0]}{more}")


def _whole(
    plan: Plan,
    make_job: MakeJob,
    stage: str,
    crew: Crew,
    target: Place,
    creation_options: Mapping[str, str] | None,
    finish: Finish | None = None,
) -> Receipt:
    """All or nothing: the store in full under the target's name, as a COG or by `finish` where that is asked for."""
    check_creation(target, plan.info, creation_options)
    real = followed(target)
    with alone(real.with_name(f".{real.name}.running"), target):
        _clear(plan)
        done = False
        try:
            path, receipt = fill(plan, make_job, stage, crew)
            raise_failures(receipt, plan.info.name)
            if finish is not None:
                crew.watch.note(f"write {target}")
                finish(path, target, crew.watch)
            elif is_cog(target):
                crew.watch.note(f"write {target}")
                threads = writing_threads(crew.workers)
                store_to_cog(path, target, overwrite=True, creation_options=creation_options, threads=threads)
            elif isinstance(path, Path) and isinstance(real, Path):
                publish(path, real)
            else:
                done = True
            return receipt
        finally:
            if not done:
                _clear(plan)


def _clear(plan: Plan) -> None:
    remove_tree(plan.final)
    remove_tree(plan.partial)
    remove_sums(plan.final)
