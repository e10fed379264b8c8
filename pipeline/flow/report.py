"""What a report shows of a scene, gathered from its source and its stores.

Pictures are of the middle of the scene, at most 2048 pixels on a side: the cost of a report is bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import report
from pipeline.codec import PREFIX, TAIL, Bound, Figures, Header, read_figures, read_header
from pipeline.config import Workflow
from pipeline.denoise import estimate_noise
from pipeline.errors import FormatError
from pipeline.flow.by_date import lessons_of_dates
from pipeline.flow.compress import SCENE
from pipeline.flow.paperwork import versions
from pipeline.flow.quantise import coding_of
from pipeline.flow.read import central_window, spread
from pipeline.flow.receipts import SceneReceipt, StageReceipt
from pipeline.flow.storing import storing_errors
from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid, Window
from pipeline.raster.chunks import chunk_path
from pipeline.raster.masks import masked_like
from pipeline.raster.nodata import real_elements
from pipeline.raster.scene import Affine6, Source
from pipeline.raster.spectrum import known_wavelengths
from pipeline.raster.store_source import StoreSource
from pipeline.storage import Place, place

F64 = NDArray[np.float64]

_PICTURE = 2048
_DETAIL = 96
FEATURE_CELLS = 256
_STRIP = 128
NOISE_SIDE, _NOISE_SAMPLES = 256, 9
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
    scene, bound = receipt.stages[0], Bound(*workflow.compress.bound)
    storage = storage_facts(stored, scene.raw_bytes, scene.stored_bytes, bound)
    sigma, (mean, deviation) = measure_noise(raw), _mean_and_spread(pictures.before)
    bands = len(raw.info.bands)
    error = np.zeros(bands) if bound.mode == "lossless" else storing_errors(receipt.facts, bands)
    left = with_storing(measure_noise(masked_like(raw, stored)), error)
    noise = None if sigma is None else report.Noise(sigma, mean, deviation, left, error)
    data = report.ReportData(
        title=receipt.name,
        command=receipt.command,
        source=_source_facts(raw, receipt),
        band_names=raw.info.bands,
        wavelengths=_wavelengths(raw),
        before=pictures.before,
        after=pictures.after,
        step=pictures.step,
        detail=pictures.detail,
        noise=noise,
        storage=storage,
        features=feature_picture(features, workflow.features.bank) if features and workflow.features else None,
        stages=[_stage(stage) for stage in receipt.stages],
        wall_seconds=sum(stage.seconds for stage in receipt.stages),
        compiled=receipt.compiled,
        tiles=scene.tiles,
        tile=stored.tile,
        resumed=scene.resumed,
        failures=receipt.failures,
        history=_runs(receipt),
        options=workflow.model_dump(exclude={"sources", "out"}),
        versions=versions(),
    )
    report.write_report(path, data)
    named = None if sigma is None else dict(zip(raw.info.bands, sigma.tolist(), strict=True))
    return {"snr": storage.snr, "rmse": storage.rmse, "noise": named}


def _wavelengths(raw: Source) -> tuple[float, ...] | None:
    """(band,) centres in nanometres where every band's is known: a chart has no place for the others."""
    known = known_wavelengths(raw.info)
    return None if known is None or any(map(math.isnan, known)) else known


@dataclass(frozen=True)
class Pictures:
    """Before and after, sampled every `step` pixels of the middle of the scene, and a small detail of every pixel."""

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    step: int
    detail: report.Detail


def take_pictures(raw: Source, stored: Source) -> Pictures:
    """The middle of the scene before and after, (band, y, x) float32 in data units, NaN where a band has no value."""
    window, middle = central_window(raw, _PICTURE), central_window(raw, _DETAIL)
    step = report.picture_step(*window.shape)
    detail = report.Detail(_picture(raw, middle, 1), _picture(stored, middle, 1), middle.y0, middle.x0)
    return Pictures(_picture(raw, window, step), _picture(stored, window, step), step, detail)


def measure_noise(source: Source) -> F64 | None:
    """Noise (band,) in data units: the median of the estimates on up to nine windows, whatever the tile of a run is;
    0 in bands of a date without a pixel, None where none can be had."""
    sigmas: list[list[float]] = [[] for _ in source.info.bands]
    with one_blas_thread():
        for window in spread(source, NOISE_SIDE, _NOISE_SAMPLES):
            for numbers, block, taught in lessons_of_dates(source, window):
                if taught.any():
                    for number, sigma in zip(numbers, estimate_noise(block, taught), strict=True):
                        sigmas[number].append(float(sigma))
    return np.array([np.median(found) if found else 0.0 for found in sigmas]) if any(sigmas) else None


def with_storing(sigma: F64 | None, error: F64 | None) -> F64 | None:
    """How far what is stored lies from the signal (band,): its noise, and what storing added to it.

    A coder smooths: noise estimated after it is little where its own error is much, and would be told as a gain.

    Args:
        sigma: noise estimated in what is stored, (band,).
        error: root mean square error of storing each band, (band,); None where not known.

    Returns:
        None where one of the two is not known.
    """
    if sigma is None or error is None:
        return None
    return np.hypot(sigma, error)


