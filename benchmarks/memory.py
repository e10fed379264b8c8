"""Is the memory bounded, and does `plan` know it? Small and very large rasters through the whole pass."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import rasterio
from rasterio.windows import Window as RasterWindow

from benchmarks.scene import measured
from benchmarks.tables import print_table
from pipeline.grid import Grid, Window
from sample_data.generator import TRANSFORM, Settings, scene_block

SIDE, SMALL, BANDS, CELL = 32000, 4000, 2, 256
FILLED = 16
"""One cell in so many has pixels: the rest is nodata, so that the largest raster takes minutes and megabytes."""
_WORKFLOW = """
version: 1
out: out
features: {bank: classic, stride: 16}
write: {cog: [denoised, features], report: true}
run: {workers: 2}
"""


def main(smoke: bool, largest: int = SIDE) -> None:
    """Peak memory of `run` beside the plan's, on rasters of growing size."""
    rows, first = [], 0.0
    for side in [512] if smoke else [SMALL, largest]:
        with tempfile.TemporaryDirectory() as folder:
            scene, workflow = Path(folder) / "scene.tif", Path(folder) / "job.yaml"
            workflow.write_text(_WORKFLOW)
            write_sparse(scene, side)
            planned = json.loads(measured(["plan", str(workflow), str(scene), "--json"])["stdout"])["scenes"][0]
            ran = measured(["run", str(workflow), str(scene), "--json"])
        seconds = sum(stage["seconds"] for stage in json.loads(ran["stdout"])["scenes"][0]["stages"])
        peak = float(ran["peak"])
        first = first or peak
        figures = [f"{planned['memory'] / 2**20:.0f}", ran["peak"], f"{peak / first:.2f}", f"{seconds:.0f}", ran["cpu"]]
        rows.append([f"{side} x {side} x {BANDS}", *figures])
    print(f"threads, 2 workers, tiles of 256, one in {FILLED} with pixels\n")
    head = ["scene", "planned peak, MB", "measured peak, MB", "over the first", "two maps, s"]
    print_table([*head, "CPU s, whole command"], rows)


def write_sparse(path: Path, side: int) -> None:
    """A scene of cells of the generator, one in FILLED there, and those the same few again and again."""
    settings = Settings(height=side, width=side, bands=BANDS, seed=1)
    cells = [scene_block(Window(0, CELL, n * CELL, (n + 1) * CELL), settings)[1] for n in range(8)]
    layout = {"tiled": True, "blockxsize": CELL, "blockysize": CELL, "compress": "zstd", "bigtiff": "IF_SAFER"}
    place = {"crs": "EPSG:32618", "transform": TRANSFORM, "nodata": 0, "sparse_ok": True}
    shape = {"height": side, "width": side, "count": BANDS, "dtype": "uint16"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **layout, **place) as file:
        for number, tile in enumerate(Grid(side, side, CELL)):
            if (5 * tile.row + tile.column) % FILLED == 0:
                y, x = tile.window.shape
                block = cells[number % len(cells)][:, :y, :x]
                file.write(block, window=RasterWindow(tile.window.x0, tile.window.y0, x, y))
