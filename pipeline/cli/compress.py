"""terrasketch compress, and back."""

from __future__ import annotations

from typing import Any

import click

from pipeline.cli import options
from pipeline.cli.printing import print_receipt, print_result
from pipeline.cli.progress import crew
from pipeline.errors import ConfigError
from pipeline.flow.denoise import Denoising
from pipeline.flow.read import open_scene
from pipeline.flow.stages import check_apart, write_scene
from pipeline.flow.write import store_to_cog, writing_threads
from pipeline.raster.names import is_cog
from pipeline.storage import Place


@click.command()
@click.argument("src", nargs=-1, required=True)
@click.argument("dst", type=options.output, metavar="DST.zarr")
@options.together(options.bounding, options.tile, options.reading, options.stacking, options.masking)
@options.together(options.overwrite, options.running, options.watching)
def compress(
    src: tuple[str, ...],
    dst: Place,
    snr: float | None,
    rmse: float | None,
    max_error: float | None,
    lossless: bool,
    effort: str,
    tile: int,
    overwrite: bool,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **reading: Any,
) -> None:
    """Compress SRC into DST.zarr: low-rank factors inside Zarr v3, which xarray.open_zarr opens as it is.

    SRC is one scene: a raster GDAL opens, a folder or list of its band files, a STAC item, or a store of ours.

    \b
    Example:
      terrasketch compress scene.tif scene.zarr --snr 40
      terrasketch compress scene.tif exact.zarr --lossless
    """
    if dst.suffix != ".zarr":
        raise ConfigError(f"{dst}: compress writes Zarr; give an output ending in .zarr")
    bound = options.bound_of(snr, rmse, max_error, lossless)
    check_apart([*src, *options.mask_files(reading)], dst)
    source = open_scene(src, **reading)
    with crew(scheduler, workers, verbose, quiet) as team:
        receipt = write_scene(source, dst, tile, Denoising("none"), bound, team, effort=effort, overwrite=overwrite)
    print_receipt(dst, receipt, as_json)


@click.command()
@click.argument("src", type=options.where)
@click.argument("dst", type=options.output, metavar="DST.tif")
@options.together(options.bidx, options.bands, options.date, options.creation, options.overwrite, options.watching)
def decompress(
    src: Place,
    dst: Place,
    bidx: list[int] | None,
    bands: list[str] | None,
    date: str | None,
    creation_options: dict[str, str],
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Write the store SRC.zarr, some bands of it, or one date of a stack of dates, as DST.tif, a COG with the scene's
    CRS, nodata, band names and tags.

    \b
    Example:
      terrasketch decompress scene.zarr scene.tif --co COMPRESS=ZSTD
      terrasketch decompress stack.zarr S2_20160117.tif --date 2016-01-17 --bands B04,B03,B02
    """
    if not is_cog(dst):
        raise ConfigError(f"{dst}: decompress writes a COG; give an output ending in .tif or .tiff")
    check_apart([src], dst)
    store_to_cog(
        src,
        dst,
        overwrite=overwrite,
        creation_options=creation_options,
        threads=writing_threads(),
        bidx=bidx,
        bands=bands,
        date=date,
    )
    print_result({"output": str(dst), "bytes": dst.stat().st_size}, as_json)
