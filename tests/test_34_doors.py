"""What Python is given that means nothing is refused at once, in one line with what was got and a way out."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pipeline
from pipeline.codec import Bound, encode
from pipeline.denoise import denoise_block
from pipeline.errors import TerrasketchError
from pipeline.network import fit_bank
from tests.scenes import call, small_scene

CUBE = xr.DataArray(np.random.default_rng(3).normal(9, 1, (2, 3, 40, 40)), dims=("time", "band", "y", "x"))
SCENE = CUBE[0]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_scene(tmp_path_factory.mktemp("doors") / "scene.tif", height=40, width=40)


def refused(verb: Any, *given: Any, **words: Any) -> str:
    """The one line of the error."""
    with pytest.raises(TerrasketchError) as caught:
        verb(*given, **words)
    text = str(caught.value)
    assert "\n" not in text
    assert ";" in text
    return text


@pytest.mark.parametrize(
    ("source", "got"),
    [(None, "None"), (5, "5"), ([None], "None"), (b"x", "b'x'"), (np.zeros((3, 40, 40)), "an ndarray"), (CUBE, "a Da")],
)
def test_a_source_that_is_no_path(source: Any, got: str) -> None:
    assert refused(pipeline.open_scene, source).startswith(f"source is {got}")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"bands": [1]}, "bands [1] is no list of names"),
        ({"bands": 1}, "bands 1 is no list of names"),
        ({"bands": "B99"}, "no band B99; there are 1 "),
        ({"bidx": "1"}, "bidx '1' is no list of whole numbers"),
        ({"bidx": [1.5]}, "bidx [1.5] is no list of whole numbers"),
        ({"bidx": True}, "bidx True is no list of whole numbers"),
        ({"nodata": "a"}, "nodata 'a' is no number"),
        ({"nodata": [0]}, "nodata [0] is no number"),
        ({"resolution": "10"}, "resolution '10' is no size of a pixel"),
        ({"resolution": (1, 2, 3)}, "resolution (1, 2, 3) is no size of a pixel"),
        ({"stack": "yes"}, "stack 'yes' is neither True nor False"),
        ({"masked": "no"}, "masked 'no' is neither True nor False"),
        ({"stack": True, "times": [1]}, "times: 1 is no time"),
        ({"mask_band": 2.5}, "mask_band is 2.5, and no path; give the name or number of a band"),
        ({"mask_band": ["SCL"]}, "mask_band is ['SCL'], and no path"),
        ({"mask_band": 1, "mask_values": "3,8"}, "mask_values '3,8' is no list of whole numbers"),
        ({"mask_band": 1, "mask_bits": [2.5]}, "mask_bits [2.5] is no list of whole numbers"),
    ],
)
def test_options_of_opening(path: Path, words: dict[str, Any], text: str) -> None:
    assert text in refused(pipeline.open_scene, path, **words)


def test_one_stands_for_a_list_of_one_and_arrays_for_lists(path: Path) -> None:
    whole = pipeline.open_scene(path)
    name = str(whole.band.values[1])
    for words in ({"bands": name}, {"bidx": 2}, {"bidx": np.array([2])}, {"bands": whole.band[1:2]}):
        assert pipeline.open_scene(path, **words).band.values.tolist() == [name]
    days = [np.datetime64("2020-01-01"), datetime(2020, 2, 1, 3), date(2020, 3, 1), "2020-04-01"]
    stack = pipeline.open_scene([path] * 4, stack=True, times=days)
    assert np.unique(stack.time).astype("M8[h]").astype(str).tolist() == [
        "2020-01-01T00", "2020-02-01T03", "2020-03-01T00", "2020-04-01T00",
    ]  # fmt: skip


def test_home_is_where_a_shell_has_it(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.chdir(tmp_path)
    scene = pipeline.open_scene(f"~/{path.name}")
    assert pipeline.open_scene([f"~/{path.name}"]).shape == scene.shape
    with pytest.raises(TerrasketchError, match=f"^{path} has 4 bands; give a mask of one"):
        pipeline.open_scene(path, mask_band=f"~/{path.name}")
    scene.terrasketch.compress("~/home.zarr")
    assert pipeline.open_scene("~/home.zarr").shape == scene.shape
    assert (path.parent / "home.zarr").is_dir()
    fit_bank("classic", [(scene.values, np.ones(scene.shape[1:], bool))], bands=tuple(scene.band.values)).save(
        "~/b.npz"
    )
    assert scene.terrasketch.features("~/b.npz", stride=8).attrs["bank"] == "classic"
    assert call("compress", f"~/{path.name}", "~/quoted.zarr").exit_code == 0
    assert (path.parent / "quoted.zarr").is_dir()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("verb", [pipeline.denoise, pipeline.features, pipeline.zarr_encoding])
@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, "got None; give an xarray.DataArray"),
        (SCENE.values, 'got an ndarray; give xarray.DataArray(array, dims=("band", "y", "x"))'),
        ([[1, 2]], "got a list; give xarray.DataArray(array"),
        (SCENE.to_dataset(name="ndvi"), "got a Dataset; give one of its variables ('ndvi')"),
        ("scene.tif", "got a str; open it by pipeline.open_scene(path)"),
    ],
)
def test_a_scene_that_is_no_array_of_xarray(verb: Any, given: Any, text: str) -> None:
    assert text in refused(verb, given)


def test_arrays_of_other_dimensions_and_numbers_and_what_to_do(tmp_path: Path) -> None:
    assert "give one by isel(time=0), or" in refused(pipeline.denoise, CUBE)
    sorted_out = CUBE.transpose("y", "x", "time", "band")  # as `unstack` has it
    assert "give one by isel(time=0).transpose('band', 'y', 'x'), or" in refused(pipeline.denoise, sorted_out)
    stacked = eval("CUBE." + refused(pipeline.features, CUBE).rpartition("as bands by ")[2])
    assert stacked.shape == (6, 40, 40)
    assert pipeline.denoise(stacked).shape == (6, 40, 40)
    assert stacked.terrasketch.compress(tmp_path / "s.zarr").dims == ("bands", "y", "x")
    assert "expand_dims" in refused(pipeline.denoise, SCENE[0, 0])
    assert "astype" in refused(pipeline.denoise, SCENE > 9)
    for verb in ("denoise", "features"):
        assert "at most 64 bits a value" in refused(getattr(SCENE.astype("longdouble").terrasketch, verb))


@pytest.mark.parametrize("sigma", ["big", "auto", True, 1j, [1, 2], -1, [1, -1, 1], np.float32("inf"), {"B02": 3}])
def test_levels_of_noise_are_looked_at_before_anything_is_computed(sigma: Any) -> None:
    text = refused(SCENE.chunk().terrasketch.denoise, sigma=sigma)
    assert text.endswith("is not a noise level; give a number >= 0 in data units, one for each of 3 bands, or None")


def test_a_level_for_each_band_is_one_for_each() -> None:
    each = SCENE.terrasketch.denoise(sigma=[1, 0, 0])
    assert np.array_equal(each, SCENE.terrasketch.denoise(sigma=np.array([1.0, 0, 0])))
    assert np.array_equal(each[1:], SCENE[1:])
    assert not np.array_equal(each[0], SCENE[0])


@pytest.mark.parametrize(
    ("verb", "words", "text"),
    [
        ("features", {"seed": "a"}, "seed 'a' is not a whole number from 0"),
        ("features", {"seed": -1}, "seed -1 is not a whole number from 0"),
        ("features", {"pool": 100_000}, "pool 100000 is beyond 255"),
        ("features", {"stride": 2000}, "stride 2000 is beyond 1024"),
        ("compress", {"snr": -3}, "snr -3 is no signal above the noise; give decibels above 0"),
        ("compress", {"lossless": "no"}, "lossless 'no' is neither True nor False"),
        ("compress", {"overwrite": "no"}, "overwrite 'no' is neither True nor False"),
        ("compress", {"path": None}, "the output is None, and no path"),
        ("compress", {"path": b"x.zarr"}, "the output is b'x.zarr', and no path"),
    ],
)
def test_options_of_the_verbs(tmp_path: Path, verb: str, words: dict[str, Any], text: str) -> None:
    given = ({"path": tmp_path / "s.zarr"} if verb == "compress" else {}) | words
    assert text in refused(getattr(SCENE.terrasketch, verb), **given)
    assert not [*tmp_path.iterdir()]


def test_options_of_an_encoding() -> None:
    assert "snr 0 is no signal" in refused(pipeline.zarr_encoding, SCENE, snr=0)
    for tile in ("a", 2.5, 0):
        assert "is not a whole number above 0" in refused(pipeline.zarr_encoding, SCENE, tile=tile)


def test_masked_arrays_do_not_lose_their_mask() -> None:
    """As `rasterio.open(path).read(masked=True)` gives them."""
    block, valid = np.ma.masked_array(SCENE.values, SCENE.values > 9), np.ones((40, 40), bool)
    lossless = Bound("lossless")
    for what, verb, given in (
        ("block", denoise_block, (block, valid)),
        ("valid", denoise_block, (block.data, np.ma.masked_array(valid))),
        ("block", encode, (block, None, lossless)),
        ("valid", encode, (block.data, np.ma.masked_array(valid), lossless)),
    ):
        text = refused(verb, *given)
        assert text.startswith(f"{what} is a masked array, whose mask would be lost; give its `data`")
    assert "sample 0: block is a masked array" in refused(fit_bank, "classic", [(block, valid)], bands=("a", "b", "c"))
    denoise_block(block.data, ~block.mask.any(axis=0))


def test_paths_and_numbers_of_tables_and_arrays(path: Path) -> None:
    for paths in (pd.Series([str(path)]), pd.Index([str(path)]), np.array([str(path)]), [path]):
        assert pipeline.open_scene(paths).shape == (4, 40, 40)
    assert pipeline.open_scene(path, nodata=np.array(0), stack=None).rio.nodata == 0


def test_years_beyond_nanoseconds(path: Path) -> None:
    opened = pipeline.open_scene([path, path], stack=True, times=["3016-01-01", "1600-01-02"])
    assert {str(one)[:10] for one in opened.time.values} == {"3016-01-01", "1600-01-02"}


def test_a_mask_of_ones_own_is_data_and_is_kept(tmp_path: Path) -> None:
    own = xr.DataArray(SCENE.values[0] > 9, dims=("y", "x"))
    scene = SCENE.assign_coords(clear=own)
    kept = scene.terrasketch.compress(tmp_path / "s.zarr", lossless=True)
    assert np.array_equal(kept.clear, own)
    coarse = scene.astype("float32").coarsen(y=2, x=2).mean()
    assert "scene.clear > 0.99" in refused(pipeline.denoise, coarse)
    pipeline.denoise(coarse.assign_coords(clear=coarse.clear > 0.99))


def test_a_lazy_mask_of_pixels_in_memory_is_read_once() -> None:
    reads = []
    mask = da.ones((40, 40), dtype=bool, chunks=20).map_blocks(lambda block: reads.append(1) or block, dtype=bool)
    reads.clear()
    SCENE.assign_coords(clear=(("y", "x"), mask)).terrasketch.denoise(tile=10)
    assert len(reads) == 4
