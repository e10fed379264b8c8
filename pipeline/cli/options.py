"""The words of the command line, each defined once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.cli.parsing import (
    parse_bidx,
    parse_creation_options,
    parse_names,
    parse_points,
    parse_sigma,
    parse_whole,
)
from pipeline.codec import Bound
from pipeline.errors import ConfigError
from pipeline.storage import Place, place

Command = TypeVar("Command", bound=Callable[..., Any])
PERFORMANCE_REPORT = "terrasketch.performance_report"
"""The key of the path in the context of a command."""
WRITABLE = ("s3", "gs", "az")


def where(word: str) -> Place:
    """A local path or an address to read."""
    try:
        return place(word)
    except ConfigError as error:  # a ValueError, of which click shows nothing but the word
        raise click.BadParameter(str(error)) from None


def output(word: str) -> Place:
    """An output: a local path, or an address that can be written to."""
    scheme, slashes, _ = word.partition("://")
    if slashes and scheme not in WRITABLE:
        raise click.BadParameter(f"{word}: outputs are local, or at {', '.join(f'{name}://' for name in WRITABLE)}")
    return where(word)


bidx = click.option(
    "-b", "--bidx", multiple=True, metavar="N", callback=parse_bidx, help="Band numbers: -b 1,2 or -b 1..3."
)
bands = click.option("--bands", metavar="NAMES", callback=parse_names, help="Band names: --bands B04,B03,B02.")
nodata = click.option("--nodata", type=float, help="Sentinel of invalid pixels, in place of the files' own.")
resolution = click.option(
    "--resolution", type=click.FloatRange(min=0, min_open=True), help="Pixel size of a stack of band files."
)
resampling = click.option(
    "--resampling",
    type=click.Choice(["nearest", "bilinear", "cubic", "average"]),
    help="How band files come to the stack's grid; by default finer ones are averaged, others nearest.",
)
mask_band = click.option(
    "--mask-band",
    metavar="[CODING:]BAND|FILE",
    help="Mask of clouds, not learnt from: SCL, QA_PIXEL, Fmask, scl:12, qa_pixel:FILE.tif.",
)
mask_values = click.option(
    "--mask-values", metavar="V,V", callback=parse_whole, help="Values of the mask that are out, not its coding's."
)
mask_bits = click.option(
    "--mask-bits", metavar="N,N", callback=parse_whole, help="Bits of the mask that are out, from 0, not its coding's."
)
tile = click.option(
    "--tile", type=click.IntRange(16, 8192), default=256, show_default=True, help="Side of a tile in pixels."
)
overwrite = click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
creation = click.option(
    "--co",
    "creation_options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=parse_creation_options,
    help="Creation option of GDAL's COG driver; may be repeated.",
)
quality = click.option(
    "--quality",
    type=click.Choice(["none", "fast", "quality"]),
    default="fast",
    show_default=True,
    help="How much work denoising may be.",
)
basis = click.option(
    "--basis",
    type=click.Choice(["tile", "scene"]),
    default="tile",
    show_default=True,
    help="Find noise and bases on each tile, or once on windows of the whole scene.",
)
repair = click.option(
    "--repair",
    type=click.Choice(["auto", "all", "stripes", "none"]),
    default="auto",
    show_default=True,
    help="Mend stripes, dead lines and impulses of single bands, the lines alone, or nothing; auto: all, of dates of "
    "fewer than six bands the lines.",
)
sigma = click.option(
    "--sigma",
    default="auto",
    show_default=True,
    metavar="auto|FLOAT",
    callback=parse_sigma,
    help="Noise in data units; found by itself by default.",
)
snr = click.option(
    "--snr",
    type=click.FloatRange(min=0, min_open=True),
    metavar="DB",
    help="Keep this signal to noise ratio, the mean being signal (default 40).",
)
rmse = click.option("--rmse", type=float, metavar="X", help="Allow this root mean square error, data units.")
max_error = click.option("--max-error", type=float, metavar="X", help="Allow no pixel a larger error, data units.")
lossless = click.option("--lossless", is_flag=True, help="Every value comes back exactly.")
effort = click.option(
    "--effort",
    type=click.Choice(["fast", "best"]),
    default="fast",
    show_default=True,
    help="best: fewer bytes, slower to write.",
)
count = click.option("--count", type=click.IntRange(1, 4096), metavar="K", help="Number of filters.")
size = click.option("--size", type=click.IntRange(1, 31), metavar="S", help="Side of the filters in pixels.")
seed = click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the filters.")
pool = click.option(
    "--pool",
    type=click.IntRange(1, 255),
    metavar="P",
    help="Side of the mean pool [the bank's; of a network, the stride].",
)
stride = click.option(
    "--stride",
    type=click.IntRange(1, 1024),
    metavar="S",
    help="Pixels a feature cell covers on a side [1; of a network, its tensor's own].",
)
normalise = click.option(
    "--normalise",
    type=click.Choice(["scene", "none"]),
    help="What a network sees: bands less their mean over their deviation [scene], or the pixels as they are "
    "[of networks of integers].",
)
exact = click.option(
    "--exact", is_flag=True, help="Compute a network on blocks that do not depend on --tile: the same bits."
)
geometry = click.option(
    "--geometry",
    type=click.Choice(["cell", "centre"]),
    help="Of the rows of a .parquet: outlines of the cells, or their centres [cell].",
)
dtype = click.option(
    "--dtype",
    type=click.Choice(["float32", "int8"]),
    default="float32",
    show_default=True,
    help="int8: a quarter of the bytes, with a scale and an offset for each feature.",
)
at = click.option(
    "--at",
    metavar="FILE",
    help="Points or polygons, of any vector format: a .parquet with a row for each.",
)
at_places = click.option(
    "--at", multiple=True, metavar="X,Y", callback=parse_points, help="A place to compare with; may be repeated."
)
domain = click.option(
    "--domain",
    type=click.Choice(["auto", "factors", "pixels"]),
    default="auto",
    show_default=True,
    help="What of a compressed store is convolved; auto: factors where they are less work.",
)
scheduler = click.option(
    "--scheduler",
    metavar="WHERE",
    help="threads, processes, an address such as tcp://host:8786, or a scheduler file "
    "[DASK_SCHEDULER_ADDRESS, or threads].",
)
performance_report = click.option(
    "--performance-report",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    expose_value=False,  # it goes to where the cluster is opened, past commands that have no use for it
    callback=lambda context, _parameter, value: context.meta.update({PERFORMANCE_REPORT: value}),
    help="Write Dask's report of the run; not of threads.",
)
workers = click.option("--workers", type=click.IntRange(1), metavar="N", help="Tasks at a time [all cores].")
as_json = click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")
verbose = click.option("-v", "--verbose", is_flag=True, help="One line per stage on stderr.")
tracing = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,  # `main` looks for it among the words
    help="Show where an unexpected error comes from.",
)
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr; warnings stay.")


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order they are to be shown."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


reading = together(bidx, bands, nodata, resolution, resampling)
stack = click.option("--stack", is_flag=True, help="SRC are dates of one place on one grid: one joint scene.")
times = click.option(
    "--times", metavar="T,T", callback=parse_names, help="When they were taken, ISO 8601, where nothing else says."
)
stacking = together(stack, times)
date = click.option(
    "--date",
    metavar="DATE",
    help="Of a stack of dates this one: a day or a time, ISO 8601. Its bands are counted and called as on that date.",
)
masking = together(mask_band, mask_values, mask_bits)
watching = together(as_json, verbose, quiet)
placing = together(scheduler, workers)
running = together(placing, performance_report)
bounding = together(snr, rmse, max_error, lossless, effort)


def mask_files(reading: dict[str, Any]) -> list[str]:
    """The mask, where it is a file of its own: an input like the others."""
    name = (reading["mask_band"] or "").rpartition(":")[2]
    return [name] if Path(name).is_file() else []


def bound_of(snr: float | None, rmse: float | None, max_error: float | None, lossless: bool) -> Bound:
    """The one bound that was given; 40 dB where none was.

    Raises:
        ConfigError: more than one was given.
    """
    given = {"snr": snr, "rmse": rmse, "max_error": max_error, "lossless": True if lossless else None}
    chosen = [(mode, value) for mode, value in given.items() if value is not None]
    if len(chosen) > 1:
        names = ", ".join("--" + mode.replace("_", "-") for mode, _ in chosen)
        raise ConfigError(f"{names}: give one of --snr, --rmse, --max-error, --lossless")
    if not chosen:
        return Bound("snr", 40.0)
    mode, value = chosen[0]
    return Bound("lossless", None) if mode == "lossless" else Bound(mode, value)  # type: ignore[arg-type]
