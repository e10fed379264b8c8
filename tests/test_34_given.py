"""What stands around the pixels of a stored array: the user's words are not read as CF's, a stranger's not believed."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import pipeline
from pipeline.errors import BlockError, SourceError

RNG = np.random.default_rng(0)
SINCE = "days since 1970-01-01"


def scene(**coords: Any) -> xr.DataArray:
    pixels = RNG.normal(100, 10, (2, 30, 40)).astype("float32")
    places = {"y": np.arange(30)[::-1] * 10.0 + 5, "x": np.arange(40) * 10.0}
    return xr.DataArray(pixels, dims=("band", "y", "x"), coords={"band": [1, 2], **places, **coords}, name="scene")


def test_what_reads_like_dates_is_kept_as_it_is(tmp_path: Path) -> None:
    given = scene(
        age=("band", [1.0, 2.0], {"units": SINCE}),
        held=("band", [1, 2], {"units": "days"}),
        flag=("band", np.array([0, 1], "int8"), {"dtype": "bool"}),
        taken=("band", np.array(["2020-01-01", "2021-01-01"], "M8[ns]")),
        waited=("band", np.array([1, 2], "m8[h]").astype("m8[ns]")),
        good=("band", [True, False]),
        when=(("y", "x"), np.full((30, 40), np.datetime64("2020-01-01T02", "ns"))),
    ).assign_attrs(units=SINCE)
    given[0, 0, 0] = 9.96921e36
    stored = given.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    xr.testing.assert_identical(stored.compute(), given.rename(stored.name))
    again = pipeline.open_scene(tmp_path / "a.zarr")
    assert {name: one.dtype for name, one in again.coords.items()} == {
        name: one.dtype for name, one in given.coords.items()
    }


def test_without_the_record_no_coordinate_is_decoded(tmp_path: Path) -> None:
    scene(good=("band", [True, False])).terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    alter(tmp_path / "a.zarr", lambda ours, arrays: ours.pop("encoded"))
    assert pipeline.open_scene(tmp_path / "a.zarr").good.dtype.kind == "i"


def alter(store: Path, change: Any) -> None:
    """Change what a store says of itself and of its arrays."""
    meta = store / "zarr.json"
    facts = json.loads(meta.read_text())
    ours = json.loads(facts["attributes"]["terrasketch"])
    change(ours, facts["consolidated_metadata"]["metadata"])
    facts["attributes"]["terrasketch"] = json.dumps(ours)
    meta.write_text(json.dumps(facts))


def length(count: int, **more: Any) -> dict[str, Any]:
    """Metadata of an axis so long, none of whose chunks need be there."""
    return {"shape": [count], "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [count]}}, **more}


LONG = 1 << 50  # no machine has room for an index of it


def test_an_axis_that_is_not_the_scenes_is_not_opened(tmp_path: Path) -> None:
    given = scene()
    given.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    alter(
        tmp_path / "a.zarr",
        lambda ours, arrays: arrays.update(boom=arrays["y"] | length(LONG, dimension_names=["boom"])),
    )
    xr.testing.assert_identical(pipeline.open_scene(tmp_path / "a.zarr").compute(), given)


@pytest.mark.parametrize(
    ("name", "facts", "says"),
    [
        ("y", length(LONG), rf"y is {{'y': {LONG}}}, not of"),
        ("age", length(LONG, dimension_names=["age"]), rf"age is {{'age': {LONG}}}, not of"),
        ("age", length(LONG) | {"shape": [2]}, rf"age of shape \(2,\) has chunks of \({LONG},\)"),
        ("age", {"dimension_names": None}, r"age of shape \(2,\) has the dimensions \(\)"),
        ("scene", {"dimension_names": ["band", "x", "y"]}, r"scene is {'band': 2, 'x': 30, 'y': 40}, not"),
    ],
)
def test_coordinates_of_other_sizes_are_refused_before_they_are_read(
    tmp_path: Path, name: str, facts: dict[str, Any], says: str
) -> None:
    scene(age=("band", [1.0, 2.0])).terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    alter(tmp_path / "a.zarr", lambda ours, arrays: arrays[name].update(facts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SourceError, match=rf"the coordinates of the store cannot be read: {says}"):
            pipeline.open_scene(tmp_path / "a.zarr")


DATES = np.array(["2020-01-01", "2021-01-01"], "M8[ns]")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (scene().isel(y=0, drop=True), r"^a plane \(y, x\) of dimensions \('band', 'x'\) has a `band` along"),
        (scene()[0].drop_vars("band").assign_coords(band=("y", np.arange(30))), r"^a plane .* has a `band` along them"),
        (scene(taken=("band", DATES, {"units": "UTC"})), r"^coordinate 'taken' of datetime64\[ns\] cannot be .*units"),
        (scene(**{"zarr.json": 1}), r"^'zarr.json' is the name of a part of the store; give .* another by rename\(\)$"),
    ],
)
def test_what_cannot_be_stored_is_one_line(tmp_path: Path, given: xr.DataArray, says: str) -> None:
    with pytest.raises(BlockError, match=says) as told:
        given.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    assert len(str(told.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_geotransform_that_is_no_numbers_is_none(tmp_path: Path) -> None:
    given = scene(spatial_ref=xr.DataArray(0, attrs={"GeoTransform": "a b c d e f"}))
    stored = given.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    assert stored.rio.transform() == scene().rio.transform()
    bare = given.drop_vars(["y", "x"]).terrasketch.compress(tmp_path / "b.zarr", lossless=True)
    assert "GeoTransform" not in bare.spatial_ref.attrs


def test_numbers_of_numpy_within_mappings_are_kept(tmp_path: Path) -> None:
    given = scene().assign_attrs(gain={"a": np.float32(1.5), "b": {"c": np.array([1, 2])}})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        stored = given.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    assert stored.attrs["gain"] == {"a": 1.5, "b": {"c": [1, 2]}}
