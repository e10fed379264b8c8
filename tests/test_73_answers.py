"""similar, cluster, anomaly and regress as a user meets them: files, figures, errors of one line."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
from numpy.typing import NDArray
from rio_cogeo.cogeo import cog_validate

from pipeline.errors import OutputError
from pipeline.flow import drawn, maps
from pipeline.flow.read import open_scene
from pipeline.flow.values import Values
from pipeline.grid import Window
from tests.scenes import CRS, call, call_json, read, small_scene, snapshot, write_tif

WORDS = ("--bank", "torchgeo-rcf", "--count", 6, "--pool", 5, "--stride", 4, "--tile", 64)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene with holes, its features, and these in int8."""
    folder = tmp_path_factory.mktemp("answers")
    scene = small_scene(folder / "scene.tif")
    assert call("features", scene, folder / "features.zarr", *WORDS).exit_code == 0
    assert call("features", scene, folder / "int8.zarr", *WORDS, "--dtype", "int8").exit_code == 0
    return folder


def cells_of(store: Path) -> tuple[NDArray[Any], NDArray[np.bool_], rasterio.Affine]:
    """The features (F, y, x), which cells are valid, and the cells' transform."""
    source = open_scene(str(store))
    block, valid = source.read(Window(0, source.info.height, 0, source.info.width))
    return block, valid, rasterio.Affine(*source.info.geo.transform)


