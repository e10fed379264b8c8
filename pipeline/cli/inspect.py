"""terrasketch inspect and compare."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

import click

from pipeline.cli import options
from pipeline.cli.printing import print_result, table
from pipeline.cli.progress import Terminal
from pipeline.errors import SourceError
from pipeline.flow.apart import differences
from pipeline.flow.compare import Scores
from pipeline.flow.compare import compare as compare_scenes
from pipeline.flow.inspect import inspect_path
from pipeline.flow.paperwork import counted, share_text
from pipeline.flow.read import open_scene
from pipeline.flow.threads import one_blas_thread
from pipeline.storage import Place
from pipeline.untrusted import one_line

_MOST_BANDS, _MOST_DATES, _MOST_NOISES, _FEW = 64, 12, 16, 3


@click.command()
@click.argument("path", nargs=-1, required=True)
@click.option(
    "--verify", is_flag=True, help="Read all of a store against its checksums; exit 1 where chunks are damaged or gone."
)
@options.together(options.reading, options.masking, options.as_json, options.tracing)
def inspect(path: tuple[str, ...], verify: bool, as_json: bool, **reading: object) -> None:
    """Show shape, grid, bands, nodata and noise of a scene; modes, ratio and ranks of a store; filters of a bank; of
    an ONNX network, the tensors that a bank can take (--bank onnx:MODEL@TENSOR).

    Several PATHs are the band files of one scene. So are the files of a folder. Of the chunks of a store sizes and
    heads are looked at, which finds those that are missing or cut short; --verify reads all bytes of each.

    \b
    Example:
      terrasketch inspect scene.tif
      terrasketch inspect B02.tif B03.tif B04.tif
      terrasketch inspect out/scene/scene.zarr --json
      terrasketch inspect out/scene/features.zarr --verify
    """
    with one_blas_thread(), Terminal(verbose=False, quiet=False) as watch:
        facts = inspect_path(path, verify=verify, watch=watch, **reading)
    tensors = None if as_json else facts.pop("tensors", None)
    if not as_json:  # most often one for all bands
        facts |= {name: sorted(set(facts[name])) for name in ("scales", "offsets") if name in facts}
        facts |= _shortened(facts)
    print_result(facts, as_json)
    if tensors is not None:
        head = ["tensor", "operator", "features", "stride", "halo", "in tiles"]
        click.echo("\n" + table(head, [_tensor_row(tensor) for tensor in tensors]))
        for reason in dict.fromkeys(tensor["refused"] for tensor in tensors if "refused" in tensor):
            click.echo(f"no: {reason}")
    if verify:
        _check_verdict(path[0], facts)


@click.command()
@click.argument("a", type=options.where)
@click.argument("b", type=options.where)
@options.together(options.bidx, options.bands, options.as_json, options.tracing)
def compare(
    a: Place, b: Place, as_json: bool, bidx: tuple[int, ...] | None = None, bands: tuple[str, ...] | None = None
) -> None:
    """Compare scene B with the reference A, per band and overall, where both have a value.

    Pixels are compared by row and column; scenes that say they lie elsewhere than one another,
    have other scales or offsets, or their bands in another order, are warned of.
    rmse and max error in data units, snr and psnr in dB (peak: A's range over them; overall: the largest of the
    bands' ranges, with the mean square error over all), sam in degrees.

    \b
    Example:
      terrasketch compare scene.tif scene.zarr
      terrasketch compare scene.tif scene.zarr -b 1..3
    """
    with one_blas_thread():
        one, other = (open_scene(str(scene), bidx=bidx, bands=bands) for scene in (a, b))
        result = compare_scenes(one, other)
    for difference in differences(one, other):
        click.echo(f"Warning: {one_line(difference)}", err=True)
    if any(result.alone):
        words = (
            f"{counted(result.alone[0], 'pixel')} with values in A alone, {result.alone[1]} in B alone: not compared"
        )
        click.echo(f"Warning: {words}", err=True)
    if result.partial:
        click.echo(f"Warning: {counted(result.partial, 'pixel')} lack a band: compared in the others", err=True)
    same, other_than = result.infinite
    if same:
        click.echo(f"Warning: {counted(same, 'value')} infinite in both alike: left out", err=True)
    if other_than:
        words = (
            f"{counted(other_than, 'value')} infinite in A or B alone, or of the other sign: their error is infinite"
        )
        click.echo(f"Warning: {words}; ssim and sam are without them", err=True)
    if as_json:
        scored = {name: scores.to_json() for name, scores in result.bands.items()}
        facts = {"overall": result.overall.to_json(), "pixels": result.pixels, "valid_in_one_alone": result.alone}
        facts |= {"lacking_a_band": result.partial, "infinite": result.infinite}
        click.echo(json.dumps({"bands": scored} | facts))
        return
    rows = [_row(name, scores) for name, scores in [*result.bands.items(), ("overall", result.overall)]]
    click.echo(table(["band", "rmse", "snr", "psnr", "ssim", "max error", "sam"], rows))


def _shortened(facts: dict[str, Any]) -> dict[str, Any]:
    """Many bands, and dates, in the words that a line has room for."""
    bands, dates, noise = facts.get("bands", []), facts.get("dates"), facts.get("noise") or {}
    short: dict[str, Any] = {}
    if len(noise) > _MOST_NOISES:
        short["noise"] = _noise_text(noise)
    if "shape" in facts and len(bands) > _MOST_BANDS:
        short["bands"] = [*bands[:3], "...", bands[-1]]
    if dates:
        shares = [date["missing"] for date in dates if "missing" in date]
        if len(shares) > _MOST_DATES:
            shares = [min(shares), max(shares)]
        lacking = (" to " if len(dates) > _MOST_DATES else ", ").join(map(share_text, shares))
        ends = f"{len(dates)}, {dates[0]['time']} to {dates[-1]['time']}"
        short["dates"] = f"{ends}, missing {lacking}" if any(shares) else ends
    return short


def _noise_text(noise: dict[str, float]) -> str:
    """The noise of many bands, and which of them have none."""
    found = {band: sigma for band, sigma in noise.items() if sigma > 0}
    without = [band for band in noise if band not in found]
    said = []
    if found:
        least, most = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
        middle = f"{median(found.values()):.5g}"
        said.append(f"median {middle}, least {found[least]:g} ({least}), most {found[most]:g} ({most})")
    if without:
        named = ", ".join(without[:_FEW]) + (", ..." if len(without) > _FEW else "")
        said.append(f"0 in {counted(len(without), 'band')}, constant or without noise: {named}")
    return "; ".join(said)


def _check_verdict(path: str, facts: dict[str, Any]) -> None:
    """Raise SourceError where chunks are damaged or missing."""
    bad, named = facts["damaged"] + facts["missing"], facts.get("damaged_or_missing", [])
    if bad:
        more = f" and {bad - len(named)} more" if bad > len(named) else ""
        raise SourceError(
            f"{path}: of {counted(facts['verified'], 'chunk')} {facts['damaged']} damaged, {facts['missing']} missing: "
            f"{', '.join(named)}{more}; write them again: `run` does, the other commands write all with --overwrite"
        )


def _tensor_row(facts: dict[str, Any]) -> list[str]:
    if "refused" in facts:
        return [facts["tensor"], facts["operator"], "", "", "", "no"]
    y, x = facts["stride"]
    stride = f"{y:g}" if y == x else f"{y:g} x {x:g}"
    how = "mean over the scene" if facts["mean"] else "yes"
    return [facts["tensor"], facts["operator"], str(facts["features"]), stride, str(max(facts["halo"])), how]


def _row(name: str, scores: Scores) -> list[str]:
    sam = "" if scores.sam is None else f"{scores.sam:.3f}"
    return [
        name,
        f"{scores.rmse:.4g}",
        f"{scores.snr:.2f}",
        f"{scores.psnr:.2f}",
        f"{scores.ssim:.4f}",
        f"{scores.max_error:.4g}",
        sam,
    ]
