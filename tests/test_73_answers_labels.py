"""What `regress` takes for a label, which labels it learns from where there are many, and files that hold none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from pipeline.flow import drawn
from tests.scenes import CRS, TRANSFORM, call, write_tif

SIDE = 80


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bands: a board of 8 x 8 fields, bright and dark, under noise; and noise alone."""
    rng = np.random.default_rng(0)
    board = (np.indices((SIDE, SIDE)) // 10).sum(axis=0) % 2
    block = np.stack([board + rng.normal(0, 0.2, board.shape), rng.normal(0, 1, board.shape)])
    return write_tif(tmp_path_factory.mktemp("labels") / "scene.tif", block.astype("float32"))


def fields() -> tuple[list[shapely.Geometry], list[str]]:
    """The 64 fields of the board, and what grows there."""
    shapes, words = [], []
    for row in range(0, SIDE, 10):
        for column in range(0, SIDE, 10):
            (x0, y0), (x1, y1) = TRANSFORM @ (column, row + 10), TRANSFORM @ (column + 10, row)
            shapes.append(shapely.box(x0 + 1, y0 + 1, x1 - 1, y1 - 1))
            words.append("bright" if (row + column) // 10 % 2 else "dark")
    return shapes, words


def points(count: int) -> list[shapely.Geometry]:
    """Places of one cell each, spread over the scene."""
    rng = np.random.default_rng(1)
    return [shapely.Point(TRANSFORM @ (c + 0.5, r + 0.5)) for r, c in rng.integers(0, SIDE, (count, 2)).tolist()]


def learnt(scene: Path, target: Path, path: Path, *words: object) -> tuple[dict[str, Any], list[str]]:
    """The report of `regress` and what it warns of."""
    result = call("regress", scene, target, "--labels", path, "--field", "crop", *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), [line for line in result.stderr.splitlines() if line.startswith("Warning")]


@pytest.mark.parametrize("ending", ["geojson", "parquet", "gpkg", "shp"])
def test_blank_words_are_no_label_and_blanks_around_words_no_part_of_them(
    scene: Path, tmp_path: Path, ending: str
) -> None:
    shapes, words = fields()
    words[:6] = ["", " ", "\t ", "dark ", " bright", "Dark"]
    frame = geopandas.GeoDataFrame({"crop": words}, geometry=shapes, crs=CRS)
    path = tmp_path / f"labels.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    report, warned = learnt(scene, tmp_path / "map.tif", path)
    assert [entry["name"] for entry in report["classes"]] == ["Dark", "bright", "dark"]
    assert "3 of 64 places have no value in crop: left out" in warned[0]
    assert report["places"] == 61


def rare_points(path: Path) -> Path:
    """The fields, and twelve points of a class that a sample of all cells has hardly any of."""
    shapes, words = fields()
    frame = geopandas.GeoDataFrame({"crop": words + ["rare"] * 12}, geometry=shapes + points(12), crs=CRS)
    frame.insert(0, "level", np.arange(len(frame), dtype=float))
    frame.to_file(path)
    return path


@pytest.mark.parametrize("seed", range(4))
def test_a_sample_keeps_rare_classes_whole_and_its_accuracy_that_of_all_cells(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(drawn, "MOST_ROWS", 500)
    path = rare_points(tmp_path / "labels.gpkg")
    report, warned = learnt(scene, tmp_path / "map.tif", path, "--seed", seed)
    cells = {entry["name"]: entry["cells"] for entry in report["classes"]}
    assert list(cells) == ["bright", "dark", "rare"]
    assert list(report["added"]) == ["rare"]
    assert 9 <= report["added"]["rare"] <= 12
    assert report["cells"] == 500 + report["added"]["rare"]
    assert np.sum(report["overall"]["confusion"]) == report["overall"]["judged"]
    (_, _, _), (_, _, _), (_, _, right) = confusion = report["overall"]["confusion"]
    assert sum(confusion[2]) + report["unjudged"].get("rare", 0) == 12
    assert right == 0  # points at random are of no kind of their own
    assert report["overall"]["accuracy"] > 0.9 > report["overall"]["mean_class_accuracy"]
    alike, found = np.trace(confusion), np.sum(confusion)
    even = found - report["added"]["rare"] + report["unjudged"].get("rare", 0)
    assert report["overall"]["accuracy"] == pytest.approx(alike / even, abs=0.01)
    assert not [line for line in warned if "sample" in line]


def test_places_that_a_sample_passes_over_are_counted(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn, "MOST_ROWS", 500)
    path = rare_points(tmp_path / "labels.gpkg")
    result = call("regress", scene, tmp_path / "map.tif", "--labels", path, "--field", "level", "--json")
    lost = 76 - json.loads(result.stdout)["places"]
    assert 9 <= lost <= 12
    assert f"{lost} of 76 places have no valid cell in the sample of 500 cells: left out" in result.stderr


def test_what_is_drawn_is_the_same_however_often_it_is_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    kind = np.where(rng.random(300) < 0.01, 2.0, rng.integers(0, 2, 300))
    lots = rng.random((300, 7))
    monkeypatch.setattr(drawn, "FEWEST", 9)
    monkeypatch.setattr(drawn, "MOST_ROWS", 100)
    sample = drawn.Drawn(True)
    for number, own in enumerate(lots):
        sample.add(own, 0, np.full(7, number), np.arange(7), np.full(7, number), np.full(7, kind[number]))
        assert sample._count <= 400
    cells, found, added = sample.cells()
    order, all_kinds = np.argsort(lots.ravel()), np.repeat(kind, 7)
    wanted = {*order[:100].tolist()}
    for one in range(3):
        wanted |= {*order[all_kinds[order] == one][:9].tolist()}
    assert (cells[1] * 7 + cells[2]).tolist() == sorted(wanted)
    assert {*(cells[1] * 7 + cells[2])[added].tolist()} == wanted - {*order[:100].tolist()}
    assert set(found[added]) == {2.0}
    assert np.array_equal(found, kind[cells[1]])
    again, _, twice = sample.cells()
    assert np.array_equal(cells, again)
    assert np.array_equal(added, twice)


@pytest.mark.parametrize(
    ("head", "rows", "words"),
    [
        ("longitude,latitude", "-75.6,37.7", "X_POSSIBLE_NAMES=longitude -oo Y_POSSIBLE_NAMES=latitude {} EPSG:4326"),
        ("Lon,Lat", "-75.6,37.7", "X_POSSIBLE_NAMES=Lon -oo Y_POSSIBLE_NAMES=Lat {} EPSG:4326"),
        ("x,y", "435800,4179400", "X_POSSIBLE_NAMES=x -oo Y_POSSIBLE_NAMES=y {} EPSG:CODE"),
        ("a,b", "1,2", "X_POSSIBLE_NAMES=COLUMN -oo Y_POSSIBLE_NAMES=COLUMN {} EPSG:CODE"),
        ("WKT", '"POINT (435800 4179400)"', "ogr2ogr {} EPSG:CODE"),
    ],
)
def test_a_table_is_no_file_of_places_and_the_line_says_what_makes_one_of_it(
    scene: Path, tmp_path: Path, head: str, rows: str, words: str
) -> None:
    path = tmp_path / "my places.csv"
    path.write_text(f"{head},crop\n{rows},bright\n")
    wanted = words.format("-oo AUTODETECT_TYPE=YES -a_srs") + " 'my places.gpkg' 'my places.csv'"
    for command in (
        ("regress", scene, tmp_path / "a.tif", "--labels", path, "--field", "crop"),
        ("similar", scene, tmp_path / "a.tif", "--points", path),
        ("features", scene, tmp_path / "a.parquet", "--at", path),
    ):
        result = call(*command)
        assert result.exit_code == 1
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error")]
        assert wanted in line
        assert "convert it: ogr2ogr " in line


def test_what_the_line_says_makes_places_of_a_table(tmp_path: Path) -> None:
    """By the same options of GDAL's driver; ogr2ogr itself is not everywhere."""
    (tmp_path / "a.csv").write_text("Lon,Lat,t\n-75.6,37.7,3\n")
    options = {"X_POSSIBLE_NAMES": "Lon", "Y_POSSIBLE_NAMES": "Lat", "AUTODETECT_TYPE": "YES"}
    frame = geopandas.read_file(tmp_path / "a.csv", **options)
    assert frame.geometry[0].equals(shapely.Point(-75.6, 37.7))
    assert frame.t.tolist() == [3]
