"""terrasketch similar, cluster, anomaly and regress: answers from features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.answers import MOST_GROUPS, Annulus, Background, Water
from pipeline.cli import options
from pipeline.cli.printing import print_result, table
from pipeline.cli.progress import crew
from pipeline.errors import ConfigError
from pipeline.flow.anomaly import write_anomaly
from pipeline.flow.kmeans import write_groups
from pipeline.flow.labels import labelled
from pipeline.flow.legend import legend_files
from pipeline.flow.maps import TABLE, check_map
from pipeline.flow.read import open_scene
from pipeline.flow.regress import Validation, write_prediction
from pipeline.flow.similar import asked, points, shapes_of, write_similar
from pipeline.flow.stages import check_apart
from pipeline.flow.tasks import Receipt
from pipeline.flow.values import Values
from pipeline.raster.names import choose
from pipeline.raster.scene import SceneInfo, Source
from pipeline.storage import is_url

store = click.argument("store")


def _local(word: str) -> Path:
    if is_url(word):
        raise click.BadParameter(f"{word}: maps are written to this machine; give a local path")
    options.where(word)
    return Path(word)


target = click.argument("dst", type=_local)
seed = click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of what is drawn.")
common = options.together(options.tile, options.reading, options.overwrite, options.running, options.watching)


def _elsewhere(at: list[tuple[float, float]], crs: str | None, shapes: Any) -> str:
    """What to do where no place lies in the scene."""
    if not at:
        return "give places in it"
    if crs is None:
        return "give places in it, or name their CRS by --crs"
    first = shapes[0]
    return f"{crs} brings the first to x {first.x:.10g}, y {first.y:.10g}: is it their CRS, and x (longitude) first?"


@click.command()
@store
@target
@options.at_places
@click.option("--points", "places", metavar="FILE", help="Places: points or polygons, of any vector format.")
@click.option("--crs", metavar="CODE", help="CRS of --at, such as EPSG:4326 for lon,lat [the store's].")
@click.option("--top", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Cells in the table.")
@click.option(
    "--apart", type=click.IntRange(0, 64), default=4, show_default=True, help="Cells between hits, and from the places."
)
@options.together(seed, common)
def similar(
    store: str,
    dst: Path,
    at: list[tuple[float, float]],
    places: str | None,
    crs: str | None,
    top: int,
    apart: int,
    seed: int,
    **words: Any,
) -> None:
    """Find where STORE looks like the places asked about: a map DST.tif of cosines, and the best cells as DST.parquet.

    STORE holds features (`features`, `run`), or is any scene. Of several places a cell is compared with the nearest.

    \b
    Example:
      terrasketch similar features.zarr like.tif --at 437000,4175000
      terrasketch similar features.zarr like.tif --at -75.71,37.72 --crs EPSG:4326 --top 20
      terrasketch similar features.zarr like.tif --points barns.gpkg
    """
    if bool(at) == bool(places):
        raise ConfigError("give the places, as --at X,Y (may be repeated) or as --points FILE")
    if crs and places:
        raise ConfigError("--crs is for --at; the file of --points has its own CRS")
    values, watching = _opened(store, dst, words, [places], [dst.with_suffix(TABLE)])
    shapes = points(values, at, crs) if places is None else shapes_of(values, places)
    with crew(**watching) as team:
        where = f"--at {' '.join(f'{x:.10g},{y:.10g}' for x, y in at)}" if places is None else places
        found = asked(values, shapes, where, team, _elsewhere(at, crs, shapes))
        receipt, facts = write_similar(values, found, dst, team, top=top, apart=apart, seed=seed)
    _print(dst, receipt, {"table": str(dst.with_suffix(TABLE)), "places": len(found.features)} | facts, words)


@click.command()
@store
@target
@click.option(
    "--groups", type=click.IntRange(2, MOST_GROUPS), default=12, show_default=True, metavar="K", help="How many groups."
)
@options.together(seed, common)
def cluster(store: str, dst: Path, groups: int, seed: int, **words: Any) -> None:
    """Sort the cells of STORE into groups that are alike: a map DST.tif in colours, its legend DST.legend.json.

    Groups are learnt on 20000 cells spread over the store, by k-means in mini-batches.

    \b
    Example:
      terrasketch cluster features.zarr groups.tif --groups 12
    """
    values, watching = _opened(store, dst, words, [], legend_files(dst))
    with crew(**watching) as team:
        receipt, legend = write_groups(values, dst, team, count=groups, seed=seed)
    if words["as_json"]:
        _print(dst, receipt, {"groups": legend}, words)
        return
    _print(dst, receipt, {}, words)
    rows = [[str(e["value"]), e["colour"], f"{100 * e['share']:.1f} %", _traits(e["features"])] for e in legend]
    click.echo(table(["group", "colour", "cells", "apart by"], rows))


@click.command()
@click.argument("src", nargs=-1, required=True)
@target
@click.option("--window", type=int, default=21, show_default=True, help="Pixels a side that tell what is usual here.")
@click.option("--guard", type=int, default=7, show_default=True, help="Pixels a side in their middle that do not.")
@click.option(
    "--water",
    metavar="GREEN,NIR[,NDWI]",
    help="Look on water alone: where the NDWI of these bands is above NDWI [0].",
)
@click.option(
    "--pfa",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=1e-4,
    show_default=True,
    metavar="RATE",
    help="False alarms a pixel of background.",
)
@common
def anomaly(
    src: tuple[str, ...], dst: Path, window: int, guard: int, water: str | None, pfa: float, **words: Any
) -> None:
    """Find pixels of SRC unlike what is around them: a map DST.tif of scores, and detections as DST.parquet.

    SRC is a scene, its spectra, or a feature store. A score is about 1 on background. Objects must fit in the guard.

    \b
    Example:
      terrasketch anomaly scene.tif odd.tif
      terrasketch anomaly scene.zarr ships.tif --water B03,B08 --pfa 1e-5
    """
    annulus = Annulus(window, guard)
    values, watching = _opened(src, dst, words, [], [dst.with_suffix(TABLE)])
    info = values.source.info
    background = Background(annulus, None if water is None else _water(water, info))
    with crew(**watching) as team:
        receipt, facts = write_anomaly(values, background, dst, team, rate=pfa)
    _print(dst, receipt, {"table": str(dst.with_suffix(TABLE)), "pfa": pfa} | facts, words)


@click.command()
@store
@target
@click.option("--labels", required=True, metavar="FILE", help="Points or polygons, of any vector format.")
@click.option("--field", required=True, metavar="NAME", help="What of them is to be predicted.")
@click.option(
    "--kind",
    type=click.Choice(["auto", "classes", "numbers"]),
    default="auto",
    show_default=True,
    help="auto: numbers are numbers, words are classes.",
)
@click.option("--block", type=float, metavar="M", help="Side of a validation block in units of the CRS.")
@click.option("--gap", type=float, metavar="M", help="Between training and test cells, units of the CRS.")
@click.option("--folds", type=click.IntRange(2, 20), default=5, show_default=True, help="Parts of the validation.")
@options.together(seed, common)
def regress(
    store: str,
    dst: Path,
    labels: str,
    field: str,
    kind: str,
    block: float | None,
    gap: float | None,
    folds: int,
    seed: int,
    **words: Any,
) -> None:
    """Predict FIELD of labelled places over all of STORE: a map DST.tif, and how good it is where no label was seen.

    Ridge regression on features; classes as the largest of one ridge each. The accuracy is of spatial blocks: cells
    nearer to a test block than the gap are not trained on. Places no larger than a block are of one block.

    \b
    Example:
      terrasketch regress features.zarr cover.tif --labels fields.gpkg --field crop
      terrasketch regress features.zarr biomass.tif --labels plots.parquet --field t_per_ha --block 2000 --json
    """
    values, watching = _opened(store, dst, words, [labels], legend_files(dst))
    with crew(**watching) as team:
        data = labelled(values, labels, field, kind, seed, team)
        how = Validation.of(values, data, block, gap, folds, seed, team.watch)
        receipt, report = write_prediction(values, data, field, how, dst, team)
    if words["as_json"]:
        _print(dst, receipt, report, words)
        return
    overall = {key: _short(value) for key, value in report["overall"].items() if key != "confusion"}
    flat = {
        key: value for key, value in report.items() if key not in ("overall", "folds", "classes", "unjudged", "added")
    }
    _print(dst, receipt, flat | overall, words)
    if not report["folds"]:
        return
    head = [key for key in report["folds"][0] if key not in ("penalty", "without")]
    rows = [[str(number), *(_short(one[key]) for key in head)] for number, one in enumerate(report["folds"], 1)]
    click.echo(table(["fold", *head], rows))


def _opened(
    src: Any, dst: Path, words: dict[str, Any], files: list[str | None], beside: list[Path]
) -> tuple[Values, dict[str, Any]]:
    """The source in its tiles, and the words of `crew`; refuses a target that is an input or is there already."""
    paths = [src] if isinstance(src, str) else list(src)
    for output in [dst, *beside]:
        check_apart([*paths, *filter(None, files)], output)
    check_map(dst, words["overwrite"], beside)
    reading = {name: words[name] for name in ("bidx", "bands", "nodata", "resolution", "resampling")}
    source: Source = open_scene(src, **reading)
    return Values.of(source, words["tile"]), {key: words[key] for key in ("scheduler", "workers", "verbose", "quiet")}


def _print(dst: Path, receipt: Receipt, facts: dict[str, Any], words: dict[str, Any]) -> None:
    print_result({"output": str(dst), "tiles": receipt.tiles} | facts, words["as_json"])


def _water(words: str, info: SceneInfo) -> Water:
    """--water GREEN,NIR[,NDWI]. Raises ConfigError."""
    green, infrared, *rest = [*(word.strip() for word in words.split(",")), "", ""][: max(2, words.count(",") + 1)]
    try:
        least = float(rest[0]) if rest else 0.0
    except ValueError:
        least = float("nan")
    if not infrared or len(rest) > 1 or not -1 < least < 1:
        raise ConfigError(f"--water {words}: give a green and a near infrared band, such as B03,B08 or B03,B08,0.2")
    positions = choose(info.bands, None, [green, infrared], info.name)
    return Water(positions[0], positions[1], least)


def _traits(features: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:+.1f}" for name, value in features.items())


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(inner)}" for key, inner in value.items())
    if value is None:
        return "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
