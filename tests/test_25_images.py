"""A file of several images is read as its first, and says so once; masks, overviews and variables are no images."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

import pipeline
from pipeline.raster.open import open_source
from tests.scenes import call, read, write_tif

RNG = np.random.default_rng(8)
PAGES = RNG.integers(900, 1100, (2, 2, 64, 64)).astype(np.uint16)


def two_pages(path: Path) -> Path:
    """A TIFF with two images."""
    write_tif(path, PAGES[0])
    with rasterio.open(path) as file:
        profile = file.profile
    with rasterio.open(path, "w", **profile, APPEND_SUBDATASET="YES") as file:
        file.write(PAGES[1])
    return path


COMMANDS = {
    "inspect": (),
    "compress": ("out.zarr",),
    "denoise": ("out.zarr",),
    "features": ("out.zarr", "--count", "4"),
    "fit": ("-o", "bank.npz", "--count", "4"),
    "run": ("--out", "out"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_of_two_images_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = two_pages(tmp_path / "sub.tif")
    (tmp_path / "job.yaml").write_text("version: 1\nfeatures: null\ncompress: {snr: 40}\n")
    first = ["job.yaml"] if command == "run" else []
    result = call(command, *first, path, *COMMANDS[command])
    assert result.exit_code == 0, result.stderr
    told = f"{path} holds 2 images; the first is read: give GTIFF_DIR:2:{path} for another"
    assert [line for line in result.stderr.splitlines() if "images" in line] == [f"Warning: {told}"]


def test_the_name_that_is_told_is_read_without_a_word(tmp_path: Path) -> None:
    path = two_pages(tmp_path / "sub.tif")
    result = call("compress", f"GTIFF_DIR:2:{path}", tmp_path / "b.zarr", "--lossless")
    assert (result.exit_code, "images" in result.stderr) == (0, False)
    assert call("decompress", tmp_path / "b.zarr", tmp_path / "b.tif").exit_code == 0
    np.testing.assert_array_equal(read(tmp_path / "b.tif"), PAGES[1])
    source = open_source(path)
    assert source.images == (2, f"GTIFF_DIR:2:{path}")
    assert pickle.loads(pickle.dumps(source)) == source


def test_an_array_of_the_first_is_told_to_who_opened_it(tmp_path: Path) -> None:
    path = two_pages(tmp_path / "sub.tif")
    with pytest.warns(UserWarning, match=r"sub\.tif holds 2 images; the first is read") as caught:
        scene = pipeline.open_scene(path)
    assert [warning.filename for warning in caught] == [__file__]
    np.testing.assert_array_equal(scene.values, PAGES[0])


def test_one_line_tells_of_a_stack_of_such_files(tmp_path: Path) -> None:
    paths = [two_pages(tmp_path / f"s_{name}.tif") for name in ("B02", "B03")]
    result = call("inspect", *paths, "--resolution", "40")
    assert result.exit_code == 0, result.stderr
    assert [line for line in result.stderr.splitlines() if "images" in line] == [
        f"Warning: {paths[0]} holds 2 images; the first is read: give GTIFF_DIR:2:{paths[0]} for another"
    ]


def test_overviews_and_masks_are_no_images(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", RNG.integers(900, 1100, (2, 600, 600)).astype(np.uint16))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.ones((600, 600), bool))
        file.build_overviews([2, 4])
    with rasterio.open(path) as file:
        assert file.overviews(1) == [2, 4]
        assert file.mask_flag_enums[0][0].name == "per_dataset"
    result = call("inspect", path)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("B08", "any", "it is called B08"),
        ("", "any", "98% of its values are neither clear nor opaque"),
        ("", "mask", None),
        ("", "ones", None),
        ("Alpha", "any", None),
    ],
)
def test_alpha_that_looks_like_a_band_is_told(tmp_path: Path, name: str, values: str, told: str | None) -> None:
    pixels = RNG.integers(1, 255, (4, 64, 64)).astype(np.uint8)
    pixels[3, 0] = 255
    if values == "mask":
        pixels[3] = np.where(pixels[3] > 60, 255, 0)
    if values == "ones":
        pixels[3] = pixels[3] > 60
    path = write_tif(tmp_path / "four.tif", pixels)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        file.set_band_description(4, name)
    result = call("inspect", path)
    assert result.exit_code == 0, result.stderr
    words = (
        f"band 4 of {path} is tagged alpha and taken for a mask, but {told}; choose it as well if it is data: -b 1..4"
    )
    lines = [line for line in result.stderr.splitlines() if "alpha" in line]
    assert lines == ([f"Warning: {words}"] if told else [])
    assert "alpha" not in call("inspect", path, "-b", "1..4").stderr
