"""Features at points and polygons, against a search of all cells one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.flow.places import AtPlaces
from pipeline.flow.read import open_scene
from pipeline.grid import Grid, Part
from pipeline.raster.placement import Placement
from pipeline.raster.places import Places
from pipeline.raster.scene import Georeference
from sample_data.generator import TRANSFORM
from tests.raster_files import write_tif as write_plain
from tests.scenes import CRS, call, call_json, small_scene

STRIDE, TILE = 7, 64
WORDS = ("--bank", "torchgeo-rcf", "--count", 3, "--pool", 5, "--stride", STRIDE, "--tile", TILE)
LEFT, TOP = TRANSFORM.c, TRANSFORM.f
TILTED = rasterio.Affine.translation(50, 80) @ rasterio.Affine.rotation(20) @ rasterio.Affine.scale(3, -2)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, geopandas.GeoDataFrame]:
    """A scene with holes, and the cells of its map."""
    folder = tmp_path_factory.mktemp("places")
    scene = small_scene(folder / "scene.tif")
    assert call("features", scene, folder / "cells.parquet", *WORDS).exit_code == 0
    return scene, geopandas.read_parquet(folder / "cells.parquet")


def some_places() -> geopandas.GeoDataFrame:
    """Points, polygons, and what is neither, in the scene's CRS; a third column that clashes with ours."""
    shapes = [
        shapely.Point(LEFT + 30, TOP - 30),
        shapely.Point(LEFT - 1, TOP + 1),
        shapely.box(LEFT + 400, TOP - 2500, LEFT + 2600, TOP - 200),
        shapely.box(LEFT + 805, TOP - 809, LEFT + 809, TOP - 805),
        None,
        shapely.MultiPolygon(
            [shapely.box(LEFT, TOP - 400, LEFT + 400, TOP), shapely.Point(LEFT + 3000, TOP - 9e2).buffer(300)]
        ),
        shapely.LineString([(LEFT + 310, TOP - 300), (LEFT + 2000, TOP - 1000)]),
        shapely.Point(LEFT + 900, TOP - 700, 12.5),
    ]
    count = len(shapes)
    columns = {
        "name": [f"plot {n}" for n in range(count)],
        "yield": [1.5, *[None] * (count - 1)],
        "cells": range(count),
    }
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs=CRS)


def looked_up(cells: geopandas.GeoDataFrame, all_cells: Any, shape: Any) -> tuple[int, NDArray[np.float64]]:
    """The definition: which valid cells, and the mean of their features. all_cells: outlines by (row, column)."""
    names = [name for name in cells.columns if name.startswith("rcf")]
    nothing = 0, np.full(len(names), np.nan)
    if shape is None:
        return nothing
    if shape.geom_type == "Point":
        chosen = [key for key, cell in all_cells.items() if cell.covers(shape)][:1]
    else:
        chosen = [key for key, cell in all_cells.items() if shape.covers(shapely.Point(cell.middle))]
        chosen = chosen or [key for key, cell in all_cells.items() if cell.intersects(shape)]
    values = cells.set_index(["row", "column"])[names]
    real = [key for key in chosen if key in values.index]
    return (len(real), values.loc[real].to_numpy(np.float64).mean(axis=0)) if real else nothing


class Cell:
    """A whole cell, also where the scene ends within it."""

    def __init__(self, row: int, column: int) -> None:
        (x0, y0), (x1, y1) = (TRANSFORM @ (STRIDE * (column + d), STRIDE * (row + d)) for d in (0, 1))
        self.shape, self.middle = shapely.box(x0, y1, x1, y0), ((x0 + x1) / 2, (y0 + y1) / 2)

    def covers(self, other: Any) -> bool:
        return bool(self.shape.covers(other))

    def intersects(self, other: Any) -> bool:
        return bool(self.shape.intersects(other))


