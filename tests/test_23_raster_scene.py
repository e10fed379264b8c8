"""The facts of a scene: through JSON and back, scaled, and named."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from pipeline.errors import ConfigError
from pipeline.raster.names import (
    band_names,
    choose,
    file_labels,
    natural_key,
    safe_name,
    scene_name,
    unique,
)
from pipeline.raster.scene import Gcp, Georeference, SceneInfo

WKT = CRS.from_epsg(32618).to_wkt()
RPCS = {"LINE_OFF": "99.5", "SAMP_OFF": "199.5", "LINE_SCALE": "100", "SAMP_SCALE": "200", "LAT_OFF": "1"}

number = st.floats(allow_nan=False, allow_infinity=False)
infos = st.builds(
    SceneInfo,
    name=st.just("scene"),
    bands=st.just(("B02", "B8A")),
    height=st.integers(1, 10**6),
    width=st.integers(1, 10**6),
    dtype=st.sampled_from(["uint16", "float32"]),
    nodata=st.none() | st.floats(allow_nan=False),
    scales=st.tuples(number, number),
    units=st.just((None, "m")),
    geo=st.builds(
        Georeference,
        crs_wkt=st.none() | st.just(WKT),
        transform=st.none() | st.tuples(*[number] * 6),
        gcps=st.lists(st.builds(Gcp, *[number] * 5), max_size=2).map(tuple),
        gcps_crs_wkt=st.none() | st.just(WKT),
        rpcs=st.none() | st.just(RPCS),
    ),
    tags=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    masked=st.booleans(),
)


@given(infos)
def test_json_keeps_every_fact(info: SceneInfo) -> None:
    text = json.dumps(info.to_json(), allow_nan=False)
    assert SceneInfo.from_json(json.loads(text)) == info
    assert pickle.loads(pickle.dumps(info)) == info


def test_json_keeps_nan() -> None:
    info = SceneInfo("a", ("x",), 1, 1, "float32", nodata=float("nan"))
    back = SceneInfo.from_json(json.loads(json.dumps(info.to_json(), allow_nan=False)))
    assert back.nodata is not None
    assert np.isnan(back.nodata)
    assert replace(back, nodata=None) == replace(info, nodata=None)


@pytest.mark.parametrize("wkt", [[1, 2, 3], {"name": "default"}, 4326, True])
@pytest.mark.parametrize("key", ["crs_wkt", "gcps_crs_wkt"])
def test_a_crs_that_is_no_words_is_refused(key: str, wkt: object) -> None:
    """Found by fuzzing: such attributes of a damaged store came as far as pyproj."""
    facts = SceneInfo("a", ("x",), 1, 1, "uint8").to_json()
    facts["geo"][key] = wkt
    with pytest.raises(TypeError, match="not words"):
        SceneInfo.from_json(facts)


@given(st.integers(1, 9), st.integers(0, 50), st.integers(0, 50))
def test_a_cell_begins_where_its_first_pixel_begins(stride: int, row: int, column: int) -> None:
    geo = Georeference(WKT, (10.0, 3.0, 5e5, 2.0, -10.0, 4e6), (Gcp(stride * 2.0, stride * 4.0, 1, 2, 3),), WKT, RPCS)
    cells = geo.scaled(stride)
    assert geo.transform is not None
    assert cells.transform is not None

    def corner(transform: tuple[float, ...], y: int, x: int) -> tuple[float, float]:
        a, b, c, d, e, f = transform
        return a * x + b * y + c, d * x + e * y + f

    assert corner(cells.transform, row, column) == corner(geo.transform, row * stride, column * stride)
    assert cells.gcps == (Gcp(2.0, 4.0, 1, 2, 3),)
    assert cells.rpcs is not None
    # line 99.5 is the border between pixels 99 and 100, counted from centres: 100/stride cells from the top
    assert float(cells.rpcs["LINE_OFF"]) + 0.5 == pytest.approx(100 / stride)
    assert float(cells.rpcs["SAMP_SCALE"]) == pytest.approx(200 / stride)


def test_georeference_tells_code_and_resolution() -> None:
    geo = Georeference(WKT, (3.0, -8.0, 0.0, 4.0, 6.0, 0.0))
    assert geo.epsg == 32618
    assert geo.resolution == (5.0, 10.0)
    assert (Georeference().epsg, Georeference().resolution) == (None, None)


def test_missing_facts_are_filled_for_every_band() -> None:
    info = SceneInfo("a", ("x", "y", "z"), 5, 7, "uint8")
    assert info.scales == (1.0,) * 3
    assert info.band_tags == ({}, {}, {})
    chosen = replace(info, scales=(1.0, 2.0, 3.0)).select([2, 0])
    assert (chosen.bands, chosen.scales, chosen.units) == (("z", "x"), (3.0, 1.0), (None, None))
    assert len(info.grid(4)) == 4


def test_bands_sort_as_sentinel_counts_them() -> None:
    files = ["B11", "B8A", "B10", "B1", "B09", "B08", "B2", "B07"]
    assert sorted(files, key=natural_key) == ["B1", "B2", "B07", "B08", "B8A", "B09", "B10", "B11"]


def test_names_of_bands_are_whole_and_unique() -> None:
    assert band_names(["red", None, " ", "red"]) == ("red", "band_2", "band_3", "red_2")
    assert list(unique(["a", "a", "a_2", "a"])) == ["a", "a_3", "a_2", "a_4"]
    assert file_labels(["x/T18_2016_B02.tif", "x/T18_2016_B8A.tif"]) == ["B02", "B8A"]
    assert file_labels(["R/T18_B02_10m.jp2", "R/T18_B05_20m.jp2"]) == ["B02_10m", "B05_20m"]


@given(st.lists(st.sampled_from("ab") | st.sampled_from(["a_2", "b_2"]), max_size=8))
def test_unique_names_are_unique_and_as_many(names: list[str]) -> None:
    result = list(unique(names))
    assert len(result) == len(names) == len(set(result))
    assert all(new.startswith(old) for new, old in zip(result, names, strict=True))


def test_names_of_scenes_are_safe_names_of_folders() -> None:
    assert scene_name("/data/L8.v2.tif") == "L8.v2"
    assert scene_name("/vsicurl/https://host/a%20b/scene.tif?token=x/y") == "scene"
    assert scene_name('NETCDF:"cube.nc":reflectance') == "reflectance"
    assert safe_name("../../etc") == "_.._etc"
    assert safe_name("..") == "scene"


def test_bands_are_chosen_by_number_or_name() -> None:
    names = ("B02", "B03", "B04")
    assert choose(names, [3, 1], None, "x") == (2, 0)
    assert choose(names, None, ["B03"], "x") == (1,)
    assert choose(names, None, None, "x") == (0, 1, 2)
    for wrong in ({"bidx": [0], "bands": None}, {"bidx": [4], "bands": None}, {"bidx": [1, 1], "bands": None}):
        with pytest.raises(ConfigError, match="1 B02, 2 B03, 3 B04"):
            choose(names, where="x", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no band B9; there are 1 B02"):
        choose(names, None, ["B9"], "x")
    with pytest.raises(ConfigError, match="not both"):
        choose(names, [1], ["B02"], "x")
