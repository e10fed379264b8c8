"""Clouds and shadows of known truth on scenes: what the land and the clouds gain when the clouds do not teach."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from threadpoolctl import threadpool_limits

from benchmarks.codec_peers import middle
from benchmarks.scene import FULL, SAMPLE
from benchmarks.tables import print_table
from pipeline.denoise import denoise_block
from pipeline.grid import Window
from sample_data.generator import Settings, scene_block, sigmas

F64 = NDArray[np.float64]
SIDE = 288
SEEDS = 2
COVERS = (0.2, 0.45)
"""Parts of the area under a cloud, about; shadows come on top."""
NOISE = 0.12
"""Of the spread of a band of a real scene."""


def main(smoke: bool) -> None:
    """A row for each scene, noise and cover: mean PSNR of the bands over land and clouds, and the error of σ."""
    heads = ["scene", "noise", "clear", "land: noisy", "all teach", "clear teach", "clouds: noisy", "all teach"]
    print_table([*heads, "clear teach", "σ error: all teach", "clear teach"], [])
    with threadpool_limits(1):
        for name, truth, sigma in scenes(smoke):
            for noise in ("white", "Poisson"):
                for cover in COVERS[:1] if smoke else COVERS:
                    rows = [measure(truth, sigma, noise, cover, seed) for seed in range(1 if smoke else SEEDS)]
                    share, *found, all_error, own_error = np.mean(rows, axis=0)
                    cells = [f"{share:.2f}", *(f"{one:.2f}" for one in found)]
                    cells += [f"{100 * all_error:.1f} %", f"{100 * own_error:.1f} %"]
                    print("| " + " | ".join([name, noise, *cells]) + " |", flush=True)


def scenes(smoke: bool) -> list[tuple[str, F64, F64]]:
    """Name, truth (band, y, x), and σ (band,): the generator's, and real ones denoised, then the truth."""
    side = 64 if smoke else SIDE
    found = []
    for seed in (3, 8)[: 1 if smoke else 2]:
        settings = Settings(height=side, width=side, seed=seed)
        truth, _, _ = scene_block(Window(0, side, 0, side), settings)
        found.append((f"generator, seed {seed}", truth.astype(np.float64), sigmas(settings).astype(np.float64)))
    paths = [SAMPLE] if not FULL.is_file() else [FULL, FULL.with_name("aviris_indian_pines_200band_20m.tif")]
    for path in [] if smoke else paths:
        block = middle(path, SIDE)
        real = denoise_block(block, np.ones(block.shape[1:], bool), quality="quality").block.astype(np.float64)
        found.append((f"{path.stem[:12]}, {len(block)} bands", real, NOISE * real.std(axis=(1, 2))))
    return found


def measure(truth: F64, sigma: F64, noise: str, cover: float, seed: int) -> list[float]:
    """Share of clear pixels; PSNR over land and clouds of noisy, learnt of all, learnt of clear; the errors of σ."""
    clouded, clear = implanted(truth, cover, seed)
    deviation = np.broadcast_to(sigma[:, None, None], truth.shape)
    if noise == "Poisson":
        level = np.abs(truth.mean(axis=(1, 2), keepdims=True))
        deviation = sigma[:, None, None] * np.sqrt(np.maximum(clouded, 0) / level)
    rng = np.random.default_rng([seed, 99])
    noisy = np.rint(clouded + deviation * rng.standard_normal(truth.shape)).clip(0, 65535).astype(np.uint16)
    valid = np.ones(clear.shape, bool)
    plain, taught = denoise_block(noisy, valid), denoise_block(noisy, valid, clear=clear)
    true = np.sqrt((deviation[:, clear] ** 2).mean(axis=1))
    figures = [psnr(x, clouded, w) for w in (clear, ~clear) for x in (noisy, plain.block, taught.block)]
    return [float(clear.mean()), *figures, *(float(np.mean(np.abs(x.sigma / true - 1))) for x in (plain, taught))]


def implanted(truth: F64, cover: float, seed: int) -> tuple[F64, NDArray[np.bool_]]:
    """The truth under bright smooth clouds, soft at the rim, and beside them in their shadow; and the clear pixels."""
    rng = np.random.default_rng([seed, 5])
    shape = truth.shape[1:]
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 24, mode="wrap")
    field = field / field.std() + 0.2 * ndimage.gaussian_filter(rng.standard_normal(shape), 4, mode="wrap") * 14
    depth = np.clip(4 * (field - np.quantile(field, 1 - cover)), 0, 1)
    shade = np.roll(depth, (20, 14), (0, 1)) * (depth == 0)
    texture = 1 + 0.15 * ndimage.gaussian_filter(rng.standard_normal(shape), 3)
    bright = 1.6 * np.quantile(truth, 0.99, axis=(1, 2)) + 0.1 * np.abs(truth).max()
    clouded = truth * (1 - 0.5 * shade) * (1 - depth) + bright[:, None, None] * texture * depth
    return clouded, ~ndimage.binary_dilation((depth > 0) | (shade > 0), iterations=2)


def psnr(block: NDArray[Any], truth: F64, where: NDArray[np.bool_]) -> float:
    """Mean over the bands, dB, of peaks from the half to the 99.5th percentile."""
    peak = np.ptp(np.quantile(truth, [0.005, 0.995], axis=(1, 2)), axis=0)
    error = np.mean(np.square(block.astype(np.float64) - truth)[:, where], axis=1)
    return float(np.mean(10 * np.log10(peak**2 / error)))
