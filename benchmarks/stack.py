"""Dates of one place coded as one scene, beside date by date and beside PCA + JPEG 2000: bytes at the same SNR.

The SNR is that of all values of all dates together, however they are coded: date by date every date keeps it by itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from threadpoolctl import threadpool_limits

from benchmarks.codec_peers import middle
from benchmarks.codec_rivals import rivals
from benchmarks.codec_search import Block
from benchmarks.scene import FULL, SAMPLE
from benchmarks.tables import print_table
from pipeline.codec import Bound, encode

BOUNDS = (30.0, 40.0, 50.0)
PEER = "PCA + JPEG 2000"
MADE = 7
NOISE = 0.01
"""Of the mean of a band, on each made date."""


def main(smoke: bool) -> None:
    """A row for each set of dates and SNR, in bytes; less is better."""
    peer = rivals()[0].get(PEER)
    heads = ["ours, joint", "ours, by date", "joint less it", f"{PEER}, joint", "ours less it"]
    print_table(["dates", "SNR, dB", *heads, f"{PEER}, by date", "ours less it"], [])
    with threadpool_limits(1):
        for name, dates in series(smoke):
            for snr in BOUNDS[1:2] if smoke else BOUNDS:
                bound = Bound("snr", snr)
                joint = np.concatenate(dates)
                own, alone = _size(joint, bound), sum(_size(date, bound) for date in dates)
                cells = [name, f"{snr:g}", str(own), str(alone), _percent(own / alone)]
                for blocks in ([joint], dates):
                    coded = [peer(block, bound) for block in blocks] if peer else []
                    size = sum(one.nbytes for one in coded if one is not None)
                    cells += [str(size), _percent(own / size)] if size else ["–", "–"]
                print("| " + " | ".join(cells) + " |", flush=True)


def series(smoke: bool) -> list[tuple[str, list[Block]]]:
    """Sets of dates, blocks (band, y, x): real ones where there is data, and made ones of a real scene."""
    side = 32 if smoke else 256
    found: list[tuple[str, list[Block]]] = []
    small = FULL.parent / "s2_L1C_5scenes_13band"
    if not smoke and small.is_dir():
        real = [middle(small / f"scene{number}.tif", 512) for number in range(5)]
        found += [("Sentinel-2, 3 clear dates", real[2:]), ("the same, 2 cloudy ones too", real)]
    scene = middle(FULL if FULL.is_file() and not smoke else SAMPLE, side)
    return [*found, (f"{MADE} made dates of Sentinel-2", made(scene, 2 if smoke else MADE))]


def made(scene: Block, count: int) -> list[Block]:
    """Dates made of one real scene: smooth fields of each class of brightness grow and fade over the year, the light
    of each date differs, and each has noise of its own. No clouds, and no place that changes by itself."""
    rng = np.random.default_rng([6])
    truth = scene.astype(np.float64)
    growth = _smooth(rng, truth.shape[1:], 20)
    shapes = rng.normal(0, 0.15, len(scene))
    dates = []
    for number in range(count):
        season = np.sin(2 * np.pi * number / MADE)
        light = 1 + 0.15 * rng.uniform(-1, 1) + 0.03 * _smooth(rng, truth.shape[1:], 60)
        date = truth * light * (1 + season * shapes[:, None, None] * growth)
        date += NOISE * truth.mean(axis=(1, 2), keepdims=True) * rng.standard_normal(truth.shape)
        dates.append(np.rint(date).clip(0, 65535).astype(scene.dtype))
    return dates


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], width: float) -> NDArray[np.float64]:
    """A smooth field (y, x) of mean 0 and spread 1."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), width, mode="wrap")
    return np.asarray((field - field.mean()) / field.std())


def _size(block: Block, bound: Bound) -> int:
    return len(encode(block, None, bound, effort="best"))


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"
