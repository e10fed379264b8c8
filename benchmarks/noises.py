"""Real scenes as known truth, and noise of known size on top of them.

Bands are scaled so that 0.1 % and 99.9 % of their pixels stand at 0 and 1: PSNR has a peak of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from pipeline.denoise import estimate_noise
from pipeline.grid import Window
from sample_data.generator import Settings, scene_block

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

DATA = Path(__file__).parents[2] / "shared" / "data"
S2, L8 = "s2_18SVG_west_10band_20m.tif", "LC80200392015216LGN00_10band_30m.tif"
# file, top, left, height, width
CROPS = {
    "S2 land": (S2, 40, 40, 256, 256),
    "S2 coast": (S2, 480, 280, 256, 256),
    "L8 cloud": (L8, 200, 40, 256, 256),
    "L8 thin cloud": (L8, 20, 330, 256, 256),
    "L7 land": ("L7_ETMs.tif", 40, 40, 256, 256),
    "S2 13 bands, alps": ("s2_L1C_5scenes_13band/scene0.tif", 0, 0, 101, 100),
    "S2 13 bands, fields": ("s2_L1C_5scenes_13band/scene2.tif", 0, 0, 101, 100),
    "Indian Pines": ("aviris_indian_pines_200band_20m.tif", 0, 0, 145, 145),
}
# Its own noise, of 8 bits, is as large as what is added: once more as the mean of 2 x 2 pixels, which halves it.
HALVED = "L7 land, 2 x 2"
CROPS[HALVED] = ("L7_ETMs.tif", 0, 0, 352, 348)
# The cube's own noise is far above what is added: its truth is what 20 planes show, as in FastHyDe's own tests.
PLANES = 20
KINDS = ("iid .02", "iid .05", "by band", "Poisson", "stripes + impulses")
# Poisson-like noise: variance GAIN·x + FLOOR.
GAIN, FLOOR = 0.005, 1e-4


@dataclass(frozen=True)
class Noisy:
    """A scene with noise of known size."""

    truth: F32
    block: F32
    sigma: F64
    """(band,) root mean square of what was added, without stripes and impulses."""


def own_noise(truth: F32) -> F64:
    """Noise (band,) that a truth (band, y, x) has itself, on the grid on which noise is added to it: of a band whose
    pixels were repeated (60 m at 20 m) what differs from pixel to pixel, not what a pixel of its own grid has."""
    unlike = np.random.default_rng(0).standard_normal(truth.shape, np.float32)
    return estimate_noise(truth + np.float32(1e-5) * unlike, np.ones(truth.shape[1:], np.bool_))


def scenes(smoke: bool) -> dict[str, F32]:
    """Name and truth (band, y, x) of every scene that is there."""
    if smoke or not DATA.is_dir():
        settings = Settings(height=64, width=64, bands=6, seed=0, dtype="float32")
        return {"generator": scaled(scene_block(Window(0, 64, 0, 64), settings)[0].astype(np.float64))}
    return {name: scene(name) for name in CROPS}


def scene(name: str) -> F32:
    """Truth (band, y, x) of one of CROPS."""
    path, top, left, height, width = CROPS[name]
    with rasterio.open(DATA / path) as source:
        pixels = source.read()[:, top : top + height, left : left + width].astype(np.float64)
    if name == HALVED:
        pixels = pixels.reshape(len(pixels), height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    truth = scaled(pixels)
    return projected(truth) if len(truth) > 100 else truth


def scaled(block: F64) -> F32:
    """Each band from its 0.1 % to its 99.9 % quantile."""
    low, high = (np.quantile(block, q, axis=(1, 2), keepdims=True) for q in (0.001, 0.999))
    return ((block - low) / np.maximum(high - low, 1e-9)).astype(np.float32)


def projected(block: F32) -> F32:
    """The block as its PLANES strongest whitened planes show it."""
    sigma = np.maximum(estimate_noise(block, np.ones(block.shape[1:], np.bool_)), 1e-4)
    mean = block.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    Z = ((block - mean) / sigma[:, None, None]).reshape(len(block), -1)
    V = np.linalg.eigh(Z @ Z.T)[1][:, -PLANES:]
    return ((V @ (V.T @ Z)).reshape(block.shape) * sigma[:, None, None] + mean).astype(np.float32)


def noisy(truth: F32, kind: str, seed: int) -> Noisy:
    """Truth (band, y, x) with noise of one of KINDS."""
    rng = np.random.default_rng([seed, len(truth), KINDS.index(kind)])
    bands = len(truth)
    unit = rng.standard_normal(truth.shape)
    if kind == "Poisson":
        variance = np.maximum(truth, 0) * GAIN + FLOOR
        return Noisy(truth, (truth + np.sqrt(variance) * unit).astype(np.float32), np.sqrt(variance.mean(axis=(1, 2))))
    sigma = {
        "iid .02": np.full(bands, 0.02),
        "iid .05": np.full(bands, 0.05),
        "by band": 0.03 * np.exp(rng.uniform(-1, 1, bands)),
        "stripes + impulses": np.full(bands, 0.03),
    }[kind]
    block = truth + sigma[:, None, None] * unit
    if kind == "stripes + impulses":
        striped = rng.random(bands) < 0.4
        columns = rng.random((bands, truth.shape[2])) < 0.3
        offsets = striped[:, None] * columns * rng.normal(0, 0.1, columns.shape)
        hit = rng.random(truth.shape) < 0.005
        block = np.where(hit, rng.integers(0, 2, truth.shape), block + offsets[:, None, :])
    return Noisy(truth, block.astype(np.float32), sigma)


def psnr(truth: F32, block: NDArray[np.floating]) -> float:
    """Mean over the bands, dB; the peak is 1."""
    return float(np.mean(-10 * np.log10(np.mean((block.astype(np.float64) - truth) ** 2, axis=(1, 2)))))
