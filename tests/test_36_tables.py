"""Features as GeoParquet: the cells of the map, and places of a vector file, as geopandas and Arrow read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import zarr
from hypothesis import given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint

from pipeline.errors import OutputError, SourceError
from pipeline.raster import geoparquet
from pipeline.raster.cells import Cells
from pipeline.raster.geoparquet import BBOX, BOX, GEOMETRY, boxes_column, write_geoparquet
from pipeline.raster.placement import Placement
from pipeline.raster.scene import Georeference
from sample_data.generator import TRANSFORM
from tests.raster_files import write_tif as write_plain
from tests.scenes import CRS, call, call_json, small_scene

STRIDE, TILE = 7, 64
WORDS = ("--bank", "torchgeo-rcf", "--count", 3, "--pool", 5, "--stride", STRIDE, "--tile", TILE)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, geopandas.GeoDataFrame]:
    """A scene with holes, its features by Zarr, and by GeoParquet."""
    folder = tmp_path_factory.mktemp("tables")
    scene = small_scene(folder / "scene.tif")
    for ending in ("zarr", "parquet"):
        assert call("features", scene, folder / f"f.{ending}", *WORDS).exit_code == 0
    return folder, zarr.open_group(folder / "f.zarr")["features"][:], geopandas.read_parquet(folder / "f.parquet")


def test_a_row_is_a_cell_of_the_map(written: Any) -> None:
    folder, features, frame = written
    names = list(zarr.open_group(folder / "f.zarr")["feature"][:])
    assert list(frame.columns) == ["row", "column", *names, "geometry"]
    assert frame.crs == CRS
    valid = np.isfinite(features).all(axis=0)
    assert 0 < len(frame) == valid.sum() < valid.size
    assert np.array_equal(frame[names].to_numpy(), features[:, frame.row, frame.column].T)
    assert frame[names].dtypes.eq(np.float32).all()
    assert not frame.duplicated(["row", "column"]).any()


def test_the_geometry_is_the_cells_outline_within_the_scene(written: Any) -> None:
    _, _, frame = written
    for cell in (
        frame.iloc[0],
        frame[frame.row == 150 // STRIDE].iloc[0],
        frame[frame.column == 170 // STRIDE].iloc[0],
    ):
        left, top = TRANSFORM @ (cell.column * STRIDE, cell.row * STRIDE)
        right, bottom = TRANSFORM @ (min(170, (cell.column + 1) * STRIDE), min(150, (cell.row + 1) * STRIDE))
        assert cell.geometry.equals(shapely.box(left, bottom, right, top))
    assert shapely.is_ccw(frame.geometry.exterior).all()
    assert frame.geometry.is_valid.all()


def test_metadata_are_geoparquets(written: Any) -> None:
    folder, _, frame = written
    file = pq.ParquetFile(folder / "f.parquet")
    geo = json.loads(file.metadata.metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32618}
    assert column["bbox"] == pytest.approx(frame.total_bounds.tolist(), abs=0)
    for schema in (pq.read_schema(folder / "f.parquet"), pq.read_table(folder / "f.parquet").schema):
        assert json.loads(schema.metadata[b"geo"])["columns"]["geometry"] | {"bbox": column["bbox"]} == column
    first = frame[frame.row < 5]
    assert set(first.row) <= set(geopandas.read_parquet(folder / "f.parquet", bbox=tuple(first.total_bounds)).row)
    boxes = pq.read_table(folder / "f.parquet", columns=[BBOX])[BBOX].combine_chunks().flatten()
    assert np.array_equal(np.stack(boxes, axis=1), frame.bounds.to_numpy())


def test_centres_are_points_in_the_cells(written: Any, tmp_path: Path) -> None:
    folder, _, frame = written
    assert call("features", folder / "scene.tif", tmp_path / "c.parquet", *WORDS, "--geometry", "centre").exit_code == 0
    centres = geopandas.read_parquet(tmp_path / "c.parquet")
    assert centres.geometry.geom_equals_exact(frame.geometry.centroid, 1e-6).all()
    assert centres.drop(columns="geometry").equals(frame.drop(columns="geometry"))


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_the_same_bytes_whoever_computes(written: Any, tmp_path: Path, scheduler: str) -> None:
    folder, *_ = written
    target = tmp_path / "again.parquet"
    words = ("--scheduler", scheduler, "--workers", 2)
    assert call("features", folder / "scene.tif", target, *WORDS, *words).exit_code == 0
    assert target.read_bytes() == (folder / "f.parquet").read_bytes()
    assert list(tmp_path.iterdir()) == [target]


def test_an_output_is_not_overwritten_unasked(written: Any, tmp_path: Path) -> None:
    folder, *_ = written
    target = tmp_path / "f.parquet"
    target.write_bytes(b"mine")
    refused = call("features", folder / "scene.tif", target, *WORDS)
    assert refused.exit_code == 1
    assert "exists" in refused.stderr
    assert target.read_bytes() == b"mine"
    result = call_json("features", folder / "scene.tif", target, *WORDS, "--overwrite")
    assert result["stored_bytes"] == target.stat().st_size == (folder / "f.parquet").stat().st_size


def test_a_full_disk_leaves_nothing(written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, *_ = written

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    failed = call("features", folder / "scene.tif", tmp_path / "f.parquet", *WORDS)
    assert failed.exit_code == 1
    assert "f.parquet: cannot be written" in failed.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("f.zarr", "--geometry", "cell"), ("f.tif", "--at", "x.gpkg")])
def test_words_of_tables_are_for_tables(written: Any, tmp_path: Path, words: tuple[str, ...]) -> None:
    refused = call("features", written[0] / "scene.tif", tmp_path / words[0], *words[1:])
    assert refused.exit_code == 2
    assert f"{words[1]} is for .parquet outputs" in refused.stderr


def test_bands_that_are_called_as_our_columns_give_way(tmp_path: Path) -> None:
    block = np.random.default_rng(0).integers(0, 99, (3, 20, 20)).astype(np.uint8)

    def name_them(file: Any) -> None:
        file.descriptions = ("row", "geometry", "bbox")

    write_plain(tmp_path / "s.tif", block, name_them)
    assert call("features", tmp_path / "s.tif", tmp_path / "f.parquet", "--count", 2, "--stride", 4).exit_code == 0
    columns = list(geopandas.read_parquet(tmp_path / "f.parquet").columns)
    assert columns[:2] == ["row", "column"]
    assert columns[-4:] == ["row_2", "geometry_2", "bbox_2", "geometry"]


ROTATED = rasterio.Affine.translation(5e5, 4e6) @ rasterio.Affine.rotation(30) @ rasterio.Affine.scale(10, -12)


@pytest.mark.parametrize(
    ("profile", "crs"), [({"crs": None, "transform": None}, None), ({"transform": ROTATED}, "EPSG:32618")]
)
def test_scenes_without_crs_and_rotated_ones_lie_where_gdal_says(
    tmp_path: Path, profile: dict[str, Any], crs: str | None
) -> None:
    block = np.random.default_rng(0).integers(1, 99, (2, 20, 30)).astype(np.uint8)
    write_plain(tmp_path / "s.tif", block, **profile)
    assert call("features", tmp_path / "s.tif", tmp_path / "f.parquet", *WORDS).exit_code == 0
    frame = geopandas.read_parquet(tmp_path / "f.parquet")
    assert frame.crs == crs
    transform = profile["transform"] or rasterio.Affine.identity()
    corners = [transform @ corner for corner in ((28, 14), (28, 20), (30, 20), (30, 14))]
    assert shapely.equals_exact(frame.geometry.iloc[-1].normalize(), shapely.Polygon(corners).normalize(), 1e-6)
    assert shapely.is_ccw(frame.geometry.exterior).all()


def test_ground_control_points_place_cells_and_places(tmp_path: Path) -> None:
    """Points of a transform that is known: what they place must lie where the transform would."""
    points = [GroundControlPoint(r, c, *(ROTATED @ (c, r)), 0) for r in (0, 10, 20) for c in (0, 15, 30)]
    block = np.random.default_rng(0).integers(1, 99, (2, 20, 30)).astype(np.uint8)
    profile = {"crs": "EPSG:32618", "transform": None, "gcps": points}
    write_plain(tmp_path / "s.tif", block, **profile)
    assert call("features", tmp_path / "s.tif", tmp_path / "f.parquet", *WORDS).exit_code == 0
    frame = geopandas.read_parquet(tmp_path / "f.parquet")
    corners = [ROTATED @ corner for corner in ((0, 0), (0, 7), (7, 7), (7, 0))]
    expected = shapely.Polygon(corners).normalize()
    assert frame.crs == "EPSG:32618"
    assert shapely.equals_exact(frame.geometry.iloc[0].normalize(), expected, 1e-3)
    geopandas.GeoDataFrame(geometry=frame.geometry.centroid).to_parquet(tmp_path / "p.parquet")
    words = ("--at", tmp_path / "p.parquet")
    assert call("features", tmp_path / "s.tif", tmp_path / "at.parquet", *WORDS, *words).exit_code == 0
    there = geopandas.read_parquet(tmp_path / "at.parquet")
    assert np.array_equal(there[there.columns[1:-1]], frame[frame.columns[2:-1]])


def test_rpcs_alone_are_one_clear_line() -> None:
    with pytest.raises(SourceError, match=r"scene is georeferenced by RPCs alone.*gdalwarp"):
        Placement.of(Georeference(rpcs={"LINE_OFF": "1"}), "scene")


@given(sizes=st.lists(st.integers(0, 40), max_size=8), rows=st.integers(1, 30))
def test_row_groups_are_even_whatever_comes(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], rows: int
) -> None:
    path = tmp_path_factory.mktemp("groups") / "t.parquet"
    schema = pa.schema([("number", pa.int32()), (GEOMETRY, pa.binary()), (BBOX, BOX)])
    cells = Cells(Placement(Georeference()), 1000, 1000, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geoparquet, "rows_per_group", lambda _: rows)
        first = 0
        with write_geoparquet(path, schema, None, ["Polygon"]) as file:
            for size in sizes:
                numbers = np.arange(first, first + size)
                geometries, boxes = cells.geometries(numbers % 7, numbers)
                columns = [pa.array(numbers.astype(np.int32)), geometries, boxes_column(boxes)]
                file.write(pa.table(columns, schema=schema), boxes)
                first += size
    parquet = pq.ParquetFile(path)
    groups = [parquet.metadata.row_group(number).num_rows for number in range(parquet.num_row_groups)]
    assert groups == [rows] * (first // rows) + [first % rows] * (first % rows > 0)
    assert parquet.read()["number"].to_pylist() == list(range(first))


def test_what_breaks_while_it_is_written_leaves_nothing(tmp_path: Path) -> None:
    schema = pa.schema([(GEOMETRY, pa.binary()), (BBOX, BOX)])
    with pytest.raises(OutputError, match="cannot be written"), write_geoparquet(tmp_path / "t", schema, None, []):
        raise pa.ArrowInvalid("out of order")
    assert list(tmp_path.iterdir()) == []