def a_place(store: Path) -> tuple[float, float, int, int]:
    """The middle of a valid cell in the CRS, and its row and column."""
    _, valid, transform = cells_of(store)
    row, column = np.argwhere(valid)[valid.sum() // 2].tolist()
    x, y = transform @ (column + 0.5, row + 0.5)
    return x, y, row, column


def failed(*words: object, code: int = 1) -> str:
    """The one line of a command that has to fail."""
    result = call(*words)
    assert result.exit_code == code, result.stderr
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: ")
    assert "Traceback" not in result.stderr
    return lines[-1]


def test_similar_writes_a_map_and_the_best_cells(made: Path, tmp_path: Path) -> None:
    store = made / "features.zarr"
    x, y, row, column = a_place(store)
    words = ("similar", store, tmp_path / "like.tif", "--at", f"{x},{y}", "--top", 7, "--apart", 3)
    result = call_json(*words)
    assert result["places"] == 1
    block, valid, transform = cells_of(store)
    rows = block[:, valid].T.astype(float)
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    scaled = (block - mean[:, None, None]) / std[:, None, None]
    asked = scaled[:, row, column]
    cosine = np.tensordot(asked, scaled, 1) / np.linalg.norm(asked) / np.linalg.norm(scaled, axis=0)
    assert cog_validate(tmp_path / "like.tif", strict=True)[0]
    with rasterio.open(tmp_path / "like.tif") as file:
        found = file.read(1)
        assert (file.crs, file.transform, file.descriptions) == (CRS, transform, ("similarity",))
        assert np.isnan(file.nodata)
        tags = file.tags(1)
    assert np.array_equal(np.isfinite(found), valid)
    np.testing.assert_allclose(found[valid], cosine[valid], atol=1e-4)
    assert found[row, column] == pytest.approx(1, abs=1e-5)
    assert float(tags["STATISTICS_MEAN"]) == pytest.approx(found[valid].mean(), rel=1e-4)
    assert float(tags["STATISTICS_STDDEV"]) == pytest.approx(found[valid].std(), rel=1e-4)
    assert float(tags["STATISTICS_MINIMUM"]) == pytest.approx(found[valid].min())
    table = geopandas.read_parquet(result["table"])
    assert table.crs == CRS
    assert len(table) == result["hits"] == 7
    assert list(table["rank"]) == list(range(1, 8))
    assert table.similarity.is_monotonic_decreasing
    assert np.array_equal(table.similarity, found[table.row, table.column])
    away = np.maximum(abs(table.row - row), abs(table.column - column))
    assert away.min() > 3
    middles = table.geometry.centroid
    np.testing.assert_allclose(middles.x, [(transform @ (c + 0.5, 0))[0] for c in table.column])
    every = call_json(*words[:-2], "--apart", 0, "--overwrite")
    assert every["best"] == pytest.approx(np.sort(found[valid])[-2])


def test_places_are_the_same_in_any_crs_or_file(made: Path, tmp_path: Path) -> None:
    store = made / "features.zarr"
    x, y, _, _ = a_place(store)
    point = geopandas.GeoSeries([shapely.Point(x, y)], crs=CRS)
    lon, lat = point.to_crs(4326).iloc[0].coords[0]
    point.to_frame("geometry").to_crs(3857).to_file(tmp_path / "p.gpkg")
    ways = {
        "crs": ("--at", f"{x},{y}"),
        "lonlat": ("--at", f"{lon:.7f},{lat:.7f}", "--crs", "EPSG:4326"),
        "file": ("--points", tmp_path / "p.gpkg"),
    }
    contents = []
    for name, words in ways.items():
        assert call("similar", store, tmp_path / f"{name}.tif", *words).exit_code == 0
        contents.append([(tmp_path / f"{name}{ending}").read_bytes() for ending in (".tif", ".parquet")])
    assert contents[0] == contents[1] == contents[2]


def test_several_places_and_polygons(made: Path, tmp_path: Path) -> None:
    store = made / "features.zarr"
    _, valid, transform = cells_of(store)
    left, top = transform @ (3, 3)
    right, bottom = transform @ (9, 8)
    outside = shapely.Point(left - 1e5, top)
    shapes = [shapely.box(left, bottom, right, top), shapely.Point(transform @ (20.5, 20.5)), outside, None]
    geopandas.GeoDataFrame(geometry=shapes, crs=CRS).to_parquet(tmp_path / "p.parquet")
    result = call_json("similar", store, tmp_path / "like.tif", "--points", tmp_path / "p.parquet", "--top", 5)
    assert result["places"] == 1 + valid[20, 20]
    assert np.nanmax(read(tmp_path / "like.tif")) <= 1


@pytest.mark.parametrize(
    ("words", "line", "code"),
    [
        (("--at", "1,2"), "--at 1,2: not in scene, which spans x", 1),
        (("--at", "HOLE"), "nodata in scene", 1),
        ((), "give the places", 2),
        (("--at", "1,2", "--points", "p.gpkg"), "give the places", 2),
        (("--at", "1"), "is not X,Y", 2),
        (("--at", "nan,2"), "is no place", 2),
        (("--at", "1,2", "--crs", "EPSG:0"), "--crs EPSG:0", 2),
        (("--points", "none.gpkg"), "none.gpkg", 1),
        (("--points", "none.gpkg", "--crs", "EPSG:4326"), "--crs is for --at", 2),
    ],
)
def test_places_that_cannot_be_asked_about_are_one_line(
    made: Path, tmp_path: Path, words: tuple[str, ...], line: str, code: int
) -> None:
    _, valid, transform = cells_of(made / "features.zarr")
    row, column = np.argwhere(~valid)[0].tolist()
    x, y = transform @ (column + 0.5, row + 0.5)
    given = [word.replace("HOLE", f"{x},{y}") for word in words]
    assert line in failed("similar", made / "features.zarr", tmp_path / "like.tif", *given, code=code)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["similar", "cluster", "anomaly", "regress"])
def test_schedulers_do_not_show_and_nothing_else_is_left(made: Path, tmp_path: Path, command: str) -> None:
    x, y, _, _ = a_place(made / "features.zarr")
    corners = [shapely.box(x + 200 * n, y - 300, x + 200 * n + 90, y + 300) for n in range(-6, 6)]
    plots = geopandas.GeoDataFrame({"kind": ["a", "b"] * 6}, geometry=corners, crs=CRS)
    plots.to_parquet(tmp_path / "plots.parquet")
    own = {
        "similar": ("--at", f"{x},{y}"),
        "cluster": ("--groups", 3),
        "anomaly": ("--window", 9, "--guard", 3, "--tile", 64),
        "regress": (
            "--labels",
            tmp_path / "plots.parquet",
            "--field",
            "kind",
            "--gap",
            0,
            "--folds",
            2,
            "--block",
            400,
        ),
    }[command]
    source = made / ("scene.tif" if command == "anomaly" else "features.zarr")
    folders = []
    for scheduler, workers in (("threads", 1), ("threads", 3), ("processes", 2)):
        folder = tmp_path / f"{scheduler}{workers}"
        folder.mkdir()
        call_json(command, source, folder / "map.tif", *own, "--scheduler", scheduler, "--workers", workers)
        folders.append(snapshot(folder))
    assert folders[0] == folders[1] == folders[2]
    classes = {"map.tif", "map.tif.aux.xml", "map.legend.json"}
    expected = {"map.tif", "map.parquet"} if command in ("similar", "anomaly") else classes
    assert set(folders[0]) == expected
    assert "exists" in failed(command, source, tmp_path / "threads1" / "map.tif", *own)
    assert call(command, source, tmp_path / "threads1" / "map.tif", *own, "--overwrite").exit_code == 0
    assert snapshot(tmp_path / "threads1") == folders[0]


