"""Rates of this machine on this scene: the workflow itself, one thread, on the middle of the scene."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Workflow
from pipeline.config.models import Read
from pipeline.errors import TileError
from pipeline.flow.crew import Crew
from pipeline.flow.read import central_window, open_scene
from pipeline.flow.receipts import SceneReceipt
from pipeline.grid import Grid, Window
from pipeline.plan.rates import Rates, rates_of
from pipeline.raster.cog import write_cog
from pipeline.raster.scene import Source
from pipeline.run import run_workflow

TILES = 5
"""On a side of the piece that is measured; what its edges save in halo is an error of some percent."""


def calibrate(paths: list[str], workflow: Workflow) -> Rates:
    """Run the workflow on TILES x TILES tiles of a scene, in a temporary folder, and measure it.

    One tile is run before, twice: the first time compiles, the second tells what a finish takes of any scene.

    Raises:
        SourceError: the scene cannot be read.
        TileError: the workflow fails on it.
        OutputError: there is no room for temporary files.
    """
    source = open_scene(paths, **workflow.read.model_dump(exclude={"tile"}))
    tile = workflow.read.tile
    with tempfile.TemporaryDirectory(prefix="terrasketch-") as folder, ThreadPoolExecutor(1) as pool:
        crew = Crew(pool, 1)
        small, large = (_crop(source, side, tile, Path(folder) / f"{side}.tif") for side in (tile, TILES * tile))
        runs = enumerate((small, small, large))
        _, first, last = [_run(piece, workflow, crew, Path(folder) / str(number)) for number, piece in runs]
        origin = f"measured on {central_window(source, TILES * tile)} of {source.info.name}, one thread"
        return rates_of(last.to_json({}), origin, first.to_json({}))


def _run(piece: Path, workflow: Workflow, crew: Crew, out: Path) -> SceneReceipt:
    """The workflow on a file that holds the bands that are wanted, and no others."""
    update: dict[str, Any] = {"sources": [str(piece)], "out": str(out), "read": Read(tile=workflow.read.tile)}
    [receipt] = run_workflow(workflow.model_copy(update=update), crew, "terrasketch plan --calibrate")
    if receipt.failures:
        raise TileError(f"--calibrate: {receipt.failures[0]}")
    return receipt


def _crop(source: Source, side: int, tile: int, path: Path) -> Path:
    """The middle of a scene as a file."""
    window = central_window(source, side)
    height, width = window.shape
    info = replace(source.info, height=height, width=width)

    def windows() -> Iterator[tuple[Window, NDArray[Any], NDArray[np.bool_] | None]]:
        for one in Grid(height, width, tile):
            inner = one.window
            block, valid = source.read(
                Window(window.y0 + inner.y0, window.y0 + inner.y1, window.x0 + inner.x0, window.x0 + inner.x1)
            )
            yield inner, block, (valid if info.masked else None)

    write_cog(path, info, windows(), overwrite=True)
    return path
