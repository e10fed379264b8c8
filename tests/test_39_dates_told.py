"""What of dates is not what it looks like is said: files taken for bands, one mask for all, other scales, wrong ways to
give them."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pystac
import pytest

import pipeline
from pipeline.errors import ConfigError
from pipeline.raster.names import choose
from tests.raster_files import rasterio_open
from tests.scenes import call, write_tif

DAYS = ("20160105", "20160125", "20160214")
SEVERAL = "its files are of 3 days (2016-01-05 to 2016-02-14) and have the same bands: --stack"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three dates of two bands."""
    (tmp_path / "dates").mkdir()
    rng = np.random.default_rng(39)
    for day in DAYS:
        described(tmp_path / "dates" / f"S2_{day}.tif", rng.integers(100, 900, (2, 40, 40)), "B02", "B03")
    return tmp_path / "dates"


def described(path: Path, block: np.ndarray, *bands: str) -> Path:
    write_tif(path, block.astype("uint16"), nodata=0)
    with rasterio_open(path, "r+") as dataset:
        dataset.descriptions = bands
    return path


@pytest.mark.parametrize("words", [("denoise", "to.tif"), ("compress", "to.zarr", "--lossless"), ("inspect",)])
def test_files_of_several_days_without_stack_are_told_of(folder: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    command, *rest = [str(tmp_path / word) if word.startswith("to.") else word for word in words]
    for sources in ([folder], sorted(folder.iterdir())):
        result = call(command, *sources, *rest, *(["--overwrite"] if rest else []))
        assert result.exit_code == 0, result.stderr
        assert result.stderr.count(SEVERAL) == 1
    if rest:
        assert SEVERAL not in call(command, folder, *rest, "--overwrite", "--stack").stderr


def test_answers_and_python_tell_of_them_too(folder: Path, tmp_path: Path) -> None:
    assert SEVERAL in call("cluster", folder, tmp_path / "a.tif", "--groups", 2).stderr
    with pytest.warns(UserWarning, match="have the same bands: stack=True") as told:
        pipeline.open_scene(folder)
    assert [one.filename for one in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pipeline.open_scene(folder, stack=True)


@pytest.mark.parametrize(
    "names",
    [
        ("S2_20160105_B02.tif", "S2_20160105_B03.tif"),
        ("B02.tif", "B03.tif"),
        ("LC08_L2SP_016034_20160105_20200907_B2.tif", "LC08_L2SP_016034_20160105_20200908_B2_2.tif"),
        ("S2_20160105_B02.tif", "S2_20160125_B03.tif"),
        ("x_20160105_20200907.tif", "x_20160125_20200907.tif"),  # nothing says which is which
    ],
)
def test_files_of_one_day_or_of_other_bands_are_not(tmp_path: Path, names: tuple[str, ...]) -> None:
    paths = [write_tif(tmp_path / name, np.ones((1, 8, 8), "uint8")) for name in names]
    assert "--stack" not in call("inspect", *paths).stderr


def test_bands_of_one_name_in_folders_of_days_are(tmp_path: Path) -> None:
    paths = []
    for day in DAYS[:2]:
        (tmp_path / day).mkdir()
        paths.append(write_tif(tmp_path / day / "ndvi.tif", np.ones((1, 8, 8), "uint8")))
    assert "of 2 days (2016-01-05 to 2016-01-25) and have the same bands" in call("inspect", *paths).stderr


def test_one_mask_of_all_dates_is_told_of(folder: Path, tmp_path: Path) -> None:
    clouds = np.full((1, 40, 40), 4)
    clouds[0, :5] = 9
    mask = described(tmp_path / "scl.tif", clouds, "SCL")
    result = call("denoise", folder, tmp_path / "a.zarr", "--stack", "--mask-band", mask)
    assert result.exit_code == 0, result.stderr
    assert f"{mask} masks all 3 dates alike, and clouds are of one day; for masks of their own" in result.stderr
    (tmp_path / "own").mkdir()
    for day in DAYS:
        (tmp_path / "own" / day).mkdir()
        described(tmp_path / "own" / day / "B02.tif", clouds + 100, "B02")
        shutil.copy(mask, tmp_path / "own" / day / "SCL.tif")
    result = call("denoise", *(tmp_path / "own").iterdir(), tmp_path / "b.zarr", "--stack", "--mask-band", "SCL")
    assert result.exit_code == 0, result.stderr
    assert "masks all" not in result.stderr


@pytest.mark.parametrize("several", [False, True])
def test_several_files_are_no_mask(folder: Path, tmp_path: Path, several: bool) -> None:
    given = ",".join(map(str, sorted(folder.iterdir())[:2])) if several else folder
    result = call("denoise", folder, tmp_path / "a.zarr", "--stack", "--mask-band", given)
    assert result.exit_code == 1
    assert f"--mask-band {given}: {'several files' if several else 'a folder'}, and a mask is one" in result.stderr
    assert "that have one as a band (--mask-band SCL), or each date as a folder of band files" in result.stderr


def test_a_mask_beside_its_date_is_not_to_be_told_apart_by_times(folder: Path, tmp_path: Path) -> None:
    write_tif(folder / "S2_20160105_SCL.tif", np.full((1, 40, 40), 4, "uint8"))
    result = call("compress", folder, tmp_path / "a.zarr", "--stack", "--lossless")
    assert result.exit_code == 1
    assert "are both of 2016-01-05T00:00:00Z; if S2_20160105_SCL.tif is the mask of the other" in result.stderr
    assert "--times" not in result.stderr
    (folder / "S2_20160105_SCL.tif").rename(folder / "S2_20160105_b.tif")
    result = call("compress", folder, tmp_path / "a.zarr", "--stack", "--lossless")
    assert "tell them apart by --times" in result.stderr


def test_other_scales_on_other_dates_are_told_of(folder: Path, tmp_path: Path) -> None:
    words = "compress", folder, tmp_path / "a.zarr", "--stack", "--lossless", "--overwrite"
    for path in sorted(folder.iterdir()):
        with rasterio_open(path, "r+") as dataset:
            dataset.scales, dataset.offsets = (1e-4,) * 2, (0.0,) * 2
    assert "different values" not in call(*words).stderr
    with rasterio_open(folder / f"S2_{DAYS[2]}.tif", "r+") as dataset:
        dataset.offsets = (0.0, -0.1)
    result = call(*words)
    assert result.exit_code == 0
    assert (
        "numbers of its dates stand for different values: B03 has scale 0.0001 and offset 0 on 2016-01-05, "
        "scale 0.0001 and offset -0.1 on 2016-02-14;"
    ) in result.stderr
    assert len(result.stderr.splitlines()) == 1
    with pytest.warns(UserWarning, match="stand for different values"):
        pipeline.open_scene(folder, stack=True)


def test_folders_of_dates_in_one_folder_are_to_be_named(folder: Path, tmp_path: Path) -> None:
    for path in sorted(folder.iterdir()):
        (tmp_path / "all" / path.stem).mkdir(parents=True)
        shutil.copy(path, tmp_path / "all" / path.stem / "both.tif")
    result = call("denoise", tmp_path / "all", tmp_path / "a.zarr", "--stack")
    assert result.exit_code == 1
    assert "all holds no raster, but 3 folders of them: of dates that are folders of band files" in result.stderr
    assert f"name each (--stack {tmp_path / 'all'}/*/)" in result.stderr
    assert call("denoise", *sorted((tmp_path / "all").iterdir()), tmp_path / "a.zarr", "--stack").exit_code == 0


def test_the_items_of_a_catalogue_are_to_be_given(folder: Path, tmp_path: Path) -> None:
    catalogue = pystac.Catalog("dates", "three dates")
    for path in sorted(folder.iterdir()):
        when = pystac.utils.str_to_datetime(f"{path.stem[3:7]}-{path.stem[7:9]}-{path.stem[9:]}T10:00:00Z")
        item = pystac.Item(path.stem, None, None, when, {})
        item.add_asset("data", pystac.Asset(str(path), roles=["data"]))
        catalogue.add_item(item)
    catalogue.normalize_and_save(str(tmp_path / "stac"), pystac.CatalogType.SELF_CONTAINED)
    result = call("compress", tmp_path / "stac/catalog.json", tmp_path / "a.zarr", "--stack", "--lossless")
    assert result.exit_code == 2
    assert "catalog.json names 3 items, which are dates of --stack where each is given: " in result.stderr
    items = sorted((tmp_path / "stac").glob("*/*.json"))
    assert str(items[0]) in result.stderr
    assert call("compress", *items, tmp_path / "a.zarr", "--stack", "--lossless").exit_code == 0


@pytest.mark.parametrize(
    ("band", "match"),
    [
        ("B03", "no band B03; there are 9 of B03: day0 B03, day1 B03, day2 B03, ...$"),
        ("B09", "no band B09; there are 1 day0 B02, .* 8 day3 B03 and 10 more, to 18 day8 B03$"),
    ],
)
def test_of_many_bands_an_error_names_few(band: str, match: str) -> None:
    names = [f"day{day} {band}" for day in range(9) for band in ("B02", "B03")]
    with pytest.raises(ConfigError, match=match):
        choose(names, None, [band], "scene")


@pytest.mark.parametrize("named", [("B02", "B03"), (None, None)])
def test_a_folder_of_files_of_the_same_bands_without_days_is_many_scenes(tmp_path: Path, named: tuple[str]) -> None:
    """Which the commands of one scene refuse: they had as many bands as all of them, without a word."""
    (tmp_path / "in").mkdir()
    files = [described(tmp_path / "in" / f"{n}.tif", np.full((2, 40, 40), 7), *named) for n in ("a", "b")]
    for words in (("inspect",), ("compress", tmp_path / "to.zarr"), ("denoise", tmp_path / "to.tif")):
        result = call(words[0], tmp_path / "in", *words[1:])
        assert result.exit_code == 2, result.stderr
        assert "in holds files of the same bands (a.tif, b.tif), which `run`, `plan` and `fit` take" in result.stderr
    assert not list(tmp_path.glob("to.*"))
    for sources in (files, [tmp_path / "in", "-b", "1..3"]):
        assert call("inspect", *sources).exit_code == 0
    described(files[1], np.full((2, 40, 40), 7), "B08", "B11")
    assert call("inspect", tmp_path / "in").exit_code == 0
