"""What a report shows of a scene, gathered from its source and its stores.

Pictures are of the middle of the scene, at most 2048 pixels on a side: the cost of a report is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import report
from pipeline.codec import PREFIX, TAIL, Bound, Figures, Header, read_figures, read_header
from pipeline.config import Workflow
from pipeline.denoise import estimate_noise
from pipeline.errors import FormatError
from pipeline.flow.compress import SCENE
from pipeline.flow.paperwork import versions
from pipeline.flow.quantise import coding_of
from pipeline.flow.read import central_window, sample
from pipeline.flow.receipts import SceneReceipt
from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid, Window
from pipeline.raster.chunks import chunk_path
from pipeline.raster.masks import masked_like
from pipeline.raster.scene import Source
from pipeline.raster.store_source import StoreSource
from pipeline.storage import Place, place

_PICTURE = 2048
_DETAIL = 96
FEATURE_CELLS = 256
_STRIP = 128
_NOISE_SAMPLES = 9
_MAP_TILES = 1 << 16


def write_scene_report(
    path: Place,
    workflow: Workflow,
    raw: Source,
    stored: StoreSource,
    features: StoreSource | None,
    receipt: SceneReceipt,
) -> dict[str, Any]:
    """Write report.html, and return the figures worth a receipt: snr, rmse, noise per band."""
    pictures = take_pictures(raw, stored)
    noise = measure_noise(raw, workflow.read.tile)
    after = measure_noise(masked_like(raw, stored), workflow.read.tile)
    if noise is not None and after is not None:
        noise = replace(noise, sigma_after=after.sigma)
    scene = receipt.stages[0]
    requested = str(Bound(*workflow.compress.bound))
    storage = storage_facts(stored, scene.raw_bytes, scene.stored_bytes, requested)
    data = report.ReportData(
        title=receipt.name,
        command=receipt.command,
        source=_source_facts(raw, receipt),
        band_names=raw.info.bands,
        before=pictures.before,
        after=pictures.after,
        step=pictures.step,
        detail=pictures.detail,
        noise=noise,
        storage=storage,
        features=feature_picture(features) if features else None,
        stages=[
            report.Stage(stage.name, stage.work_seconds, stage.tiles, stage.raw_bytes, stage.stored_bytes)
            for stage in receipt.stages
        ],
        wall_seconds=sum(stage.seconds for stage in receipt.stages),
        tiles=scene.tiles,
        tile=stored.tile,
        resumed=scene.resumed,
        failures=receipt.failures,
        history=_runs(receipt),
        options=workflow.model_dump(exclude={"sources", "out"}),
        versions=versions(),
    )
    report.write_report(path, data)
    sigma = None if noise is None else dict(zip(raw.info.bands, noise.sigma.tolist(), strict=True))
    return {"snr": storage.snr, "rmse": storage.rmse, "noise": sigma}


@dataclass(frozen=True)
class Pictures:
    """Before and after, sampled every `step` pixels of the middle of the scene, and a small detail of every pixel."""

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    step: int
    detail: report.Detail


def take_pictures(raw: Source, stored: Source) -> Pictures:
    """The middle of the scene before and after, (band, y, x) float32 in data units, NaN where invalid."""
    window, middle = central_window(raw, _PICTURE), central_window(raw, _DETAIL)
    step = report.picture_step(*window.shape)
    detail = report.Detail(_picture(raw, middle, 1), _picture(stored, middle, 1), middle.y0, middle.x0)
    return Pictures(_picture(raw, window, step), _picture(stored, window, step), step, detail)


def measure_noise(raw: Source, tile: int) -> report.Noise | None:
    """Noise per band in data units: the median of the estimates on up to nine tiles; None where none can be had."""
    sigmas, means, stds = [], [], []
    with one_blas_thread():
        for block, valid in sample(raw, tile, _NOISE_SAMPLES):
            if not valid.any():
                continue
            pixels = block[:, valid].astype(np.float64)
            sigmas.append(estimate_noise(block, valid))
            means.append(pixels.mean(axis=1))
            stds.append(pixels.std(axis=1))
    if not sigmas:
        return None
    return report.Noise(np.median(sigmas, axis=0), np.mean(means, axis=0), np.mean(stds, axis=0))


def storage_facts(stored: StoreSource, raw: int, size: int, requested: str) -> report.Storage:
    """Ranks and bytes per tile, read off the chunks' headers, and the error they record."""
    grid = Grid(stored.info.height, stored.info.width, stored.tile)
    if len(grid) > _MAP_TILES:
        return report.Storage(raw, size, requested=requested)
    ranks = np.full((grid.rows, grid.columns), -1)
    sizes = np.full((grid.rows, grid.columns), -1)
    error = power = elements = 0.0
    for tile in grid:
        path = chunk_path(place(stored.path), SCENE, 0, tile.row, tile.column)
        try:
            header, figures, length = _ends(path)
        except (OSError, FormatError):
            continue
        sizes[tile.row, tile.column] = length
        if figures is not None:
            ranks[tile.row, tile.column] = header.rank
            elements, power, error = elements + figures.elements, power + figures.power, error + figures.error
    rmse = float(np.sqrt(error / elements)) if elements else None
    snr = None
    if elements and (power > 0 or error == 0):
        snr = float(10 * np.log10(power / error)) if error > 0 else float("inf")
    return report.Storage(raw, size, rmse, snr, requested, ranks, sizes)


def feature_picture(features: StoreSource) -> report.Features:
    """The features of the middle of the scene, (feature, y, x) float32, NaN where invalid."""
    block, _ = features.read(central_window(features, FEATURE_CELLS))
    coding = coding_of(features.info)
    block = block if coding is None else coding.decode(block)
    return report.Features(block, features.info.name, block.shape[0])


def _picture(source: Source, window: Window, step: int) -> NDArray[np.float32]:
    """Every `step`-th pixel of a window, read in strips: memory goes with the picture, not with the window."""
    strips = []
    height = step * max(1, _STRIP // step)
    for y0 in range(window.y0, window.y1, height):
        strip = replace(window, y0=y0, y1=min(window.y1, y0 + height))
        block, valid = source.read(strip)
        picture = block[:, ::step, ::step].astype(np.float32)
        picture[:, ~valid[::step, ::step]] = np.nan
        strips.append(picture)
    return np.concatenate(strips, axis=1)


def _ends(path: Place) -> tuple[Header, Figures | None, int]:
    """The header, the figures and the length of a chunk, without reading what is between."""
    with path.open("rb") as file:
        header = read_header(file.read(PREFIX))
        length = file.seek(0, 2)
        if length != header.nbytes:
            raise FormatError(f"chunk of {length} bytes where its header promises {header.nbytes}; it is damaged")
        file.seek(max(0, header.nbytes - TAIL))
        return header, read_figures(header, file.read(TAIL)), length


def _runs(receipt: SceneReceipt) -> list[report.Run]:
    """The runs before this one, and this one, of which nobody knows yet how it ends."""
    *earlier, present = (report.Run(**run) for run in receipt.history)
    return [*earlier, replace(present, status="this run")]


def _source_facts(raw: Source, receipt: SceneReceipt) -> report.Source:
    info = raw.info
    transform = info.geo.transform
    return report.Source(
        path=", ".join(receipt.inputs),
        shape=(len(info.bands), info.height, info.width),
        dtype=info.dtype,
        crs=f"EPSG:{info.geo.epsg}" if info.geo.epsg else info.geo.crs_wkt,
        pixel_size=(abs(transform[0]), abs(transform[4])) if transform else None,
        nodata=info.nodata,
    )
