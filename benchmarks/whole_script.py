"""The script that somebody with the same wishes would write today, by tile: nothing of ours in it.

python -m benchmarks.whole_script bm3d|pca SCENE FOLDER: reads with rioxarray; FastHyDe with BM3D, then JPEG 2000 of
every band, or PCA and Zstandard of its scores; torch for convolutional features of both signs. Prints CPU seconds, peak
memory, and after that the SNR of the last tile as stored.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import rioxarray
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from benchmarks.fasthyde import fasthyde

TILE, HALO, FILTERS, POOL, STRIDE, SNR = 256, 16, 128, 9, 4, 40.0
F32 = NDArray[np.float32]
Coded = tuple[int, Callable[[], NDArray[Any]]]


def main(kind: str, path: str, folder: Path) -> None:
    """Every tile of the scene."""
    torch.set_num_threads(1)
    scene = rioxarray.open_rasterio(path)
    bands, height, width = scene.shape
    generator = torch.Generator().manual_seed(0)
    filters = torch.randn(FILTERS, bands, 3, 3, generator=generator)
    error = power = features = stored = 0.0
    last: tuple[F32, Callable[[], NDArray[Any]]] | None = None
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            top, left = max(0, y - HALO), max(0, x - HALO)
            outer = scene[:, top : y + TILE + HALO, left : x + TILE + HALO].values.astype(np.float32)
            clean = denoised(outer) if kind == "bm3d" else outer
            block = clean[:, y - top :, x - left :][:, :TILE, :TILE]
            size, decode = jpeg2000(block) if kind == "bm3d" else pca(block)
            stored += size
            last = block, decode
            maps = rcf(clean, filters)
            features = maps.shape[0]
            np.save(folder / f"{y}_{x}.npy", maps)
    spent, peak = time.process_time(), memory()
    assert last is not None
    block, decode = last
    error, power = float(((decode() - block) ** 2).sum()), float((block**2).sum())
    snr = 10 * np.log10(power / error)
    raw = 2.0 * bands * height * width
    print(json.dumps({"cpu": spent, "peak": peak, "snr": snr, "features": features, "ratio": raw / stored}))


def denoised(block: F32) -> F32:
    """Noise from the differences of diagonal neighbours, by band; FastHyDe on bands of unit noise."""
    steps = block[:, 1:, 1:] - block[:, 1:, :-1] - block[:, :-1, 1:] + block[:, :-1, :-1]
    sigma = np.median(np.abs(steps), axis=(1, 2))[:, None, None] / (0.6745 * 2)
    return np.asarray(fasthyde(block.astype(np.float64) / sigma, import_module("bm3d")) * sigma, np.float32)


def jpeg2000(block: F32) -> Coded:
    """Every band by itself, at the PSNR of 16 bits that makes the SNR over all."""
    whole = np.clip(np.rint(block), 0, 65535).astype(np.uint16)
    level = 10 * np.log10(65535.0**2 / (float((block**2).mean()) * 10 ** (-SNR / 10)))
    data = [imagecodecs.jpeg2k_encode(band, level=level, reversible=False, numthreads=1) for band in whole]
    return sum(map(len, data)), lambda: np.stack([imagecodecs.jpeg2k_decode(one) for one in data])


def pca(block: F32) -> Coded:
    """As many components as half the error allows, their scores rounded by what is left of it."""
    rows = block.reshape(len(block), -1).T
    model = PCA(svd_solver="covariance_eigh").fit(rows)
    allowed = float((block**2).mean()) * 10 ** (-SNR / 10) * len(block)
    left = np.append(np.cumsum(model.explained_variance_[::-1])[::-1][1:], 0.0)
    kept = int(np.argmax(left <= allowed / 2)) + 1
    axes = model.components_[:kept]
    step = np.sqrt(12 * (allowed - left[kept - 1]) / kept)
    scores = np.rint((rows - model.mean_) @ axes.T / step).astype(np.int16)
    data = imagecodecs.zstd_encode(np.ascontiguousarray(scores.T), level=3)
    return len(data) + axes.nbytes, lambda: ((scores * step) @ axes + model.mean_).T.reshape(block.shape)


def rcf(block: F32, filters: torch.Tensor) -> F32:
    """Random convolutional features: both signs rectified, a mean over POOL x POOL at every STRIDE-th pixel."""
    with torch.no_grad():
        values = torch.from_numpy(np.ascontiguousarray(block))[None]
        values = (values - values.mean((2, 3), keepdim=True)) / (values.std((2, 3), keepdim=True) + 1e-6)
        found = torch.nn.functional.conv2d(values, filters, padding=1)
        maps = torch.cat([torch.relu(found), torch.relu(-found)], dim=1)
        pooled = torch.nn.functional.avg_pool2d(maps, POOL, STRIDE, POOL // 2)[0]
        return np.asarray(pooled.numpy(), np.float32)


def memory() -> float:
    """The most that this process ever held, MB."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
