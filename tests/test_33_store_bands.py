"""Some bands of a store, and one date of a stack, got back: their values, their own holes, names and time."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio

import pipeline
from pipeline.errors import ConfigError
from pipeline.flow.compress import source_identity
from pipeline.flow.read import open_scene
from pipeline.grid import Window
from pipeline.raster.dates import times_of
from pipeline.raster.store_bands import StoreBands
from tests.raster_files import numbers, whole, write_tif
from tests.scenes import call, call_json, read

DAYS = ("2016-01-17", "2016-02-06", "2016-03-05")
NAMES = ("B02", "B03", "B04")


def name(dataset) -> None:
    dataset.descriptions = NAMES


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lossless store of three dates, each with a hole of its own, one of a band alone; the files are beside it."""
    folder = tmp_path_factory.mktemp("dates")
    for number, day in enumerate(DAYS):
        block = numbers(3, 70, 90, seed=number)
        block[:, 10 * number : 10 * number + 5] = 0
        block[1, 60, :7] = 0
        write_tif(folder / f"S2_{day.replace('-', '')}.tif", block, name, nodata=0)
    result = call(
        "compress", *sorted(folder.glob("S2*.tif")), folder / "stack.zarr", "--stack", "--lossless", "--tile", 32
    )
    assert result.exit_code == 0, result.stderr
    return folder / "stack.zarr"


def test_chosen_bands_have_their_own_values_and_holes(stack: Path) -> None:
    source = pickle.loads(pickle.dumps(open_scene(str(stack), bidx=[6, 4])))
    assert source.info.bands == ("2016-02-06 B04", "2016-02-06 B02")
    raw = read(stack.parent / "S2_20160206.tif")[[2, 0]]
    block, valid = whole(source)
    np.testing.assert_array_equal(block, raw)
    np.testing.assert_array_equal(valid, (raw != 0).all(axis=0))
    assert valid[0].all(), "the first date alone has a hole there"
    block, valid = source.read(Window(5, 40, 20, 71))
    np.testing.assert_array_equal(block, raw[:, 5:40, 20:71])
    assert not valid[5:10].any()
    assert valid[:5].all()


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_what_a_mask_takes_out_of_all_bands_is_out_of_each(tmp_path: Path, dtype: str) -> None:
    def mask(dataset) -> None:
        shown = np.full((40, 50), 255, "uint8")
        shown[3:9] = 0
        dataset.write_mask(shown)

    block = numbers(3, 40, 50).astype(dtype)
    if dtype == "float32":
        block[0, 20] = np.nan
    call("compress", write_tif(tmp_path / "a.tif", block, mask), tmp_path / "a.zarr", "--lossless", "--tile", 32)
    _, valid = whole(open_scene(str(tmp_path / "a.zarr"), bidx=[2, 3]))
    assert not valid[3:9].any()
    assert valid[[0, 1, 2, *range(9, 40)]].all(), "where the first band alone is missing the others are valid"


