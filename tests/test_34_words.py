"""Messages of the commands, in the words of Python where they come from Python."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pipeline
from pipeline.errors import BankError, SourceError
from pipeline.flow.python_words import in_python
from tests.scenes import call, write_tif


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("give --mask-band and --stack", "give mask_band and stack=True"),
        ("warp it to that (gdalwarp, or rio warp --like)", "warp it to that (gdalwarp, or rio warp --like)"),
        ("`dask scheduler --scheduler-file` writes", "`dask scheduler --scheduler-file` writes"),
        ("(rio edit-info FILE --tag A=b), or --times", "(rio edit-info FILE --tag A=b), or times"),
    ],
)
def test_options_are_keywords_but_for_those_of_other_programs(text: str, expected: str) -> None:
    assert in_python(text) == expected


def test_files_of_different_grids_are_warped_by_words_that_there_are(tmp_path: Path) -> None:
    paths = [write_tif(tmp_path / f"2020-01-0{side % 7}.tif", np.ones((2, side, 20), "uint16")) for side in (20, 22)]
    with pytest.raises(SourceError, match="rio warp --like"):
        pipeline.open_scene(paths, stack=True)


@pytest.mark.parametrize("value", [0, 65535])
def test_a_fill_that_nobody_declared_is_told_with_what_helps_in_python(tmp_path: Path, value: int) -> None:
    block = np.random.default_rng(4).integers(500, 600, (3, 64, 64)).astype("uint16")
    block[:, :20] = value
    scene = xr.DataArray(block, dims=("band", "y", "x"), name="scene")
    with pytest.warns(UserWarning, match=f"{value}, all others|are {value} in") as told:
        scene.terrasketch.compress(tmp_path / "a.zarr")
    text = str(told[0].message)
    assert text.endswith(
        f"give .rio.write_nodata({value}) first, or open_scene(..., nodata={value}), and overwrite=True for what was "
        "made without"
    )
    found = re.search(r"give (\.rio\.write_nodata\(\d+\))", text)
    assert found is not None
    again = eval(f"scene{found[1]}")
    stored = again.terrasketch.compress(tmp_path / "a.zarr", overwrite=True)
    assert stored.rio.nodata == value
    path = write_tif(tmp_path / "scene.tif", block)
    said = call("compress", path, tmp_path / "b.zarr").output
    assert f"say --nodata={value}, in a workflow read: {{nodata: {value}}}" in " ".join(said.split())


def test_a_bank_that_finds_no_patch_is_told_in_words_of_python() -> None:
    scene = xr.DataArray(np.ones((2, 40, 40), "float32"), dims=("band", "y", "x"))
    with pytest.raises(BankError, match="no 3 x 3 patch") as caught:
        scene.where(np.arange(40) % 2 == 0).terrasketch.features("rcf-mixed")
    assert "--" not in str(caught.value)
