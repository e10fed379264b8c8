"""What GeoTIFF cannot hold lies beside a COG, with it and no longer than it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS

from pipeline.errors import OutputError
from pipeline.grid import Window
from pipeline.raster import cog
from pipeline.raster.cog import write_cog
from pipeline.raster.open import open_source
from pipeline.raster.scene import Georeference, SceneInfo
from tests.raster_files import UTM, numbers

ROTATED = (
    "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 +R=6371229 +to_meter=0.0174532925199433"
)
BLOCK = numbers(1, 16, 16, "uint8")
TRANSFORM = (0.5, 0.0, -10.0, 0.0, -0.5, 20.0)


def _scene(crs: str | None) -> SceneInfo:
    wkt = None if crs is None else CRS.from_user_input(crs).to_wkt()
    return SceneInfo("a", ("one",), 16, 16, "uint8", geo=Georeference(wkt, TRANSFORM), tags={"TIFFTAG_ARTIST": "me"})


def _write(path: Path, crs: str | None, **words: Any) -> None:
    write_cog(path, _scene(crs), [(Window(0, 16, 0, 16), BLOCK, None)], **words)


@pytest.mark.parametrize("crs", [ROTATED, "+proj=isea", "+proj=healpix", "+proj=nsper +h=3000000 +lat_0=10 +lon_0=10"])
def test_a_crs_without_keys_is_read_back(tmp_path: Path, crs: str) -> None:
    path = tmp_path / "a.tif"
    _write(path, crs, statistics=True)
    told = CRS.from_wkt(str(_scene(crs).geo.crs_wkt))
    with rasterio.open(path) as file:
        assert file.crs == told
        assert tuple(file.transform)[:6] == TRANSFORM
        assert file.tags()["TIFFTAG_ARTIST"] == "me"
    assert CRS.from_wkt(str(open_source(path).info.geo.crs_wkt)) == told
    assert sorted(os.listdir(tmp_path)) == ["a.tif", "a.tif.aux.xml"]
    assert [element.tag for element in ElementTree.parse(tmp_path / "a.tif.aux.xml").getroot()] == ["SRS"]


@pytest.mark.parametrize("crs", [UTM, "EPSG:3035", None])
def test_a_sidecar_goes_with_the_file_it_was_of(tmp_path: Path, crs: str | None) -> None:
    path = tmp_path / "a.tif"
    _write(path, ROTATED)
    _write(path, crs, overwrite=True)
    assert os.listdir(tmp_path) == ["a.tif"]
    with rasterio.open(path) as file:
        assert file.crs == (crs if crs is None else CRS.from_user_input(crs))


@pytest.mark.parametrize(("before", "after"), [(ROTATED, UTM), (UTM, ROTATED), (ROTATED, "+proj=isea")])
def test_what_cannot_be_written_leaves_the_old_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    path = tmp_path / "a.tif"
    _write(path, before)
    old = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def broken() -> Iterator[Any]:
        yield Window(0, 8, 0, 16), BLOCK[:, :8], None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cog(path, _scene(after), broken(), overwrite=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == old

    def full(*_: Any) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(cog, "give", full)
    with pytest.raises(OutputError, match="disk is full"):
        _write(path, after, overwrite=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == old


def test_a_sidecar_that_cannot_be_written_is_one_line_and_leaves_no_raster(tmp_path: Path) -> None:
    (tmp_path / "a.tif.aux.xml").mkdir()
    with pytest.raises(OutputError, match=r"a\.tif\.aux\.xml: cannot be written: "):
        _write(tmp_path / "a.tif", ROTATED)
    assert os.listdir(tmp_path) == ["a.tif.aux.xml"]


def test_names_of_classes_lie_with_the_crs(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    names = ("", "forêt & <wood>", "water")
    info = replace(_scene(ROTATED), nodata=0.0)
    block = np.minimum(BLOCK, 2)
    write_cog(path, info, [(Window(0, 16, 0, 16), block, None)], categories=names)
    with rasterio.open(path) as file:
        assert file.crs == CRS.from_user_input(ROTATED)
    root = ElementTree.parse(tmp_path / "a.tif.aux.xml").getroot()
    assert [element.text or "" for element in root.iter("Category")] == list(names)