@pytest.mark.parametrize("ending", ["parquet", "gpkg", "geojson"])
def test_a_row_is_a_place_with_its_attributes(mapped: Any, tmp_path: Path, ending: str) -> None:
    scene, cells = mapped
    places = some_places()
    path = tmp_path / f"places.{ending}"
    if ending == "parquet":
        places.to_crs(4326).to_parquet(path)
    else:
        places.to_crs(4326 if ending == "geojson" else 32617).to_file(path)
    assert call("features", scene, tmp_path / "at.parquet", *WORDS, "--at", path).exit_code == 0
    found = geopandas.read_parquet(tmp_path / "at.parquet")
    names = [name for name in cells.columns if name.startswith("rcf")]
    assert list(found.columns) == ["name", "yield", "cells", "cells_2", *names, "geometry"]
    assert found.crs == CRS
    assert list(found.name) == list(places.name)
    assert list(found.cells) == list(places.cells)
    assert found["yield"].equals(places["yield"].astype(float))
    moved = found.geometry.distance(places.geometry).dropna()
    assert len(moved) == 7
    assert moved.max() < 1e-3
    everything = {(r, c): Cell(r, c) for r in range(22) for c in range(25)}
    for number, shape in enumerate(places.geometry):
        if number == 6 and ending != "parquet":
            continue  # a line through corners: rounding decides what it touches
        count, means = looked_up(cells, everything, shape)
        assert found.cells_2[number] == count
        np.testing.assert_allclose(found.loc[number, names].astype(float), means, rtol=1e-5)
    assert pq.read_table(tmp_path / "at.parquet")[names[0]].null_count == (found.cells_2 == 0).sum() > 0


