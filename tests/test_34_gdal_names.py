"""What GDAL opens by other names than a path is found by workers that stand in another folder."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.flow.read import open_scene
from pipeline.grid import Window
from pipeline.raster.gdal_names import absolute_name
from tests.scenes import write_tif

BLOCK = np.arange(2 * 20 * 30, dtype="uint16").reshape(2, 20, 30)
NAMES = (
    "in/plain.tif",
    "/vsizip/z.zip/in/plain.tif",
    "/vsizip/{z.zip}/in/plain.tif",
    "zip://z.zip!in/plain.tif",
    "file://in/plain.tif",
    "GTIFF_DIR:1:in/plain.tif",
    "vrt://in/plain.tif?bands=1,2",
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with in/plain.tif, z.zip of it, and a folder away."""
    for name in ("in", "away"):
        (tmp_path / name).mkdir()
    scene = write_tif(tmp_path / "in" / "plain.tif", BLOCK)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as file:
        file.write(scene, "in/plain.tif")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_scene_is_read_from_another_folder(here: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    sent = pickle.dumps(open_scene(name))
    monkeypatch.chdir(here / "away")
    source = pickle.loads(sent)
    np.testing.assert_array_equal(source.read(Window(0, 20, 0, 30))[0], BLOCK)
    assert source.info.name == "plain"


def test_names_without_a_path_that_is_there_stay(here: Path) -> None:
    (here / "b.nc").touch()
    assert absolute_name('NETCDF:"b.nc":v') == f'NETCDF:"{here}/b.nc":v'
    assert absolute_name("HDF4_SDS:UNKNOWN:b.nc:0") == f"HDF4_SDS:UNKNOWN:{here}/b.nc:0"
    assert absolute_name("/vsisubfile/10_20,b.nc") == f"/vsisubfile/10_20,{here}/b.nc"
    for name in (
        f"/vsizip/{here}/z.zip/in/plain.tif",
        f"file://{here}/b.nc",
        "/vsizip//vsicurl/https://host/z.zip/in/plain.tif",
        "zip+https://host/z.zip!in/plain.tif",
        "/vsimem/b.nc",
        'NETCDF:"none.nc":v',
        "none.tif",
        "<VRTDataset>in/plain.tif</VRTDataset>",
    ):
        assert absolute_name(name) == name


def test_a_file_that_this_worker_does_not_see_is_not_called_damaged(here: Path) -> None:
    source = open_scene("in/plain.tif")
    (here / "in" / "plain.tif").rename(here / "gone.tif")
    seen = r"it is gone, or not seen by this worker; give a path that all workers see$"
    with pytest.raises(SourceError, match=rf"in/plain.tif: cannot read rows 0:20, columns 0:30: .*; {seen}"):
        source.read(Window(0, 20, 0, 30))
    (here / "in" / "plain.tif").write_bytes((here / "gone.tif").read_bytes()[:1500])
    with pytest.raises(SourceError, match=r"; the file is damaged or incomplete, get it again$"):
        source.read(Window(0, 20, 0, 30))


def test_addresses_stay_whatever_lies_here(here: Path) -> None:
    """A mirror has folders called like hosts."""
    (here / "example.com").mkdir()
    shutil.copy(here / "in" / "plain.tif", here / "example.com" / "a.tif")
    for name in (
        "https://example.com/a.tif",
        "s3://example.com/a.tif",
        "zip+https://example.com/a.tif",
        "vrt://https://example.com/a.tif?bands=1",
        'NETCDF:"https://example.com/a.tif":v',
        "/vsizip//vsicurl/https://example.com/a.tif",
    ):
        assert absolute_name(name) == name
    assert absolute_name("vrt://example.com/a.tif?bands=1") == f"vrt://{here}/example.com/a.tif?bands=1"
