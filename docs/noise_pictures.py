"""Draw what denoising takes from real scenes as they came: python docs/noise_pictures.py FOLDER_OF_SCENES

Rows: Indian Pines' noisiest bands, open sea in Sentinel-2's infrared, Landsat 8 through thin cloud. Columns: before,
after, and what was taken away (grey = nothing).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image

from pipeline.denoise import denoise_block

ROOT = Path(__file__).parents[1]
SIDE, ZOOM, GAP = 120, 3, 8
# file, top, left of the picture, bands in red, green, blue (0 is the first), and the block that is denoised around it
VIEWS = {
    "Indian Pines": ("aviris_indian_pines_200band_20m.tif", 10, 10, (102, 103, 144), 145),
    "Sentinel-2 sea": ("s2_18SVG_west_10band_20m.tif", 652, 322, (9, 8, 7), 256),
    "Landsat 8 thin cloud": ("LC80200392015216LGN00_10band_30m.tif", 20, 480, (7, 7, 7), 256),
}


def row(folder: Path, name: str) -> list[Image.Image]:
    """Before, after, difference of one view."""
    path, top, left, bands, around = VIEWS[name]
    with rasterio.open(folder / path) as source:
        y, x = (
            max(0, min(n - around, at + SIDE // 2 - around // 2))
            for n, at in zip(source.shape, (top, left), strict=True)
        )
        block = source.read(window=((y, y + around), (x, x + around)))
    clean = denoise_block(block, np.ones(block.shape[1:], np.bool_), quality="quality", origin=(y, x)).block
    here = np.s_[list(bands), top - y : top - y + SIDE, left - x : left - x + SIDE]
    before, after = block[here].astype(float), clean[here].astype(float)
    low, high = np.percentile(before, 1, axis=(1, 2)), np.percentile(before, 95, axis=(1, 2))
    taken, span = before - after, (high - low) / 4
    return [stretch(before, low, high), stretch(after, low, high), stretch(taken, -span, span)]


def stretch(block: NDArray[np.floating], low: NDArray[np.floating], high: NDArray[np.floating]) -> Image.Image:
    """Three bands (band, y, x) between their limits as a picture, each pixel ZOOM x ZOOM."""
    scaled = np.clip((block - low[:, None, None]) / (high - low)[:, None, None], 0, 1)
    picture = Image.fromarray((scaled * 255).astype("uint8").transpose(1, 2, 0))
    return picture.resize((SIDE * ZOOM, SIDE * ZOOM), Image.Resampling.NEAREST)


def main(folder: Path) -> None:
    """One sheet, a row for each view."""
    width = SIDE * ZOOM
    sheet = Image.new("RGB", (3 * width + 2 * GAP, len(VIEWS) * (width + GAP) - GAP), "white")
    for line, name in enumerate(VIEWS):
        for column, picture in enumerate(row(folder, name)):
            sheet.paste(picture, (column * (width + GAP), line * (width + GAP)))
    target = ROOT / "docs" / "images" / "noise.png"
    sheet.quantize(192).save(target, optimize=True)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
