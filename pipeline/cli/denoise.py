"""terrasketch denoise."""

from __future__ import annotations

from typing import Any

import click

from pipeline.cli import options
from pipeline.cli.printing import print_receipt
from pipeline.cli.progress import crew
from pipeline.flow.denoise import Denoising
from pipeline.flow.read import open_scene
from pipeline.flow.stages import check_apart, write_scene
from pipeline.storage import Place


@click.command()
@click.argument("src", nargs=-1, required=True)
@click.argument("dst", type=options.output)
@options.together(
    options.quality, options.sigma, options.basis, options.repair, options.tile, options.reading, options.stacking
)
@options.together(options.masking)
@options.together(options.creation, options.overwrite, options.running, options.watching)
def denoise(
    src: tuple[str, ...],
    dst: Place,
    quality: str,
    sigma: float | None,
    basis: str,
    repair: str,
    tile: int,
    creation_options: dict[str, str],
    overwrite: bool,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **reading: Any,
) -> None:
    """Remove the noise of SRC and write DST (.tif: a COG; .zarr: Zarr v3).

    SRC is one scene: a raster GDAL opens, a folder or list of its band files, a STAC item, or a store of ours. Noise
    level and rank are found on each tile, or once for the scene (--basis scene); dtype, CRS, nodata, band names and
    tags (GDAL's default domain) are kept.

    \b
    Example:
      terrasketch denoise scene.tif clean.tif
      terrasketch denoise B02.tif B03.tif B04.tif clean.zarr --quality quality
    """
    check_apart([*src, *options.mask_files(reading)], dst)
    source = open_scene(src, **reading)
    with crew(scheduler, workers, verbose, quiet) as team:
        receipt = write_scene(
            source,
            dst,
            tile,
            Denoising(quality, sigma, basis, repair),
            None,
            team,
            overwrite=overwrite,
            creation_options=creation_options,
        )
    print_receipt(dst, receipt, as_json)
