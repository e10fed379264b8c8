"""Answers and features of dates with holes: what they do not look at is said, with the dates that cost most."""

from __future__ import annotations

import warnings
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

import pipeline
from pipeline.flow.by_date import Dates
from pipeline.flow.holes import holes_of
from tests.scenes import CRS, TRANSFORM, call, write_tif

SIDE = 96
DAYS = ("20160105", "20160125", "20160214", "20160305")
HOLES = (slice(0), slice(0, 80), slice(10, 90), slice(0, 8))
"""Rows that each date lacks: together all but six."""
LACK = "93.8 % of the pixels lack a date and have others"
MOST = "2016-01-25 lacks 83.3 %, 2016-02-14 83.3 %"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four dates of two bands, of which two lack most."""
    folder = tmp_path_factory.mktemp("holes")
    return stacked(folder, HOLES)


def stacked(folder: Path, holes: tuple[slice, ...]) -> Path:
    rng = np.random.default_rng(39)
    for day, rows in zip(DAYS, holes, strict=True):
        block = rng.integers(100, 900, (2, SIDE, SIDE)).astype("uint16")
        block[:, rows] = 0
        write_tif(folder / f"s_{day}.tif", block, nodata=0)
    words = "--stack", folder / "all.zarr", "--lossless", "--tile", 64
    assert call("compress", *sorted(folder.glob("*.tif")), *words).exit_code == 0
    return folder / "all.zarr"


@pytest.mark.parametrize(
    "words",
    [
        ("anomaly", "--window", 5, "--guard", 3),
        ("cluster", "--groups", 3),
        ("similar", "--at", f"{TRANSFORM.c + 400},{TRANSFORM.f - 20 * 93}"),
    ],
)
def test_answers_of_few_pixels_name_the_dates_that_cost_most(store: Path, tmp_path: Path, words: tuple) -> None:
    command, *rest = words
    result = call(command, store, tmp_path / "a.tif", *rest)
    assert result.exit_code == 0, result.stderr
    assert "of 9216 pixels (9" in result.stderr
    assert f"have no answer: {LACK} ({MOST}); without these 2 dates 8.3 % would" in result.stderr


@pytest.mark.parametrize("holes", [(slice(0),) * 4, (slice(0, 90),) * 4, (slice(0, 30),) + (slice(0),) * 3])
def test_few_holes_and_those_of_all_dates_are_not_told_of(tmp_path: Path, holes: tuple[slice, ...]) -> None:
    result = call("cluster", stacked(tmp_path, holes), tmp_path / "a.tif", "--groups", 3)
    assert result.exit_code == 0, result.stderr
    assert "no answer" not in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("anomaly", "--water", "2016-01-05 band_1,2016-01-05 band_2"),
        ("cluster", "--groups", 3),
        ("similar", "--at", f"{TRANSFORM.c + 400},{TRANSFORM.f - 400}"),
    ],
)
def test_where_nothing_is_left_the_error_says_why(tmp_path: Path, words: tuple) -> None:
    store = stacked(tmp_path, (slice(0), slice(0, 50), slice(40, 96), slice(0)))
    command, *rest = words
    result = call(command, store, tmp_path / "a.tif", *rest)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "all of the pixels lack a date and have others (2016-02-14 lacks 58.3 %, 2016-01-25 52.1 %)" in result.stderr
    assert "without these 2 dates none would: leave them out" in result.stderr
    assert "is there water" not in result.stderr
    assert "?" not in result.stderr
    assert not (tmp_path / "a.tif").exists()


def test_labels_of_which_one_class_is_left_are_refused(store: Path, tmp_path: Path) -> None:
    rows = {"wheat": 92, "maize": 40}
    shapes = [shapely.Point(TRANSFORM @ (c + 0.5, rows[crop] + 0.5)) for crop in rows for c in range(0, 90, 10)]
    crops = [crop for crop in rows for _ in range(0, 90, 10)]
    geopandas.GeoDataFrame({"crop": crops}, geometry=shapes, crs=CRS).to_file(tmp_path / "p.gpkg")
    result = call("regress", store, tmp_path / "a.tif", "--labels", tmp_path / "p.gpkg", "--field", "crop")
    assert result.exit_code == 1
    assert "of crop, wheat alone has values in " in result.stderr
    assert "(9 of 18 places): 93" in result.stderr
    assert "give places of two classes or more that have values" in result.stderr
    assert not (tmp_path / "a.tif").exists()


@pytest.mark.parametrize("name", ["f.zarr", "f.parquet"])
def test_features_of_dates_do_not_ask_for_a_smaller_pool(store: Path, tmp_path: Path, name: str) -> None:
    result = call("features", store, tmp_path / name, "--bank", "torchgeo-rcf", "--stride", 4)
    assert result.exit_code == 0, result.stderr
    assert f"have no features: {LACK} ({MOST})" in result.stderr
    assert "--pool" not in result.stderr
    assert "gdal_fillnodata" not in result.stderr


def test_features_of_dates_in_python_do_neither(store: Path) -> None:
    scene = pipeline.open_scene(store).compute()
    with pytest.warns(UserWarning, match="have no features: 9.* lack a date and have others .2016-01-25 lacks"):
        scene.terrasketch.features("torchgeo-rcf", stride=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        scene[2:4].terrasketch.features("torchgeo-rcf", stride=4)


def test_dates_are_left_out_until_half_of_the_pixels_have_the_others() -> None:
    # Of 0 and 1, which lack the same, none wins anything alone; 2 lacks less, and costs as much.
    missing = np.zeros((3, 10), bool)
    missing[:2, :6] = True
    missing[2, 6:] = True
    block = np.where(missing, 0, 7)[:, None].astype("int16")
    valid = ~missing.any(axis=0)[None]
    holes = holes_of([(block, valid)], ("a x", "b x", "c x"), Dates(((0,), (1,), (2,))), 0)
    assert holes.many
    assert holes.whole == 0
    assert "(a lacks 60.0 %, b 60.0 %); without these 2 dates 40.0 % would: leave them out" in holes.text()
    assert "lack a band" in holes_of([(block, valid)], ("a", "b", "c"), None, 0).text()
