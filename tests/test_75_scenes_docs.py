"""docs/scenes.md on masks, resolutions and dates: every command runs, word for word, and every option stands."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from tests.raster_files import NORTH_UP
from tests.raster_files import write_tif as write_named
from tests.scenes import call

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "scenes.md").read_text()
SECTIONS = TEXT[TEXT.index("## Masks of clouds") : TEXT.index("## What happens when a scene fails")]
LINES = re.findall(r"^    (terrasketch .*)$", SECTIONS, re.MULTILINE)
BANDS = ("B02", "B03", "B04", "SCL")
LEAVE_IT = "leave it out (-b, --bands), or let it mask clouds (--mask-band SCL)"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small files of the names that the page uses; a quarter of each mask is cloud."""
    rng = np.random.default_rng(3)
    monkeypatch.chdir(tmp_path)
    scl = np.full((1, 64, 72), 4)
    scl[:, :32, :36] = 9

    def name(dataset: rasterio.io.DatasetWriter) -> None:
        dataset.descriptions = BANDS

    for folder in ("dates", "workflows"):
        (tmp_path / folder).mkdir()
    for path in ("my_scene", "S2_20160117", "S2_20160206", "dates/S2_20160117", "dates/S2_20160206", "before", "after"):
        block = np.concatenate([rng.integers(300, 900, (3, 64, 72)), scl]).astype("uint16")
        write_named(tmp_path / f"{path}.tif", block, name)
    for folder in ("S2_20160117", "S2_20160206"):
        (tmp_path / folder).mkdir()
        write_named(tmp_path / folder / "B02.tif", rng.integers(300, 900, (1, 64, 72)).astype("uint16"))
        write_named(tmp_path / folder / "SCL.tif", scl.astype("uint8"))
    for band in ("B02", "B03"):
        write_named(tmp_path / f"{band}.tif", rng.integers(300, 900, (1, 64, 72)).astype("uint16"))
    coarse = rng.integers(300, 900, (1, 11, 12)).astype("uint16")
    write_named(tmp_path / "B01.tif", coarse, transform=NORTH_UP * NORTH_UP.scale(6))
    write_named(tmp_path / "clouds_20m.tif", scl[:, ::2, ::2].astype("uint8"), transform=NORTH_UP * NORTH_UP.scale(2))
    write_named(tmp_path / "flags.tif", np.where(scl == 9, 8, 64).astype("uint8"))
    (tmp_path / "workflows" / "scene.yaml").write_text("features: null\nwrite: {cog: [], report: false}\n")
    return tmp_path


@pytest.mark.parametrize("line", LINES)
def test_the_command_runs_and_its_mask_takes_out_some(here: Path, line: str) -> None:
    words = shlex.split(line)[1:]
    if words[1] == "stack.zarr":  # that another command makes
        (maker,) = (one for one in LINES if one.endswith(" stack.zarr --stack"))
        assert call(*shlex.split(maker)[1:]).exit_code == 0
    result = call(*words, *(() if words[0] == "inspect" or "-v" in words else ("-v",)))
    assert result.exit_code == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if "Warning" in line]
    told = [line for line in lines if "nothing tells when it was taken" not in line]
    # Dates that come with their SCL, which no mask takes out, are stored with it: that is told, and nothing else.
    assert all(line.endswith("as if it measured something: " + LEAVE_IT) for line in told)
    assert bool(told) == ("--stack" in words and "--mask-band" not in words)
    if "--mask-band" in words and words[0] != "inspect":
        assert "takes 25.0 % of the valid pixels out of learning" in result.stderr
    for store in here.glob("*.zarr") if "--stack" in words else ():
        scene = xr.open_zarr(store).scene.set_index(band=["time", "band_name"]).unstack("band")
        assert scene.sizes["time"] == 2


def test_every_option_is_shown_in_a_command() -> None:
    shown = " ".join(LINES)
    for option in ("--stack", "--times", "--mask-band", "--mask-values", "--mask-bits"):
        assert f" {option} " in f"{shown} ", option
    assert {"denoise", "compress", "fit", "features", "inspect", "run"} <= {line.split()[1] for line in LINES}
