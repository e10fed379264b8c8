"""Noise as small as a sensor's own, under texture: scenes halved in size, so that little of their own is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.noises import DATA, L8, S2
from benchmarks.tables import print_table
from pipeline.denoise import denoise_block
from pipeline.denoise.measure import measure

SAMPLE = Path(__file__).parents[1] / "sample_data" / "s2_18SVG_crop_10band_20m.tif"
SIDE = 240
# Variance of the noise at signal 0 and its rise, (1e-4 of reflectance)²: 4 over water, 10 to 12 over land, as the
# signal to noise of Sentinel-2 at its reference radiances says.
FLOOR, GAIN = 16.0, 0.037
TIMES = (1, 2, 4, 16)

F64 = NDArray[np.float64]


def crops(smoke: bool) -> Iterator[tuple[str, F64]]:
    """Name and truth (band, y, x) of each: the means of 2 x 2 pixels."""
    if smoke or not DATA.is_dir():
        found = [("sample", SAMPLE, [(0, 0)])]
    else:
        places = [(0, 0), (120, 40), (240, 0), (246, 40)]
        found = [("Sentinel-2", DATA / S2, places), ("Landsat 8", DATA / L8, [(0, 0), (60, 70)])]
        found.append(("sample", SAMPLE, [(0, 0)]))
    side = 64 if smoke else SIDE
    for name, path, places in found:
        with rasterio.open(path) as source:
            pixels = source.read().astype(np.float64)
        height, width = (length // 2 for length in pixels.shape[1:])
        halved = pixels[:, : 2 * height, : 2 * width].reshape(-1, height, 2, width, 2).mean(axis=(2, 4))
        for y, x in places:
            yield f"{name} {y}, {x}", halved[:, y : y + side, x : x + side]


def main(smoke: bool) -> None:
    """A row for each crop, the variance of the noise 1, 2, 4 and 16 times a sensor's; `fast` and `quality`."""
    head = ["crop", "noise", "grows", "σ / true: median, most", "error left, `fast`: mean, most", "`quality`"]
    print_table(head, [])
    means: dict[int, list[float]] = {}
    with threadpool_limits(1):
        for name, truth in crops(smoke):
            dark = np.quantile(truth, 0.001, axis=(1, 2), keepdims=True) if name.startswith("Landsat") else 0.0
            for times in TIMES[:1] if smoke else TIMES:
                variance = times * (FLOOR + GAIN * np.maximum(truth - dark, 0.0))
                noise = np.sqrt(variance) * np.random.default_rng(0).standard_normal(truth.shape)
                block, valid = (truth + noise).astype(np.float32), np.ones(truth.shape[1:], np.bool_)
                true = np.sqrt(variance.mean(axis=(1, 2)))
                grows = "yes" if measure(block, valid, None).stabiliser else "no"
                fast, best = (denoise_block(block, valid, quality=quality) for quality in ("fast", "quality"))
                ratio = fast.sigma / true
                left = [np.sqrt(np.mean((done.block - truth) ** 2, axis=(1, 2))) / true for done in (fast, best)]
                means.setdefault(times, []).append(float(left[0].mean()))
                cells = [f"{np.median(ratio):.2f} {ratio.max():.2f}", *(f"{e.mean():.2f} {e.max():.2f}" for e in left)]
                print(f"| {name} | {times} | {grows} | {' | '.join(cells)} |", flush=True)
    print("\nerror left by `fast`, mean: " + ", ".join(f"{np.mean(found):.3f} ({t})" for t, found in means.items()))
