"""Where scenes of ground control points lie, on either side of 180 degrees, and the places that are sought in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint

from pipeline.flow.answer_tables import write_shapes
from pipeline.grid import Grid
from pipeline.raster.cells import Cells
from pipeline.raster.footprint import footprint
from pipeline.raster.globe import bounding_box
from pipeline.raster.placement import Placement
from pipeline.raster.places import Places
from pipeline.raster.scene import Gcp, Georeference, SceneInfo
from tests.raster_files import write_tif
from tests.scenes import call, call_json

F64 = NDArray[np.float64]
HEIGHT, WIDTH = 60, 80
WGS84 = rasterio.crs.CRS.from_epsg(4326).to_wkt()
EDGE = 179.4


def lonlat(rows: Any, columns: Any, west: float = EDGE) -> tuple[Any, Any]:
    """Where pixel coordinates lie, longitudes in one turn: turned a little against the parallels, 1.2 degrees wide."""
    return west + 0.015 * columns + 0.002 * rows, 50 - 0.01 * rows + 0.001 * columns


def wrapped(lon: Any) -> Any:
    return (lon + 180) % 360 - 180


def points_of(west: float = EDGE, low: float = -180.0) -> list[GroundControlPoint]:
    """A lattice of points as products have them: longitudes of one turn that begins at `low`."""
    rows, columns = (index.ravel() for index in np.mgrid[0:HEIGHT:4j, 0:WIDTH:5j])
    lon, lat = lonlat(rows, columns, west)
    return [GroundControlPoint(*row) for row in zip(rows, columns, (lon - low) % 360 + low, lat, strict=True)]


def georeference(points: list[GroundControlPoint], wkt: str = WGS84) -> Georeference:
    return Georeference(gcps=tuple(Gcp(p.row, p.col, p.x, p.y, 0.0) for p in points), gcps_crs_wkt=wkt)


def info_of(geo: Georeference, height: int = HEIGHT, width: int = WIDTH) -> SceneInfo:
    return SceneInfo("scene", ("a",), height, width, "uint8", geo=geo)


def write_scene(path: Path, **profile: Any) -> Path:
    block = np.random.default_rng(0).normal(500, 20, (3, HEIGHT, WIDTH)).astype(np.uint16)
    block[:, 30, 50] = 5000, 100, 3000
    return write_tif(path, block, **{"crs": "EPSG:4326", "transform": None} | profile)


def warnings_of(result: Any) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("Warning")]


@pytest.mark.parametrize(("west", "low"), [(EDGE, -180.0), (10.0, -180.0), (-0.6, 0.0), (EDGE, 0.0)])
def test_cells_of_points_lie_where_they_are_on_either_side(west: float, low: float) -> None:
    """Across 180 degrees where longitudes end there, across 0 where they end there, and away from both."""
    placement = Placement(georeference(points_of(west, low)))
    rows, columns = np.divmod(np.arange(HEIGHT * WIDTH), WIDTH)
    for centres in (False, True):
        wkb, boxes = Cells(placement, HEIGHT, WIDTH, 1, centres).geometries(rows, columns)
        shapes = shapely.from_wkb(wkb.to_numpy(zero_copy_only=False))
        middle = shapely.get_coordinates(shapely.centroid(shapes))
        lon, lat = lonlat(rows + 0.5, columns + 0.5, west)
        assert np.abs(wrapped(middle[:, 0] - lon)).max() < 1e-6
        assert np.abs(middle[:, 1] - lat).max() < 1e-6
        assert (boxes[:, 2] - boxes[:, 0] < 0.02).all()
        assert np.array_equal(boxes, shapely.bounds(shapes))
        if (west, low) != (EDGE, 0.0):  # points of 179.4 ... 180.7 are in one turn already, and stay in it
            assert np.abs(middle[:, 0]).max() <= 180


def test_outlines_that_are_found_lie_where_they_are(tmp_path: Path) -> None:
    boxes = shapely.box(np.array([2, 36, 38, 70]), 10, np.array([4, 39, 46, 76]), 14)
    write_shapes(tmp_path / "t.parquet", info_of(georeference(points_of())), boxes, {"n": np.arange(4)})
    found = geopandas.read_parquet(tmp_path / "t.parquet")
    middle = shapely.get_coordinates(shapely.centroid(found.geometry.values))
    expected = shapely.get_coordinates(shapely.centroid(boxes))
    lon, lat = lonlat(expected[:, 1], expected[:, 0])
    assert np.abs(middle[:, 0] - wrapped(lon)).max() < 1e-6
    assert np.abs(middle[:, 1] - lat).max() < 1e-6
    assert (found.bounds.maxx - found.bounds.minx < 0.2).all()


def test_a_world_of_points_is_not_wrapped() -> None:
    for step in (1, 3, 7):
        rows, columns = (index.ravel() for index in np.mgrid[0 : 90 : (step + 1) * 1j, 0 : 180 : (step + 1) * 1j])
        points = [GroundControlPoint(r, c, 2 * c - 180, 90 - 2 * r) for r, c in zip(rows, columns, strict=True)]
        x, y = Placement(georeference(points)).to_world([0, 45, 180], [0, 45, 90])
        np.testing.assert_allclose(x, [-180, -90, 180], atol=1e-6)
        np.testing.assert_allclose(y, [90, 0, -90], atol=1e-6)


def test_points_in_metres_are_taken_as_they_are() -> None:
    points = [GroundControlPoint(r, c, 400 - 10 * c, -500 + 10 * r) for r in (0, 30, 60) for c in (0, 40, 80)]
    placement = Placement(georeference(points, rasterio.crs.CRS.from_epsg(32660).to_wkt()))
    np.testing.assert_allclose(placement.to_world([1.0, 79.0], [2.0, 3.0]), [[390, -390], [-480, -470]], atol=1e-6)


def test_a_footprint_of_points_is_cut_at_180() -> None:
    geometry = footprint(info_of(georeference(points_of())))
    assert geometry is not None
    assert geometry["type"] == "MultiPolygon"
    corners = [lonlat(r, c) for r, c in ((0, 0), (HEIGHT, 0), (HEIGHT, WIDTH), (0, WIDTH))]
    assert bounding_box(geometry) == pytest.approx([179.4, 49.4, 180.72 - 360, 50.08], abs=1e-5)
    whole = shapely.Polygon(corners)
    halves = [whole & shapely.box(170, 0, 180, 90), shapely.transform(whole, lambda xy: xy - [360, 0])]
    expected = halves[0] | (halves[1] & shapely.box(-180, 0, -170, 90))
    assert shapely.geometry.shape(geometry).symmetric_difference(expected).area < 1e-4 * expected.area


def bent(rows: Any, columns: Any, lon_0: float = 10.0) -> tuple[Any, Any]:
    """Longitude and latitude of a scene of 400 km at 72 degrees north: edges that bend by tens of kilometres."""
    plane = f"+proj=stere +lat_0=72 +lon_0={lon_0} +datum=WGS84"
    to_globe = pyproj.Transformer.from_crs(plane, 4326, always_xy=True)
    u, v = (np.asarray(columns) / WIDTH - 0.5) * 4e5, (0.5 - np.asarray(rows) / HEIGHT) * 4e5
    cos, sin = np.cos(np.radians(15)), np.sin(np.radians(15))
    return to_globe.transform(u * cos - v * sin, u * sin + v * cos)


def bent_points(lon_0: float = 10.0) -> list[GroundControlPoint]:
    rows, columns = (index.ravel() for index in np.mgrid[0:HEIGHT:21j, 0:WIDTH:21j])
    return [GroundControlPoint(*row) for row in zip(rows, columns, *bent(rows, columns, lon_0), strict=True)]


@pytest.mark.parametrize("lon_0", [10.0, 179.0])
def test_a_footprint_follows_bent_edges_as_tables_do(lon_0: float) -> None:
    placement = Placement(georeference(bent_points(lon_0)))
    geometry = footprint(info_of(placement.geo))
    assert geometry is not None
    outline = shapely.geometry.shape(geometry)
    along = np.linspace(0, 1, 201)
    rows = np.concatenate([along, np.ones(201), 1 - along, np.zeros(201)]) * HEIGHT
    columns = np.concatenate([np.zeros(201), along, np.ones(201), 1 - along]) * WIDTH
    geod = pyproj.Geod(ellps="WGS84")
    ring = shapely.get_coordinates(shapely.segmentize(outline, 0.01))
    nearest = shapely.STRtree(shapely.points(ring))
    for (x, y), tolerance in ((bent(rows, columns, lon_0), 2500), (placement.to_world(columns, rows), 700)):
        number = nearest.nearest(shapely.points(wrapped(np.asarray(x)), y))
        away = geod.inv(x, y, *ring[number].T)[2]
        assert away.max() < tolerance  # GDAL's polynomial of second order is 1.5 km off the truth at the corners
    assert outline.is_valid
    assert (geometry["type"] == "MultiPolygon") == (lon_0 == 179.0)


def test_scenes_of_rpcs_alone_have_no_footprint_as_they_have_no_tables() -> None:
    assert footprint(info_of(Georeference(rpcs={"LINE_OFF": "1"}))) is None


def test_points_on_one_line_place_nothing() -> None:
    points = [GroundControlPoint(n, n, 10 + n, 50 - n) for n in range(5)]
    assert footprint(info_of(georeference(points))) is None


def test_the_size_of_a_cell_is_found_between_the_points() -> None:
    placement = Placement(georeference(points_of()))
    size = np.hypot(0.015, 0.001), np.hypot(0.002, 0.01)
    np.testing.assert_allclose(placement.resolution(HEIGHT, WIDTH), size, rtol=1e-6)
    assert placement.resolution(1, 1) == pytest.approx(size, rel=1e-6)
    assert Placement(Georeference()).resolution(7, 9) == (1, 1)
    assert Placement(Georeference(transform=(3, 0, 5, 0, -4, 5))).resolution(7, 9) == (3, 4)


def test_blocks_and_gaps_of_points_are_in_units_of_the_crs(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "s.tif", gcps=points_of())
    rng = np.random.default_rng(1)
    lon, lat = lonlat(*rng.uniform(0, [[HEIGHT], [WIDTH]], (2, 60)))
    labels = geopandas.GeoDataFrame({"v": np.arange(60.0)}, geometry=shapely.points(wrapped(lon), lat), crs=4326)
    labels.to_parquet(tmp_path / "l.parquet")
    words = ("regress", scene, tmp_path / "r.tif", "--labels", tmp_path / "l.parquet", "--field", "v", "--folds", 3)
    report = call_json(*words, "--gap", 0.03, "--block", 0.15)
    assert (report["gap_cells"], report["block_cells"], report["places"]) == (3, 15, 60)
    assert "less than half a cell of 0.010198" in call(*words, "--block", 0.004, "--overwrite").stderr


@pytest.mark.parametrize("turn", [-360, 0, 360])
@pytest.mark.parametrize(
    "profile",
    [
        {"gcps": points_of()},
        {"gcps": points_of(low=0.0)},
        {"transform": rasterio.Affine(0.015, 0, EDGE, 0, -0.01, 50)},
        {"transform": rasterio.Affine(0.015, 0, EDGE - 360, 0, -0.01, 50)},
    ],
)
def test_places_are_found_whatever_turn_they_are_in(tmp_path: Path, profile: dict[str, Any], turn: int) -> None:
    scene = write_scene(tmp_path / "s.tif", **profile)
    with rasterio.open(scene) as file:
        x, y = lonlat(20.5, 60.5) if file.gcps[0] else (EDGE + 60.5 * 0.015, 50 - 20.5 * 0.01)
    call_json("similar", scene, tmp_path / "m.tif", "--at", f"{wrapped(x) + turn:.9f},{y:.9f}")
    with rasterio.open(tmp_path / "m.tif") as file:
        found = file.read(1)
    assert found[20, 60] == pytest.approx(1, abs=1e-5)
    assert np.unravel_index(np.argmax(found), found.shape) == (20, 60)


def cells_of(geo: Georeference, shape: Any, height: int, width: int) -> set[tuple[int, int]]:
    """Rows and columns of the cells that are a geometry's."""
    grid = Grid(height, width, 64)
    places = Places.over([shape], Placement(geo), 1, grid)
    return {
        (row + grid[number].window.y0, column + grid[number].window.x0)
        for number in places.tiles
        for _, rows, columns in places.members(number)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    }


