"""Dates of one place denoised as one block and one by one: error against the dates as they are, noise added."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.noises import scaled
from benchmarks.stack import series
from benchmarks.tables import print_table
from pipeline.denoise import denoise_block

F32 = NDArray[np.float32]
SEEDS = 3
NOISE = (0.005, 0.02, 0.05)
"""Of the range of each band."""
BANDS = {1: (3,), 2: (3, 7), 4: (1, 2, 3, 7), 5: (1, 2, 3, 7, 11), 6: (1, 2, 3, 7, 11, 12), 10: (*range(1, 9), 11, 12)}
"""Of the thirteen of Sentinel-2."""


def main(smoke: bool) -> None:
    """A row for each set of dates, bands and noise: the rms error as parts of a band's range; less is better."""
    print_table(["dates", "bands of each", "noise", "together", "one by one", "one by one less it"], [])
    with threadpool_limits(1):
        for name, dates in series(smoke)[: 1 if smoke else 2]:
            for count, bands in BANDS.items():
                chosen = [np.stack([date[band % len(date)] for band in bands]) for date in dates]
                for noise in NOISE[1:2] if smoke else NOISE:
                    found = [_errors(chosen, noise, seed) for seed in range(1 if smoke else SEEDS)]
                    together, alone = np.sqrt(np.mean(np.square(found), axis=0))
                    cells = [name, count, f"{noise:g}", f"{together:.5f}", f"{alone:.5f}"]
                    print(f"| {' | '.join(map(str, cells))} | {100 * (alone / together - 1):+.1f} % |", flush=True)


def _errors(dates: list[NDArray[np.generic]], noise: float, seed: int) -> tuple[float, float]:
    truth = scaled(np.concatenate(dates))
    noisy = truth + np.float32(noise) * np.random.default_rng([seed]).standard_normal(truth.shape, np.float32)
    valid, count = np.ones(truth.shape[1:], bool), len(dates[0])
    together = denoise_block(noisy, valid).block
    blocks = [denoise_block(noisy[first : first + count], valid).block for first in range(0, len(truth), count)]
    return _rms(together - truth), _rms(np.concatenate(blocks) - truth)


def _rms(error: F32) -> float:
    return float(np.sqrt(np.mean(np.square(error, dtype=np.float64))))
