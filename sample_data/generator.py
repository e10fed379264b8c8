"""Make a scene of any size and band count whose truth is known: streamed to disk, the same for a seed.

The linear mixing model (Keshava and Mustard 2002) over `landscape`: truth[band] = OFFSET + SCALE * sum of
abundance * spectrum, then gaussian noise of its own sigma per band, stripes per column, holes without data.

    python -m sample_data.generator scene.tif --height 2000 --width 2000 --bands 10 --truth truth.tif
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from pipeline.grid import Grid, Window
from sample_data.landscape import CELL, MATERIALS, MOST_HOLES, Cell, abundances, holes, uniform

F32 = NDArray[np.float32]
Values = NDArray[Any]
Valid = NDArray[np.bool_]

SCALE, OFFSET = (
    10_000.0,
    1_000.0,
)  # data units: Sentinel-2's since baseline 04.00, so that noise stays above 0
MOST_BANDS = 300
GROUP = 8  # bands made and written at once: bounds the memory at any band count
NOISE, SIGMA, STRIPED, STRIPE = 1, 2, 3, 4  # salts: one random stream each
TRANSFORM = rasterio.Affine(20.0, 0.0, 400_000.0, 0.0, -20.0, 4_200_000.0)
WAVELENGTHS = (400, 550, 680, 750, 900, 1200, 1450, 1650, 1950, 2200, 2500)  # nm, the knots of SPECTRA
SPECTRA = {  # reflectance, drawn by eye after the shapes of common spectral libraries
    "crop": (0.03, 0.11, 0.04, 0.42, 0.50, 0.46, 0.22, 0.33, 0.10, 0.18, 0.09),
    "bright soil": (0.12, 0.20, 0.28, 0.31, 0.35, 0.41, 0.40, 0.45, 0.38, 0.42, 0.36),
    "dark soil": (0.05, 0.08, 0.11, 0.13, 0.16, 0.21, 0.20, 0.25, 0.17, 0.21, 0.18),
    "forest": (0.02, 0.05, 0.03, 0.22, 0.27, 0.24, 0.10, 0.15, 0.04, 0.07, 0.04),
    "water": (0.06, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.003, 0.002, 0.002, 0.002),
    "silt": (0.08, 0.14, 0.17, 0.12, 0.08, 0.02, 0.01, 0.01, 0.005, 0.005, 0.005),
    "metal": (0.80, 0.86, 0.90, 0.91, 0.92, 0.93, 0.92, 0.91, 0.88, 0.86, 0.84),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a scene depends on; a pixel depends on neither `height` nor `width`."""

    height: int = 512
    """Rows of pixels."""
    width: int = 512
    """Columns of pixels."""
    bands: int = 10
    """Bands, 1 to MOST_BANDS, evenly spaced from 400 to 2500 nm."""
    seed: int = 0
    """The world and its noise."""
    noise: float = 0.02
    """Middle sigma of the noise in reflectance; each band's own lies between half and twice it."""
    stripes: float = 0.0
    """Standard deviation, in reflectance, of the column offsets of the striped bands (about one in three)."""
    holes: float = 0.0
    """Part of the area without data, about, at most MOST_HOLES."""
    dtype: str = "uint16"
    """uint16 (rounded) or float32."""

    def __post_init__(self) -> None:
        sizes = min(self.height, self.width) >= 1 and 1 <= self.bands <= MOST_BANDS and self.seed >= 0
        levels = self.noise >= 0 and self.stripes >= 0 and 0 <= self.holes <= MOST_HOLES
        if not sizes or not levels or self.dtype not in ("uint16", "float32"):
            raise ValueError(
                f"a scene needs height, width >= 1, 1 to {MOST_BANDS} bands, seed, noise, stripes >= 0, "
                f"holes of 0 to {MOST_HOLES} and dtype uint16 or float32; got {asdict(self)}"
            )


