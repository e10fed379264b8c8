"""Dates of one place as one scene: in order of time, each with its own holes, and back apart in plain xarray."""

import json
import pickle
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr

from pipeline.errors import ConfigError, SourceError, TerrasketchError
from pipeline.flow.read import open_scene
from pipeline.grid import Window
from pipeline.raster.masks import clear_of
from tests.raster_files import NORTH_UP, numbers, rasterio_open, whole, write_tif
from tests.scenes import call, call_json, read

DAYS = ("20160206", "20160117", "20160226")


def named(*bands):
    """What `write_tif` does behind: descriptions."""
    return lambda dataset: setattr(dataset, "descriptions", bands)


def dates(folder: Path, height: int = 40, width: int = 50, **profile) -> list[Path]:
    """Three dates of two bands, not in the order of time."""
    rng = np.random.default_rng([7])
    land = np.cumsum(np.cumsum(rng.normal(0, 3, (2, height, width)), 1), 2) + 800
    return [
        write_tif(
            folder / f"S2_{day}.tif",
            (land * (1 + 0.1 * number) + rng.normal(0, 3, land.shape)).clip(1, 60000).astype("uint16"),
            named("B02", "B03"),
            **profile,
        )
        for number, day in enumerate(DAYS)
    ]


def test_dates_lie_in_order_of_time_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    paths = [str(path) for path in dates(tmp_path)]
    one, two, three = (
        pickle.loads(pickle.dumps(open_scene(p, stack=True))) for p in (paths, paths[::-1], [str(tmp_path)])
    )
    assert one.info == two.info == three.info
    assert one.info.name == "S2_20160117-stack"
    assert one.info.bands[:3] == ("2016-01-17 B02", "2016-01-17 B03", "2016-02-06 B02")
    expected = np.concatenate([read(tmp_path / f"S2_{day}.tif") for day in sorted(DAYS)])
    np.testing.assert_array_equal(whole(one)[0], expected)
    np.testing.assert_array_equal(one.read(Window(3, 9, 4, 40))[0], expected[:, 3:9, 4:40])


def test_pictures_are_of_the_date_of_which_most_is_there(tmp_path: Path) -> None:
    rng = np.random.default_rng([7])
    paths = []
    for day, hole in zip(sorted(DAYS), (3, 0, 20), strict=True):
        block = rng.integers(400, 900, (4, 40, 50)).astype("uint16")
        block[:, :hole] = 0
        names = named("B02", "B03", "B04", "B08")
        paths.append(write_tif(tmp_path / f"S2_{day}.tif", block, names, nodata=0))
    workflow = tmp_path / "flow.yaml"
    workflow.write_text("denoise: {quality: none}\nwrite: {cog: [denoised]}\nfeatures: null\n")
    result = call("run", workflow, *paths, "--stack", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    item = json.loads((folder / "item.json").read_text())
    assert item["properties"]["renders"]["denoised_cog"]["bidx"] == [7, 6, 5]
    page = (folder / "report.html").read_text()
    assert "2016-02-06 B04 / 2016-02-06 B03 / 2016-02-06 B02" in page
    assert "2016-02-06 B08 / 2016-02-06 B04 / 2016-02-06 B03" in page
    with rasterio.open(folder / "denoised.tif") as file:
        assert [file.colorinterp[band].name for band in (10, 9, 8)] == ["red", "green", "blue"]


@pytest.mark.parametrize("bound", [("--lossless",), ("--snr", 45)])
def test_a_stack_comes_apart_in_plain_xarray(tmp_path: Path, bound) -> None:
    paths = dates(tmp_path)
    result = call("compress", *paths, tmp_path / "t.zarr", "--stack", "--tile", 32, *bound)
    assert result.exit_code == 0, result.stderr
    with xr.open_zarr(tmp_path / "t.zarr") as opened:
        cube = opened.scene.set_index(band=["time", "band_name"]).unstack("band")
        assert set(cube.dims) == {"time", "band_name", "y", "x"}
        for path, day in zip(paths, DAYS, strict=True):
            when = np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}", "ns")
            found = cube.sel(time=when).transpose("band_name", "y", "x")
            assert list(found.band_name.values) == ["B02", "B03"]
            error = found.values.astype(float) - read(path)
            assert np.sqrt(np.mean(error**2)) <= (0 if bound == ("--lossless",) else 12)
    assert call("decompress", tmp_path / "t.zarr", tmp_path / "t.tif").exit_code == 0
    with rasterio.open(tmp_path / "t.tif") as file:
        assert file.descriptions[0] == "2016-01-17 B02"
        assert file.count == 6
        assert file.tags(3)["STACK_TIME"] == "2016-02-06T00:00:00Z"
    again = call("compress", tmp_path / "t.tif", tmp_path / "u.zarr", "--lossless")  # the tags say it once more
    assert again.exit_code == 0
    with xr.open_zarr(tmp_path / "u.zarr") as opened:
        assert list(opened.band_name.values) == ["B02", "B03"] * 3


