"""What a job costs, before anything runs: tiles, tasks, bytes, memory, FLOPs, arithmetic intensity, GEMM partition.

The memory model: one process holds the libraries, GDAL's block cache, our cache of decoded chunks, and for each task
at work the arrays its stage needs at its worst moment, in multiples of the tile with halo. The multiples are measured
(docs/benchmarks.md) and rounded up: a run's peak stays at or below the plan.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pipeline.config import Workflow
from pipeline.denoise.settings import MAX_COLUMNS, settings_for
from pipeline.denoise.whiten import KEEP_ALL
from pipeline.flow.banks import planned_bank
from pipeline.flow.denoise import Denoising
from pipeline.flow.feature_job import filter_groups
from pipeline.flow.networks import settled
from pipeline.flow.read import open_scene
from pipeline.flow.report import FEATURE_CELLS
from pipeline.flow.scene_basis import PASSES as BASIS_PASSES
from pipeline.flow.scene_basis import SCORES, spread_windows
from pipeline.grid import Grid, Window
from pipeline.network import Bank, Layer, describe, fitting_bytes
from pipeline.network.network_bank import NetworkBank
from pipeline.network.network_cost import about, describe_network, live_bytes, scene_blocks
from pipeline.raster.scene import SceneInfo
from pipeline.raster.store_source import CACHE_BYTES
from pipeline.report.data import PICTURE_PIXELS

LIBRARIES = 330 << 20
"""Python with numpy, scipy, numba, GDAL, zarr, xarray, and the compiled kernels."""
FINISH = 220 << 20
"""COG driver and report, one scene at a time, beside the report's pictures of every band and its tiles for noise."""
GDAL_CACHE = 64 << 20
DENOISE_MULTIPLE, SCORES_MULTIPLE, SCENE_FIXED = 10, 1.25, 24 << 20
"""Of a block with halo in float32; the scores of its patches come on top, at their most one for each column."""
CODE_MULTIPLE = {"fast": 8, "best": 13}
"""Of the same block, by effort; it does not come on top: a block is denoised before it is coded."""
BASIS_DRIVER = 3 * 4 * SCORES
"""Scores and sums that the driver holds while it learns the bases of a scene."""
FEATURE_BLOCKS, FEATURE_CHUNKS, FEATURE_FIXED = 4, 3, 24 << 20
FRONT_MAPS = 0.5
"""Components and hidden maps are there once or twice, where a band is FEATURE_BLOCKS times."""
NETWORK_MAPS, WEIGHT_COPIES = 1.5, 2
"""Of the maps that a network needs at one time, and of its weights: as read, and made ready."""
_BATCH_SECONDS = 1.0
_SECONDS_PER_ELEMENT = 4e-7
"""Of denoising, per band and pixel, one thread: only to make tasks of about a second."""


@dataclass(frozen=True)
class StagePlan:
    """One map: `bytes_out` and `task_memory` are upper bounds."""

    name: str
    tiles: int
    tasks: int
    halo: int
    bytes_in: int
    bytes_out: int
    flops: float
    intensity: float
    """FLOPs per byte read from and written to the stores."""
    task_memory: int