def wavelengths(bands: int) -> NDArray[np.float64]:
    """Centres of the bands in nm: (bands,), evenly spaced between the ends of WAVELENGTHS."""
    start, stop = WAVELENGTHS[0], WAVELENGTHS[-1]
    return start + (stop - start) * (np.arange(bands) + 0.5) / bands


def spectra(bands: int) -> F32:
    """Reflectance of each material in each band: (material, band) float32, smooth between the knots."""
    nm, knots = wavelengths(bands), np.array(WAVELENGTHS, float)
    left = np.searchsorted(knots, nm, side="right") - 1
    t = (nm - knots[left]) / (knots[left + 1] - knots[left])
    weight = t * t * (3 - 2 * t)
    values = np.array([SPECTRA[material] for material in MATERIALS])
    return np.asarray(values[:, left] * (1 - weight) + values[:, left + 1] * weight, np.float32)


def sigmas(settings: Settings) -> F32:
    """True standard deviation of the noise in each band, in data units: (bands,) float32."""
    u = np.random.default_rng([settings.seed, SIGMA]).uniform(-1, 1, MOST_BANDS)[: settings.bands]
    return (SCALE * settings.noise * 2.0**u).astype(np.float32)


def striped(settings: Settings) -> Valid:
    """Which bands have stripes: (bands,) bool; at least one where stripes are asked for."""
    numbers = np.arange(settings.bands)
    chosen = uniform(settings.seed, STRIPED, numbers, numbers) < 1 / 3
    chosen[settings.seed % settings.bands] = True
    return np.asarray(chosen & (settings.stripes > 0))


def scene_block(window: Window, settings: Settings) -> tuple[F32, Values, Valid]:
    """Truth, noisy scene and valid of one window.

    Returns truth (band, y, x) float32, noisy (band, y, x) in the settings' dtype, valid (y, x) bool; noisy is
    0 where not valid, truth is whole. Overlapping windows agree to the byte.
    """
    truth = np.empty((settings.bands, *window.shape), np.float32)
    noisy = np.empty(truth.shape, settings.dtype)
    valid = np.empty(window.shape, bool)
    for row in range(window.y0 // CELL, -(-window.y1 // CELL)):
        for column in range(window.x0 // CELL, -(-window.x1 // CELL)):
            y0, x0 = row * CELL, column * CELL
            part = Window(max(y0, window.y0), min(y0 + CELL, window.y1), max(x0, window.x0), min(x0 + CELL, window.x1))
            source, target = part.within(Window(y0, y0 + CELL, x0, x0 + CELL)), part.within(window)
            cell = Cell(settings.seed, row, column)
            valid[target] = ~holes(cell, settings.holes)[source]
            for bands, clean, dirty in _groups(cell, settings):
                truth[bands, *target] = clean[:, *source]
                noisy[bands, *target] = dirty[:, *source]
    return truth, noisy, valid


def _groups(cell: Cell, settings: Settings) -> Iterator[tuple[slice, F32, Values]]:
    """A whole cell in groups of bands: (bands, truth, noisy), each (band, CELL, CELL)."""
    mixed, library, sigma = abundances(cell), spectra(settings.bands), sigmas(settings)
    valid, has_stripes = ~holes(cell, settings.holes), striped(settings)
    for first in range(0, settings.bands, GROUP):
        bands = slice(first, min(first + GROUP, settings.bands))
        truth = np.zeros((bands.stop - first, CELL, CELL), np.float32)
        noisy = np.empty(truth.shape, settings.dtype)
        for i, band in enumerate(range(first, bands.stop)):
            for material, plane in enumerate(mixed):
                truth[i] += library[material, band] * plane
            truth[i] = truth[i] * np.float32(SCALE) + np.float32(OFFSET)
            rng = np.random.default_rng([settings.seed, NOISE, cell.row, cell.column, band])
            dirty = truth[i] + sigma[band] * rng.standard_normal((CELL, CELL), np.float32)
            if has_stripes[band]:
                offset = uniform(settings.seed, STRIPE, np.array([band]), cell.xs) - np.float32(0.5)
                dirty += np.float32(SCALE * settings.stripes * 12**0.5) * offset
            if settings.dtype == "uint16":
                dirty = np.clip(np.rint(dirty), 1, 65535)
            noisy[i] = np.where(valid, dirty, 0)
        yield bands, truth, noisy


def write_scene(
    path: str | Path,
    settings: Settings,
    truth_path: str | Path | None = None,
    options: dict[str, str] | None = None,
) -> None:
    """Stream the scene, and its truth where asked, to GeoTIFFs of CELL x CELL tiles.

    The tags hold the settings (GENERATOR, JSON) and each band's true sigma in data units (SIGMA). Memory does
    not grow with the scene. `options` are GDAL creation options. Raises rasterio's RasterioIOError.
    """
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=16))
        scene = stack.enter_context(_create(path, settings, settings.dtype, options or {}))
        if settings.holes > 0:
            scene.nodata = 0
        truth = None
        if truth_path is not None:
            truth = stack.enter_context(_create(truth_path, settings, "float32", options or {}))
        for tile in Grid(settings.height, settings.width, CELL):
            y, x = tile.window.shape
            window = RasterWindow(tile.window.x0, tile.window.y0, x, y)
            for bands, clean, dirty in _groups(Cell(settings.seed, tile.row, tile.column), settings):
                indexes = list(range(bands.start + 1, bands.stop + 1))
                scene.write(dirty[:, :y, :x], indexes, window=window)
                if truth is not None:
                    truth.write(clean[:, :y, :x], indexes, window=window)