def test_cluster_gives_colours_names_and_a_legend_that_counts(made: Path, tmp_path: Path) -> None:
    result = call_json("cluster", made / "features.zarr", tmp_path / "groups.tif", "--groups", 5)
    legend = json.loads((tmp_path / "groups.legend.json").read_text())
    assert result["groups"] == legend
    assert cog_validate(tmp_path / "groups.tif", strict=True)[0]
    cells, valid, transform = cells_of(made / "features.zarr")
    with rasterio.open(tmp_path / "groups.tif") as file:
        found, colours = file.read(1), file.colormap(1)
        assert (file.crs, file.transform, file.nodata, file.dtypes[0]) == (CRS, transform, 0, "uint8")
        assert file.colorinterp[0].name == "palette"
        # rasterio has no words for category names; GDAL's VRT has.
        rasterio.shutil.copy(file, tmp_path / "groups.vrt", driver="VRT")
    assert np.array_equal(found > 0, valid)
    assert [entry["cells"] for entry in legend] == np.bincount(found.ravel(), minlength=6)[1:].tolist()
    names = open_scene(str(made / "features.zarr")).info.bands
    spread = cells[:, valid].std(axis=1, dtype=float), cells[:, valid].mean(axis=1, dtype=float)
    for entry in legend:  # as the cells of the map are, not the centres they were sorted by
        own = cells[:, found == entry["value"]].mean(axis=1, dtype=float)
        means = {
            name: (own[i] - spread[1][i]) / spread[0][i] for i, name in enumerate(names) if name in entry["features"]
        }
        assert entry["features"] == pytest.approx(means, abs=0.02)
    assert sum(entry["share"] for entry in legend) == pytest.approx(1, abs=1e-5)
    assert [f"#{bytes(colours[entry['value']][:3]).hex()}" for entry in legend] == [e["colour"] for e in legend]
    vrt = (tmp_path / "groups.vrt").read_text()
    assert all(f"<Category>{entry['name']}</Category>" in vrt for entry in legend)
    shown = call("cluster", made / "features.zarr", tmp_path / "again.tif", "--groups", 5)
    assert legend[0]["colour"] in shown.stdout


def test_features_in_int8_answer_as_those_in_float32(made: Path, tmp_path: Path) -> None:
    x, y, _, _ = a_place(made / "features.zarr")
    maps = []
    for name in ("features", "int8"):
        assert call("similar", made / f"{name}.zarr", tmp_path / f"{name}.tif", "--at", f"{x},{y}").exit_code == 0
        maps.append(read(tmp_path / f"{name}.tif"))
    np.testing.assert_allclose(maps[0], maps[1], atol=0.06)
    block, valid, _ = cells_of(made / "features.zarr")
    source = open_scene(str(made / "int8.zarr"))
    back, known = Values.of(source, 64).read(Window(0, source.info.height, 0, source.info.width))
    assert np.array_equal(known, valid)
    assert (back[:, ~valid] == 0).all()
    off = np.abs(back - block)[:, valid].max(axis=1)
    assert (off <= 0.51 * np.array(source.info.scales)).all()