def test_only_the_tiles_that_are_met_are_computed(mapped: Any, tmp_path: Path) -> None:
    scene, _ = mapped
    some_places().iloc[:1].to_parquet(tmp_path / "p.parquet")
    result = call_json("features", scene, tmp_path / "at.parquet", *WORDS, "--at", tmp_path / "p.parquet")
    assert result["tiles"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["at.parquet", "p.parquet"]


@pytest.mark.parametrize("tile", [32, 256])
def test_tiles_and_schedulers_do_not_show(mapped: Any, tmp_path: Path, tile: int) -> None:
    scene, _ = mapped
    some_places().to_parquet(tmp_path / "p.parquet")
    frames = []
    for number, words in enumerate((("--tile", TILE), ("--tile", tile, "--scheduler", "processes", "--workers", 2))):
        path = tmp_path / f"{number}.parquet"
        assert call("features", scene, path, *WORDS[:-2], *words, "--at", tmp_path / "p.parquet").exit_code == 0
        frames.append(geopandas.read_parquet(path))
    # Banks are fitted on tiles, so their normalisation differs a little; what belongs to a place does not.
    assert frames[0].cells_2.equals(frames[1].cells_2)
    assert frames[0].geometry.equals(frames[1].geometry)


def test_it_gives_the_same_bytes_again(mapped: Any, tmp_path: Path) -> None:
    scene, _ = mapped
    some_places().to_parquet(tmp_path / "p.parquet")
    contents = set()
    for scheduler in ("threads", "processes"):
        path = tmp_path / f"{scheduler}.parquet"
        words = ("--at", tmp_path / "p.parquet", "--scheduler", scheduler, "--workers", 2)
        assert call("features", scene, path, *WORDS, *words).exit_code == 0
        contents.add(path.read_bytes())
    assert len(contents) == 1


shapes = st.one_of(
    st.builds(shapely.Point, st.floats(-2, 14), st.floats(-2, 12)),
    st.builds(
        lambda x, y, w, h: shapely.box(x, y, x + w, y + h),
        *(st.floats(-2, 12), st.floats(-2, 10), st.floats(0.01, 6), st.floats(0.01, 6)),
    ),
    st.builds(
        lambda a, b, c: shapely.Polygon([a, b, c]),
        *[st.tuples(st.integers(-3, 13), st.integers(-3, 12))] * 3,
    ).filter(lambda shape: shape.is_valid and shape.area > 0),
)


@example(geometries=[shapely.Polygon([(0, 9), (6, 7), (7, 7)])], stride=1, tile=1)
@given(geometries=st.lists(shapes, min_size=1, max_size=6), stride=st.integers(1, 3), tile=st.integers(1, 5))
def test_members_are_those_of_a_search_of_all_cells(geometries: list[Any], stride: int, tile: int) -> None:
    placement = Placement(Georeference(transform=TILTED[:6]))

    def to_world(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(placement.to_world(*xy.T * stride), axis=1)

    grid = Grid(9, 11, tile)
    world = shapely.transform(np.array(geometries), to_world)
    found: dict[int, set[tuple[int, int]]] = {}
    places = Places.over(world, placement, stride, grid)
    for number in places.tiles:
        window = grid[number].window
        for shape, rows, columns in places.members(number):
            cells = set(zip((rows + window.y0).tolist(), (columns + window.x0).tolist(), strict=True))
            assert not found.get(shape, set()) & cells
            found.setdefault(shape, set()).update(cells)
    for number, shape in enumerate(places.shapes):
        assert found.get(number, set()) == set(search(shape, 9, 11))


def search(shape: Any, height: int, width: int) -> list[tuple[int, int]]:
    """All cells, one by one."""
    every = list(np.ndindex(height, width))
    if shape.geom_type == "Point":
        return [(r, c) for r, c in every if r <= shape.y < r + 1 and c <= shape.x < c + 1]
    covered = [(r, c) for r, c in every if shape.intersects(shapely.Point(c + 0.5, r + 0.5))]
    return covered or [(r, c) for r, c in every if shape.intersects(shapely.box(c, r, c + 1, r + 1))]


def test_part_of_a_grid_keeps_its_windows() -> None:
    grid, part = Grid(30, 40, 16), Part(30, 40, 16, (1, 4))
    assert list(part) == [grid[1], grid[4]]
    assert len(part) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("text", "cannot be read"),
        ("table", "cannot be read"),
        ("wkb", "cannot be read"),
        ("geo", "cannot be read"),
        ("empty", "no geometry"),
        ("elsewhere", "no place of it lies in scene"),
        ("no crs", "has no CRS"),
        ("lists", "fit no table"),
    ],
)
def test_places_that_cannot_be_used_are_one_line(mapped: Any, tmp_path: Path, content: str | None, words: str) -> None:
    scene, _ = mapped
    path = tmp_path / ("p.gpkg" if content == "text" else "p.parquet")
    places = some_places()
    if content == "text":
        path.write_text("no geopackage")
    elif content == "table":
        pd.DataFrame({"a": [1]}).to_parquet(path)
    elif content in ("wkb", "geo"):
        places.to_parquet(path)
        table = pq.read_table(path)
        if content == "wkb":
            broken = pa.array([b"\x01\x03\x00\x00\x00\xff"] * len(table), pa.binary())
            place = table.schema.get_field_index("geometry")
            table = table.set_column(place, table.schema.field(place), broken)
        else:
            table = table.replace_schema_metadata({"geo": "[1, 2]"})
        pq.write_table(table, path)
    elif content == "empty":
        places.iloc[:0].to_parquet(path)
    elif content == "elsewhere":
        places.translate(1e6).to_frame("geometry").to_parquet(path)
    elif content == "no crs":
        places.set_crs(None, allow_override=True).to_parquet(path)
    elif content == "lists":
        frame = places.assign(mixed=[[1], *"abcdefg"])
        at = AtPlaces(str(path), open_scene(str(scene)).info, 70, STRIDE)
        at.__dict__["frame"] = frame
        with pytest.raises(SourceError, match=words):
            at._attributes(slice(0, None))
        return
    failed = call("features", scene, tmp_path / "at.parquet", *WORDS, "--at", path)
    assert failed.exit_code == 1
    assert words in failed.stderr
    assert failed.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert not (tmp_path / "at.parquet").exists()


def test_a_scene_without_crs_takes_places_without_one(tmp_path: Path) -> None:
    block = np.random.default_rng(0).integers(1, 99, (2, 20, 30)).astype(np.uint8)
    write_plain(tmp_path / "s.tif", block, crs=None, transform=None)
    pixels = geopandas.GeoDataFrame(geometry=[shapely.Point(7.5, 14.5)])
    for crs, code in ((None, 0), (4326, 1)):
        pixels.set_crs(crs).to_parquet(tmp_path / "p.parquet")
        words = ("--at", tmp_path / "p.parquet", "--overwrite")
        result = call("features", tmp_path / "s.tif", tmp_path / "at.parquet", *WORDS, *words)
        assert result.exit_code == code
        assert "s has no CRS" in result.stderr or not code
    found = geopandas.read_parquet(tmp_path / "at.parquet")
    assert found.crs is None
    assert found.cells[0] == 1
