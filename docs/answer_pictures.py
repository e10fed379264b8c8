"""Draw the pictures of docs/answers.md from what its commands made after `make demo`: python docs/answer_pictures.py"""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sample_data" / "s2_18SVG_crop_10band_20m.tif"
LABELS = ROOT / "sample_data" / "cover.geojson"
OUT = ROOT / "out" / "demo" / SAMPLE.stem
IMAGES = ROOT / "docs" / "images"
GAP, COLOURS = 8, 256
RED, YELLOW, WHITE = (255, 40, 40), (255, 230, 0), (255, 255, 255)
STOPS = np.array([[20, 24, 60], [60, 70, 140], [70, 150, 150], [180, 200, 90], [255, 230, 90]], float)

U8 = NDArray[np.uint8]


def natural() -> Image.Image:
    """The sample in natural colours."""
    with rasterio.open(SAMPLE) as file:
        block = file.read([3, 2, 1]).astype(float)
    low, high = (np.percentile(block, share, axis=(1, 2))[:, None, None] for share in (1, 97))
    return Image.fromarray(
        (np.clip((block - low) / (high - low), 0, 1) ** 0.8 * 255).astype(np.uint8).transpose(1, 2, 0)
    )


def ramp(values: NDArray[np.floating], low: float, high: float) -> Image.Image:
    """A plane (y, x) in colours from dark to bright, grey where it is NaN."""
    place = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0, 1) * (len(STOPS) - 1)
    first = np.minimum(place.astype(int), len(STOPS) - 2)
    share = (place - first)[..., None]
    colours = STOPS[first] * (1 - share) + STOPS[first + 1] * share
    colours[np.isnan(values)] = 110
    return Image.fromarray(colours.astype(np.uint8))


def plane(name: str) -> NDArray[np.floating]:
    """The one band of a map."""
    with rasterio.open(OUT / name) as file:
        values: NDArray[np.floating] = file.read(1)
    return values


def classes(name: str, size: tuple[int, int]) -> Image.Image:
    """A map of classes in its own colours."""
    with rasterio.open(OUT / name) as file:
        table = np.array([file.colormap(1)[value][:3] for value in range(256)], np.uint8)
        return Image.fromarray(table[file.read(1)]).resize(size, Image.Resampling.NEAREST)


def pixels(frame: geopandas.GeoDataFrame) -> NDArray[np.float64]:
    """Boxes (n, 4) of geometries in pixels of the sample: left, top, right, bottom."""
    with rasterio.open(SAMPLE) as file:
        back, crs = ~file.transform, file.crs
    boxes = frame.to_crs(crs).bounds.to_numpy()
    return np.array([[*(back @ (x0, y1)), *(back @ (x1, y0))] for x0, y0, x1, y1 in boxes])


def framed(picture: Image.Image, boxes: NDArray[np.float64], colour: tuple[int, int, int], grow: float) -> None:
    """Frames around boxes."""
    pen = ImageDraw.Draw(picture)
    for x0, y0, x1, y1 in boxes:
        pen.rectangle([x0 - grow, y0 - grow, x1 + grow, y1 + grow], outline=colour, width=2)


def legend(picture: Image.Image, name: str) -> None:
    """Names and colours of a legend, in the lower left corner."""
    entries = json.loads((OUT / name).read_text())
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    top = picture.height - 18 * len(entries) - 8
    pen.rectangle([4, top - 4, 118, picture.height - 4], fill=WHITE)
    for line, entry in enumerate(entries):
        y = top + 18 * line
        pen.rectangle([8, y + 1, 22, y + 14], fill=entry["colour"], outline=(0, 0, 0))
        pen.text((28, y - 1), entry["name"], fill=(0, 0, 0), font=font)


def save(name: str, left: Image.Image, right: Image.Image) -> None:
    """Two pictures side by side."""
    sheet = Image.new("RGB", (left.width + GAP + right.width, left.height), WHITE)
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + GAP, 0))
    target = IMAGES / name
    sheet.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size} bytes")


def similar() -> None:
    """Where it looks like the barns: the place asked about in yellow, the hits in red; the map of similarity."""
    scene = natural()
    framed(scene, pixels(geopandas.read_parquet(OUT / "like.parquet")), RED, 4)
    row, column = np.unravel_index(np.nanargmax(plane("like.tif")), plane("like.tif").shape)
    framed(scene, np.array([[column * 4, row * 4, column * 4 + 4, row * 4 + 4]], float), YELLOW, 4)
    likeness = ramp(plane("like.tif"), -0.2, 1).resize(scene.size, Image.Resampling.NEAREST)
    save("similar.png", scene, likeness)


def cluster() -> None:
    """The scene, and its groups."""
    scene = natural()
    save("cluster.png", scene, classes("groups.tif", scene.size))


def anomaly() -> None:
    """Detections around the lagoon; the scores there, unscored grey."""
    scene = natural()
    framed(scene, pixels(geopandas.read_parquet(OUT / "ships.parquet")), RED, 3)
    scores = ramp(np.log10(np.maximum(plane("ships.tif"), 0.1)), -0.5, 1.5)
    save("anomaly.png", scene, scores)


def regress() -> None:
    """The labels, and the cover predicted from them."""
    scene = natural()
    framed(scene, pixels(geopandas.read_file(LABELS)), RED, 0)
    cover = classes("cover.tif", scene.size)
    legend(cover, "cover.legend.json")
    save("regress.png", scene, cover)


if __name__ == "__main__":
    for draw in (similar, cluster, anomaly, regress):
        draw()
