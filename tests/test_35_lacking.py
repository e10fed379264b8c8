"""Pixels that lack a band are stored as they were read: told where they are many, and where something is denoised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from pipeline.flow.crew import Nobody
from pipeline.flow.lacking import lacking_pixels, tell_lacking
from pipeline.flow.read import open_scene
from pipeline.flow.rim import area
from pipeline.flow.tasks import Receipt
from tests.scenes import TRANSFORM, call, read, write_tif

RNG = np.random.default_rng(35)


def scene(folder: Path, columns: int) -> Path:
    """Three bands of 120 x 120 with noise, of which the last has nothing in the first columns; a corner has no band."""
    pixels = RNG.normal(1000, 20, (3, 120, 120)).astype("uint16")
    pixels[2, :, :columns] = 0
    pixels[:, 100:, 100:] = 0
    return write_tif(folder / "scene.tif", pixels, nodata=0)


@pytest.mark.parametrize(
    ("command", "columns", "told"),
    [
        (("denoise",), 40, True),
        (("denoise", "--tile", "64"), 40, True),
        (("denoise", "--basis", "scene"), 40, True),
        (("denoise",), 1, False),  # 120 of 14000
        (("compress", "--snr", "40"), 40, False),
    ],
)
def test_they_are_told(tmp_path: Path, command: tuple[str, ...], columns: int, told: bool) -> None:
    source = scene(tmp_path, columns)
    result = call(command[0], source, tmp_path / "out.zarr", *command[1:])
    assert result.exit_code == 0, result.stderr
    line = "scene: 4800 pixels (34.3 %) lack a band and have others: stored as read, not denoised"
    assert (line in result.stderr) == told
    assert ("lack a band" in result.stderr) == told
    if command[0] == "denoise":
        assert call("decompress", tmp_path / "out.zarr", tmp_path / "back.tif").exit_code == 0
        before, after = read(source), read(tmp_path / "back.tif")
        assert (after[:2, :, :columns] == before[:2, :, :columns]).all()
        assert (after[:2, :, columns:] != before[:2, :, columns:]).mean() > 0.5


@pytest.mark.parametrize(
    ("resumed", "says"), [(0, "50 pixels (33.3 %) lack"), (1, "50 pixels of the new tiles (33.3 %) lack")]
)
def test_of_a_run_that_was_taken_up_again_the_new_tiles_are_counted(tmp_path: Path, resumed: int, says: str) -> None:
    told: list[str] = []

    class Hears(Nobody):
        def warn(self, text: str) -> None:
            told.append(text)

    receipt = Receipt(tiles=3, resumed=resumed, valid=100, seen=100, lacking=50)
    tell_lacking(open_scene(str(scene(tmp_path, 40))), receipt, Hears())
    assert [says in line for line in told] == [True]


def test_pixels_are_counted_that_have_some_bands_and_not_all() -> None:
    block = np.ones((3, 4, 5), "float32")
    block[0, 0], block[1, 0, 0], block[:, 1] = np.nan, -1, np.nan
    valid = ~np.isnan(block).any(axis=0)
    assert lacking_pixels(block, valid, None) == 5
    valid[3] = False  # by a mask: no band says so
    assert lacking_pixels(block, valid, None) == 5
    assert lacking_pixels(block[:1], valid, None) == 0
    assert lacking_pixels(np.ones((3, 4, 5)), np.ones((4, 5), bool), 0) == 0


def band_files(folder: Path, columns: int, **profile: object) -> list[Path]:
    """Two files of 120 x 120, the second so many pixels further to the east."""
    pixels = RNG.normal(1000, 20, (2, 1, 120, 120)).astype("uint16")
    places = (TRANSFORM, TRANSFORM @ rasterio.Affine.translation(columns, 0))
    files = zip(("B02", "B03"), pixels, places, strict=True)
    return [write_tif(folder / f"{name}.tif", block, transform=at, **profile) for name, block, at in files]


@pytest.mark.parametrize("command", [("denoise",), ("compress", "--snr", "40")])
@pytest.mark.parametrize(("columns", "told"), [(30, True), (1, True), (0, False)])
def test_what_one_file_lacks_is_told_where_no_nodata_tells_it(
    tmp_path: Path, command: tuple[str, ...], columns: int, told: bool
) -> None:
    files = band_files(tmp_path, columns)
    result = call(command[0], *files, tmp_path / "out.zarr", *command[1:])
    assert result.exit_code == 0, result.stderr
    lost = 2 * columns * 120
    share = f"{100 * lost / (120 * (120 + columns)):.1f} %"
    line = f"{lost} pixels ({share}) lack a file ({files[0]}) and have others, and without nodata are missing in all"
    assert (f"{line} bands; give --nodata" in result.stderr) == told
    assert ("lack a file" in result.stderr) == told
    kept = call(command[0], *files, tmp_path / "kept.zarr", *command[1:], "--nodata", "0")
    assert "lack a file" not in kept.stderr
    assert call("decompress", tmp_path / "kept.zarr", tmp_path / "kept.tif").exit_code == 0
    assert (read(tmp_path / "kept.tif") != 0).sum() == 2 * 120 * 120  # the remedy loses none


def test_overlaps_are_counted_once() -> None:
    one, two = (slice(0, 10), slice(0, 10)), (slice(5, 15), slice(8, 9))
    assert area([one, two]) == 105
    assert area([two, two]) == 10
    assert area([(slice(0, 0), slice(0, 0))]) == 0
