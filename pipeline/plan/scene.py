"""What one scene costs, before it runs: tiles, tasks, bytes, memory, FLOPs, arithmetic intensity, GEMM partition."""

from __future__ import annotations

import numpy as np

from pipeline.config import Workflow
from pipeline.flow.arithmetic import denoise_flops, feature_flops, halo_share, scene_flops
from pipeline.flow.at_rest import base_memory
from pipeline.flow.banks import planned_bank
from pipeline.flow.batches import tasks_for
from pipeline.flow.by_date import dates_of
from pipeline.flow.chunk_size import check_feature_chunk, check_scene_chunk
from pipeline.flow.denoise import Denoising
from pipeline.flow.feature_job import filter_groups
from pipeline.flow.networks import AnyBank, is_mean, settled
from pipeline.flow.read import open_scene
from pipeline.flow.scene_basis import PASSES as BASIS_PASSES
from pipeline.grid import Grid
from pipeline.network import Bank, Layer, describe, fitting_bytes
from pipeline.network.network_bank import NetworkBank
from pipeline.network.network_cost import about, describe_network, live_bytes, scene_blocks
from pipeline.plan.memory import (
    CODE_MULTIPLE,
    FEATURE_BLOCKS,
    FEATURE_CHUNKS,
    FEATURE_FIXED,
    FRONT_MAPS,
    NETWORK_MAPS,
    SCENE_FIXED,
    WEIGHT_COPIES,
    Chunk,
    basis_memory,
    basis_windows,
    denoise_memory,
    finish_memory,
)
from pipeline.plan.model import ScenePlan, StagePlan
from pipeline.plan.products import product_bytes
from pipeline.raster.scene import SceneInfo

_SECONDS_PER_ELEMENT = 4e-7
"""Of denoising, per band and pixel, one thread: only to tell about how many tasks there will be."""


def plan_scene(name: str, paths: list[str], workflow: Workflow, workers: int, *, many: bool = False) -> ScenePlan:
    """Plan one scene of a workflow from its header alone; one of `many` is mapped while another is finished.

    Raises:
        SourceError: the scene cannot be opened.
        BankError: the workflow's bank cannot be loaded.
        ModelError: the workflow's network cannot be read.
        ConfigError: a chunk is too large.
    """
    info = open_scene(paths, **workflow.read.model_dump(exclude={"tile"})).info
    check_scene_chunk(info, workflow.read.tile)
    stages = [_scene_stage(info, workflow, workers)]
    products: list[list[str]] = []
    notes: list[str] = []
    features = fitting = held = kept = 0
    chunk = None
    if workflow.features is not None:
        bank = planned_bank(workflow.features, info)
        check_feature_chunk(info, bank, workflow.read.tile, workflow.features.pool, workflow.features.stride)
        features = len(bank.features)
        if isinstance(bank, NetworkBank):
            stage, products = _network_stage(info, workflow, bank)
            notes = about(bank, *_sizes(info, workflow, bank))
            held = WEIGHT_COPIES * sum(weights.nbytes for weights in bank.graph.constants.values())
        else:
            stage, products = _feature_stage(info, workflow, bank, workers)
            fitting = fitting_bytes(bank.name, len(info.bands), bank.filters.shape[-1])
            kept = bank.filters.nbytes + bank.projection.nbytes
        stages.append(stage)
        chunk = _chunk(workflow, bank)
    task = max(stage.task_memory for stage in stages)
    finish = finish_memory(info, workflow, features, workers, chunk)
    maps = max(workers * task, basis_memory(info, workflow, workers), fitting)
    return ScenePlan(
        name,
        (len(info.bands), info.height, info.width),
        info.dtype,
        workflow.read.tile,
        workers,
        stages,
        base_memory() + held + (maps + finish if many else max(maps, finish)),
        base_memory() + held + max(task, basis_memory(info, workflow, 1)),
        base_memory() + held + (fitting + finish if many else max(fitting, finish)),
        products,
        notes,
        product_bytes(info, workflow, features, sum(stage.bytes_out for stage in stages[1:]), kept),
    )


