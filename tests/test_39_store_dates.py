"""Stores of ours, and items of them, as dates of one place: the same scene as of their files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError, SourceError
from pipeline.flow.read import open_scene
from pipeline.raster.dates import times_of
from tests.raster_files import numbers, whole, write_tif
from tests.scenes import call, call_json, read

DAYS = ("20160117", "20160206")
WORKFLOW = "features: null\ndenoise: {quality: none}\ncompress: {lossless: true}\nwrite: {cog: [], report: false}\n"


def name(dataset) -> None:
    dataset.descriptions = ("B02", "B03", "B04")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of two dates, and the outputs of a run of each, without COGs."""
    folder = tmp_path_factory.mktemp("dates")
    for number, day in enumerate(DAYS):
        block = numbers(3, 40, 50, seed=number)
        block[:, 5 * number] = 0
        write_tif(folder / f"S2_{day}.tif", block, name, nodata=0)
    (folder / "w.yaml").write_text(WORKFLOW)
    call_json("run", folder / "w.yaml", *folder.glob("S2*.tif"), "--out", folder / "single")
    return folder


@pytest.mark.parametrize("each", ["single/*/scene.zarr", "single/*/item.json"])
def test_stores_and_their_items_are_dates(folder: Path, tmp_path: Path, each: str) -> None:
    paths = [str(path) for path in sorted(folder.glob(each))]
    assert len(paths) == 2
    made = open_scene(paths[::-1], stack=True)
    files = open_scene([str(folder / f"S2_{day}.tif") for day in DAYS], stack=True)
    assert (made.info.bands, times_of(made.info)) == (files.info.bands, times_of(files.info))
    for one, other in zip(whole(made), whole(files), strict=True):
        np.testing.assert_array_equal(one, other)
    call_json("compress", *paths, tmp_path / "s.zarr", "--stack", "--lossless")
    call_json("decompress", tmp_path / "s.zarr", tmp_path / "b.tif", "--date", "2016-02-06")
    np.testing.assert_array_equal(read(tmp_path / "b.tif"), read(folder / "S2_20160206.tif"))
    call_json("run", folder / "w.yaml", *paths, "--stack", "--out", tmp_path / "out")
    (store,) = (tmp_path / "out").glob("*/scene.zarr")
    np.testing.assert_array_equal(whole(open_scene(str(store)))[0], whole(files)[0])


def test_bands_and_masks_of_stores_are_chosen_as_of_files(folder: Path) -> None:
    paths = [str(path) for path in sorted(folder.glob("single/*/scene.zarr"))]
    assert open_scene(paths, stack=True, bands=["B04"]).info.bands == ("2016-01-17 B04", "2016-02-06 B04")
    mask = write_tif(folder / "scl.tif", np.full((1, 40, 50), 4, "uint8"))
    clean = open_scene(paths, stack=True, mask_band=str(mask))
    assert len(clean.members) == 2  # type: ignore[attr-defined]


def test_a_store_made_of_a_file_has_the_time_of_its_name(folder: Path, tmp_path: Path) -> None:
    for letter, day in zip("ba", DAYS, strict=True):
        call_json("compress", folder / f"S2_{day}.tif", tmp_path / f"{letter}.zarr")
    made = open_scene([str(tmp_path / f"{letter}.zarr") for letter in "ab"], stack=True)
    assert made.info.bands[0] == "2016-01-17 B02"


def test_an_item_that_does_not_know_its_time_says_none(folder: Path, tmp_path: Path) -> None:
    for day in DAYS:
        copy = shutil.copytree(folder / "single" / f"S2_{day}", tmp_path / f"S2_{day}")
        item = json.loads((copy / "item.json").read_text())
        item["properties"] |= {"datetime": None, "start_datetime": "1970-01-01T00:00:00Z"}
        item["properties"]["end_datetime"] = "2026-01-01T00:00:00Z"
        (copy / "item.json").write_text(json.dumps(item))
    paths = [str(path) for path in tmp_path.glob("*/item.json")]
    assert open_scene(paths, stack=True).info.bands[3] == "2016-02-06 B02"


def test_bands_of_one_date_of_a_stack_are_a_date_and_a_stack_is_none(folder: Path, tmp_path: Path) -> None:
    files = [folder / f"S2_{day}.tif" for day in DAYS]
    call_json("compress", *files, tmp_path / "s.zarr", "--stack", "--lossless")
    for stem, bands in {"one": "1..3", "two": "4..6"}.items():
        call_json("compress", tmp_path / "s.zarr", tmp_path / f"{stem}.zarr", "-b", bands, "--lossless")
    again = open_scene([str(tmp_path / f"{stem}.zarr") for stem in ("two", "one")], stack=True)
    assert again.info.bands == open_scene(str(tmp_path / "s.zarr")).info.bands
    with pytest.raises(SourceError, match=r"s.zarr is 2 dates itself; give the files of its dates, which `decompress"):
        open_scene([str(tmp_path / "s.zarr"), str(files[0])], stack=True)
    with pytest.raises(ConfigError, match="--stack wants two dates or more"):
        open_scene(str(tmp_path / "s.zarr"), stack=True)
    result = call("compress", tmp_path / "s.zarr", files[0], tmp_path / "no.zarr", "--stack")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
