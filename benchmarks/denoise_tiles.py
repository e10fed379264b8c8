"""What tiles cost, and whether borders show: the command on whole scenes with known noise, both kinds of bases."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.noises import DATA, F32, L8, S2, psnr, scaled
from benchmarks.tables import print_table
from pipeline.denoise import denoise_block

SAMPLE = Path(__file__).parents[1] / "sample_data" / "s2_18SVG_crop_10band_20m.tif"
SIGMA = 0.05


def main(smoke: bool) -> None:
    """A row for each scene, tile and basis, `fast`, iid noise of .05, found by itself."""
    found = {"sample": SAMPLE} if smoke or not DATA.is_dir() else {"Sentinel-2": DATA / S2, "Landsat 8": DATA / L8}
    tiles, side = ((64,), 160) if smoke else ((128, 256, 512), None)
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        for name, path in found.items():
            with rasterio.open(path) as source:
                truth = scaled(source.read()[:, :side, :side].astype(np.float64))
            noisy = (truth + SIGMA * np.random.default_rng(7).standard_normal(truth.shape)).astype(np.float32)
            whole = denoise_block(noisy, np.ones(noisy.shape[1:], np.bool_)).block
            for tile in tiles:
                for basis in ("tile", "scene"):
                    tiled = command(noisy, tile, basis, Path(folder))
                    level, step = (
                        at_borders(truth, tiled, tile, how) / at_borders(truth, whole, tile, how) for how in (0, 1)
                    )
                    difference = psnr(truth, tiled) - psnr(truth, whole)
                    rows.append([name, tile, basis, f"{difference:+.3f}", f"{level:.3f}", f"{step:.3f}"])
    print("fast, iid .05; both over the untiled block's: error within 2 px of a border against elsewhere;")
    print("step of the error across the border\n")
    print_table(["scene", "tile", "basis", "PSNR, dB against untiled", "error at borders", "step at borders"], rows)


def command(noisy: F32, tile: int, basis: str, folder: Path) -> F32:
    """What `terrasketch denoise` makes of it."""
    before, after = folder / "noisy.tif", folder / "clean.tif"
    profile = {"driver": "GTiff", "count": len(noisy), "height": noisy.shape[1], "width": noisy.shape[2]}
    place = rasterio.Affine(20, 0, 5e5, 0, -20, 4e6)
    with rasterio.open(before, "w", dtype="float32", crs="EPSG:32618", transform=place, **profile) as target:
        target.write(noisy)
    words = ["denoise", str(before), str(after), "--overwrite", "--basis", basis, "--tile", str(tile), "-q"]
    subprocess.run([sys.executable, "-m", "pipeline.cli", *words], check=True, capture_output=True)
    with rasterio.open(after) as source:
        return np.asarray(source.read(), np.float32)


def at_borders(truth: F32, block: NDArray[np.float32], tile: int, step: int) -> float:
    """How much the error shows at the borders of tiles: its level there over elsewhere, or (step 1) its step across."""
    error = block.astype(np.float64) - truth
    height, width = truth.shape[1:]
    ys, xs = np.arange(tile, height, tile), np.arange(tile, width, tile)
    if step:
        down, across = np.diff(error, axis=1)[:, ys - 1], np.diff(error, axis=2)[:, :, xs - 1]
        return float(np.sqrt(np.mean(np.concatenate([np.square(down).ravel(), np.square(across).ravel()]))))
    near = np.zeros((height, width), np.bool_)
    for k in (-2, -1, 0, 1):
        near[ys + k], near[:, xs + k] = True, True
    square = np.mean(np.square(error), axis=0)
    return float(np.sqrt(square[near].mean() / square[~near].mean()))