def a_sea(path: Path) -> NDArray[Any]:
    """Water with three objects of 2 x 2 pixels, a shore, and nodata in a corner."""
    rng = np.random.default_rng(7)
    swell = np.cumsum(np.cumsum(rng.normal(size=(150, 170)), axis=0), axis=1)
    block = rng.normal(500, 6, (3, 150, 170)) + 30 * swell / np.abs(swell).max()
    block *= np.array([1.0, 0.6, 0.3])[:, None, None]
    block[:, :, :30] = rng.normal(900, 200, (3, 150, 30)) + np.array([0, 100, 900])[:, None, None]
    for row, column in ((40, 60), (63, 127), (120, 90)):
        block[:, row : row + 2, column : column + 2] *= 1.6
    block[:, -20:, -20:] = 0
    write_tif(path, block.astype(np.uint16), nodata=0)
    return block


@pytest.mark.parametrize("tile", [64, 256])
def test_anomaly_finds_what_floats_and_says_where(tmp_path: Path, tile: int) -> None:
    a_sea(tmp_path / "sea.tif")
    words = ("anomaly", tmp_path / "sea.tif", tmp_path / "odd.tif", "--tile", tile)
    result = call_json(*words, "--water", "band_1,band_3", "--pfa", 1e-5)
    table = geopandas.read_parquet(tmp_path / "odd.parquet")
    assert table.crs == CRS
    with rasterio.open(tmp_path / "odd.tif") as file:
        scores = file.read(1)
        assert file.descriptions == ("anomaly",)
        assert "STATISTICS_MEAN" in file.tags(1)
        transform = file.transform
    assert np.isnan(scores[:, :30]).all()
    assert np.isnan(scores[-20:, -20:]).all()
    assert np.isfinite(scores[:, 45:150]).all()
    assert result["scored"] == np.isfinite(scores).sum()
    assert result["detections"] == len(table) == 3
    assert [first <= row <= first + 1 for first, row in zip((40, 63, 120), sorted(table.row), strict=True)] == [
        True
    ] * 3
    assert (table.pixels == 4).all()
    assert list(table.score) == sorted(table.score, reverse=True)
    assert table.score[0] == np.nanmax(scores)
    for shape, row, column in zip(table.geometry, table.row, table.column, strict=True):
        assert shape.area == pytest.approx(1600)
        assert shape.contains(shapely.Point(transform @ (column + 0.5, row + 0.5)))
    everything = call_json(*words, "--overwrite", "--pfa", 0.4)
    assert everything["detections"] > 100


def test_tiles_of_a_raster_do_not_show(tmp_path: Path) -> None:
    a_sea(tmp_path / "sea.tif")
    maps = []
    for tile in (48, 256):
        call_json(
            "anomaly", tmp_path / "sea.tif", tmp_path / f"{tile}.tif", "--tile", tile, "--water", "band_1,band_3,0.1"
        )
        maps.append(read(tmp_path / f"{tile}.tif"))
    np.testing.assert_allclose(maps[0], maps[1], rtol=2e-3)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--window", 7), "--window 7"),
        (("--guard", 4), "--guard 4"),
        (("--water", "band_1"), "--water band_1"),
        (("--water", "band_1,band_2,x"), "--water band_1,band_2,x"),
        (("--water", "band_1,band_9"), "band_9"),
        (("--pfa", 0), "--pfa"),
    ],
)
def test_windows_and_bands_that_make_no_sense_are_one_line(
    made: Path, tmp_path: Path, words: tuple[object, ...], line: str
) -> None:
    assert line in failed("anomaly", made / "scene.tif", tmp_path / "odd.tif", *words, code=2)
    assert not list(tmp_path.iterdir())


def plots(store: Path, path: Path) -> geopandas.GeoDataFrame:
    """A polygon of 2 x 2 cells at every sixth cell: the mean of a feature there, and whether it is high."""
    block, valid, transform = cells_of(store)
    shapes, values = [], []
    for row in range(0, valid.shape[0] - 2, 5):
        for column in range(0, valid.shape[1] - 2, 5):
            if valid[row : row + 2, column : column + 2].all():
                (x0, y0), (x1, y1) = transform @ (column, row + 2), transform @ (column + 2, row)
                shapes.append(shapely.box(x0, y0, x1, y1))
                values.append(float(block[2, row : row + 2, column : column + 2].mean()))
    high = np.array(values) > np.median(values)
    columns = {"level": values, "kind": np.where(high, "high", "low"), "code": high + 3, "none": [None] * len(values)}
    columns["huge"] = [-1e300, *values[1:]]
    frame = geopandas.GeoDataFrame(columns, geometry=shapes, crs=CRS)
    frame.to_parquet(path)
    return frame


