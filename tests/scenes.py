"""Small scenes on disk for the tests of the upper floors, and what to say about two folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from pipeline.cli.main import main
from sample_data.generator import Settings, write_scene

CRS = "EPSG:32618"
TRANSFORM = rasterio.Affine(20.0, 0.0, 435_740.0, 0.0, -20.0, 4_179_460.0)


def write_tif(path: Path, block: NDArray[Any], **profile: Any) -> Path:
    """A GeoTIFF of block (band, y, x)."""
    bands, height, width = block.shape
    words = {"crs": CRS, "transform": TRANSFORM, "dtype": block.dtype, "driver": "GTiff"} | profile
    with rasterio.open(path, "w", count=bands, height=height, width=width, **words) as file:
        file.write(block)
    return path


def small_scene(path: Path, truth_path: Path | None = None, **changes: Any) -> Path:
    """A scene of the generator: 4 bands of 150 x 170, with holes."""
    settings = {"height": 150, "width": 170, "bands": 4, "seed": 3, "holes": 0.1} | changes
    write_scene(path, Settings(**settings), truth_path)
    return path


def snapshot(folder: Path, leave_out: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in leave_out
    }


def call(*words: object, stdin: str | None = None) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(_Entry(), [str(word) for word in words], input=stdin)


def call_json(*words: object) -> Any:
    """Run a command with --json that has to succeed; its result."""
    result = call(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def read(path: Path) -> NDArray[Any]:
    """All pixels of a raster."""
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


def band_psnr(truth: NDArray[Any], block: NDArray[Any]) -> float:
    """Mean PSNR over bands in dB; the peak is each band's range."""
    wanted, got = (array.reshape(len(array), -1).astype(float) for array in (truth, block))
    error = ((got - wanted) ** 2).mean(axis=1)
    return float((20 * np.log10(np.ptp(wanted, axis=1)) - 10 * np.log10(error)).mean())


class _Entry:
    """`main` in the shape CliRunner wants, so that tests see the exit codes and lines a user sees."""

    name = "terrasketch"

    def main(self, args: Any = None, prog_name: Any = None, **_extra: Any) -> Any:
        return main(args)
