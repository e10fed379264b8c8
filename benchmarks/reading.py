"""Reading by windows: our reader (one handle per thread, small cache) against opening the file for every window."""

from __future__ import annotations

import tempfile
from pathlib import Path

import rasterio
from rasterio.windows import Window as RasterWindow

from benchmarks.tables import interleaved, print_table
from pipeline.grid import Halo
from pipeline.raster.open import open_source
from sample_data.generator import Settings, write_scene


def main(smoke: bool) -> None:
    """CPU seconds for all windows of 256 + halo 16 of one scene, in turn, as a ratio."""
    side = 512 if smoke else 6000  # several times the block cache, so that a second pass finds nothing of the first
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        write_scene(path, Settings(height=side, width=side, bands=4, seed=1))
        source = open_source(str(path))
        windows = [tile.window.expand(Halo.even(16), side, side) for tile in source.info.grid(256)]

        def ours() -> None:
            for window in windows:
                source.read(window)

        def plain() -> None:
            for window in windows:
                with rasterio.open(path) as file:
                    shape = RasterWindow(window.x0, window.y0, window.shape[1], window.shape[0])
                    file.read(window=shape)
                    file.dataset_mask(window=shape)

        mine, theirs = interleaved([ours, plain], 1 if smoke else 3)
    print(f"4 x {side} x {side} uint16, windows of 256 with halo 16, pixels and mask\n")
    rows = [["terrasketch", f"{mine:.2f}", "1"], ["rasterio.open per window", f"{theirs:.2f}", f"{theirs / mine:.2f}"]]
    print_table(["reader", "CPU s", "times ours"], rows)