def _scene_stage(info: SceneInfo, workflow: Workflow, workers: int) -> StagePlan:
    tile, bands = workflow.read.tile, len(info.bands)
    grid = Grid(info.height, info.width, tile)
    denoising = Denoising(workflow.denoise.quality, basis=workflow.denoise.basis)
    halo = denoising.halo(tile, dates_of(info))
    raw = bands * info.height * info.width * np.dtype(info.dtype).itemsize
    borrowed = halo_share(grid, halo)
    side = tile + 2 * halo
    pixels = min(side, info.height) * min(side, info.width)
    flops = scene_flops(info, tile, denoising)
    coding = CODE_MULTIPLE[workflow.compress.effort] * 4 * bands * pixels
    memory = max(denoise_memory(info, denoising.quality, pixels), coding) + SCENE_FIXED
    bytes_in = int(raw * borrowed)
    for window in basis_windows(info, workflow):
        pixels = window.shape[0] * window.shape[1]
        bytes_in += BASIS_PASSES * bands * pixels * np.dtype(info.dtype).itemsize
        flops += denoise_flops(info, denoising.quality) * pixels
    return StagePlan(
        "denoise + compress",
        len(grid),
        tasks_for(len(grid), bands * tile**2 * _SECONDS_PER_ELEMENT, workers),
        halo,
        bytes_in,
        raw,
        flops,
        flops / (bytes_in + raw),
        int(memory),
    )


def _feature_stage(info: SceneInfo, workflow: Workflow, bank: Bank, workers: int) -> tuple[StagePlan, list[list[str]]]:
    wanted = workflow.features
    assert wanted is not None
    tile, pool, stride = settled(bank, workflow.read.tile, wanted.pool, wanted.stride)
    bands = len(info.bands)
    grid = Grid(info.height, info.width, tile)
    halo = bank.halo(pool, stride)
    layers = describe(bank, pool, stride, info.height, info.width, tile=tile)
    flops = feature_flops(info, bank, tile, pool, stride)
    out = _feature_bytes(workflow) * len(bank.features) * -(-info.height // stride) * -(-info.width // stride)
    bytes_in = int(bands * info.height * info.width * np.dtype(info.dtype).itemsize * halo_share(grid, halo))
    side = min(tile, max(info.height, info.width)) + 2 * halo
    block = 4 * (bands + FRONT_MAPS * (len(bank.projection) + len(bank.hidden))) * side**2
    chunk = 4 * len(bank.features) * (tile // stride) ** 2
    stage = StagePlan(
        "features",
        len(grid),
        tasks_for(len(grid), bands * tile**2 * _SECONDS_PER_ELEMENT, workers),
        halo,
        bytes_in,
        out,
        flops,
        flops / (bytes_in + out),
        int(FEATURE_BLOCKS * block + FEATURE_CHUNKS * chunk + FEATURE_FIXED),
    )
    return stage, _products(layers, len(grid), len(filter_groups(bank)))


def _network_stage(info: SceneInfo, workflow: Workflow, bank: NetworkBank) -> tuple[StagePlan, list[list[str]]]:
    pool, stride, tile, *_ = sizes = _sizes(info, workflow, bank)
    grid, bands = Grid(info.height, info.width, tile), len(info.bands)
    pixels, block = scene_blocks(bank, *sizes)
    layers = describe_network(bank, info.height, info.width, block=block)
    flops = feature_flops(info, bank, tile, pool, stride)
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


def _chunk(workflow: Workflow, bank: AnyBank) -> Chunk:
    """Of the store of features."""
    wanted = workflow.features
    assert wanted is not None
    tile, _, stride = settled(bank, workflow.read.tile, wanted.pool, wanted.stride)
    return Chunk(1 if is_mean(bank) else tile // stride, _feature_bytes(workflow) * len(bank.features))


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