def _mean_and_spread(picture: NDArray[np.float32]) -> tuple[F64, F64]:
    """Mean and standard deviation (band,) of the valid pixels of (band, y, x); 0 of none."""
    means, spreads = np.zeros((2, len(picture)))
    for band, values in enumerate(picture):
        pixels = values[np.isfinite(values)].astype(np.float64)
        if pixels.size:
            means[band], spreads[band] = pixels.mean(), pixels.std()
    return means, spreads


def storage_facts(stored: StoreSource, raw: int, size: int, bound: Bound | None) -> report.Storage:
    """Ranks, bytes and error of each tile, read off its chunk's header and figures; `bound` is what was asked for."""
    grid = Grid(stored.info.height, stored.info.width, stored.tile)
    if len(grid) > _MAP_TILES:
        return report.Storage(raw, size, requested=str(bound or ""))
    ranks = np.full((grid.rows, grid.columns), -1)
    sizes = np.full((grid.rows, grid.columns), -1)
    known: list[tuple[int, Figures]] = []
    for tile in grid:
        path = chunk_path(place(stored.path), SCENE, 0, tile.row, tile.column)
        try:
            header, figures, length = _ends(path)
        except (OSError, FormatError):
            continue
        sizes[tile.row, tile.column] = length
        if figures is not None:
            ranks[tile.row, tile.column] = header.rank
            known.append((length, figures))
    rates = _rates(known, stored.info.dtype, bound)
    snr, rmse = (None, None) if rates is None else rates.whole[1:]
    snr = None if snr is None or np.isnan(snr) else snr
    return report.Storage(raw, size, rmse, snr, str(bound or ""), ranks, sizes, rates)


def _rates(known: list[tuple[int, Figures]], dtype: str, bound: Bound | None) -> report.Rates | None:
    """One point for each chunk of so many bytes with valid elements, and one of all of them."""
    table = np.array([(length, *figures) for length, figures in known], np.float64).reshape(-1, 4)
    table = table[table[:, 1] > 0]
    if not len(table):
        return None
    points = np.vstack([table, table.sum(axis=0)])
    length, elements, power, error = points.T
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.where(error == 0, np.inf, 10 * np.log10(power / error))
    snr[np.isneginf(snr)] = np.nan
    bits, rmse = 8 * length / elements, np.sqrt(error / elements)
    mode, value = ("plain", None) if bound is None else (bound.mode, bound.value)
    whole = float(bits[-1]), float(snr[-1]), float(rmse[-1])
    return report.Rates(bits[:-1], snr[:-1], rmse[:-1], whole, 8 * np.dtype(dtype).itemsize, mode, value)


def _stage(stage: StageReceipt) -> report.Stage:
    """A map's figures, its bytes those of the tiles that this run computed."""
    return report.Stage(
        stage.name,
        stage.work_seconds,
        stage.tiles - stage.resumed,
        round(stage.computed * stage.raw_bytes),
        round(stage.computed * stage.stored_bytes),
        stage.flops,
        stage.cpu_seconds,
    )


def feature_picture(features: StoreSource, bank: str = "") -> report.Features:
    """The features of the middle of the scene, (feature, y, x) float32, NaN where invalid."""
    block, _ = features.read(central_window(features, FEATURE_CELLS))
    coding = coding_of(features.info)
    block = block if coding is None else coding.decode(block)
    return report.Features(block, bank or features.info.name, block.shape[0])


def _picture(source: Source, window: Window, step: int) -> NDArray[np.float32]:
    """Every `step`-th pixel of a window, NaN where a band has none, read in strips: memory goes with the picture."""
    strips = []
    height = step * max(1, _STRIP // step)
    for y0 in range(window.y0, window.y1, height):
        strip = replace(window, y0=y0, y1=min(window.y1, y0 + height))
        block, valid = source.read(strip)
        shown = block[:, ::step, ::step]
        picture = shown.astype(np.float32)
        picture[~real_elements(shown, valid[::step, ::step], source.info.nodata)] = np.nan
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


def _pixel_size(transform: Affine6) -> tuple[float, float]:
    """Lengths of a step along a row and along a column of a grid that may be turned; rasterio's order."""
    a, b, _, d, e, _ = transform
    return math.hypot(a, d), math.hypot(b, e)


def _source_facts(raw: Source, receipt: SceneReceipt) -> report.Source:
    info = raw.info
    transform = info.geo.transform
    return report.Source(
        path=", ".join(receipt.inputs),
        shape=(len(info.bands), info.height, info.width),
        dtype=info.dtype,
        crs=f"EPSG:{info.geo.epsg}" if info.geo.epsg else info.geo.crs_wkt,
        pixel_size=_pixel_size(transform) if transform else None,
        nodata=info.nodata,
    )
