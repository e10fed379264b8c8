"""One raster by windows: every way in which files say that a pixel is not real, and every file that cannot be read."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.env import get_gdal_config
from scipy.io import netcdf_file

from pipeline.errors import ConfigError, SourceError, TerrasketchError
from pipeline.grid import Window
from pipeline.raster.gdal import CACHE_BYTES, HANDLES, _handles, gdal_env, is_remote
from pipeline.raster.open import open_source
from tests.raster_files import NORTH_UP, numbers, rasterio_open, read_all, whole, write_tif

BROKEN = {"corrupt.tif", "truncated_s2_B05.tif"}
REFUSED = {"palette-1c-8b.tiff"}
AWKWARD = Path(__file__).parents[2] / "shared" / "data" / "awkward"
NAMES = sorted(path.name for path in AWKWARD.glob("*")) or ["absent"]


@pytest.mark.parametrize("name", NAMES)
def test_awkward_files_read_as_rasterio_reads_them_or_give_one_line(shared_data: Path, name: str) -> None:
    path = shared_data / "awkward" / name
    if name in BROKEN | REFUSED:
        with pytest.raises(SourceError) as error:
            read_all(open_source(path), 200)
        assert name in str(error.value)
        assert "\n" not in str(error.value)
        assert "cannot read rows" in str(error.value) or name in REFUSED
        return
    source = open_source(path)
    block, valid = read_all(source, 100)
    with rasterio_open(path) as dataset:
        alpha = [index for index, colour in enumerate(dataset.colorinterp, 1) if colour == ColorInterp.alpha]
        bands = [index for index in dataset.indexes if index not in alpha]
        np.testing.assert_array_equal(block, dataset.read(bands))
        masks = dataset.read_masks(bands) > 0
        expected = masks.all(axis=0) & np.isfinite(dataset.read(bands)).all(axis=0)
        np.testing.assert_array_equal(valid, expected)
        assert source.info.geo.epsg == (dataset.crs and dataset.crs.to_epsg())
        assert source.info.scales == tuple(dataset.scales[: len(bands)])
        assert len(source.info.geo.gcps) == len(dataset.gcps[0])
        assert source.info.geo.transform in (None, tuple(dataset.transform)[:6])
    assert source.info.masked or valid.all()


def test_no_warning_leaves_even_under_error(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", numbers(1, 8, 9), crs=None, transform=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_source(path)
        with ThreadPoolExecutor(4) as pool:
            blocks = list(pool.map(lambda _: whole(source)[0], range(16)))
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            open_source(path)
    assert seen == []
    assert all(np.array_equal(block, numbers(1, 8, 9)) for block in blocks)
    assert source.info.geo.transform is None


def test_the_command_line_sees_no_warning(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", numbers(1, 8, 9), crs=None, transform=None)
    script = f"from pipeline.raster.open import open_source; print(open_source({str(path)!r}).info.bands)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("('band_1',)\n", "")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64", "int8"])
def test_windows_are_the_pixels_of_their_place(tmp_path: Path, dtype: str) -> None:
    block = numbers(3, 70, 90, dtype)
    source = open_source(write_tif(tmp_path / "a.tif", block))
    got, valid = source.read(Window(3, 70, 41, 90))
    assert got.dtype == block.dtype
    np.testing.assert_array_equal(got, block[:, 3:70, 41:90])
    assert valid.all()
    assert source.info.masked == (np.dtype(dtype).kind == "f")


def test_a_pixel_with_nodata_in_one_band_is_invalid_and_passes_as_read(tmp_path: Path) -> None:
    block = numbers(3, 6, 7, "int16")
    block[1, 2, 3] = -9999
    source = open_source(write_tif(tmp_path / "a.tif", block, nodata=-9999))
    got, valid = whole(source)
    assert np.argwhere(~valid).tolist() == [[2, 3]]
    np.testing.assert_array_equal(got, block)
    assert source.info.nodata == -9999
    _, valid = whole(open_source(tmp_path / "a.tif", nodata=int(block[0, 0, 0])))
    np.testing.assert_array_equal(valid, (block != block[0, 0, 0]).all(axis=0))
    assert not valid[0, 0]


@pytest.mark.parametrize("internal", [True, False])
def test_masks_inside_and_beside_the_file(tmp_path: Path, internal: bool) -> None:
    mask = np.random.default_rng(1).random((20, 30)) > 0.3
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        path = write_tif(tmp_path / "a.tif", numbers(2, 20, 30), lambda dataset: dataset.write_mask(mask))
    assert (tmp_path / "a.tif.msk").exists() == (not internal)
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source, 7)[1], mask)
    assert source.info.masked
    assert source.info.nodata is None


def _with_alpha(dataset: Any) -> None:
    dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.alpha]


def test_alpha_is_valid_and_no_band_unless_asked_for(tmp_path: Path) -> None:
    block = numbers(3, 5, 6)
    block[2] = [[0, 1, 255, 300, 65535, 0]] * 5
    path = write_tif(tmp_path / "a.tif", block, _with_alpha)
    got, valid = whole(open_source(path))
    np.testing.assert_array_equal(got, block[:2])
    np.testing.assert_array_equal(valid, block[2] > 0)
    explicit = open_source(path, bidx=[3, 1])
    got, valid = whole(explicit)
    np.testing.assert_array_equal(got, block[[2, 0]])
    assert valid.all()
    assert "alpha" not in explicit.info.colorinterp


def test_bands_of_a_vrt_keep_their_own_nodata(tmp_path: Path) -> None:
    block = numbers(2, 4, 5)
    block[0, 0, 0], block[1, 0, 1], block[0, 0, 2] = 250, 251, 251
    write_tif(tmp_path / "a.tif", block)
    band = (
        '<VRTRasterBand dataType="UInt16" band="{0}"><NoDataValue>{1}</NoDataValue><SimpleSource>'
        '<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>{0}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
    )
    bands = band.format(1, 250) + band.format(2, 251)
    (tmp_path / "a.vrt").write_text(f'<VRTDataset rasterXSize="5" rasterYSize="4">{bands}</VRTDataset>')
    source = open_source(tmp_path / "a.vrt")
    assert np.argwhere(~whole(source)[1]).tolist() == [[0, 0], [0, 1]]
    assert (source.info.nodata, source.info.masked) == (None, True)
    assert open_source(tmp_path / "a.vrt", bidx=[2]).info.nodata == 251


@pytest.mark.parametrize("resolution", [None, 2])
def test_bands_of_a_vrt_may_have_different_dtypes(tmp_path: Path, resolution: int | None) -> None:
    narrow, wide = numbers(1, 4, 6, "uint8"), numbers(1, 4, 6, "float32", seed=1) + np.float32(0.5)
    narrow[0, :2, :2], wide[0, 2:, 4:] = 0, -9999
    bands = ""
    for number, (kind, block, nodata) in enumerate((("Byte", narrow, 0), ("Float32", wide, -9999)), 1):
        write_tif(tmp_path / f"{number}.tif", block, nodata=nodata)
        bands += (
            f'<VRTRasterBand dataType="{kind}" band="{number}"><NoDataValue>{nodata}</NoDataValue><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">{number}.tif</SourceFilename><SourceBand>1</SourceBand>'
            "</SimpleSource></VRTRasterBand>"
        )
    place = "<GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform><SRS>EPSG:32618</SRS>"
    (tmp_path / "a.vrt").write_text(f'<VRTDataset rasterXSize="6" rasterYSize="4">{place}{bands}</VRTDataset>')
    source = open_source(tmp_path / "a.vrt", resolution=resolution)
    block, valid = whole(source)
    assert (source.info.dtype, source.info.nodata) == ("float32", -9999)
    expected = np.stack([np.where(narrow[0] == 0, np.float32(-9999), narrow[0]), wide[0]])
    if resolution is not None:
        expected = expected.reshape(2, 2, 2, 3, 2).mean((2, 4))  # no square is missing in part
    np.testing.assert_array_equal(block, expected)
    np.testing.assert_array_equal(valid, (expected != -9999).all(axis=0))


def test_a_nodata_that_pixels_cannot_hold_is_no_nodata(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", numbers(1, 4, 4, "uint8"))
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>-9999</NoDataValue></PAMRasterBand></PAMDataset>'
    )
    source = open_source(path)
    assert (source.info.nodata, source.info.masked) == (None, False)
    with pytest.raises(ConfigError, match="nodata -9999 is no value of uint8"):
        open_source(path, nodata=-9999)


def test_facts_beside_the_pixels_are_kept(tmp_path: Path) -> None:
    def facts(dataset: Any) -> None:
        dataset.descriptions = ("red", "", "red")
        dataset.scales, dataset.offsets = (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)
        dataset.units = ("m", "", "DN")
        dataset.update_tags(SENSOR="X")
        dataset.update_tags(2, wavelength="490")

    info = open_source(write_tif(tmp_path / "a b.tif", numbers(3, 4, 5), facts, nodata=7)).info
    assert (info.name, info.bands) == ("a_b", ("red", "band_2", "red_2"))
    assert (info.scales, info.offsets) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert (info.units[0], info.units[2], info.tags["SENSOR"]) == ("m", "DN", "X")
    assert info.band_tags[1] == {"wavelength": "490"}
    assert info.geo.transform == tuple(NORTH_UP)[:6]
    assert (info.geo.epsg, info.height, info.width, info.nodata) == (32618, 4, 5, 7.0)


def test_ground_control_points_are_kept(tmp_path: Path) -> None:
    points = [GroundControlPoint(r, c, 10 + c / 9, 50 - r / 9, 3.0) for r, c in ((0, 0), (0, 9), (9, 0))]
    path = write_tif(tmp_path / "a.tif", numbers(1, 9, 9), crs="EPSG:4326", transform=None, gcps=points)
    geo = open_source(path).info.geo
    assert geo.transform is None
    assert [tuple(gcp) for gcp in geo.gcps] == [(p.row, p.col, p.x, p.y, p.z) for p in points]
    assert geo.gcps_crs_wkt is not None


def test_fingerprint_is_of_the_pixels_not_of_name_or_date(tmp_path: Path) -> None:
    first = write_tif(tmp_path / "a.tif", numbers(1, 9, 9))
    copied = tmp_path / "b.tif"
    shutil.copy(first, copied)
    os.utime(copied, (1, 1))
    other = write_tif(tmp_path / "c.tif", numbers(1, 9, 9, seed=1))
    prints = [open_source(path).info.fingerprint for path in (first, copied, other)]
    assert prints[0] == prints[1] != prints[2]
    assert open_source(f"GTIFF_RAW:{first}").info.fingerprint == prints[0]
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset><Metadata/></PAMDataset>")
    assert open_source(first).info.fingerprint == prints[0]
    shutil.make_archive(str(tmp_path / "z"), "zip", tmp_path, "a.tif")
    inside = f"/vsizip/{tmp_path}/z.zip/a.tif"
    assert open_source(inside).info.fingerprint == open_source(inside).info.fingerprint != prints[2]


def test_sources_pickle_and_hold_one_handle_per_thread(tmp_path: Path) -> None:
    block = numbers(1, 30, 30)
    source = open_source(write_tif(tmp_path / "a.tif", block))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(read_all, source, 7).result()
        open_there = pool.submit(lambda: len(_handles.open)).result()
    copy = pickle.loads(pickle.dumps(source))
    assert open_there == 1
    assert copy == source
    np.testing.assert_array_equal(whole(copy)[0], block)


def test_few_handles_stay_open(tmp_path: Path) -> None:
    sources = [open_source(write_tif(tmp_path / f"{n}.tif", numbers(1, 4, 4, seed=n))) for n in range(HANDLES + 5)]
    for _ in range(2):
        for number, source in enumerate(sources):
            np.testing.assert_array_equal(whole(source)[0], numbers(1, 4, 4, seed=number))
    assert len(_handles.open) == HANDLES


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    source = open_source(write_tif(tmp_path / "a.tif", numbers(1, 8, 8)))
    whole(source)
    write_tif(tmp_path / "b.tif", numbers(1, 8, 8, seed=1))
    os.replace(tmp_path / "b.tif", tmp_path / "a.tif")
    np.testing.assert_array_equal(whole(source)[0], numbers(1, 8, 8, seed=1))


def test_gdal_is_small_and_the_users_settings_win(monkeypatch: pytest.MonkeyPatch) -> None:
    with gdal_env("a.tif") as env:
        assert int(get_gdal_config("GDAL_CACHEMAX")) <= CACHE_BYTES
        assert env.options["GDAL_NUM_THREADS"] == "1"
        assert "GDAL_DISABLE_READDIR_ON_OPEN" not in env.options
    with rasterio.Env(GDAL_NUM_THREADS="3"), gdal_env():
        assert str(get_gdal_config("GDAL_NUM_THREADS")) == "3"
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "9")
    remote = gdal_env("/vsicurl/https://host/a.tif").options
    assert remote["GDAL_DISABLE_READDIR_ON_OPEN"] == "EMPTY_DIR"
    assert "GDAL_HTTP_MAX_RETRY" not in remote
    paths = ["s3://b/k.tif", "/vsizip//vsis3/b/k.zip", "zip+https://h/k.zip!a.tif", "/data/https/a.tif", "a.tif"]
    assert [is_remote(path) for path in paths] == [True, True, True, False, False]


def _unreadable(folder: Path) -> dict[str, tuple[Path, str]]:
    (folder / "empty.tif").touch()
    (folder / "words.tif").write_text("no raster\n")
    (folder / "hollow").mkdir()
    (folder / "store.zarr").mkdir()
    (folder / "store.zarr" / "zarr.json").write_text("{}")
    with netcdf_file(folder / "cube.nc", "w") as cube:
        for name, size in (("red", 3), ("nir", 5)):
            cube.createDimension(f"{name}_y", size)
            cube.createVariable(name, "f4", (f"{name}_y", f"{name}_y"))[:] = 1
    write_tif(folder / "complex.tif", np.ones((1, 4, 4), np.complex64))
    radar = folder / "radar.tif"
    profile = {"driver": "GTiff", "height": 4, "width": 4, "count": 1, "dtype": "complex_int16"}
    with rasterio.open(radar, "w", **profile, transform=NORTH_UP):
        pass
    palette = write_tif(
        folder / "palette.tif", numbers(1, 4, 4, "uint8"), lambda d: d.write_colormap(1, {0: (1, 2, 3, 255)})
    )
    write_tif(folder / "alpha.tif", numbers(1, 4, 4), lambda d: setattr(d, "colorinterp", [ColorInterp.alpha]))
    return {
        "missing": (folder / "missing.tif", "No such file"),
        "empty": (folder / "empty.tif", "not recognized as being in a supported file format"),
        "words": (folder / "words.tif", "not recognized as being in a supported file format"),
        "hollow": (folder / "hollow", "holds no raster"),
        "store": (folder / "store.zarr", "is a Zarr store"),
        "cube": (folder / "cube.nc", "has no bands; give one of its 2 rasters: netcdf:"),
        "complex": (folder / "complex.tif", "complex64"),
        "integers": (radar, "complex_int16; give real numbers, for example its amplitudes: DERIVED_SUBDATASET:"),
        "dataset": (f"HDF5:{folder / 'gone.h5'}://a", "gone.h5: no such file"),
        "palette": (palette, "gdal_translate -expand rgb"),
        "alpha": (folder / "alpha.tif", "alpha band and no other"),
    }


@pytest.mark.parametrize(
    "case",
    ["missing", "empty", "words", "hollow", "store", "cube", "complex", "integers", "dataset", "palette", "alpha"],
)
def test_what_cannot_be_opened_is_one_line(tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]) -> None:
    path, words = _unreadable(tmp_path)[case]
    with pytest.raises(SourceError) as error:
        open_source(path)
    assert words in str(error.value)
    assert Path(path).name in str(error.value)
    assert "\n" not in str(error.value)
    assert not capfd.readouterr().err  # HDF5 prints what it thinks of it


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bidx": [4]}, "no band 4; there are 1 band_1, 2 band_2, 3 band_3"),
        ({"bidx": [0]}, "no band 0"),
        ({"bidx": []}, "at least one band"),
        ({"bands": ["B99"]}, "no band B99; there are 1 band_1"),
        ({"resampling": "best"}, "no resampling 'best'; there are average, bilinear"),
        ({"resolution": 0.0}, "a resolution is a positive number"),
        ({"resolution": float("nan")}, "a resolution is a positive number"),
    ],
)
def test_wrong_options_name_what_there_is(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    path = write_tif(tmp_path / "a.tif", numbers(3, 4, 4))
    with pytest.raises(ConfigError) as error:
        open_source(path, **options)
    assert words in str(error.value)


def test_no_file_at_all_is_one_line() -> None:
    with pytest.raises(TerrasketchError, match="no file was given"):
        open_source([])


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_the_largest_number_of_64_bits_is_missing_where_gdal_says_so(tmp_path: Path, dtype: str) -> None:
    """It is no float: rasterio knows of no nodata there, and no sentinel of ours can be it. GDAL's mask can."""
    largest, name = np.iinfo(dtype).max, dtype.replace("uint", "UInt").replace("int6", "Int6")
    block = np.random.default_rng([4]).integers(0, 10_000, (1, 60, 70)).astype(dtype)
    block[:, 10:30, 20:40] = largest
    write_tif(tmp_path / "s.tif", block)
    (tmp_path / "s.vrt").write_text(
        f'<VRTDataset rasterXSize="70" rasterYSize="60"><VRTRasterBand dataType="{name}" band="1">'
        f'<NoDataValue>{largest}</NoDataValue><SimpleSource><SourceFilename relativeToVRT="1">s.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    source = open_source(str(tmp_path / "s.vrt"))
    _, valid = source.read(Window(0, 60, 0, 70))
    assert source.info.masked
    np.testing.assert_array_equal(valid, block[0] != largest)
    with pytest.raises(ConfigError, match="let the file declare it"):
        open_source(str(tmp_path / "s.tif"), nodata=float(largest))