def test_a_hole_of_one_date_leaves_the_others(tmp_path: Path) -> None:
    paths = dates(tmp_path, nodata=0)
    with rasterio.open(paths[1], "r+") as file:
        block = file.read()
        block[:, 5:20, 5:20] = 0
        file.write(block)
    assert call("compress", *paths, tmp_path / "t.zarr", "--stack", "--lossless").exit_code == 0
    with xr.open_zarr(tmp_path / "t.zarr", mask_and_scale=False) as opened:
        for path, day in zip(paths, DAYS, strict=True):
            there = opened.scene.values[[str(b).replace("-", "").startswith(day) for b in opened.band.values]]
            np.testing.assert_array_equal(there, read(path))
    smooth = call("denoise", *paths, tmp_path / "d.zarr", "--stack")
    assert smooth.exit_code == 0, smooth.stderr
    with xr.open_zarr(tmp_path / "d.zarr", mask_and_scale=False) as opened:
        hole = opened.scene.values[:, 5:20, 5:20]
        assert not hole[:2].any()
        assert hole[2:].all()


def test_a_mask_of_one_date_becomes_its_sentinel(tmp_path: Path) -> None:
    paths = dates(tmp_path)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(paths[1], "r+") as file:
        mask = np.full((40, 50), 255, "uint8")
        mask[:10] = 0
        file.write_mask(mask)
    with pytest.raises(SourceError, match="give --nodata"):
        open_scene([str(path) for path in paths], stack=True)
    block, valid = whole(open_scene([str(path) for path in paths], stack=True, nodata=0.0))
    assert not block[:2, :10].any()
    assert block[2:].all()
    assert not valid[:10].any()
    assert valid[10:].all()


def test_a_pixel_teaches_where_it_is_clear_on_all_dates(tmp_path: Path) -> None:
    for number, day in enumerate(DAYS):
        scl = np.full((1, 8, 8), 4, "uint16")
        scl[0, number] = 9
        write_tif(tmp_path / f"a_{day}.tif", np.concatenate([numbers(1, 8, 8), scl]), named("B02", "SCL"))
    source = open_scene([str(tmp_path)], stack=True, mask_band="SCL")
    assert source.info.bands == ("2016-01-17 B02", "2016-02-06 B02", "2016-02-26 B02")
    clear = clear_of(pickle.loads(pickle.dumps(source)), Window(0, 8, 0, 8))
    np.testing.assert_array_equal(clear, np.arange(8)[:, None].repeat(8, 1) > 2)


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("S2A_MSIL1C_20160117T155622_N0201_R054_T18SVG_20160117T160001.tif", "2016-01-17T15:56:22Z"),
        ("S2A_MSIL2A_20160117T155622_N0201_R054_T18SVG_20160118T010203.tif", "2016-01-17T15:56:22Z"),
        ("scene-2016-01-17.tif", "2016-01-17T00:00:00Z"),
        ("LC08_L2SP_016034_20160117_20200907_02_T1.tif", "2016-01-17T00:00:00Z"),
    ],
)
def test_names_tell_the_time(tmp_path: Path, name: str, when: str) -> None:
    write_tif(tmp_path / name, numbers(1, 8, 8))
    write_tif(tmp_path / "x_20150101.tif", numbers(1, 8, 8))
    source = open_scene([str(tmp_path / name), str(tmp_path / "x_20150101.tif")], stack=True)
    assert source.info.band_tags[1]["STACK_TIME"] == when


