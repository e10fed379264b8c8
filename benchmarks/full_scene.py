"""A whole Sentinel-2 scene's worth of pixels through the whole pass, stage by stage: CPU for each pixel, and memory."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from benchmarks.scene import measured
from benchmarks.tables import print_table
from pipeline.flow.denoise import Denoising
from pipeline.flow.denoised import denoised_tile
from pipeline.flow.read import open_scene, spread
from pipeline.flow.threads import one_blas_thread
from pipeline.grid import Grid
from sample_data.generator import Settings, write_scene

SIDE, BANDS, TILE = 10980, 10, 256
"""A tile of Sentinel-2 at 10 m, and the bands that people use of it."""
SAMPLES = 12
_WORKFLOW = """
version: 1
out: out
features: {bank: rcf-mixed, stride: 4}
write: {cog: [denoised, features], report: true}
run: {workers: 2}
"""


def main(smoke: bool, side: int = SIDE) -> None:
    """`run` in `fast`, two threads: every map by itself, what one process does alone, and the command as a whole."""
    side = 512 if smoke else side
    with tempfile.TemporaryDirectory() as folder:
        path, workflow = Path(folder) / "scene.tif", Path(folder) / "job.yaml"
        workflow.write_text(_WORKFLOW)
        write_scene(path, Settings(height=side, width=side, bands=BANDS, seed=1))
        planned = json.loads(measured(["plan", str(workflow), str(path), "--json"])["stdout"])["scenes"][0]
        ran = measured(["run", str(workflow), str(path), "--json"])
        alone = denoising_seconds(path) / side**2
    scene = json.loads(ran["stdout"])["scenes"][0]
    pixels, stages = side**2, scene["stages"]
    print(f"{BANDS} bands of {side} x {side}, uint16, tiles of {TILE}, 2 threads, effort fast\n")
    rows = [[stage["name"], f"{stage['seconds']:.1f}", *of(stage["cpu_seconds"], pixels)] for stage in stages]
    rows.insert(1, [f"of it reading and denoising, from {SAMPLES} tiles", "-", *of(alone * pixels, pixels)])
    seconds, cpu = sum(stage["seconds"] for stage in stages), sum(stage["cpu_seconds"] for stage in stages)
    rest = scene["seconds"] - seconds, float(ran["cpu"]) - cpu
    rows.append(["start, bank, rasters, report", f"{rest[0]:.1f}", *of(rest[1], pixels)])
    rows.append(["the command", f"{scene['seconds']:.1f}", *of(float(ran["cpu"]), pixels)])
    print_table(["what", "wall, s", "CPU, s", "CPU, µs a pixel"], rows)
    facts = scene["facts"]
    print(
        f"\n{facts['ratio']:.1f} times smaller than raw at {facts['snr']:.1f} dB; peak memory {ran['peak']} MB, "
        f"planned {planned['memory'] / 2**20:.0f}"
    )


def of(cpu: float, pixels: int) -> list[str]:
    """Seconds, and microseconds a pixel."""
    return [f"{cpu:.1f}", f"{1e6 * cpu / pixels:.2f}"]


def denoising_seconds(path: Path) -> float:
    """CPU seconds of reading and denoising a scene, as SAMPLES tiles of it tell, less than one of them uncounted."""
    source = open_scene(str(path))
    side = source.info.height
    grid = Grid(side, side, TILE)
    windows = spread(source, TILE, SAMPLES)
    tiles = [tile for tile in grid if tile.window in windows]
    with one_blas_thread():
        denoised_tile(source, tiles[0], TILE, Denoising("fast"))
        start = time.thread_time()
        for tile in tiles:
            denoised_tile(source, tile, TILE, Denoising("fast"))
        spent = time.thread_time() - start
    pixels = sum(tile.window.shape[0] * tile.window.shape[1] for tile in tiles)
    return spent * side**2 / pixels
