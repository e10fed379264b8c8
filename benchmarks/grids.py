"""Bands of two resolutions on the finer grid: denoised and stored on their own grids, and as if all were of one."""

from __future__ import annotations

from unittest import mock

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.noises import scenes
from benchmarks.tables import print_table
from pipeline import repeated
from pipeline.codec import Bound, encode, parts
from pipeline.denoise import block as denoising
from pipeline.denoise import denoise_block, noise

SCENES = ("S2 land", "S2 coast", "L8 cloud", "generator")
# Of ten bands those that stay on the grid, as 10 m beside 20 m of Sentinel-2; of the generator's six the first three.
FINE = (0, 1, 2, 6)
NOISES = (0.01, 0.02, 0.05)
DECIBELS = (30.0, 40.0, 50.0)

F32 = NDArray[np.float32]


def doubled(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bands (band, cell, cell) as 2 x 2 pixels each (band, y, x)."""
    return cells.repeat(2, axis=1).repeat(2, axis=2)


def halves(truth: F32) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bands that stay (band, y, x), and the means of 2 x 2 pixels of the others (band, cell, cell)."""
    fine = [number for number in FINE if number < len(truth) // 2 or len(truth) > 6]
    rest = np.delete(truth, fine, axis=0).astype(np.float64)
    bands, height, width = rest.shape
    cells = rest[:, : height // 2 * 2, : width // 2 * 2].reshape(bands, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    return truth[fine, : cells.shape[1] * 2, : cells.shape[2] * 2].astype(np.float64), cells


def one_grid(block: F32, valid: NDArray[np.bool_]) -> dict[repeated.Grid, NDArray[np.intp]]:
    """All bands are of the grid of the block."""
    return {repeated.PLAIN: np.arange(len(block))}


def left(truth: NDArray[np.float64], noisy: F32, added: float, fine: int, quality: str) -> tuple[float, float]:
    """Root mean square error over the noise that was added, in the mean of the finer bands and of the others."""
    done = denoise_block(noisy, np.ones(truth.shape[1:], np.bool_), quality=quality).block
    each = np.sqrt(np.mean((done - truth) ** 2, axis=(1, 2))) / added
    return float(each[:fine].mean()), float(each[fine:].mean())


def main(smoke: bool) -> None:
    """A row for each scene and noise, seed 0; then one for each scene and bound."""
    found = {name: truth for name, truth in scenes(smoke).items() if name in SCENES}
    print("error left over the noise added, mean of the finer and of the coarser bands\n")
    print_table(["scene", "noise", "quality", "one grid", "own grids"], [])
    with threadpool_limits(1):
        for name, truth in found.items():
            fine, cells = halves(truth)
            whole = np.concatenate([fine, doubled(cells)])
            for added in NOISES[:1] if smoke else NOISES:
                rng = np.random.default_rng(0)
                noises = [added * rng.standard_normal(some.shape) for some in (fine, cells)]
                noisy = np.concatenate([fine + noises[0], doubled(cells + noises[1])]).astype(np.float32)
                for quality in ("fast", "quality"):
                    with mock.patch.object(denoising, "grids", one_grid), mock.patch.object(noise, "grids", one_grid):
                        before = left(whole, noisy, added, len(fine), quality)
                    after = left(whole, noisy, added, len(fine), quality)
                    cells_of = [f"{one:.2f} {other:.2f}" for one, other in (before, after)]
                    print(f"| {name} | {added} | {quality} | {' | '.join(cells_of)} |", flush=True)
        print("\nbytes under a signal to noise ratio\n")
        print_table(["scene", "dB", "effort", "one grid", "own grids", "less"], [])
        for name, truth in found.items():
            fine, cells = halves(truth)
            whole = np.rint(4000 * np.concatenate([fine, doubled(cells)]).clip(0) + 200).astype(np.uint16)
            for level in DECIBELS[:1] if smoke else DECIBELS:
                for effort in ("fast", "best"):
                    with mock.patch.object(parts, "pieces", return_value=[]):
                        before = len(encode(whole, None, Bound("snr", level), effort=effort))
                    after = len(encode(whole, None, Bound("snr", level), effort=effort))
                    print(
                        f"| {name} | {level:g} | {effort} | {before} | {after} | {100 * (1 - after / before):.0f} % |"
                    )