def test_regress_predicts_numbers_and_says_how_well(made: Path, tmp_path: Path) -> None:
    store = made / "features.zarr"
    frame = plots(store, tmp_path / "p.parquet")
    words = ("regress", store, tmp_path / "level.tif", "--labels", tmp_path / "p.parquet", "--field", "level")
    report = call_json(*words, "--gap", 80)
    assert report["kind"] == "numbers"
    assert report["places"] == len(frame)
    assert report["cells"] == 4 * len(frame)
    assert report["gap_cells"] == 1
    assert len(report["folds"]) == 5
    assert report["overall"]["r2"] > 0.7
    assert report["overall"]["rmse"] < 0.6 * report["overall"]["baseline"]["rmse"]
    assert sum(fold["test"] for fold in report["folds"]) == report["overall"]["judged"] == report["cells"]
    # Plots are whole, and four cells apart: a gap of one takes none of them, one of six does.
    assert all(fold["train"] + fold["test"] == report["cells"] for fold in report["folds"])
    wide = call_json(*words, "--gap", 480, "--overwrite")
    assert all(fold["train"] + fold["test"] < wide["cells"] for fold in wide["folds"])
    block, valid, _ = cells_of(store)
    found = read(tmp_path / "level.tif")[0]
    assert np.array_equal(np.isfinite(found), valid)
    assert np.corrcoef(found[valid], block[2][valid])[0, 1] > 0.9
    shown = call(*words, "--gap", 80, "--overwrite").stdout
    assert "r2" in shown
    assert "fold" in shown


@pytest.mark.parametrize(("field", "names"), [("kind", ["high", "low"]), ("code", ["3", "4"])])
def test_regress_tells_classes_apart(made: Path, tmp_path: Path, field: str, names: list[str]) -> None:
    store = made / "features.zarr"
    plots(store, tmp_path / "p.parquet")
    words = ("--labels", tmp_path / "p.parquet", "--field", field, "--kind", "classes", "--gap", 80)
    report = call_json("regress", store, tmp_path / "kind.tif", *words)
    assert report["kind"] == "classes"
    assert [entry["name"] for entry in report["classes"]] == names
    assert report["overall"]["accuracy"] > 0.75
    assert np.sum(report["overall"]["confusion"]) == report["cells"]
    with rasterio.open(tmp_path / "kind.tif") as file:
        found, colours = file.read(1), file.colormap(1)
    assert [entry["cells"] for entry in report["classes"]] == np.bincount(found.ravel(), minlength=3)[1:].tolist()
    assert [f"#{bytes(colours[n][:3]).hex()}" for n in (1, 2)] == [e["colour"] for e in report["classes"]]
    assert json.loads((tmp_path / "kind.legend.json").read_text()) == report["classes"]


def test_parts_of_a_geometry_are_places_of_their_own(made: Path, tmp_path: Path) -> None:
    frame = plots(made / "features.zarr", tmp_path / "p.parquet")
    frame[["kind", "geometry"]].dissolve("kind").reset_index().to_parquet(tmp_path / "multi.parquet")
    words = ("--field", "kind", "--gap", 80, "--labels")
    reports = [
        call_json("regress", made / "features.zarr", tmp_path / f"{name}.tif", *words, tmp_path / f"{name}.parquet")
        for name in ("p", "multi")
    ]
    assert reports[1]["places"] == len(frame)
    assert reports[1]["overall"]["accuracy"] == pytest.approx(reports[0]["overall"]["accuracy"], abs=0.01)
    assert reports[1]["penalty"] == reports[0]["penalty"]
    assert (read(tmp_path / "multi.tif") == read(tmp_path / "p.tif")).mean() > 0.999


