"""What denoising gains where the truth is known: the generator's scene with noise of its own level in each band."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import cpu_seconds, print_table
from pipeline.denoise import denoise_block
from pipeline.grid import Window
from sample_data.generator import Settings, scene_block

F64 = NDArray[np.float64]


def psnr(truth: NDArray[np.float32], block: NDArray[np.float32]) -> F64:
    """PSNR of each band in dB; the peak is the band's range."""
    peak = np.ptp(truth.reshape(len(truth), -1), axis=1).astype(np.float64)
    error = ((block.astype(np.float64) - truth) ** 2).mean(axis=(1, 2))
    return 20 * np.log10(peak) - 10 * np.log10(error)


def main(smoke: bool) -> None:
    """Mean PSNR over bands and five seeds, before and after, for both qualities, with CPU seconds."""
    side, seeds = (64, range(1)) if smoke else (512, range(5))
    rows: list[list[object]] = []
    for quality in ("fast", "quality"):
        noisy_psnr, clean_psnr, seconds = [], [], []
        for seed in seeds:
            settings = Settings(height=side, width=side, bands=10, seed=seed, dtype="float32")
            truth, noisy, valid = scene_block(Window(0, side, 0, side), settings)
            noisy_psnr.append(psnr(truth, noisy).mean())
            clean_psnr.append(psnr(truth, denoise_block(noisy, valid, quality=quality).block).mean())
            if not seconds:
                seconds.append(
                    cpu_seconds(lambda n=noisy, v=valid, q=quality: denoise_block(n, v, quality=q), 1 if smoke else 3)
                )
        gain = np.mean(clean_psnr) - np.mean(noisy_psnr)
        rows.append(
            [quality, f"{np.mean(noisy_psnr):.2f}", f"{np.mean(clean_psnr):.2f}", f"{gain:+.2f}", f"{seconds[0]:.2f}"]
        )
    print(f"generator, 10 bands, {side} x {side}, sigma by band, {len(seeds)} seed(s), mean PSNR in dB\n")
    print_table(["quality", "noisy", "denoised", "gain", "CPU s"], rows)
