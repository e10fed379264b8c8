"""What a viewer sees first: statistics, colours and wavelengths of a COG, and the picture its STAC item suggests."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.grid import Grid
from pipeline.raster.cog import write_cog
from pipeline.raster.look import look_of, with_colours
from pipeline.raster.nodata import valid_from
from pipeline.raster.open import open_source
from pipeline.raster.scene import SceneInfo
from pipeline.raster.spectrum import imagery_tags, known_wavelengths, spectrum, with_spectrum
from pipeline.raster.statistics import Statistics
from tests.raster_files import rasterio_open
from tests.scenes import call, read, small_scene

SENTINEL = ("B02", "B03", "B04", "B08")


@settings(max_examples=40)
@given(
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64"]),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    tile=st.integers(1, 70),
    holes=st.sampled_from([0.0, 0.4, 1.0]),
    offset=st.sampled_from([0.0, 100.0]),
    seed=st.integers(0, 99),
)
def test_statistics_are_numpy_s_however_the_windows_cut(dtype, height, width, tile, holes, offset, seed) -> None:
    rng = np.random.default_rng(seed)
    block = (rng.normal(20, 5, (3, height, width)) + offset).astype(dtype)
    valid = rng.random((height, width)) >= holes
    if dtype.startswith("float"):
        block[:, ~valid] = np.nan
    grid = list(Grid(height, width, tile))
    counted = Statistics(3, height, width)
    pieces = [(t.window, block[:, *t.window.slices], valid[t.window.slices] if holes else None) for t in grid]
    for piece in pieces:
        counted.add(*piece)
    if not valid.any():
        assert counted.tags() == [{"STATISTICS_VALID_PERCENT": "0"}] * 3
        assert counted.percentiles() == [{}, {}, {}]
        return
    real = block[:, valid].astype(float)
    for values, tags, shares in zip(real, counted.tags(), counted.percentiles(), strict=True):
        found = [float(tags[f"STATISTICS_{word}"]) for word in ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV")]
        assert np.allclose(found, [values.min(), values.max(), values.mean(), values.std()], rtol=1e-7, atol=1e-6)
        assert float(tags["STATISTICS_VALID_PERCENT"]) == pytest.approx(100 * valid.mean(), rel=1e-3)
        low, high = (float(shares[f"STATISTICS_PERCENTILE_{part}"]) for part in (2, 98))
        assert np.allclose([low, high], np.percentile(values, [2, 98]), rtol=1e-7)  # so small that every pixel is seen


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 0.0), ("float32", None), ("float32", -1.0), ("uint16", None)])
def test_statistics_of_a_cog_are_gdal_s_own_where_bands_have_holes_of_their_own(tmp_path, dtype, nodata) -> None:
    rng = np.random.default_rng(5)
    block = rng.integers(5, 250, (3, 70, 90)).astype(dtype)
    hole = np.nan if nodata is None and dtype == "float32" else nodata
    if hole is not None:
        block[0, :20], block[1, 30:, :40] = hole, hole
        block[2, : 70 if dtype == "uint16" else 0] = hole  # nothing is left of one, or all
    else:  # integers without a sentinel: a mask that all bands share
        block[0, :20] = 0
    valid = valid_from(block, (nodata if hole is not None else 0.0,) * 3)
    info = SceneInfo("a", ("a", "b", "c"), 70, 90, dtype, nodata=nodata, masked=True)
    pieces = [(t.window, block[:, *t.window.slices], valid[t.window.slices]) for t in Grid(70, 90, 32)]
    write_cog(tmp_path / "a.tif", info, pieces, statistics=True)
    with rasterio_open(tmp_path / "a.tif") as cog:
        tags = [cog.tags(band) for band in (1, 2, 3)]
        masked = cog.read(masked=True)
    masked = np.ma.masked_invalid(masked)
    for band, told in zip(masked, tags, strict=True):
        words = [told.get(f"STATISTICS_{word}") for word in ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV")]
        if band.mask.all():
            assert {k: v for k, v in told.items() if k.startswith("STATISTICS_")} == {"STATISTICS_VALID_PERCENT": "0"}
            continue
        found = [float(word) for word in words]
        real = band.compressed().astype(float)
        assert np.allclose(found, [real.min(), real.max(), real.mean(), real.std()], rtol=1e-6)
        assert float(told["STATISTICS_VALID_PERCENT"]) == pytest.approx(100 * real.size / band.size, rel=1e-3)
        shares = [float(told[f"STATISTICS_PERCENTILE_{part}"]) for part in (2, 98)]
        assert np.allclose(shares, np.percentile(band.data[::2, ::2][~band.mask[::2, ::2]], [2, 98]))


def test_percentiles_of_a_large_scene_do_not_depend_on_tiles_and_are_near() -> None:
    block = np.random.default_rng(1).gamma(2.0, 300.0, (2, 400, 500)).astype("uint16")
    tags = []
    for tile in (64, 137, 500):
        counted = Statistics(2, 400, 500)
        for t in Grid(400, 500, tile):
            counted.add(t.window, block[:, *t.window.slices], None)
        tags.append(counted.percentiles())
    assert tags[0] == tags[1] == tags[2]
    found = [[float(value) for value in band.values()] for band in tags[0]]
    assert np.allclose(found, np.percentile(block, [2, 98], axis=(1, 2)).T, rtol=0.1)


def test_wavelengths_are_read_from_every_kind_of_tag() -> None:
    tags = (
        {"center_wavelength": "0.49", "full_width_half_max": "0.065"},
        {"wavelength": "842.5", "wavelength_units": "Nanometers"},
        {"wavelength": "2.2", "wavelength_units": "Micrometers"},
        {"wavelength": "842.5"},
        {"center_wavelength": "much"},
        {},
    )
    info = SceneInfo("a", tuple("abcdef"), 2, 2, "uint8", band_tags=tags)
    found = known_wavelengths(info)
    assert np.allclose(found, [490, 842.5, 2200, np.nan, np.nan, np.nan], equal_nan=True)
    assert known_wavelengths(info.select([3, 5])) is None
    assert imagery_tags(tags[0]) == {"CENTRAL_WAVELENGTH_UM": "0.49", "FWHM_UM": "0.065"}
    assert imagery_tags(tags[5]) == {}
    assert spectrum(tags[1]) == {"center_wavelength": "0.8425"}
    assert with_spectrum(tags[1], {"CENTRAL_WAVELENGTH_UM": "0.7", "OTHER": "x"}) == tags[1]
    assert with_spectrum({}, {"CENTRAL_WAVELENGTH_UM": "0.7"}) == {"center_wavelength": "0.7"}


def test_colours_are_given_where_nothing_said_so() -> None:
    info = SceneInfo("a", SENTINEL, 2, 2, "uint16")
    assert with_colours(info).colorinterp == ("blue", "green", "red", "undefined")
    said = replace(info, colorinterp=("red", "green", "blue", "alpha"))
    assert with_colours(said) is said
    untold = replace(info, bands=tuple("abcd"))
    assert with_colours(untold) is untold
    seen = replace(untold, band_tags=tuple({"center_wavelength": v} for v in ("0.84", "0.66", "0.56", "0.48")))
    assert with_colours(seen).colorinterp == ("undefined", "red", "green", "blue")


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Four bands with the names of Sentinel-2's, and with holes."""
    path = small_scene(tmp_path / "scene.tif")
    with rasterio.open(path, "r+") as file:
        file.descriptions = SENTINEL
        file.update_tags(3, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.665", FWHM_UM="0.031")
    return path


def test_a_cog_says_what_it_holds(scene: Path, tmp_path: Path) -> None:
    clean = tmp_path / "clean.tif"
    assert call("denoise", scene, clean, "--tile", 64).exit_code == 0
    pixels = read(clean)
    valid = (pixels != 0).all(axis=0)
    with rasterio.open(clean) as file:
        assert file.descriptions == SENTINEL
        assert [c.name for c in file.colorinterp] == ["blue", "green", "red", "undefined"]
        assert file.nodata == 0
        assert file.tags(3, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.665", "FWHM_UM": "0.031"}
        for band in range(1, 5):
            tags = file.tags(band)
            assert float(tags["STATISTICS_MEAN"]) == pytest.approx(pixels[band - 1][valid].mean(), rel=1e-6)
            assert float(tags["STATISTICS_MAXIMUM"]) == pixels[band - 1][valid].max()
    back = open_source(str(clean)).info
    assert np.allclose(known_wavelengths(back), [np.nan, np.nan, 665, np.nan], equal_nan=True)
    look = look_of(str(clean), back)
    assert look.rgb == (2, 1, 0)
    for band, (low, high) in zip(look.rgb, look.rescale, strict=True):
        assert [low, high] == pytest.approx(np.percentile(pixels[band][valid], [2, 98]), rel=0.05)


def test_the_item_suggests_a_picture(scene: Path, tmp_path: Path) -> None:
    workflow = tmp_path / "flow.yaml"
    workflow.write_text("write:\n  cog: [denoised]\n  report: false\nfeatures: null\n")
    assert call("run", workflow, scene, "--out", tmp_path / "out").exit_code == 0
    folder = tmp_path / "out" / "scene"
    item = json.loads((folder / "item.json").read_text())
    assert any("/render/v2.0.0/" in uri for uri in item["stac_extensions"])
    render = item["properties"]["renders"]["denoised_cog"]
    assert render["assets"] == ["denoised_cog"]
    assert render["bidx"] == [3, 2, 1]
    assert render["nodata"] == 0
    assert all(low < high for low, high in render["rescale"])
    bands = item["assets"]["denoised_cog"]["bands"]
    assert bands[2]["eo:center_wavelength"] == 0.665
    pixels = read(folder / "denoised.tif")
    mean = pixels[3][(pixels != 0).all(axis=0)].mean()
    assert bands[3]["statistics"]["mean"] == pytest.approx(mean, rel=1e-6)
    assert "statistics" not in item["assets"]["scene"]["bands"][0]
