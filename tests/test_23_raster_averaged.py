"""Files finer than the grid they are brought to: means over valid pixels, on the grid of a file that has its size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine

from pipeline.raster.open import open_source
from tests.raster_files import NORTH_UP, numbers, rasterio_open, read_all, whole, write_tif


def test_the_band_of_the_resolution_asked_for_is_copied_and_finer_ones_are_averaged(shared_data: Path) -> None:
    folder = shared_data / "s2_18SVG_west_bands"
    source = open_source([folder / "B02.tif", folder / "B01.tif"], resolution=60)
    with rasterio_open(folder / "B01.tif") as coarse, rasterio_open(folder / "B02.tif") as fine:
        assert source.info.geo.transform == tuple(coarse.transform)[:6]
        own, pixels = coarse.read(1), fine.read(1)
        y, x = (int(coarse.transform.f - fine.transform.f) // 10, int(fine.transform.c - coarse.transform.c) // 10)
    block, valid = read_all(source, 100)
    rows, columns = own.shape
    assert valid[:rows, :columns].mean() > 0.9
    np.testing.assert_array_equal(block[1, :rows, :columns], own)
    # a cell wholly within B02, by hand: rows 6r - y ... of its pixels
    for row, column in ((5, 7), (80, 33)):
        under = pixels[6 * row - y : 6 * row - y + 6, 6 * column - x : 6 * column - x + 6]
        assert under.shape == (6, 6)
        assert block[0, row, column] == np.rint(under.mean())


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
@pytest.mark.parametrize(("tile", "values"), [(1, 1 << 19), (5, 1 << 19), (64, 1 << 19), (64, 700)])
def test_means_are_of_valid_pixels_alone_band_by_band_whatever_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, tile: int, values: int
) -> None:
    monkeypatch.setattr("pipeline.raster.averaged._VALUES", values)
    fine = numbers(2, 40, 43, dtype)
    fine[0, 4:9, 4:11] = 250  # a hole of the first band, three cells of 4 x 4 in part, one whole
    fine[1, 20, 20] = 250
    write_tif(tmp_path / "fine.tif", fine, nodata=250)
    block, valid = read_all(open_source(tmp_path / "fine.tif", resolution=40), tile)
    assert block.shape == (2, 10, 11)
    for band, row, column in ((0, 1, 1), (0, 1, 2), (0, 2, 1), (1, 5, 5), (0, 9, 10), (1, 0, 10)):
        under = fine[band, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        under = under[under != 250].astype(float)
        expected = under.mean() if under.size else 250
        assert block[band, row, column] == pytest.approx(expected, rel=1e-6, abs=0.5 if dtype == "uint16" else 0)
    assert np.argwhere(~valid).tolist() == [[1, 1]]
    assert block[0, 1, 1] == 250
    assert block[1, 1, 1] != 250


def test_a_mean_that_hits_nodata_stays_valid(tmp_path: Path) -> None:
    fine = np.array([[[1, 3, 7, 7], [1, 3, 7, 7]]], "uint8")
    write_tif(tmp_path / "fine.tif", fine, nodata=2)
    block, valid = whole(open_source(tmp_path / "fine.tif", resolution=20))
    assert valid.all()
    assert block[0].tolist() == [[3, 7]]


def test_means_do_not_see_what_a_mask_hides(tmp_path: Path) -> None:
    mask = np.ones((8, 8), bool)
    mask[:2, :4], mask[4, 4] = False, False
    fine = numbers(1, 8, 8)
    write_tif(tmp_path / "fine.tif", fine, lambda d: d.write_mask(mask))
    block, valid = whole(open_source(tmp_path / "fine.tif", resolution=20))
    assert np.argwhere(~valid).tolist() == [[0, 0], [0, 1]]
    under = [fine[0, 4, 5], fine[0, 5, 4], fine[0, 5, 5]]
    assert block[0, 2, 2] == np.rint(np.mean([int(value) for value in under]))


@pytest.mark.parametrize("resampling", [None, "nearest", "bilinear", "average"])
def test_bands_of_classes_are_never_mixed(tmp_path: Path, resampling: str | None) -> None:
    classes = np.random.default_rng(0).choice([4, 8, 11], (1, 12, 12)).astype("uint8")
    write_tif(tmp_path / "S_SCL.tif", classes)
    write_tif(tmp_path / "S_B02.tif", numbers(1, 12, 12))
    source = open_source(tmp_path, resolution=30, resampling=resampling)
    block, _ = whole(source)
    np.testing.assert_array_equal(block[source.info.bands.index("SCL")], classes[0, 1::3, 1::3])


def test_how_pixels_were_made_is_part_of_what_a_store_was_made_of(tmp_path: Path) -> None:
    write_tif(tmp_path / "fine.tif", numbers(1, 40, 40))
    write_tif(tmp_path / "coarse.tif", numbers(1, 10, 10, seed=1), transform=NORTH_UP * Affine.scale(4))
    ways = (None, "nearest", "bilinear", "average")
    told = [open_source(tmp_path, resolution=20, resampling=way).info.fingerprint for way in ways]
    assert len(set(told)) == 4


def test_a_size_in_fewer_digits_is_that_of_the_file(tmp_path: Path) -> None:
    step = 10 / 111_111
    write_tif(tmp_path / "a.tif", numbers(1, 50, 50), crs="EPSG:4326", transform=Affine(step, 0, 7, 0, -step, 46))
    source = open_source(tmp_path / "a.tif", resolution=9e-5)
    assert source.info.geo.transform == (step, 0, 7, 0, -step, 46)
    np.testing.assert_array_equal(whole(source)[0], numbers(1, 50, 50))
