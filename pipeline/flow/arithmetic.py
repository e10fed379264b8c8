"""FLOPs of the matrix products of each map over a whole scene: what plans foretell and reports divide by seconds."""

from __future__ import annotations

from pipeline.denoise.cost import flops_per_pixel
from pipeline.flow.by_date import bands_together, dates_of
from pipeline.flow.denoise import Denoising
from pipeline.flow.feature_job import FeatureJob, shared_slabs
from pipeline.flow.networks import AnyBank, is_mean
from pipeline.grid import Grid
from pipeline.network import Bank, describe
from pipeline.network.network_cost import describe_network, scene_blocks
from pipeline.raster.scene import SceneInfo


def scene_flops(info: SceneInfo, tile: int, denoising: Denoising) -> float:
    """Of denoising, halos counted, and of the rotation of bands before coding; coding itself multiplies nothing."""
    bands, pixels = len(info.bands), info.height * info.width
    share = halo_share(Grid(info.height, info.width, tile), denoising.halo(tile, dates_of(info)))
    return denoise_flops(info, denoising.quality) * pixels * share + 2.0 * bands**2 * pixels


def denoise_flops(info: SceneInfo, quality: str) -> float:
    """Of denoising, for each pixel of a scene."""
    return sum(flops_per_pixel(bands, quality) for bands in bands_together(info))


def feature_flops(info: SceneInfo, bank: AnyBank, tile: int, pool: int, stride: int) -> float:
    """Of the features of a bank or a network from pixels; halos counted of networks alone."""
    if isinstance(bank, Bank):
        return float(sum(layer.flops for layer in describe(bank, pool, stride, info.height, info.width, tile=tile)))
    pixels, block = scene_blocks(bank, pool, stride, tile, info.height, info.width)
    layers = describe_network(bank, info.height, info.width, block=block)
    return sum(layer.flops for layer in layers) * pixels / (info.height * info.width)


def map_flops(job: FeatureJob, bank: AnyBank, workers: int) -> float | None:
    """Of the map of a job; None where factors are convolved, or where another map does the work before this one."""
    if job.domain != "pixels" or is_mean(bank) or shared_slabs(job, workers):
        return None
    return feature_flops(job.source.info, bank, job.tile, job.pool, job.stride)


def halo_share(grid: Grid, halo: int) -> float:
    """Pixels read, as a multiple of the scene's: every tile reads its halo, clipped at the edge."""
    rows = grid.height + 2 * halo * (grid.rows - 1)
    columns = grid.width + 2 * halo * (grid.columns - 1)
    return rows * columns / (grid.height * grid.width)
