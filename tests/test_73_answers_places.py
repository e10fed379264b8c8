"""Polygons that abut, overlap or cover all of a scene: one label a cell, no starved folds, no leakage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes as outlines
from scipy.ndimage import gaussian_filter

from pipeline.flow.doubts import doubts
from pipeline.flow.labels import Labelled
from tests.scenes import CRS, TRANSFORM, call, write_tif

SIDE = 80


def board(*sides: float) -> Any:
    """A box of pixels: first column and row, last column and row."""
    (x0, y0), (x1, y1) = TRANSFORM @ (sides[0], sides[3]), TRANSFORM @ (sides[2], sides[1])
    return shapely.box(x0, y0, x1, y1)


def scene(folder: Path, block: NDArray[Any]) -> Path:
    """The bands (band, y, x) as a raster."""
    return write_tif(folder / "scene.tif", block.astype("float32"))


def learnt(source: Path, shapes: list[Any], labels: Any, *words: object) -> tuple[dict[str, Any], list[str]]:
    """The report of `regress` and what it warns of."""
    path = source.with_name("labels.gpkg")
    geopandas.GeoDataFrame({"crop": labels}, geometry=shapes, crs=CRS).to_file(path)
    given = ("--labels", path, "--field", "crop", "--overwrite", "--json", *words)
    result = call("regress", source, source.with_name("map.tif"), *given)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), [line for line in result.stderr.splitlines() if line.startswith("Warning")]


def test_a_map_of_all_the_scene_is_judged_as_its_cells_are(tmp_path: Path) -> None:
    """Three classes in patches, one of them nearly all in one polygon, four pixels of the map to a cell."""
    rng = np.random.default_rng(3)
    field = gaussian_filter(rng.normal(size=(2 * SIDE, 2 * SIDE)), 5)
    field = field / field.std() + rng.normal(0, 0.15, field.shape)
    cover = np.digitize(field, (-0.6, 0.4)).astype("uint8")
    fine = TRANSFORM @ rasterio.Affine.scale(0.5)
    found = [(shapely.geometry.shape(shape), f"kind {int(kind)}") for shape, kind in outlines(cover, transform=fine)]
    cells = field.reshape(SIDE, 2, SIDE, 2).mean(axis=(1, 3))
    bands = [cells, cells**2, (cells > 0) * 1.0, rng.normal(size=cells.shape)]
    report, warned = learnt(scene(tmp_path, np.stack(bands)), *map(list, zip(*found, strict=True)))
    assert max(shape.area for shape, _ in found) > 0.3 * sum(shape.area for shape, _ in found)
    assert report["cells"] == SIDE * SIDE  # of two with half of a cell each the one with its centre has it
    (line,) = warned
    assert "places have no cell of which their label has the most: left out" in line
    assert report["overall"]["judged"] == report["cells"]
    assert report["overall"]["accuracy"] > 0.8 > report["overall"]["baseline"]["accuracy"] + 0.3
    assert min(fold["train"] for fold in report["folds"]) > 0.4 * report["cells"]


def test_a_border_on_the_centres_of_cells_is_of_one_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = scene(tmp_path, rng.normal(size=(2, SIDE, SIDE)))
    report, _ = learnt(source, [board(10.5, 10, 22.5, 30), board(22.5, 10, 34.5, 30)], ["a", "b"], "--gap", 20)
    assert report["cells"] == 24 * 20
    assert np.sum(report["overall"]["confusion"], axis=1).tolist() == [12 * 20, 12 * 20]


def test_places_that_overlap_alike_have_no_label_and_points_come_first(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = scene(tmp_path, rng.normal(size=(2, SIDE, SIDE)))
    shapes = [board(0, 0, 40, 60), board(30, 0, 70, 60), shapely.Point(TRANSFORM @ (35.5, 35.5))]
    shapes += [shapely.Point(TRANSFORM @ (5.5 + step, 5.5)) for step in (0, 0.1, 0.2)]
    report, warned = learnt(source, shapes, [*"abaaab"])
    assert "599 cells have equal shares of several crop: left out" in warned[0]
    assert report["cells"] == 70 * 60 - 599
    assert "1 of 6 places has no cell of which their label has the most: left out" in warned[1]
    numbers, warned = learnt(source, shapes, [1.0, 3, 7, 1, 2, 6])
    assert numbers["cells"] == 70 * 60
    assert not [line for line in warned if "left out" in line]
    alike = learnt_nothing(source, [board(0, 0, 40, 60)] * 2, ["a", "b"])
    assert "no cell of scene has one crop alone; give places that do not overlap" in alike


def learnt_nothing(source: Path, shapes: list[Any], labels: Any) -> str:
    """The line of an error."""
    path = source.with_name("labels.gpkg")
    geopandas.GeoDataFrame({"crop": labels}, geometry=shapes, crs=CRS).to_file(path)
    result = call("regress", source, source.with_name("no.tif"), "--labels", path, "--field", "crop")
    assert result.exit_code == 1
    assert not source.with_name("no.tif").exists()
    return str(result.stderr.strip().splitlines()[-1])


def fields(each: int, part: int, side: int = 120) -> list[tuple[int, Any]]:
    """Plots of `part` x `part` pixels that fill fields of `each` x `each`, two pixels between these; each's field."""
    found = []
    for number, (row, column) in enumerate(np.ndindex(*2 * [side // (each + 2)])):
        top, left = row * (each + 2), column * (each + 2)
        for r, c in np.ndindex(each // part, each // part):
            y, x = top + r * part, left + c * part
            found.append((number, board(x, y, x + part, y + part)))
    return found


def test_plots_of_one_field_tell_nothing_of_each_other(tmp_path: Path) -> None:
    """Each field has a look of its own and a label by lot: who has seen a plot of a field knows the others."""
    more = []
    for seed, parts in ((7, [10, 5, 2]), (8, [5]), (9, [5])):
        rng = np.random.default_rng(seed)
        looks = rng.normal(size=(150, 100))
        bands = rng.normal(0, 0.1, (150, 120, 120))
        for number, (row, column) in enumerate(np.ndindex(10, 10)):
            bands[:, row * 12 : row * 12 + 12, column * 12 : column * 12 + 12] += looks[:, number, None, None]
        lots, found = rng.integers(0, 2, 100), []
        for part in parts:
            plots = fields(10, part)
            labels = [f"kind {lots[number]}" for number, _ in plots]
            report, _ = learnt(scene(tmp_path, bands), [shape for _, shape in plots], labels)
            assert report["places"] == len(plots)
            found.append(report["overall"]["accuracy"])
        assert max(found) == min(found)  # however a field is cut
        more.append(found[0] - report["overall"]["baseline"]["accuracy"])
    assert np.mean(more) < 0.05


def test_labels_by_lot_on_smooth_noise_are_worth_no_more_than_a_guess_and_it_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    bands = np.stack([gaussian_filter(rng.normal(size=(120, 120)), 3) for _ in range(20)])
    shapes = [board(x, y, x + 4, y + 4) for y, x in np.ndindex(120, 120) if y % 4 == x % 4 == 0]
    source = scene(tmp_path, bands)
    report, warned = learnt(source, shapes, rng.choice([*"aab"], len(shapes)).tolist(), "--gap", 160)
    overall = report["overall"]
    assert overall["accuracy"] < overall["baseline"]["accuracy"] + 0.03
    below = [line for line in warned if "if the most frequent class were said everywhere" in line]
    assert len(below) == (overall["accuracy"] < overall["baseline"]["accuracy"])
    report, warned = learnt(source, shapes, rng.choice([*"abc"], len(shapes)).tolist(), "--gap", 160)
    assert report["overall"]["accuracy"] < report["overall"]["baseline"]["accuracy"]
    assert "of the cells are right, " in warned[0]
    assert "elsewhere the map is no better than a guess" in warned[0]
    report, warned = learnt(source, shapes, rng.normal(size=len(shapes)).tolist(), "--gap", 160)
    assert report["overall"]["r2"] < 0
    assert f"crop: R² is {report['overall']['r2']:.3g}, below that of the mean" in warned[0]


def test_folds_that_do_not_train_on_a_class_say_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = scene(tmp_path, rng.normal(size=(2, SIDE, SIDE)))
    at = [(y, x) for y, x in np.ndindex(SIDE, SIDE) if y % 8 == x % 8 == 0]
    labels = ["rare" if y == 8 and x in (32, 40) else "ab"[(y + x) // 8 % 2] for y, x in at]
    shapes = [board(x, y, x + 3, y + 3) for y, x in at]
    report, warned = learnt(source, shapes, labels, "--block", 200, "--gap", 180, "--folds", 3)
    assert ["rare"] in [fold["without"] for fold in report["folds"]]
    assert report["unjudged"] == {"rare": 18}
    assert "of crop, rare (2 places) cannot be judged" in warned[0]
    none = np.zeros(0, np.intp)
    data = Labelled(np.zeros((0, 1), np.float32), none, none, none, none, none, ("a", "b", "c"), none > 0)
    folds = [{"without": ["c", "b"]}, {"without": ["c"]}, {"without": []}]
    overall = {"judged": 9, "accuracy": 0.5, "baseline": {"accuracy": 0.5}}
    assert doubts(data, "crop", {"overall": overall, "folds": folds}) == [
        "folds train on none of crop b (1 fold), c (2 folds): all of it lies in the gap around their test cells; "
        "give more places of each, or a smaller --block or --gap"
    ]