def test_items_and_tags_tell_the_time(tmp_path: Path) -> None:
    for number in (1, 2):
        write_tif(tmp_path / f"b{number}.tif", numbers(1, 8, 8), named("B02"))
        item = {
            "type": "Feature", "stac_version": "1.0.0", "id": f"i{number}", "geometry": None, "links": [],
            "properties": {"datetime": f"2016-0{number}-17T15:56:22+02:00"},
            "assets": {"B02": {"href": f"b{number}.tif", "type": "image/tiff", "roles": ["data"]}},
        }  # fmt: skip
        (tmp_path / f"i{number}.json").write_text(json.dumps(item))
    source = open_scene([str(tmp_path / "i2.json"), str(tmp_path / "i1.json")], stack=True)
    assert source.info.bands == ("2016-01-17 B02", "2016-02-17 B02")
    assert source.info.band_tags[0]["STACK_TIME"] == "2016-01-17T13:56:22Z"
    for number in (1, 2):
        with rasterio.open(tmp_path / f"b{number}.tif", "r+") as file:
            file.update_tags(TIFFTAG_DATETIME=f"2017:0{number}:01 10:00:00")
    tagged = open_scene([str(tmp_path / "b2.tif"), str(tmp_path / "b1.tif")], stack=True)
    assert tagged.info.bands == ("2017-01-01 B02", "2017-02-01 B02")
    for number in (1, 2):  # processed on another day: the name tells when it was taken
        (tmp_path / f"b{number}.tif").rename(tmp_path / f"c_2016031{number}.tif")
    told = open_scene([str(path) for path in tmp_path.glob("c_*.tif")], stack=True)
    assert told.info.bands == ("2016-03-11 B02", "2016-03-12 B02")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"width": 9}, r"its shape is 8 x 9 pixels, that of .* 8 x 8 pixels; a stack has one grid: warp it"),
        ({"crs": "EPSG:32617"}, "its CRS is EPSG:32617, that of .* EPSG:32618; a stack"),
        ({"transform": NORTH_UP * NORTH_UP.translation(1, 0)}, "its transform is 10, 0, .* that of .* 10, 0, .*; a"),
        ({"names": ("B03",)}, "its bands are B03, those of .* B02; give dates of the same bands"),
        ({"nodata": 7}, "its nodata is 7, that of .* none; say it for all with --nodata"),
        ({"file": "b_20160101_20160301.tif"}, "several dates"),
        ({"file": "b.tif"}, "give --times"),
        ({"file": "b_20160101.tif"}, "are both of"),
    ],
)
def test_what_is_no_date_of_the_place_is_one_line(tmp_path: Path, change: dict, match: str) -> None:
    words = dict(change)
    one = write_tif(tmp_path / "a_20160101.tif", numbers(1, 8, 8), named("B02"))
    file, bands, width = words.pop("file", "b_20160201.tif"), words.pop("names", ("B02",)), words.pop("width", 8)
    two = write_tif(tmp_path / file, numbers(1, 8, width), named(*bands), **words)
    with pytest.raises(TerrasketchError, match=match) as caught:
        open_scene([str(one), str(two)], stack=True)
    assert "\n" not in str(caught.value)
    result = call("compress", one, two, tmp_path / "t.zarr", "--stack")
    assert result.exit_code in (1, 2)
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "t.zarr").exists()