def test_polygons_have_the_cells_of_all_turns_they_reach() -> None:
    world = Georeference(crs_wkt=WGS84, transform=(1.0, 0, 0.0, 0, -1.0, 90.0))  # 0 ... 360
    africa = shapely.box(-17, -35, 51, 37)
    columns = [*range(51), *range(343, 360)]
    assert cells_of(world, africa, 180, 360) == {(row, column) for row in range(53, 125) for column in columns}
    fiji = shapely.MultiPolygon([shapely.box(177, -19, 180, -16), shapely.box(-180, -19, -178, -16)])
    expected = {(row, column) for row in range(106, 109) for column in range(177, 182)}
    assert cells_of(world, fiji, 180, 360) == expected
    for shape in (fiji, shapely.box(177, -19, 182, -16), shapely.box(-183, -19, -178, -16)):
        assert cells_of(world, shape, 180, 360) == expected
    assert cells_of(world, shapely.LineString([(-1.5, 10.5), (1.5, 10.5)]), 180, 360) == {
        (79, column) for column in (358, 359, 0, 1)
    }
    beyond = Georeference(crs_wkt=WGS84, transform=(0.5, 0, 179.0, 0, -0.5, -16.0))  # 179 ... 184
    assert cells_of(beyond, fiji, 6, 10) == {(row, column) for row in range(6) for column in range(6)}