@dataclass(frozen=True)
class ScenePlan:
    """A scene's maps, and the peak memory of the process that runs `workers` tasks at a time."""

    name: str
    shape: tuple[int, int, int]
    dtype: str
    tile: int
    workers: int
    stages: list[StagePlan]
    memory: int
    products: list[list[str]] = field(default_factory=list)
    """The features' matrix products: layer, m, n, k, GFLOP, FLOP/byte, panel rows, parts along m x n x k."""
    notes: list[str] = field(default_factory=list)
    """What else is good to know: the stride and halo of a network."""

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON types."""
        return asdict(self)


def batch_size(info: SceneInfo, tile: int) -> int:
    """Tiles in a task, so that it is about a second of work."""
    seconds = len(info.bands) * tile * tile * _SECONDS_PER_ELEMENT
    return max(1, min(64, round(_BATCH_SECONDS / seconds)))


def plan_scene(name: str, paths: list[str], workflow: Workflow, workers: int, *, many: bool = False) -> ScenePlan:
    """Plan one scene of a workflow from its header alone; one of `many` is mapped while another is finished.

    Raises:
        SourceError: the scene cannot be opened.
        BankError: the workflow's bank cannot be loaded.
        ModelError: the workflow's network cannot be read.
    """
    info = open_scene(paths, **workflow.read.model_dump(exclude={"tile"})).info
    stages = [_scene_stage(info, workflow)]
    products: list[list[str]] = []
    notes: list[str] = []
    features = fitting = held = 0
    if workflow.features is not None:
        bank = planned_bank(workflow.features, info.bands)
        features = len(bank.features)
        if isinstance(bank, NetworkBank):
            stage, products = _network_stage(info, workflow, bank)
            notes = about(bank, *_sizes(info, workflow, bank))
            held = WEIGHT_COPIES * sum(weights.nbytes for weights in bank.graph.constants.values())
        else:
            stage, products = _feature_stage(info, workflow, bank)
            fitting = fitting_bytes(bank.name, len(info.bands), bank.filters.shape[-1])
        stages.append(stage)
    pixels = info.height * info.width
    pictures = len(info.bands) * (12 * min(pixels, PICTURE_PIXELS) + 32 * min(pixels, workflow.read.tile**2))
    finish = FINISH + pictures + 3 * 4 * FEATURE_CELLS**2 * features
    maps = max(workers * max(stage.task_memory for stage in stages), _basis_memory(info, workflow, workers))
    memory = (
        LIBRARIES
        + GDAL_CACHE
        + CACHE_BYTES
        + held
        + (max(maps, fitting) + finish if many else max(maps, fitting, finish))
    )
    shape = (len(info.bands), info.height, info.width)
    return ScenePlan(name, shape, info.dtype, workflow.read.tile, workers, stages, memory, products, notes)


def _scene_stage(info: SceneInfo, workflow: Workflow) -> StagePlan:
    tile, bands = workflow.read.tile, len(info.bands)
    grid = Grid(info.height, info.width, tile)
    denoising = Denoising(workflow.denoise.quality, basis=workflow.denoise.basis)
    halo = denoising.halo(tile)
    raw = bands * info.height * info.width * np.dtype(info.dtype).itemsize
    borrowed = _halo_share(grid, halo)
    side = tile + 2 * halo
    block = 4 * bands * min(side, info.height) * min(side, info.width)
    flops = _denoise_flops(bands, denoising.quality) * info.height * info.width * borrowed
    flops += 2.0 * bands**2 * info.height * info.width
    multiple = max(_block_multiple(bands, denoising.quality), CODE_MULTIPLE[workflow.compress.effort])
    memory = multiple * block + SCENE_FIXED
    bytes_in = int(raw * borrowed)
    for window in _basis_windows(info, workflow):
        pixels = window.shape[0] * window.shape[1]
        bytes_in += BASIS_PASSES * bands * pixels * np.dtype(info.dtype).itemsize
        flops += _denoise_flops(bands, denoising.quality) * pixels
    return StagePlan(
        "denoise + compress",
        len(grid),
        -(-len(grid) // batch_size(info, tile)),
        halo,
        bytes_in,
        raw,
        flops,
        flops / (bytes_in + raw),
        int(memory),
    )


def _feature_stage(info: SceneInfo, workflow: Workflow, bank: Bank) -> tuple[StagePlan, list[list[str]]]:
    wanted = workflow.features
    assert wanted is not None
    tile, pool, stride = settled(bank, workflow.read.tile, wanted.pool, wanted.stride)
    bands = len(info.bands)
    grid = Grid(info.height, info.width, tile)
    halo = bank.halo(pool, stride)
    layers = describe(bank, pool, stride, info.height, info.width, tile=tile)
    flops = float(sum(layer.flops for layer in layers))
    out = _feature_bytes(workflow) * len(bank.features) * -(-info.height // stride) * -(-info.width // stride)
    bytes_in = int(bands * info.height * info.width * np.dtype(info.dtype).itemsize * _halo_share(grid, halo))
    side = min(tile, max(info.height, info.width)) + 2 * halo
    block = 4 * (bands + FRONT_MAPS * (len(bank.projection) + len(bank.hidden))) * side**2
    chunk = 4 * len(bank.features) * (tile // stride) ** 2
    stage = StagePlan(
        "features",
        len(grid),
        -(-len(grid) // batch_size(info, tile)),
        halo,
        bytes_in,
        out,
        flops,
        flops / (bytes_in + out),
        int(FEATURE_BLOCKS * block + FEATURE_CHUNKS * chunk + FEATURE_FIXED),
    )
    return stage, _products(layers, len(grid), len(filter_groups(bank)))


def _network_stage(info: SceneInfo, workflow: Workflow, bank: NetworkBank) -> tuple[StagePlan, list[list[str]]]:
    _, stride, tile, *_ = sizes = _sizes(info, workflow, bank)
    grid, bands = Grid(info.height, info.width, tile), len(info.bands)
    pixels, block = scene_blocks(bank, *sizes)
    layers = describe_network(bank, info.height, info.width, block=block)
    flops = sum(layer.flops for layer in layers) * pixels / (info.height * info.width)
    cells = -(-info.height // stride) * -(-info.width // stride)
    out = _feature_bytes(workflow) * len(bank.features) * cells
    bytes_in = bands * pixels * np.dtype(info.dtype).itemsize
    maps = NETWORK_MAPS * live_bytes(bank.field, *block)
    chunk = 4 * len(bank.features) * (tile // stride) ** 2
    memory = maps + FEATURE_BLOCKS * 4 * bands * block[0] * block[1] + FEATURE_CHUNKS * chunk + FEATURE_FIXED
    stage = StagePlan(
        "features",
        len(grid),
        len(grid),
        max(bank.field.halo),
        bytes_in,
        out,
        flops,
        flops / (bytes_in + out),
        int(memory),
    )
    return stage, _products(layers, len(grid), 1)


def _sizes(info: SceneInfo, workflow: Workflow, bank: NetworkBank) -> tuple[int, int, int, int, int]:
    """Pool, stride and tile of a network's map, height and width of the scene."""
    wanted = workflow.features
    assert wanted is not None
    tile, pool, stride = settled(bank, workflow.read.tile, wanted.pool, wanted.stride)
    return pool, stride, tile, info.height, info.width