def _create(path: str | Path, settings: Settings, dtype: str, options: dict[str, str]) -> Any:
    layout = {"tiled": True, "blockxsize": CELL, "blockysize": CELL, "interleave": "band"}
    file = rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=settings.height,
        width=settings.width,
        count=settings.bands,
        dtype=dtype,
        crs="EPSG:32618",
        transform=TRANSFORM,
        **layout | {"bigtiff": "IF_SAFER"} | options,
    )
    file.descriptions = [f"{nm:.0f} nm" for nm in wavelengths(settings.bands)]
    file.update_tags(GENERATOR=json.dumps(asdict(settings)))
    for band, (sigma, has_stripes) in enumerate(zip(sigmas(settings), striped(settings), strict=True), 1):
        file.update_tags(band, SIGMA=f"{sigma:.9g}", STRIPED=str(bool(has_stripes)).upper())
    return file


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: write the scene, print settings and true sigmas as JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sample_data.generator", description=__doc__.splitlines()[0])
    parser.add_argument("out", metavar="OUT.tif")
    parser.add_argument("--truth", metavar="TRUTH.tif", help="write the scene without noise here, float32")
    parser.add_argument("--co", action="append", default=[], metavar="NAME=VALUE", help="GDAL creation option")
    default = Settings()
    for name in ("height", "width", "bands", "seed", "noise", "stripes", "holes"):
        value = getattr(default, name)
        parser.add_argument(f"--{name}", type=type(value), default=value, help="default: %(default)s")
    parser.add_argument("--dtype", choices=("uint16", "float32"), default=default.dtype)
    values = vars(parser.parse_args(arguments))
    out, truth, pairs = values.pop("out"), values.pop("truth"), values.pop("co")
    if not all(re.fullmatch(r"\w+=.+", pair) for pair in pairs):
        parser.error(f"--co wants NAME=VALUE, got {' '.join(pairs)}")
    try:
        settings = Settings(**values)
        write_scene(out, settings, truth, dict(pair.split("=", 1) for pair in pairs))
    except (ValueError, rasterio.errors.RasterioError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps({**asdict(settings), "sigma": [float(s) for s in sigmas(settings)]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