def test_a_point_belongs_to_one_cell_where_the_globe_is_covered() -> None:
    world = Georeference(crs_wkt=WGS84, transform=(1.0, 0, -180.0, 0, -1.0, 90.0))
    for lon, column in ((-180.0, 0), (180.0, 0), (179.5, 359), (0.0, 180), (540.0, 0), (359.5, 179)):
        assert cells_of(world, shapely.Point(lon, 0.5), 180, 360) == {(89, column)}
    overlapping = Georeference(crs_wkt=WGS84, transform=(1.0, 0, -180.5, 0, -1.0, 90.0))
    assert cells_of(overlapping, shapely.Point(-180.25, 0.5), 180, 361) == {(89, 0)}
    assert len(cells_of(overlapping, shapely.Point(179.9, 0.5), 180, 361)) == 1


def test_metres_do_not_go_round_the_globe_and_absurd_longitudes_do_no_harm() -> None:
    metres = Georeference(crs_wkt=rasterio.crs.CRS.from_epsg(32660).to_wkt(), transform=(1.0, 0, 360.0, 0, -1.0, 50.0))
    assert not cells_of(metres, shapely.Point(1, 45), 50, 50)
    assert cells_of(metres, shapely.Point(361, 45), 50, 50) == {(5, 1)}
    absurd = Georeference(crs_wkt=WGS84, transform=(1e6, 0, 0.0, 0, -1.0, 50.0))
    assert cells_of(absurd, shapely.Point(10, 45.5), 50, 50) == {(4, 0)}
    endless = Georeference(crs_wkt=WGS84, transform=(1e9, 0, -1.5e10, 0, -1.0, 50.0))
    assert cells_of(endless, shapely.Point(10, 45.5), 50, 50) == {(4, 15)}
    assert cells_of(endless, shapely.box(9, 45.1, 10, 45.9), 50, 50) == {(4, 14), (4, 15)}  # and a turn before