def test_grids_that_writers_round_differently_are_one(tmp_path: Path) -> None:
    near = NORTH_UP * NORTH_UP.translation(1e-5, -1e-5)
    for name, transform, shift in (("a_20160101", NORTH_UP, 0), ("b_20160201", near, 9)):
        write_tif(tmp_path / f"{name}.tif", numbers(1, 8, 8) + shift, named("B02"), transform=transform)
    files = [str(path) for path in sorted(tmp_path.glob("*.tif"))]
    source = open_scene(files, stack=True)
    assert source.info.geo.transform == tuple(NORTH_UP)[:6]
    np.testing.assert_array_equal(whole(source)[0], np.concatenate([read(Path(file)) for file in files]))


def test_times_are_believed(tmp_path: Path) -> None:
    one, two = (str(write_tif(tmp_path / f"{name}.tif", numbers(1, 8, 8), named("B02"))) for name in "ab")
    source = open_scene([one, two], stack=True, times=["2016-02-01", "2016-01-01T12:00:00"])
    assert source.info.bands == ("2016-01-01 B02", "2016-02-01 B02")
    np.testing.assert_array_equal(whole(source)[0][:1], read(Path(two)))
    for words, match in (
        ({"times": ["2016-02-01"]}, "1 --times for 2"),
        ({"times": ["x", "2016-02-01"]}, "is no time"),
    ):
        with pytest.raises(ConfigError, match=match):
            open_scene([one, two], stack=True, **words)
    with pytest.raises(ConfigError, match="--stack"):
        open_scene([one], times=["2016-01-01"])
    with pytest.raises(ConfigError, match="two dates or more"):
        open_scene([one], stack=True)


def test_run_and_plan_take_dates(tmp_path: Path) -> None:
    paths = dates(tmp_path)
    (tmp_path / "w.yaml").write_text(
        "version: 1\nread: {tile: 32}\nfeatures: null\nwrite: {cog: [denoised], report: false}\n"
    )
    plan = call_json("plan", tmp_path / "w.yaml", *paths, "--stack")["scenes"]
    assert [scene["shape"] for scene in plan] == [[6, 40, 50]]
    words = ("run", tmp_path / "w.yaml", *paths, "--stack", "--out", tmp_path / "out")
    scenes = call_json(*words)["scenes"]
    assert [scene["status"] for scene in scenes] == ["done"]
    with rasterio_open(tmp_path / "out/S2_20160206-stack/denoised.tif") as file:
        assert file.descriptions[-1] == "2016-02-26 B03"
    item = pystac.Item.from_file(str(tmp_path / "out/S2_20160206-stack/item.json"))
    assert open_scene(str(tmp_path / "out/S2_20160206-stack/scene.zarr")).info.name == item.id == "S2_20160206-stack"
    first, last = item.common_metadata.start_datetime, item.common_metadata.end_datetime
    assert (item.datetime, f"{first:%Y%m%d}", f"{last:%Y%m%d}") == (None, *sorted(DAYS)[:: len(DAYS) - 1])
    assert call_json(*words)["scenes"][0]["status"] == "complete"


@pytest.mark.parametrize("nodata", [-9999.0, None])
def test_an_infinity_of_a_band_leaves_the_others_of_its_date(tmp_path: Path, nodata: float | None) -> None:
    paths = []
    for number, day in enumerate(("20160117", "20160206")):
        block = np.random.default_rng([number]).normal(900, 9, (3, 20, 20)).astype("float32")
        block[number, 3, 4:6], block[2, 9, 9] = np.inf, np.nan
        paths.append(write_tif(tmp_path / f"a_{day}.tif", block, nodata=nodata))
    expected = np.concatenate([read(path) for path in paths])
    np.testing.assert_array_equal(whole(open_scene([str(path) for path in paths], stack=True))[0], expected)
    assert call("compress", *paths, tmp_path / "s.zarr", "--stack", "--lossless").exit_code == 0
    with xr.open_zarr(tmp_path / "s.zarr", mask_and_scale=False) as store:
        stored = np.where(np.isnan(expected), np.nan, store.scene.values)  # what is missing is nodata there
        np.testing.assert_array_equal(stored, expected)