def test_labels_that_are_left_out_are_counted(made: Path, tmp_path: Path) -> None:
    frame = plots(made / "features.zarr", tmp_path / "p.parquet")
    frame["geometry"] = [None, shapely.Point(), *frame.geometry[2:]]
    frame.loc[frame.index[2:5], "kind"] = None
    frame.loc[frame.index[5:9], "geometry"] = frame.geometry[5:9].translate(1e6)
    _, valid, transform = cells_of(made / "features.zarr")
    row, column = np.argwhere(~valid)[0].tolist()
    frame.loc[frame.index[9], "geometry"] = shapely.Point(transform @ (column + 0.5, row + 0.5))
    frame[["kind", "level", "geometry"]].to_parquet(tmp_path / "p.parquet")
    words = ("--labels", tmp_path / "p.parquet", "--field", "kind", "--gap", 80)
    result = call("regress", made / "features.zarr", tmp_path / "a.tif", *words, "--json")
    lines = [line for line in result.stderr.splitlines() if line.startswith("Warning")]
    assert len(lines) == 1
    said = "2 of {} places have no geometry, 3 have no value in kind, 4 lie outside scene, 1 lies on nodata: left out"
    assert said.format(len(frame)) in lines[0]
    assert json.loads(result.stdout)["places"] == len(frame) - 10
    frame[10:].to_parquet(tmp_path / "p.parquet")
    whole = call("regress", made / "features.zarr", tmp_path / "b.tif", *words)
    assert whole.exit_code == 0
    assert "Warning" not in whole.stderr


def with_few(store: Path, path: Path, few: int) -> geopandas.GeoDataFrame:
    """The plots, with a third kind that is at the first `few` of them."""
    frame = plots(store, path)
    frame.loc[frame.index[:few], "kind"] = "rare"
    frame[["kind", "geometry"]].to_parquet(path)
    return frame


