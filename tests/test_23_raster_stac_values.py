"""What a STAC item says of the numbers of its bands: nodata, scale, offset and unit."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from pipeline.grid import Window
from pipeline.raster.cog import write_cog
from pipeline.raster.open import open_source
from pipeline.raster.stac import Asset, make_item
from tests.raster_files import numbers, whole, write_tif
from tests.stac_files import TIFF, item
from tests.stac_files import write as write_item

OLD = {"nodata": 0, "scale": 1e-4, "offset": -0.1, "unit": "1"}
NEW = {"nodata": 0, "raster:scale": 1e-4, "raster:offset": -0.1, "unit": "1"}


def _item(
    folder: Path, count: int = 2, dtype: str = "uint16", change: Any = lambda dataset: None, **facts: Any
) -> Path:
    """An item of one asset whose first pixel is 0 in band 1, and 7 in band 2."""
    block = numbers(count, 8, 8, dtype)
    block[:, 0, 0] = [0, 7, 7][:count]
    write_tif(folder / "cube.tif", block, change or (lambda dataset: None))
    properties = facts.pop("properties", {})
    found = item("x", "")
    found["properties"] |= properties
    found["assets"] = {"cube": {"href": "./cube.tif", "type": TIFF, "roles": ["data"]} | facts}
    return write_item(folder / "item.json", found)


@pytest.mark.parametrize(
    "facts",
    [
        {"raster:bands": [OLD, OLD]},
        {"raster:bands": [OLD, OLD], "eo:bands": [{"name": "a"}, {"name": "b"}]},
        {"bands": [NEW | {"name": "a"}, NEW | {"name": "b"}]},
        NEW,
        NEW | {"bands": [{"name": "a"}, {"name": "b"}]},
        {"raster:scale": 9, "raster:offset": 9, "nodata": 9, "unit": "9", "bands": [NEW, NEW]},
        {"properties": NEW},
    ],
)
def test_an_item_says_nodata_scale_offset_and_unit_of_all_bands(tmp_path: Path, facts: dict[str, Any]) -> None:
    source = open_source(_item(tmp_path, **facts))
    info = source.info
    assert (info.nodata, info.scales, info.offsets, info.units) == (0.0, (1e-4,) * 2, (-0.1,) * 2, ("1", "1"))
    assert info.masked
    assert not whole(source)[1][0, 0]


def test_each_band_has_its_own_and_keeps_it_when_asked_for_alone(tmp_path: Path) -> None:
    said = [OLD, {"nodata": 7, "scale": 2.0}, {}]
    path = _item(tmp_path, 3, **{"raster:bands": said, "eo:bands": [{"name": name} for name in "abc"]})
    for names in (["b"], ["b", "a"], ["c", "b"], None):
        source = open_source(path, bands=names)
        places = ["abc".index(name) for name in names or "abc"]
        assert source.info.scales == tuple((1e-4, 2.0, 1.0)[place] for place in places)
        assert source.info.offsets == tuple((-0.1, 0.0, 0.0)[place] for place in places)
        assert not whole(source)[1][0, 0]
    assert whole(open_source(path, bands=["c"]))[1].all()


def test_what_the_file_declares_counts(tmp_path: Path) -> None:
    def own(dataset: Any) -> None:
        dataset.nodata = 5
        dataset.scales, dataset.offsets, dataset.units = (0.5, 1.0), (0.0, 3.0), ("m", "")

    info = open_source(_item(tmp_path, change=own, **NEW)).info
    assert (info.nodata, info.scales, info.offsets, info.units) == (5.0, (0.5, 1.0), (0.0, 3.0), ("m", "1"))
    assert open_source(_item(tmp_path, **NEW), nodata=3).info.nodata == 3.0


def test_an_offset_that_is_in_the_pixels_is_not_taken_off_again(tmp_path: Path) -> None:
    path = _item(tmp_path, **NEW, properties={"earthsearch:boa_offset_applied": True})
    assert (open_source(path).info.scales, open_source(path).info.offsets) == ((1e-4,) * 2, (0.0, 0.0))
    path = _item(tmp_path, **NEW, properties={"earthsearch:boa_offset_applied": False})
    assert open_source(path).info.offsets == (-0.1, -0.1)


@pytest.mark.parametrize(("word", "value"), [("nan", math.nan), ("inf", math.inf), ("-inf", -math.inf)])
def test_nodata_may_be_a_word(tmp_path: Path, word: str, value: float) -> None:
    assert repr(open_source(_item(tmp_path, dtype="float32", nodata=word)).info.nodata) == repr(value)
    assert open_source(_item(tmp_path, nodata=word)).info.nodata is None  # no integer is that


@pytest.mark.parametrize("value", ["0", "x", True, [0], {"a": 0}, 1e300, 10**400, 2**60 + 1, -1, 0.5, "nan\0", None])
@pytest.mark.parametrize("dtype", ["uint16", "int64"])
def test_a_nodata_that_is_none_is_not_said(tmp_path: Path, value: Any, dtype: str) -> None:
    info = open_source(_item(tmp_path, dtype=dtype, nodata=value)).info
    assert info.nodata == (-1.0 if dtype == "int64" and value == -1 else None)


@pytest.mark.parametrize(
    "facts",
    [
        {"raster:scale": "1e-4", "raster:offset": -0.1},
        {"raster:scale": 1e-4, "raster:offset": [1]},
        {"raster:scale": 0},
        {"raster:scale": True, "raster:offset": 1},
        {"raster:scale": 10**400},
        {"raster:offset": math.inf},
        {"unit": 5},
        {"unit": "m\0"},
        {"unit": "\ud800"},
        {"unit": "m" * 10_000},
        {"raster:bands": [OLD]},
        {"raster:bands": [OLD] * 50_000},
        {"raster:bands": [OLD, 5]},
        {"raster:bands": [5, OLD, OLD]},
        {"raster:bands": "no list"},
        {"raster:bands": [{"scale": {}, "nodata": {}, "unit": {}, "offset": ""}] * 2},
        {"properties": {"raster:scale": [], "nodata": {}, "earthsearch:boa_offset_applied": "yes"}},
    ],
)
def test_values_of_other_kinds_are_not_said(tmp_path: Path, facts: dict[str, Any]) -> None:
    info = open_source(_item(tmp_path, **facts)).info
    assert (info.nodata, info.scales, info.offsets) == (None, (1.0, 1.0), (0.0, 0.0))
    assert not any(info.units)


def test_an_alpha_band_need_not_be_listed(tmp_path: Path) -> None:
    def alpha(dataset: Any) -> None:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.alpha]

    said = [OLD, OLD | {"scale": 3}]
    for listed in (said, [*said, {"scale": 5}]):
        assert open_source(_item(tmp_path, 3, change=alpha, **{"raster:bands": listed})).info.scales == (1e-4, 3.0)
    assert open_source(_item(tmp_path, 3, **{"raster:bands": said})).info.scales == (1.0,) * 3


def test_what_was_said_goes_into_cogs_and_items(tmp_path: Path) -> None:
    source = open_source(_item(tmp_path, **{"raster:bands": [OLD, OLD]}))
    block, valid = whole(source)
    write_cog(tmp_path / "out.tif", source.info, [(Window(0, 8, 0, 8), block, valid)])
    with rasterio.open(tmp_path / "out.tif") as out:
        assert (out.nodata, out.scales, out.offsets, out.units) == (0, (1e-4,) * 2, (-0.1,) * 2, ("1", "1"))
        np.testing.assert_array_equal(out.read(), block)
    made = make_item(source.info, {"cog": Asset("./out.tif", "image/tiff", info=source.info)}, {})
    asset = made["assets"]["cog"]
    assert asset["nodata"] == 0
    assert [(b["raster:scale"], b["raster:offset"], b["unit"]) for b in asset["bands"]] == [(1e-4, -0.1, "1")] * 2