def _feature_bytes(workflow: Workflow) -> int:
    """Of one feature of one cell."""
    assert workflow.features is not None
    return np.dtype(workflow.features.dtype).itemsize


def _products(layers: tuple[Layer, ...], tiles: int, groups: int) -> list[list[str]]:
    return [
        [
            layer.name,
            *map(str, (layer.m, layer.n, layer.k)),
            f"{layer.flops / 1e9:.1f}",
            f"{layer.intensity:.1f}",
            str(layer.panel_rows),
            f"{tiles} x {groups if layer.panel_rows else 1} x 1",
        ]
        for layer in layers
    ]


def _halo_share(grid: Grid, halo: int) -> float:
    """Pixels read, as a multiple of the scene's: every tile reads its halo, clipped at the edge."""
    rows = grid.height + 2 * halo * (grid.rows - 1)
    columns = grid.width + 2 * halo * (grid.columns - 1)
    return rows * columns / (grid.height * grid.width)


def _basis_windows(info: SceneInfo, workflow: Workflow) -> list[Window]:
    """The windows that the bases of a scene are learnt from; none where tiles have their own."""
    shared = workflow.denoise.basis == "scene" and workflow.denoise.quality != "none"
    return spread_windows(info.height, info.width) if shared else []


def _basis_memory(info: SceneInfo, workflow: Workflow, workers: int) -> int:
    """Bytes at work while the bases of a scene are learnt."""
    windows = _basis_windows(info, workflow)
    if not windows:
        return 0
    bands = len(info.bands)
    pixels = max(window.shape[0] * window.shape[1] for window in windows)
    task = _block_multiple(bands, workflow.denoise.quality) * 4 * bands * pixels + SCENE_FIXED
    return int(workers * task + BASIS_DRIVER)


def _block_multiple(bands: int, quality: str) -> float:
    """Memory of denoising over its block with halo in float32."""
    if quality == "none":
        return 0.0
    settings = settings_for(quality, bands)
    columns = min(MAX_COLUMNS, settings.patch**2 * bands)
    return DENOISE_MULTIPLE + SCORES_MULTIPLE * columns / (bands * settings.apply[0] * settings.apply[1])


def _denoise_flops(bands: int, quality: str) -> float:
    """FLOPs per pixel: a Gram (2d²) for each patch learnt from; a projection there and back, and a Gram of the scores,
    for each patch folded: 4·d·r + 2·r² of r directions, three tenths of d for each of `headroom`."""
    if quality == "none":
        return 0.0
    settings = settings_for(quality, bands)
    columns = settings.patch**2 * min(bands, KEEP_ALL)
    kept = columns * min(1.0, 0.3 * settings.headroom)
    learnt = 2.0 * columns**2 / (settings.learn[0] * settings.learn[1])
    return learnt + (4.0 * columns * kept + 2.0 * kept**2) / (settings.apply[0] * settings.apply[1])
