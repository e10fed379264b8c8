"""Noise in proportion to the signal, as radar's is: told, for one level of noise takes it off what is dark alone."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

import pipeline  # noqa: F401  (registers .terrasketch)
from benchmarks.noises import DATA, FLOOR, GAIN, S2
from pipeline.flow.speckle import BANDS, speckle
from pipeline.grid import Window
from pipeline.raster.geotiff import open_raster
from tests.scenes import call, small_scene, write_tif

SAID = "noise grows in proportion to the signal, as radar's does"
SEEDS = np.random.SeedSequence(31).spawn(4)


def coast(bands: int = 1, looks: float = 4.4, power: float = 0.5) -> NDArray[np.float32]:
    """Sea and land six times as bright, as amplitudes (power 1/2) or intensities (1)."""
    rng = np.random.default_rng(SEEDS[0])
    field = gaussian_filter(rng.standard_normal((384, 384)), 30)
    truth = 0.06 * (1 + 5 / (1 + np.exp(-6 * field / field.std())))
    noise = rng.gamma(looks, 1 / looks, (bands, 384, 384))
    return ((truth**2 * noise) ** power).astype(np.float32)


def found(block: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> dict[int, float]:
    valid = np.isfinite(block).all(axis=0) if valid is None else valid

    def read(window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        return block[:, *window.slices], valid[window.slices]

    return speckle(len(block), block.shape[1:], read)


@pytest.mark.parametrize("bands", [1, 2])
@pytest.mark.parametrize("power", [0.5, 1])
@pytest.mark.parametrize("looks", [1, 4.4, 10])
def test_speckle_is_seen(bands: int, power: float, looks: float) -> None:
    shares = found(coast(bands, looks, power))
    assert list(shares) == [*range(bands)]
    for share in shares.values():
        assert 0.5 < share / (2 * power * 0.5 / np.sqrt(looks)) < 1.2


@pytest.mark.parametrize("value", [0.0, -1e-3])
def test_a_few_pixels_without_a_signal_do_not_hide_it(value: float) -> None:
    """Thermal noise that was taken off leaves zeros, and less, over dark water."""
    block = coast(2)
    block[:, np.random.default_rng(5).random(block.shape[1:]) < 0.02] = value
    assert list(found(block)) == [0, 1]


def test_integers_holes_and_dark_pixels_do_not_hide_it() -> None:
    block = np.rint(coast() * 1e4).astype(np.uint16)
    block[:, :200, :90] = 0
    assert found(block)
    valid = np.ones(block.shape[1:], bool)
    valid[100:300, 200:] = False
    assert found(block, valid)


def test_decibels_and_flat_seas_are_in_order() -> None:
    assert not found(20 * np.log10(coast()))
    rng = np.random.default_rng(SEEDS[1])
    assert not found(0.06 * np.sqrt(rng.gamma(4.4, 1 / 4.4, (1, 384, 384))))


def noises(truth: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """What optical scenes have, of 2 and 5 % of the range, and Poisson-like."""
    rng = np.random.default_rng(SEEDS[2])
    low, high = (np.quantile(truth, q, axis=(1, 2), keepdims=True) for q in (0.001, 0.999))
    width, unit = np.maximum(high - low, 1), rng.standard_normal(truth.shape)
    made = {"none": truth} | {f"iid {share}": truth + share * width * unit for share in (0.02, 0.05)}
    made["Poisson"] = truth + width * np.sqrt(GAIN * np.maximum(truth - low, 0) / width + FLOOR) * unit
    made["Poisson of all"] = truth + width * np.sqrt(GAIN * truth / width) * unit
    return {name: np.maximum(block, 1e-3).astype(np.float32) for name, block in made.items()}


SCENES = ["L7_ETMs.tif", S2, "LC80200392015216LGN00_10band_30m.tif", "s2_L1C_5scenes_13band/scene0.tif"]


@pytest.mark.parametrize("name", ["sample", *SCENES])
def test_optical_scenes_are_in_order(name: str) -> None:
    path = Path("sample_data/s2_18SVG_crop_10band_20m.tif") if name == "sample" else DATA / name
    if not path.is_file():
        pytest.skip("the shared data are not here")
    source = open_raster(str(path))
    truth = source.read(Window(0, source.info.height, 0, source.info.width))[0].astype(np.float64)
    for kind, block in noises(truth).items():
        for first in range(0, len(block), BANDS):
            assert not found(block[first : first + BANDS]), (name, kind, first)


def test_the_commands_say_it(tmp_path: Path) -> None:
    write_tif(tmp_path / "radar.tif", coast(2))
    (tmp_path / "job.yaml").write_text(
        "version: 1\nsources: [radar.tif]\nout: out\nfeatures: null\nwrite: {cog: [], report: false}\n"
    )
    said = [
        call("denoise", tmp_path / "radar.tif", tmp_path / "c.tif").stderr,
        call("inspect", tmp_path / "radar.tif").stderr,
        call("run", tmp_path / "job.yaml", tmp_path / "radar.tif", "--out", tmp_path / "out").stderr,
    ]
    for text in said:
        (line,) = [line for line in text.splitlines() if SAID in line]
        assert line.startswith(f"Warning: radar: {SAID} (band_")
        assert " and 1 more: about 2" in line
        assert line.endswith("; give decibels (10*log10 of each value)")


def test_what_is_not_denoised_or_has_other_noise_says_nothing(tmp_path: Path) -> None:
    write_tif(tmp_path / "radar.tif", coast())
    small_scene(tmp_path / "scene.tif")
    words = [("compress", "radar.tif", "r.zarr"), ("denoise", "radar.tif", "n.tif", "--quality", "none")]
    words += [("denoise", "scene.tif", "s.tif"), ("inspect", "scene.tif")]
    for command, *paths in words:
        result = call(command, *(tmp_path / path if path.count(".") else path for path in paths))
        assert result.exit_code == 0
        assert SAID not in result.stderr


def test_python_says_it() -> None:
    scene = xr.DataArray(coast(), dims=("band", "y", "x"), coords={"band": ["VV"]}, name="radar")
    with pytest.warns(UserWarning, match=rf"^radar: {SAID} \(VV: about 2\d % of it\)"):
        scene.terrasketch.denoise()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (20 * np.log10(scene)).terrasketch.denoise()
