"""terrasketch fit and features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click

from pipeline.cli import options
from pipeline.cli.printing import print_receipt, print_result
from pipeline.cli.progress import Terminal, crew
from pipeline.cli.sources import given
from pipeline.cli.tables import table_of
from pipeline.config import Features
from pipeline.errors import ConfigError, OutputError, elsewhere
from pipeline.flow.banks import planned_bank
from pipeline.flow.chunk_size import check_feature_chunk
from pipeline.flow.crew import Watch
from pipeline.flow.features import fit as fit_on
from pipeline.flow.networks import (
    AnyBank,
    check_mean,
    check_words,
    normalised_on,
    seen_text,
    settled,
)
from pipeline.flow.read import open_scene
from pipeline.flow.sources import find_scenes
from pipeline.flow.stages import TABLES, check_apart, check_creation, staging_path, write_features
from pipeline.flow.threads import one_blas_thread
from pipeline.flow.unread import tell_unread
from pipeline.network import Bank
from pipeline.network.network_bank import NetworkBank
from pipeline.raster.chunks import remove_tree
from pipeline.raster.cog import check_output
from pipeline.raster.masks import unmasked
from pipeline.raster.scene import Source
from pipeline.storage import Place, place

FITTING, PLACES = ("count", "size", "seed"), ("geometry", "at")
"""Options of `features` that go together to where a bank is fitted, and to where a table is made."""


@click.command()
@click.argument("src", nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=options.output, metavar="BANK.npz")
@click.option("--bank", default="rcf-mixed", show_default=True, metavar="NAME", help="What to fit.")
@options.together(options.count, options.size, options.seed, options.tile, options.reading, options.masking)
@options.together(options.overwrite, options.watching)
def fit(
    src: tuple[str, ...],
    output: Place,
    bank: str,
    count: int | None,
    size: int | None,
    seed: int,
    tile: int,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **reading: Any,
) -> None:
    """Fit a bank of filters, with its normalisation, on the scenes SRC: rasters, folders, quoted patterns, STAC files
    (- reads paths, or a STAC search's result, from stdin).

    Features of several scenes can be compared when one bank, fitted on all of them, made them.

    \b
    Example:
      terrasketch fit scenes/*.tif -o bank.npz --bank rcf-mixed --count 128
    """
    if output.suffix != ".npz":
        raise ConfigError(f"{output}: a bank is a file ending in .npz")
    check_output(output, overwrite)
    paths = [scene.paths for source in given(src) for scene in find_scenes(source)]
    if not paths:
        raise ConfigError("no scenes to fit on; name some, or give their paths on standard input")
    sources = [open_scene(path, **reading) for path in paths]
    with one_blas_thread(), Terminal(verbose, quiet) as watch:
        for source in sources:
            tell_unread(source, watch)
        fitted = fit_on(bank, sources, tile, count=count, size=size, seed=seed, watch=watch)
    fitted.save(output)
    print_result(
        {"output": str(output), "bank": fitted.name, "bands": len(fitted.bands), "features": len(fitted.features)},
        as_json,
    )


@contextmanager
def _beside(target: Place) -> Iterator[Place]:
    """A path beside the output for a bank that workers on other hosts can read, gone in the end."""
    path = target.absolute().with_name(target.name + ".bank.npz.partial")
    try:
        yield path
    finally:
        remove_tree(path)


def _fitted(
    bank: str,
    planned: AnyBank,
    source: Source,
    tile: int,
    beside: Place,
    watch: Watch,
    *,
    normalise: str | None,
    **fitting: Any,
) -> tuple[AnyBank, Place]:
    """The bank of this file, or of this name, fitted on the scene and saved at `beside`; and where it lies.

    planned: a bank of the same shapes; a network, not normalised yet.
    """
    network = planned if isinstance(planned, NetworkBank) else None
    if bank.endswith(".npz"):
        path = place(bank).resolve()
        return Bank.load(path), path
    watch.note(
        f"{network.name} on {source.info.name}{seen_text(network)}" if network else f"fit {bank} on {source.info.name}"
    )
    fitted: AnyBank
    with one_blas_thread():
        if network is None:
            fitted = fit_on(bank, [source], tile, watch=watch, **fitting)
        else:
            fitted = network if normalise == "none" else normalised_on(network, source, watch)
    try:
        fitted.save(beside)
    except OutputError as error:
        why = getattr(error.__cause__, "strerror", None) or error
        raise OutputError(f"{beside.parent}: cannot be written: {elsewhere(why)}") from error
    return fitted, beside


def _check_target(dst: Place, overwrite: bool, source: Source, dtype: str, creation_options: dict[str, str]) -> None:
    """Refuse an output before a bank is fitted for it."""
    staging_path(dst, overwrite, TABLES)
    check_creation(dst, replace(source.info, dtype=dtype, nodata=None), creation_options)


@click.command()
@click.argument("src", nargs=-1, required=True)
@click.argument("dst", type=options.output)
@click.option(
    "--bank",
    default="rcf-mixed",
    show_default=True,
    metavar="NAME|BANK.npz|onnx:MODEL[@TENSOR]",
    help="A bank to fit, or fitted, or a tensor of an ONNX network.",
)
@options.together(options.pool, options.stride, options.count, options.size, options.seed)
@options.together(options.domain, options.normalise, options.exact, options.tile, options.reading, options.masking)
@options.together(options.dtype, options.geometry, options.at, options.creation)
@options.together(options.overwrite, options.running, options.watching)
def features(
    src: tuple[str, ...],
    dst: Place,
    bank: str,
    pool: int | None,
    stride: int | None,
    domain: str,
    normalise: str | None,
    exact: bool,
    tile: int,
    dtype: str,
    creation_options: dict[str, str],
    overwrite: bool,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **words: Any,
) -> None:
    """Compute the convolutional features of SRC into DST (.zarr: Zarr v3; .tif: a COG; .parquet: GeoParquet).

    SRC is one scene, or a folder of its band files. With the name of a bank, it is fitted on SRC; to keep it, use `fit`
    and give the file. A network is run in tiles; where that cannot be, it is said which operator is in the way.

    \b
    Example:
      terrasketch features scene.tif features.zarr --stride 4
      terrasketch features scene.zarr features.tif --bank bank.npz --pool 9 --stride 9
      terrasketch features scene.tif features.parquet --pool 32 --stride 32
      terrasketch features scene.tif fields.parquet --at fields.gpkg --stride 4
      terrasketch features scene.tif deep.zarr -b 4,3,2 --bank onnx:resnet18.onnx@/layer2/layer2.1/relu_1/Relu_output_0
    """
    fitting, places = ({word: words.pop(word) for word in names} for names in (FITTING, PLACES))
    check_words(bank, normalise, exact, {"count": fitting["count"], "size": fitting["size"]})
    check_apart([*src, *options.mask_files(words), *filter(None, [places["at"]])], dst)
    source = unmasked(teacher := open_scene(src, **words))
    _check_target(dst, overwrite, source, dtype, creation_options)
    planned = planned_bank(Features(bank=bank, exact=exact, normalise=normalise, **fitting), source.info)
    cell = settled(planned, tile, pool, stride)[2]
    table = table_of(dst, source, tile, cell, dtype=dtype, overwrite=overwrite, **places)
    check_mean(planned, dtype, table=bool(table))
    check_feature_chunk(source.info, planned, tile, pool, stride)
    with crew(scheduler, workers, verbose, quiet) as team, _beside(dst) as beside:
        fitted, path = _fitted(bank, planned, teacher, tile, beside, team.watch, normalise=normalise, **fitting)
        tile, pool, stride = settled(fitted, tile, pool, stride)
        receipt = write_features(
            source,
            dst,
            tile,
            fitted,
            path,
            pool,
            stride,
            team,
            overwrite=overwrite,
            creation_options=creation_options,
            **(table | {"dtype": dtype, "domain": domain}),
        )
    print_receipt(dst, receipt, as_json)
