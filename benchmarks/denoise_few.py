"""One, two and three bands of real scenes by themselves, with faint noise: σ found, and whether denoising helps."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.noises import F32, own_noise, scenes
from benchmarks.tables import print_table
from pipeline.denoise import denoise_block

NOISE = (0.005, 0.01, 0.02, 0.05)
"""Of the range of each band."""
SCENES = ("S2 land", "S2 coast", "L8 cloud", "L8 thin cloud", "L7 land")


def main(smoke: bool) -> None:
    """A row for each sensor, number of bands and noise: σ over that of the noise, its own and added; what is left of
    the error of the noise added, of which above 1 is worse than before."""
    print_table(["scene", "bands", "noise", "σ: median, most", "error left: median, most", "of blocks worse"], [])
    with threadpool_limits(1):
        for name, truth in scenes(smoke).items():
            if smoke or name in SCENES:
                own = own_noise(truth)
                for count in (1,) if smoke else (1, 2, 3):
                    for noise in NOISE[2:3] if smoke else NOISE:
                        print(f"| {name} | {count} | {noise:g} | {_cells(truth, own, count, noise)} |", flush=True)
            if smoke:
                return


def _cells(truth: F32, own: np.ndarray, count: int, noise: float) -> str:
    noisy = truth + np.float32(noise) * np.random.default_rng([1]).standard_normal(truth.shape, np.float32)
    valid, ratios, left = np.ones(truth.shape[1:], np.bool_), [], []
    for first in range(0, len(truth) - count + 1, count):
        bands = slice(first, first + count)
        found = denoise_block(noisy[bands], valid)
        ratios += (found.sigma / np.hypot(own[bands], noise)).tolist()
        error = np.mean(np.square(found.block - truth[bands], dtype=np.float64))
        left.append(float(np.sqrt(error)) / noise)
    worse = f"{sum(one > 1 for one in left)} of {len(left)}"
    return f"{np.median(ratios):.2f} {max(ratios):.2f} | {np.median(left):.2f} {max(left):.2f} | {worse}"
