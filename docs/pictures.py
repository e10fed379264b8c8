"""Draw the README's picture from the outputs of `make demo`: python docs/pictures.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.flow.read import open_scene
from pipeline.grid import Window
from pipeline.raster.scene import Source

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "out" / "demo" / "s2_18SVG_crop_10band_20m"
SIDE, ZOOM, GAP = 120, 3, 8


def stretch(block: NDArray[np.floating], low: NDArray[np.floating], high: NDArray[np.floating]) -> Image.Image:
    """Three bands (band, y, x) between their limits as a picture, each pixel ZOOM x ZOOM."""
    scaled = np.clip((block - low[:, None, None]) / (high - low)[:, None, None], 0, 1)
    picture = Image.fromarray((np.nan_to_num(scaled) * 255).astype("uint8").transpose(1, 2, 0))
    return picture.resize((SIDE * ZOOM, SIDE * ZOOM), Image.Resampling.NEAREST)


def pair(raw: Source, stored: Source, window: Window, bands: tuple[str, ...]) -> list[Image.Image]:
    """A window before and after in the same colours, and what was taken away (grey = nothing)."""
    chosen = [raw.info.bands.index(name) for name in bands]
    before, after = (source.read(window)[0][chosen].astype(float) for source in (raw, stored))
    low, high = np.percentile(before, 1, axis=(1, 2)), np.percentile(before, 96, axis=(1, 2))
    taken, span = before - after, (high - low) / 4
    return [stretch(before, low, high), stretch(after, low, high), stretch(taken, -span, span)]


def components(features: Source, window: Window) -> Image.Image:
    """Three principal components of the features of a window."""
    cells = features.read(Window(window.y0 // 4, window.y1 // 4, window.x0 // 4, window.x1 // 4))[0].astype(float)
    flat = (cells - cells.mean(axis=(1, 2), keepdims=True)).reshape(len(cells), -1)
    U, _, _ = np.linalg.svd(flat / (flat.std(axis=1, keepdims=True) + 1e-12), full_matrices=False)
    parts = (U[:, :3].T @ flat).reshape(3, *cells.shape[1:]).repeat(4, axis=1).repeat(4, axis=2)
    return stretch(parts, np.percentile(parts, 2, axis=(1, 2)), np.percentile(parts, 98, axis=(1, 2)))


def main() -> None:
    """Fields and marsh: before, after, features. Sea in the infrared: before, after, what was taken away."""
    raw = open_scene(str(ROOT / "sample_data" / "s2_18SVG_crop_10band_20m.tif"))
    stored, features = open_scene(str(DEMO / "scene.zarr")), open_scene(str(DEMO / "features.zarr"))
    land, sea = Window(20, 20 + SIDE, 250, 250 + SIDE), Window(276, 276 + SIDE, 288, 288 + SIDE)
    pictures = [*pair(raw, stored, land, ("B04", "B03", "B02"))[:2], components(features, land)]
    pictures += pair(raw, stored, sea, ("B12", "B11", "B8A"))
    width = SIDE * ZOOM
    sheet = Image.new("RGB", (3 * width + 2 * GAP, 2 * width + GAP), "white")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, 3)
        sheet.paste(picture, (column * (width + GAP), row * (width + GAP)))
    target = ROOT / "docs" / "images" / "scene.png"
    target.parent.mkdir(exist_ok=True)
    sheet.quantize(256).save(target, optimize=True)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
