"""STAC items: valid by the schemas that pystac brings, true about place, time and pixels, and readable by ourselves."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pystac
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from pystac.validation import validate_dict
from rasterio import Affine
from rasterio.crs import CRS

from pipeline.raster.cog import write_cog
from pipeline.raster.look import Look
from pipeline.raster.open import open_source
from pipeline.raster.scene import Gcp, Georeference, SceneInfo
from pipeline.raster.stac import PROCESSING, PROJECTION, RASTER, Asset, make_item
from pipeline.raster.stac_collection import Members
from pipeline.raster.stac_origin import Origin, origin_of
from pipeline.raster.stack import times_coarser
from pipeline.raster.times import EARLIEST, acquisition_time
from pipeline.raster.zarr_store import Variable, create_store
from tests.raster_files import NORTH_UP, numbers, whole, write_tif
from tests.stac_files import item as stac_item

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UTM = CRS.from_epsg(32618).to_wkt()
SCENE = SceneInfo(
    "scene",
    ("B02", "B03"),
    100,
    200,
    "uint16",
    nodata=0.0,
    scales=(1e-4, 1.0),
    units=("m", None),
    geo=Georeference(UTM, (20.0, 0.0, 435_740.0, 0.0, -20.0, 4_179_460.0)),
    tags={"ACQUISITIONDATETIME": "2016-01-12T15:56:22"},
)
ASSETS = {
    "cog": Asset("denoised.tif", "image/tiff", ("data",), "Denoised", SCENE),
    "log": Asset("log.txt", "text/plain"),
}


def _valid(item: dict[str, Any]) -> dict[str, Any]:
    """The item, through JSON, against the core schema (those of the extensions do not come with pystac)."""
    plain: dict[str, Any] = json.loads(json.dumps(item, allow_nan=False))
    validate_dict({**plain, "stac_extensions": []})
    return plain


def test_an_item_tells_place_time_and_pixels() -> None:
    item = _valid(make_item(SCENE, ASSETS, {"denoise": "fast", "features": None, "compress": "snr 30"}, now=NOW))
    assert item["stac_extensions"] == [PROJECTION, RASTER, PROCESSING]
    assert (item["id"], item["stac_version"], item["links"]) == ("scene", "1.1.0", [])
    properties = item["properties"]
    assert properties["datetime"] == "2016-01-12T15:56:22Z"
    assert (properties["created"], properties["processing:datetime"]) == ("2026-01-02T03:04:05Z",) * 2
    assert properties["processing:lineage"] == "denoise: fast; compress: snr 30"
    assert set(properties["processing:software"]) == {"terrasketch"}
    assert (properties["proj:code"], properties["proj:shape"]) == ("EPSG:32618", [100, 200])
    assert properties["proj:transform"] == [20.0, 0.0, 435_740.0, 0.0, -20.0, 4_179_460.0]
    assert properties["proj:bbox"] == [435_740.0, 4_177_460.0, 439_740.0, 4_179_460.0]
    asset = item["assets"]["cog"]
    assert (asset["href"], asset["type"], asset["roles"]) == ("./denoised.tif", "image/tiff", ["data"])
    assert (asset["data_type"], asset["nodata"], asset["raster:sampling"]) == ("uint16", 0.0, "area")
    assert asset["bands"] == [{"name": "B02", "unit": "m", "raster:scale": 1e-4, "raster:offset": 0.0}, {"name": "B03"}]
    assert not any(key.startswith("proj:") for key in asset)
    assert item["assets"]["log"]["href"] == "./log.txt"


def test_the_footprint_is_where_pyproj_says() -> None:
    item = _valid(make_item(SCENE, ASSETS, {}, now=NOW))
    (ring,) = item["geometry"]["coordinates"]
    to_globe = pyproj.Transformer.from_crs(32618, 4326, always_xy=True)
    corners = [to_globe.transform(x, y) for x in (435_740, 439_740) for y in (4_177_460, 4_179_460)]
    for corner in corners:
        assert min(math.dist(corner, point) for point in ring) < 2e-7
    xs, ys = zip(*ring, strict=True)
    assert item["bbox"] == [min(xs), min(ys), max(xs), max(ys)]
    assert ring[0] == ring[-1]
    assert sum(p[0] * q[1] - q[0] * p[1] for p, q in zip(ring, ring[1:], strict=False)) > 0  # noqa: RUF007


def test_cells_larger_than_the_pixels_have_a_gsd_of_their_own() -> None:
    cells = replace(SCENE, height=25, width=50, geo=SCENE.geo.scaled(4))
    assets = {"cog": ASSETS["cog"], "features": Asset("f.zarr", "application/vnd.zarr", info=cells)}
    item = _valid(make_item(SCENE, assets, {}, now=NOW, origin=Origin("x", "x.json", properties={"gsd": 20})))
    assert item["properties"]["gsd"] == 20
    assert "gsd" not in item["assets"]["cog"]
    assert item["assets"]["features"]["gsd"] == 80
    untold = _valid(make_item(SCENE, assets, {}, now=NOW))
    assert "gsd" not in untold["assets"]["features"]


@pytest.mark.parametrize(
    ("bands", "coarser", "gsd"),
    [(("B02", "B01"), 1.0, 10), (("B02", "B01"), 6.0, 60), (("B01",), 1.0, 60), (("red",), 1.0, 15), ((), 2.0, 20)],
)
def test_gsd_is_that_of_the_finest_band_read_and_of_its_pixels(
    tmp_path: Path, bands: tuple[str, ...], coarser: float, gsd: float
) -> None:
    assets = {
        "B02": {"href": "./a.tif"},
        "B01": {"href": "./b.tif", "gsd": 60},
        "rgb": {"href": "./c.tif", "gsd": 30, "bands": [{"name": "red", "gsd": 15}]},
    }
    facts = stac_item("x", "") | {"stac_version": "1.1.0", "assets": assets}
    facts["properties"]["gsd"] = 10
    (tmp_path / "item.json").write_text(json.dumps(facts))
    origin = origin_of([str(tmp_path / "item.json")], bands, coarser)
    assert origin is not None
    assert origin.properties["gsd"] == gsd


def test_how_much_coarser_a_scene_is_than_its_finest_file(tmp_path: Path) -> None:
    write_tif(tmp_path / "fine.tif", numbers(1, 40, 40))
    write_tif(tmp_path / "coarse.tif", numbers(1, 20, 20), transform=NORTH_UP * Affine.scale(2))
    for resolution, times in ((None, 1), (60, 6), (10, 1), (5, 1)):
        assert times_coarser(open_source(tmp_path, resolution=resolution)) == times
    assert times_coarser(open_source(tmp_path / "fine.tif")) == 1


@pytest.mark.parametrize(("nodata", "of_asset", "of_render"), [(math.nan, "nan", None), (0.0, 0.0, 0.0)])
def test_what_is_missing_is_told_in_words_of_the_specification(nodata: float, of_asset: Any, of_render: Any) -> None:
    look = Look(({}, {}), (0, 1, 0), ((0.0, 1.0),) * 3)
    asset = Asset("f.tif", "image/tiff", info=replace(SCENE, dtype="float32", nodata=nodata), look=look)
    item = _valid(make_item(SCENE, {"cog": asset}, {}, now=NOW))
    assert item["assets"]["cog"]["nodata"] == of_asset
    assert item["properties"]["renders"]["cog"].get("nodata") == of_render


def test_an_asset_on_another_grid_says_so() -> None:
    cells = replace(
        SCENE, height=13, width=25, geo=SCENE.geo.scaled(8), dtype="float32", nodata=float("nan"), scales=(1.0, 1.0)
    )
    item = _valid(make_item(SCENE, {"features": Asset("features.tif", "image/tiff", info=cells)}, {}, now=NOW))
    asset = item["assets"]["features"]
    assert asset["proj:shape"] == [13, 25]
    assert asset["proj:transform"][0] == 160.0
    assert "proj:code" not in asset
    assert (asset["nodata"], asset["data_type"]) == ("nan", "float32")
    assert asset["bands"][1] == {"name": "B03"}


def test_a_scene_without_place_or_time_is_valid_too() -> None:
    nowhere = SceneInfo("a", ("x",), 5, 5, "float32", nodata=float("-inf"))
    item = _valid(make_item(nowhere, {"a": Asset("a.tif", "image/tiff", info=nowhere)}, {}, now=NOW))
    assert item["geometry"] is None
    assert "bbox" not in item
    assert item["properties"]["datetime"] is None
    assert item["properties"]["start_datetime"] == EARLIEST.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert item["properties"]["end_datetime"] == "2026-01-02T03:04:05Z"
    assert item["properties"]["proj:code"] is None
    assert item["assets"]["a"]["nodata"] == "-inf"


def test_a_scene_across_the_antimeridian_has_two_parts() -> None:
    geo = Georeference(CRS.from_epsg(32601).to_wkt(), (1000.0, 0.0, 150_000.0, 0.0, -1000.0, 5.1e6))
    item = _valid(make_item(replace(SCENE, height=100, width=150, geo=geo), ASSETS, {}, now=NOW))
    assert item["geometry"]["type"] == "MultiPolygon"
    west, south, east, north = item["bbox"]
    assert 178 < west <= 180
    assert -180 <= east < -179
    assert 45 < south < north < 47


def _is_wkt2(text: str, crs: str) -> None:
    assert text.startswith(("PROJCRS[", "GEOGCRS[", "BOUNDCRS["))
    assert pyproj.CRS.from_wkt(text).equals(pyproj.CRS.from_wkt(crs))


@pytest.mark.parametrize("crs", ["ESRI:54009", "+proj=tmerc +lon_0=9 +ellps=bessel +towgs84=598,73,418,0,0,2,6"])
def test_a_store_has_the_wkt2_of_its_name_and_opens_under_the_same_crs(tmp_path: Path, crs: str) -> None:
    wkt = CRS.from_user_input(crs).to_wkt()
    info = replace(SCENE, height=8, width=8, geo=replace(SCENE.geo, crs_wkt=wkt))
    store = tmp_path / "a.zarr"
    create_store(store, info, 8, [Variable("scene", "uint16", 0, "band", info.bands)], {})
    _is_wkt2(json.loads((store / "zarr.json").read_text())["attributes"]["proj:wkt2"], wkt)
    with xr.open_zarr(store, consolidated=False) as opened:
        assert opened.rio.crs == CRS.from_wkt(wkt)


def test_ground_control_points_and_own_crs_have_a_footprint() -> None:
    gcps = tuple(Gcp(row, column, 10 + column / 100, 50 - row / 100, 0) for row in (0, 100) for column in (0, 200))
    scene = replace(SCENE, geo=Georeference(gcps=gcps, gcps_crs_wkt=CRS.from_epsg(4326).to_wkt()))
    item = _valid(make_item(scene, ASSETS, {}, now=NOW))
    np.testing.assert_allclose(item["bbox"], [10, 49, 12, 50], atol=1e-6)
    assert item["properties"]["proj:code"] == "EPSG:4326"
    own = CRS.from_proj4("+proj=laea +lat_0=10 +lon_0=20 +R=6371000 +units=m").to_wkt()
    item = _valid(make_item(replace(SCENE, geo=replace(SCENE.geo, crs_wkt=own)), ASSETS, {}, now=NOW))
    assert item["properties"]["proj:code"] is None
    _is_wkt2(item["properties"]["proj:wkt2"], own)
    local = 'LOCAL_CS["plant",UNIT["metre",1]]'
    item = _valid(make_item(replace(SCENE, geo=replace(SCENE.geo, crs_wkt=local)), ASSETS, {}, now=NOW))
    assert item["geometry"] is None


@pytest.mark.parametrize(
    ("tags", "time"),
    [
        ({"DATETIME": "2022:01:17 10:43:43"}, datetime(2022, 1, 17, 10, 43, 43, tzinfo=UTC)),
        ({"TIFFTAG_DATETIME": "2022:01:17 10:43:43"}, None),
        ({"AcquisitionDateTime": "2022-01-17T10:43:43+02:00"}, datetime(2022, 1, 17, 8, 43, 43, tzinfo=UTC)),
        ({"TIFFTAG_DATETIME": "2022:01:17", "ACQUISITIONDATETIME": "2020-01-01"}, datetime(2020, 1, 1, tzinfo=UTC)),
        ({"SENSING_TIME": "yesterday"}, None),
        ({"SENSING_TIME": ""}, None),
        ({}, None),
    ],
)
def test_the_time_is_read_from_tags(tags: dict[str, str], time: datetime | None) -> None:
    assert acquisition_time(tags) == time


@pytest.mark.parametrize(
    ("name", "made", "taken", "end"),
    [
        ("ortho_2018", "2022:01:17 10:43:43", None, "2022-01-17T10:43:43Z"),
        ("20220117_104300_0f1a_3B", "2022:01:17 10:43:43", "2022-01-17T10:43:43Z", None),
        ("LC08_L2SP_021030_20200101_20200113_02", "2020:01:13 04:05:06", None, "2020-01-13T04:05:06Z"),  # processed
        ("scene", "2099:01:01 00:00:00", None, "2026-01-02T03:04:05Z"),
        ("scene", "1904:01:01 00:00:00", None, "2026-01-02T03:04:05Z"),  # a clock that was never set
        ("scene", "", None, "2026-01-02T03:04:05Z"),
    ],
)
def test_when_a_file_was_made_is_when_its_scene_was_taken_only_where_its_name_says_so(
    name: str, made: str, taken: str | None, end: str | None
) -> None:
    item = _valid(make_item(replace(SCENE, name=name, tags={"TIFFTAG_DATETIME": made}), ASSETS, {}, now=NOW))
    properties = item["properties"]
    assert (properties["datetime"], properties.get("end_datetime")) == (taken, end)
    if end:
        assert properties["start_datetime"] == "1970-01-01T00:00:00Z"
        assert ("DateTime" in properties["description"]) == (end != "2026-01-02T03:04:05Z")


def test_a_given_time_wins() -> None:
    acquired = datetime(2020, 5, 6, 7, tzinfo=timezone(timedelta(hours=1)))
    item = _valid(make_item(SCENE, ASSETS, {}, acquired=acquired, now=NOW))
    assert item["properties"]["datetime"] == "2020-05-06T06:00:00Z"
    assert "start_datetime" not in item["properties"]


def test_hrefs_stay_beside_the_item() -> None:
    for href in ("/etc/passwd", "../other.tif"):
        with pytest.raises(AssertionError):
            make_item(SCENE, {"a": Asset(href, "image/tiff")}, {}, now=NOW)


def test_our_items_open_as_scenes(tmp_path: Path) -> None:
    block = numbers(2, 100, 200)
    windows = [(window.window, block[:, *window.window.slices], None) for window in SCENE.grid(64)]
    write_cog(tmp_path / "denoised.tif", SCENE, windows)
    item = make_item(SCENE, {"cog": Asset("denoised.tif", pystac.MediaType.COG, ("data",), "", SCENE)}, {}, now=NOW)
    (tmp_path / "item.json").write_text(json.dumps(item))
    source = open_source(tmp_path / "item.json")
    assert (source.info.name, source.info.bands, source.info.geo) == ("scene", SCENE.bands, SCENE.geo)
    np.testing.assert_array_equal(whole(source)[0], block)
    one, _ = whole(open_source(tmp_path / "item.json", bands=["B03"]))
    np.testing.assert_array_equal(one, block[1:])


FIELDS = {
    "proj": {"code", "wkt2", "projjson", "geometry", "bbox", "centroid", "shape", "transform"},
    "raster": {"sampling", "bits_per_sample", "spatial_resolution", "scale", "offset", "histogram"},
    "processing": {"expression", "lineage", "level", "facility", "software", "version", "datetime"},
    "eo": {"cloud_cover", "snow_cover", "common_name", "center_wavelength", "full_width_half_max"},
    "view": {"off_nadir", "incidence_angle", "azimuth", "sun_azimuth", "sun_elevation"},
}
"""Of the extensions, copied by hand from their pages: their schemas cannot be had where the tests run."""


def _prefixed(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_prefixed, value))
    if isinstance(value, dict):
        return {key for key in value if ":" in key} | set().union(*map(_prefixed, value.values()))
    return set()


def test_every_field_is_of_an_extension_that_is_declared() -> None:
    origin = Origin(
        "S2A/1",
        "https://example.com/1",
        datetime(2020, 1, 1, tzinfo=UTC),
        properties={"eo:cloud_cover": 3.0, "view:sun_elevation": 20.0, "platform": "sentinel-2a"},
        extensions=(
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
            "https://stac-extensions.github.io/view/v1.0.0/schema.json",
        ),
    )
    tagged = replace(SCENE, band_tags=({"common_name": "red", "center_wavelength": "0.665"}, {}))
    item = _valid(make_item(tagged, {"cog": Asset("a.tif", "image/tiff", info=tagged)}, {}, now=NOW, origin=origin))
    assert item["assets"]["cog"]["bands"][0]["eo:center_wavelength"] == 0.665
    declared = {uri.split("/")[3] for uri in item["stac_extensions"]}
    assert declared == {"projection", "raster", "processing", "eo", "view"}
    assert sum("/eo/" in uri for uri in item["stac_extensions"]) == 1
    fields = _prefixed({key: item[key] for key in ("properties", "assets")})
    assert {prefix for prefix, _, _ in (field.partition(":") for field in fields)} == set(FIELDS)
    assert all(name in FIELDS[prefix] for prefix, _, name in (field.partition(":") for field in fields))
    assert (item["id"], item["properties"]["datetime"]) == ("S2A/1", "2020-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (("B02", "B03", "B04", "B05", "B08", "B8A"), ("blue", "green", "red", None, "nir", "nir08")),
        (("B02", "B03", "B04", "B05"), ("blue", "green", "red", None)),
        (("B1", "B2", "B3", "B4", "B5", "B7"), ("blue", "green", "red", "nir08", None, None)),
        (("red", "green", "blue"), ("red", "green", "blue")),
        (("B1", "B2", "B3", "B4"), (None,) * 4),  # of Landsat 7 or of another
        (("B04", "B08"), (None, None)),
        (("2016-01-17 B02", "2016-01-17 B03", "2016-01-17 B04"), (None,) * 3),
        (tuple(f"B{number:02}" for number in range(1, 31)), (None,) * 30),
    ],
)
def test_bands_of_known_sensors_have_their_common_names(names: tuple[str, ...], common: tuple[str | None, ...]) -> None:
    count = len(names)
    scene = SceneInfo("scene", names, 100, 200, "uint16", geo=SCENE.geo, tags=SCENE.tags)
    item = _valid(make_item(scene, {"cog": Asset("a.tif", "image/tiff", info=scene)}, {}, now=NOW))
    assert tuple(band.get("eo:common_name") for band in item["assets"]["cog"]["bands"]) == common
    assert any("/eo/" in uri for uri in item["stac_extensions"]) == any(common)
    told = replace(scene, band_tags=({"common_name": "coastal"}, *({},) * (count - 1)))
    item = make_item(told, {"cog": Asset("a.tif", "image/tiff", info=told)}, {}, now=NOW)
    found = [band.get("eo:common_name") for band in item["assets"]["cog"]["bands"]]
    assert found == ["coastal"] + [None] * (count - 1)  # who named some has named all that he would


def test_an_item_of_a_span_of_time_keeps_it() -> None:
    span = Origin("m", "m.json", start=datetime(2020, 1, 1, tzinfo=UTC), end=datetime(2020, 2, 1, tzinfo=UTC))
    untold = replace(SCENE, tags={})
    properties = _valid(make_item(untold, {}, {}, now=NOW, origin=span, derived_from="../m.json"))["properties"]
    assert properties["datetime"] is None
    assert (properties["start_datetime"], properties["end_datetime"]) == (
        "2020-01-01T00:00:00Z",
        "2020-02-01T00:00:00Z",
    )
    assert "description" not in properties


@pytest.mark.parametrize("boxes", [[[170.0, -5, -170, 5], [0.0, 0, 1, 1]], [[1.0, 2, 3, 4], [2.0, 1, 5, 3]], []])
def test_the_box_of_a_collection_holds_its_items(boxes: list[list[float]]) -> None:
    gathered = Members()
    for number, box in enumerate(boxes):
        item = make_item(SCENE, ASSETS, {}, now=NOW, name=str(number))
        gathered.add(f"./{number}/item.json", item | {"bbox": box})
    collection = _valid(gathered.collection("c"))
    west, south, east, north = collection["extent"]["spatial"]["bbox"][0]
    for box in boxes:
        assert south <= box[1] <= box[3] <= north
        assert west <= min(box[0], box[2]) <= max(box[0], box[2]) <= east
    assert [link["href"] for link in collection["links"][1:]] == [f"./{n}/item.json" for n in range(len(boxes))]