def test_all_bands_are_the_store_and_others_are_other_inputs(stack: Path) -> None:
    every = open_scene(str(stack), bidx=list(range(1, 10)))
    assert every == open_scene(str(stack))
    others = [open_scene(str(stack), bidx=bands) for bands in ([1, 2], [2, 1], [1])]
    assert len({one.info.fingerprint for one in [every, *others]}) == 4
    assert len({json.dumps(source_identity(one)) for one in [every, *others]}) == 4


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"bidx": [10]}, "no band 10; there are 1 2016-01-17 B02"),
        ({"bands": ["B99"]}, "no band B99"),
        ({"bidx": [1], "bands": ["2016-01-17 B02"]}, "by number or by name, not both"),
        ({"nodata": 3.0}, "is a store, which has its grid and nodata already; leave out --nodata$"),
        ({"bidx": [1], "resolution": 60.0, "resampling": "cubic"}, "leave out --resolution, --resampling$"),
    ],
)
def test_what_a_store_has_not_is_one_line(stack: Path, words: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        open_scene(str(stack), **words)


def test_every_command_takes_bands_of_a_store(stack: Path, tmp_path: Path) -> None:
    bands = ("-b", "4..6")
    assert call_json("inspect", stack, *bands)["bands"] == [f"2016-02-06 {band}" for band in NAMES]
    call_json("compress", stack, tmp_path / "date.zarr", *bands, "--lossless", "--tile", 32)
    np.testing.assert_array_equal(
        whole(open_scene(str(tmp_path / "date.zarr")))[0], read(stack.parent / "S2_20160206.tif")
    )
    call_json("denoise", stack, tmp_path / "clean.tif", *bands, "--tile", 32)
    call_json("denoise", stack.parent / "S2_20160206.tif", tmp_path / "alone.tif", "--tile", 32)
    np.testing.assert_array_equal(read(tmp_path / "clean.tif"), read(tmp_path / "alone.tif"))
    call_json("features", stack, tmp_path / "f.tif", *bands, "--bank", "classic", "--stride", 8)
    call_json("features", tmp_path / "date.zarr", tmp_path / "g.tif", "--bank", "classic", "--stride", 8)
    np.testing.assert_array_equal(read(tmp_path / "f.tif"), read(tmp_path / "g.tif"))
    call_json("fit", stack, "-o", tmp_path / "bank.npz", *bands, "--bank", "classic")
    call_json("anomaly", stack, tmp_path / "odd.tif", *bands)
    verified = call_json("inspect", stack, "--verify", *bands)
    assert (verified["shape"][0], verified["verified"], verified["damaged"]) == (3, 18, 0), "chunks hold all bands"
    result = call("features", stack, tmp_path / "h.tif", *bands, "--bank", "classic", "--domain", "factors")
    assert result.exit_code != 0
    assert "is some bands of a store, read as pixels" in result.stderr


def test_python_and_workflows_take_them_too(stack: Path, tmp_path: Path) -> None:
    scene = pipeline.open_scene(stack, bands=["2016-02-06 B03", "2016-03-05 B03"])
    assert scene.band_name.values.tolist() == ["B03", "B03"]
    assert scene.chunks[1][0] == 32, "in the chunks of the store"
    expected = [read(stack.parent / f"S2_{day}.tif")[1] for day in ("20160206", "20160305")]
    np.testing.assert_array_equal(scene.values, expected)
    mine = scene.rename(band="when").assign_coords(mark=("when", [1, 2]))
    mine.terrasketch.compress(tmp_path / "mine.zarr", lossless=True)
    one = pipeline.open_scene(tmp_path / "mine.zarr", bidx=2)
    assert (one.dims, one.mark.values.tolist()) == (("when", "y", "x"), [2])
    np.testing.assert_array_equal(one.values, expected[1:])
    workflow = tmp_path / "w.yaml"
    workflow.write_text(
        "read: {bidx: [1, 2], tile: 32}\nfeatures: null\ndenoise: {quality: none}\nwrite: {report: false}\n"
    )
    call_json("run", workflow, stack, "--out", tmp_path / "out")
    assert open_scene(str(tmp_path / "out" / "stack" / "scene.zarr")).info.bands[1] == "2016-01-17 B03"
    workflow.write_text(workflow.read_text().replace("[1, 2]", "[4, 5]"))
    result = call("run", workflow, stack, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "read.bidx" in result.stderr or "read.bands" in result.stderr


@pytest.mark.parametrize("date", ["2016-02-06", "2016-02-06T00:00:00Z", "20160206"])
def test_a_date_comes_back_as_the_file_that_it_was(stack: Path, tmp_path: Path, date: str) -> None:
    call_json("decompress", stack, tmp_path / "date.tif", "--date", date)
    with rasterio.open(tmp_path / "date.tif") as back, rasterio.open(stack.parent / "S2_20160206.tif") as file:
        assert (back.descriptions, back.nodata, back.crs) == (NAMES, 0, file.crs)
        assert back.transform == file.transform
        np.testing.assert_array_equal(back.read(), file.read())
        assert back.tags()["ACQUISITIONDATETIME"] == "2016-02-06T00:00:00Z"
        assert not {"STACK_TIME", "STACK_BAND"} & {*back.tags(1)}


def test_dates_that_came_back_are_a_stack_again(stack: Path, tmp_path: Path) -> None:
    for number, day in enumerate(DAYS):  # in names that tell nothing
        call_json("decompress", stack, tmp_path / f"{'cab'[number]}.tif", "--date", day)
    again = open_scene([str(tmp_path / f"{letter}.tif") for letter in "abc"], stack=True)
    assert again.info.bands == open_scene(str(stack)).info.bands
    assert times_of(again.info) == times_of(open_scene(str(stack)).info)
    np.testing.assert_array_equal(whole(again)[0], whole(open_scene(str(stack)))[0])


def test_decompress_takes_bands_of_the_store_and_of_a_date(stack: Path, tmp_path: Path) -> None:
    raw = read(stack.parent / "S2_20160305.tif")
    ways = {
        "a": (("--date", DAYS[2], "--bands", "B04,B02"), ("B04", "B02")),
        "b": (("--date", DAYS[2], "-b", "3,1"), ("B04", "B02")),
        "c": (("--bands", "2016-03-05 B04,2016-03-05 B02"), ("2016-03-05 B04", "2016-03-05 B02")),
        "d": (("-b", "9,7"), ("2016-03-05 B04", "2016-03-05 B02")),
    }
    for stem, (words, names) in ways.items():
        call_json("decompress", stack, tmp_path / f"{stem}.tif", *words)
        np.testing.assert_array_equal(read(tmp_path / f"{stem}.tif"), raw[[2, 0]])
        with rasterio.open(tmp_path / f"{stem}.tif") as file:
            assert file.descriptions == names


@pytest.mark.parametrize(
    ("date", "match"),
    [
        ("2016-02-07", "no date 2016-02-07; there are 2016-01-17, 2016-02-06, 2016-03-05"),
        ("2016-02-06T10:00", "no date 2016-02-06T10:00; there are 2016-01-17, "),
        ("May", "--date May: is no time; give one of 2016-01-17, 2016-02-06, 2016-03-05"),
    ],
)
def test_a_date_that_is_not_there_lists_those_that_are(stack: Path, tmp_path: Path, date: str, match: str) -> None:
    result = call("decompress", stack, tmp_path / "no.tif", "--date", date)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.stderr
    assert match in result.stderr
    assert not any(tmp_path.iterdir())


def test_two_times_of_a_day_want_the_time(tmp_path: Path) -> None:
    times = ["2016-01-17T08:00:00Z", "2016-01-17T15:00:00Z"]
    paths = [write_tif(tmp_path / f"{letter}.tif", numbers(1, 20, 30, seed=ord(letter))) for letter in "ab"]
    call_json("compress", *paths, tmp_path / "s.zarr", "--stack", "--times", ",".join(times), "--lossless")
    result = call("decompress", tmp_path / "s.zarr", tmp_path / "c.tif", "--date", "2016-01-17")
    assert f"2 dates are of 2016-01-17; give the time of one: {', '.join(times)}" in result.stderr
    call_json("decompress", tmp_path / "s.zarr", tmp_path / "c.tif", "--date", "2016-01-17T16:00+01:00")
    np.testing.assert_array_equal(read(tmp_path / "c.tif"), read(tmp_path / "b.tif"))


def test_a_store_that_is_no_stack_has_no_dates(stack: Path, tmp_path: Path) -> None:
    call_json("compress", stack.parent / "S2_20160206.tif", tmp_path / "one.zarr")
    result = call("decompress", tmp_path / "one.zarr", tmp_path / "one.tif", "--date", "2016-02-06")
    assert "is no stack of dates, which --date chooses one of; leave it out" in result.stderr
    assert isinstance(open_scene(str(tmp_path / "one.zarr"), bidx=[1]), StoreBands)


def test_inspect_tells_the_dates_of_a_stack_and_what_each_lacks(stack: Path, tmp_path: Path) -> None:
    facts = call_json("inspect", stack)
    lacking = round((5 * 90 + 7) / (70 * 90), 4)
    expected = [{"time": f"{day}T00:00:00Z", "bands": list(NAMES), "missing": lacking} for day in DAYS]
    assert facts["dates"] == expected
    told = call("inspect", stack).stdout
    assert "dates  " in told
    assert "3, 2016-01-17T00:00:00Z to 2016-03-05T00:00:00Z, missing 7.2 %, 7.2 %, 7.2 %\n" in told
    assert "dates" not in call_json("inspect", stack, "-b", "1..3")
    many = write_tif(tmp_path / "many.tif", numbers(70, 8, 8))
    assert call_json("inspect", many)["bands"] == [f"band_{number}" for number in range(1, 71)]
    assert "['band_1', 'band_2', 'band_3', '...', 'band_70']" in call("inspect", many).stdout