def test_a_class_of_one_place_is_left_out_of_the_score_and_named(made: Path, tmp_path: Path) -> None:
    frame = with_few(made / "features.zarr", tmp_path / "p.parquet", 1)
    words = ("--labels", tmp_path / "p.parquet", "--field", "kind", "--gap", 80)
    result = call("regress", made / "features.zarr", tmp_path / "kind.tif", *words, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    warned = [line for line in result.stderr.splitlines() if line.startswith("Warning")]
    assert len(warned) == 1
    assert "of kind, rare (1 place) cannot be judged on held-out places" in warned[0]
    assert "high" not in warned[0]
    assert report["unjudged"] == {"rare": 4}
    assert report["overall"]["judged"] == report["cells"] - 4 == 4 * len(frame) - 4
    assert sum(fold["test"] for fold in report["folds"]) == report["overall"]["judged"]
    assert np.sum(report["overall"]["confusion"], axis=1).tolist()[2] == 0
    assert report["overall"]["accuracy"] > 0.75
    assert [entry["name"] for entry in report["classes"]] == ["high", "low", "rare"]


def test_a_class_whose_places_lie_in_one_block_is_judged_in_part(made: Path, tmp_path: Path) -> None:
    with_few(made / "features.zarr", tmp_path / "p.parquet", 2)
    words = ("--labels", tmp_path / "p.parquet", "--field", "kind", "--gap", 80, "--block", 400)
    report = call_json("regress", made / "features.zarr", tmp_path / "a.tif", *words)
    assert report["unjudged"] == {}
    wide = call("regress", made / "features.zarr", tmp_path / "b.tif", *words[:-1], 2000, "--folds", 2, "--json")
    assert json.loads(wide.stdout)["unjudged"] == {"rare": 8}
    assert "of kind, rare (2 places) cannot be judged" in wide.stderr


def test_where_no_class_can_be_judged_there_is_a_map_and_no_accuracy(made: Path, tmp_path: Path) -> None:
    frame = plots(made / "features.zarr", tmp_path / "p.parquet")
    frame.groupby("kind").head(1).to_parquet(tmp_path / "two.parquet")
    words = ("--labels", tmp_path / "two.parquet", "--field", "kind", "--gap", 0, "--block", 160, "--folds", 2)
    result = call("regress", made / "features.zarr", tmp_path / "kind.tif", *words, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["folds"] == []
    assert report["penalty"] == 100
    assert report["overall"] == {
        "accuracy": None,
        "mean_class_accuracy": None,
        "kappa": None,
        "confusion": None,
        "baseline": {"accuracy": None},
        "judged": 0,
    }
    assert result.stderr.count("Warning") == 1
    assert (
        "none of the classes of kind can be judged on held-out places: high (1 place), low (1 place)" in result.stderr
    )
    assert set(np.unique(read(tmp_path / "kind.tif")).tolist()) == {0, 1, 2}
    shown = call("regress", made / "features.zarr", tmp_path / "kind.tif", *words, "--overwrite")
    assert re.search(r"^accuracy +none$", shown.stdout, re.MULTILINE)
    assert "fold" not in shown.stdout


@pytest.mark.parametrize(
    ("words", "line", "code"),
    [
        (("--field", "yield"), "no field yield; there are level, kind", 2),
        (("--field", "kind", "--kind", "numbers"), "holds no numbers", 2),
        (("--field", "none"), "0 classes", 2),
        (("--field", "alike"), "alike holds 1 class; 2 to 255 can be told apart", 2),
        (("--field", "day"), "p.parquet: day is a date; give a field of numbers or words, or --kind classes to", 2),
        (("--field", "time"), "p.parquet: time is a date; give a field of numbers or words, or --kind classes to", 2),
        (("--field", "day", "--kind", "numbers"), "day is a date; give a field of numbers or words, or", 2),
        (("--field", "huge"), "huge holds -1e+300, beyond 1e+30; scale it, or leave it empty where there is no", 2),
        (("--field", "level", "--block", "1e6"), "too few for 5 folds", 2),
        (("--field", "level", "--gap", "1e6", "--block", "400"), "leaves a label to train on", 2),
        (("--field", "level", "--block", "1"), "less than half a cell", 2),
    ],
)
def test_labels_that_cannot_be_learnt_are_one_line(
    made: Path, tmp_path: Path, words: tuple[str, ...], line: str, code: int
) -> None:
    frame = plots(made / "features.zarr", tmp_path / "p.parquet")
    frame["alike"], frame["day"], frame["time"] = "a", date(2020, 1, 1), np.datetime64("2020-01-01T03:00")
    frame.to_parquet(tmp_path / "p.parquet")
    given = ("--labels", tmp_path / "p.parquet", *words)
    assert line in failed("regress", made / "features.zarr", tmp_path / "map.tif", *given, code=code)
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def points(store: Path, path: Path, cells: list[tuple[int, int]]) -> Path:
    """A file of points at cells (row, column) of a map, with numbers for labels."""
    transform = cells_of(store)[2]
    shapes = [shapely.Point(transform @ (column + 0.5, row + 0.5)) for row, column in cells]
    levels = [float(number % 5) for number in range(len(cells))]
    geopandas.GeoDataFrame({"level": levels}, geometry=shapes, crs=CRS).to_parquet(path)
    return path


def test_a_fold_that_trains_on_one_cell_is_left_out(made: Path, tmp_path: Path) -> None:
    _, valid, transform = cells_of(made / "features.zarr")
    cells = [(int(row), int(column)) for row, column in np.argwhere(valid)]
    near = [cell for cell in cells if max(cell) < 5]
    far = max(cells, key=min)
    assert len(near) > 9
    assert min(far) >= 5
    size = transform.a
    words = ("--field", "level", "--folds", 2, "--gap", 0, "--labels")
    lone = points(made / "features.zarr", tmp_path / "lone.parquet", [*near, far])
    report = call_json("regress", made / "features.zarr", tmp_path / "a.tif", "--block", 5 * size, *words, lone)
    assert [(fold["train"], fold["test"]) for fold in report["folds"]] == [(len(near), 1)]
    assert report["overall"]["judged"] == 1
    two = points(made / "features.zarr", tmp_path / "two.parquet", [near[0], far])
    line = failed("regress", made / "features.zarr", tmp_path / "b.tif", "--block", 5 * size, *words, two, code=2)
    assert "no fold leaves more than 1 labelled cells to train on: too few, or all alike; give a smaller" in line
    assert not (tmp_path / "b.tif").exists()


def test_labels_elsewhere_or_on_nodata_are_one_line(made: Path, tmp_path: Path) -> None:
    _, valid, transform = cells_of(made / "features.zarr")
    row, column = np.argwhere(~valid)[0].tolist()
    for name, at, line in (("far", (-5e4, 0), "no place of it"), ("hole", (column + 0.5, row + 0.5), "on nodata")):
        frame = geopandas.GeoDataFrame({"level": [1.0]}, geometry=[shapely.Point(transform @ at)], crs=CRS)
        frame.to_parquet(tmp_path / f"{name}.parquet")
        words = ("--labels", tmp_path / f"{name}.parquet", "--field", "level")
        assert line in failed("regress", made / "features.zarr", tmp_path / "map.tif", *words)


def test_a_damaged_store_leaves_nothing_behind(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "features.zarr", tmp_path / "features.zarr")
    chunk = sorted(path for path in (tmp_path / "features.zarr" / "features" / "c").rglob("*") if path.is_file())[-1]
    chunk.unlink()
    before = sorted(tmp_path.iterdir())
    assert "missing chunk" in failed("cluster", tmp_path / "features.zarr", tmp_path / "map.tif", "--groups", 3)
    assert sorted(tmp_path.iterdir()) == before


def test_outputs_that_cannot_be_are_refused_before_any_work(made: Path, tmp_path: Path) -> None:
    store = made / "features.zarr"
    assert "ending in .tif or .tiff, got .zarr" in failed("cluster", store, tmp_path / "map.zarr", code=2)
    assert "does not exist" in failed("cluster", store, tmp_path / "none" / "map.tif")
    assert "is the input" in failed("cluster", made / "scene.tif", made / "scene.tif", "--overwrite")
    (tmp_path / "odd.parquet").write_text("mine")
    assert "odd.parquet exists" in failed("anomaly", made / "scene.tif", tmp_path / "odd.tif")
    assert (tmp_path / "odd.parquet").read_text() == "mine"


@pytest.mark.parametrize("name", ["map.legend.json", "map.tif.aux.xml"])
def test_files_beside_a_map_are_not_replaced_unless_they_may_be(made: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    store, target = made / "features.zarr", tmp_path / "map.tif"
    words = ("--labels", tmp_path / "none.gpkg", "--field", "x")
    for command in (("cluster", store, target), ("regress", store, target, *words)):
        assert f"{name} exists; give another name, or --overwrite" in failed(*command)
        assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"
    assert call("cluster", store, target, "--groups", 2, "--overwrite").exit_code == 0
    assert (tmp_path / name).read_text() != "mine"


def test_a_map_that_cannot_be_written_takes_its_table_with_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: Path, target: Path, layer: maps.Layer) -> None:
        assert [path.name for path in tmp_path.glob("*.*") if path.suffix in (".parquet", ".json", ".xml")]
        raise OutputError("the disk is full")

    monkeypatch.setattr(maps, "_to_cog", full)
    x, y, _, _ = a_place(made / "features.zarr")
    for words in (("similar", "--at", f"{x},{y}"), ("cluster", "--groups", 2), ("anomaly",)):
        assert "disk is full" in failed(words[0], made / "features.zarr", tmp_path / "map.tif", *words[1:])
        assert not list(tmp_path.iterdir())


def test_many_labels_are_drawn_from_evenly_and_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "MOST_ROWS", 100)
    rng = np.random.default_rng(0)
    sample, lots = drawn.Drawn(False), rng.random((300, 7))
    for number, own in enumerate(lots):
        sample.add(own, number // 3, np.full(7, number), np.arange(7), np.full(7, number), own + 1)
        assert sample._count <= 400
    cells, found, added = sample.cells()
    assert not added.any()
    assert np.array_equal(found, lots[cells[1], cells[2]] + 1)
    smallest = np.sort(np.argsort(lots.ravel())[:100])
    assert np.array_equal(cells[1] * 7 + cells[2], smallest)
    assert np.array_equal(cells[0], cells[1] // 3)
    assert np.array_equal(cells, sample.cells()[0])