def test_a_place_out_of_range_is_told_the_range_in_the_scenes_units(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "s.tif", gcps=points_of(10.0))
    failed = call("similar", scene, tmp_path / "m.tif", "--at", "30,72")
    assert failed.exit_code == 1
    line = failed.stderr.strip().splitlines()[-1]
    assert "spans x 10 to 11.32, y 49.4 to 50.08" in line


def some_places(path: Path) -> None:
    """Two in the scene, two outside of it, one on nodata and one nowhere."""
    inside = [shapely.Point(*lonlat(20.5, 60.5, 10.0)), shapely.box(10.5, 49.7, 10.8, 49.9)]
    nodata = shapely.Point(*lonlat(5.5, 5.5, 10.0))
    shapes = [inside[0], shapely.Point(30, 72), nodata, None, inside[1], shapely.Point(-10, 50)]
    geopandas.GeoDataFrame({"n": range(6)}, geometry=shapes, crs=4326).to_parquet(path)


def with_hole(path: Path) -> Path:
    scene = write_scene(path, gcps=points_of(10.0), nodata=0)
    with rasterio.open(scene, "r+") as file:
        pixels = file.read()
        pixels[:, :12, :12] = 0
        file.write(pixels)
    return scene


def test_places_without_features_are_counted_in_one_warning(tmp_path: Path) -> None:
    scene = with_hole(tmp_path / "s.tif")
    some_places(tmp_path / "p.parquet")
    words = ("--bank", "torchgeo-rcf", "--count", 3, "--pool", 5, "--stride", 2, "--tile", 32)
    result = call("features", scene, tmp_path / "at.parquet", *words, "--at", tmp_path / "p.parquet")
    warned = warnings_of(result)
    assert len(warned) == 1
    said = "p.parquet: 1 of 6 places has no geometry, 2 lie outside s, 1 lies on nodata: without features"
    assert said in warned[0]
    found = geopandas.read_parquet(tmp_path / "at.parquet")
    assert (found.cells > 0).tolist() == [True, False, False, False, True, False]
    found.loc[[0, 4], ["n", "geometry"]].to_parquet(tmp_path / "q.parquet")
    assert not warnings_of(call("features", scene, tmp_path / "b.parquet", *words, "--at", tmp_path / "q.parquet"))


def test_places_that_are_not_asked_about_are_counted(tmp_path: Path) -> None:
    scene = with_hole(tmp_path / "s.tif")
    some_places(tmp_path / "p.parquet")
    result = call("similar", scene, tmp_path / "m.tif", "--points", tmp_path / "p.parquet", "--json")
    assert json.loads(result.stdout)["places"] == 2
    warned = warnings_of(result)
    assert len(warned) == 1
    said = "p.parquet: 1 of 6 places has no geometry, 2 lie outside s, 1 lies on nodata: left out"
    assert said in warned[0]
    words = ("similar", scene, tmp_path / "m.tif", "--overwrite", "--at", "10.6,49.8", "--at")
    assert any("1 of 2 places lies outside s: left out" in line for line in warnings_of(call(*words, "30,72")))
    assert not warnings_of(call(*words, "10.7,49.8"))
