"""A fill value that nobody declared is told: it counts as data, and under --snr it drowns the rest."""

import json
import warnings
from functools import reduce
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import pipeline
from pipeline.denoise.measure import rounding
from pipeline.flow.ends import NO_ENDS, Ends, ends_of
from pipeline.flow.far import NO_FAR, Far, far_of
from pipeline.flow.undeclared import fill_of
from pipeline.grid import Window
from tests.scenes import call, write_tif


def filled(value: float, dtype: str = "float32", pixels: int = 500, fill_bands: int = 2) -> NDArray[np.generic]:
    """Two bands of 64 x 96 pixels of 100 to 900 with noise, in the upper left corner so many of `value`."""
    rng = np.random.default_rng(0)
    block = (np.linspace(100, 900, 96) + rng.normal(0, 5, (2, 64, 96))).astype(dtype)
    block[:fill_bands].reshape(fill_bands, -1)[:, :pixels] = value
    return block


def warnings_of(*words: object) -> list[str]:
    """What a command warns of; it must end well."""
    result = call(*words)
    assert result.exit_code == 0, result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]


@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [
        (-9999, "float32", "-9999"),
        (-9999, "int16", "-9999"),
        (65535, "uint16", "65535"),
        (np.finfo("float32").min, "float32", "-3.4028235e+38"),
        (1e20, "float32", "1e+20"),
        (123456, "int32", "123456"),
    ],
)
def test_a_value_far_from_all_others_is_told(tmp_path: Path, value: float, dtype: str, said: str) -> None:
    scene = write_tif(tmp_path / "s.tif", filled(value, dtype))
    lines = warnings_of("compress", scene, tmp_path / "s.zarr", "--snr", 40, "--tile", 32)
    assert len(lines) == 1
    assert f"s: 8.1 % of the pixels read of band_1 are {said}, all others " in lines[0]
    assert (
        f"no nodata sets them apart: they count as data; if they are none, say --nodata={said}, in a workflow "
        f"read: {{nodata: {said}}}, and --overwrite"
    ) in lines[0]


@pytest.mark.parametrize(
    "words",
    [
        ("denoise", "d.tif", "--tile", 16),
        ("denoise", "q.tif", "--tile", 32, "--quiet"),
        ("denoise", "d.zarr", "--quality", "none"),
        ("compress", "c.zarr", "--lossless"),
        ("features", "f.zarr", "--stride", 8),
    ],
)
def test_every_command_that_reads_a_scene_tells_it_once(tmp_path: Path, words: tuple[object, ...]) -> None:
    command, name, *more = words
    scene = write_tif(tmp_path / "s.tif", filled(-9999))
    assert [line.split(" of the pixels")[0] for line in warnings_of(command, scene, tmp_path / str(name), *more)] == [
        "Warning: s: 8.1 %"
    ]


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_run_tells_it_once(tmp_path: Path, quiet: tuple[str, ...]) -> None:
    write_tif(tmp_path / "s.tif", filled(-9999))
    job = tmp_path / "w.yaml"
    job.write_text("version: 1\nsources: [s.tif]\nread: {tile: 32}\nwrite: {cog: [], report: false}\n")
    lines = warnings_of("run", job, "--out", tmp_path / "out", *quiet)
    receipt = json.loads((tmp_path / "out" / "s" / "receipt.json").read_text())
    assert [line for line in lines if "when it was taken" not in line] == [
        "Warning: " + receipt["facts"]["undeclared_fill"]
    ]
    assert [line for line in lines if "8.1 % of the pixels read of band_1 are -9999" in line] == lines[:1] != []


def test_nothing_is_said_of_a_declared_one_or_of_another_than_the_declared(tmp_path: Path) -> None:
    scene = write_tif(tmp_path / "s.tif", filled(-9999))
    assert warnings_of("compress", scene, tmp_path / "a.zarr", "--rmse", 5, "--nodata=-9999") == []
    (line,) = warnings_of("compress", scene, tmp_path / "b.zarr", "--rmse", 5, "--nodata=0")
    assert "if they are none, write them as 0 first" in line


@pytest.mark.parametrize(
    "block",
    [
        filled(0, "uint16", fill_bands=1),  # the rest begins at 80: a shadow may be as dark, in one band
        filled(0, "uint16", pixels=6),
        filled(900, "uint16"),  # saturated
        filled(-9999, pixels=15),  # a target
        filled(500),
        filled(0, pixels=64 * 96),
        (filled(0) > 500).astype("uint8"),  # a mask
        (filled(0) > 500).astype("uint8") + (filled(0) > 700).astype("uint8") * 2,  # classes
    ],
    ids=["dark", "few", "saturated", "ship", "amid", "constant", "mask", "classes"],
)
def test_nothing_is_said_of_values_that_may_be_data(tmp_path: Path, block: NDArray[np.generic]) -> None:
    scene = write_tif(tmp_path / "s.tif", block)
    lines = warnings_of("compress", scene, tmp_path / "s.zarr", "--lossless", "--tile", 32)
    assert lines == []


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_zeros_of_the_first_and_the_last_band_alike_are_told(tmp_path: Path, dtype: str) -> None:
    block = (filled(900) / 5).astype(dtype)
    block.reshape(2, -1)[:, :500] = 0
    block[0, 40, :10] = 0  # and some that are as dark
    scene = write_tif(tmp_path / "s.tif", block)
    (line,) = warnings_of("compress", scene, tmp_path / "s.zarr", "--lossless", "--tile", 32)
    assert "8.1 % of the pixels read are 0 in " in line
    assert ", and no nodata" in line
    assert "--nodata=0, in a workflow" in line
    assert warnings_of("compress", scene, tmp_path / "n.zarr", "--lossless", "--nodata", 0) == []
    block[0, 40:, :10] = 0  # many more of the one than of the other: not the same pixels
    scene = write_tif(tmp_path / "t.tif", block)
    assert warnings_of("compress", scene, tmp_path / "t.zarr", "--lossless") == []


@pytest.mark.parametrize("kind", ["fractions", "rain"])
def test_as_many_zeros_elsewhere_are_no_fill(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    first, other = rng.random((2, 64, 96)) < 0.5
    block = rng.gamma(2, 3, (2, 64, 96)).astype("float32") * [first, ~first if kind == "fractions" else other]
    scene = write_tif(tmp_path / "s.tif", block.astype("float32"))
    assert warnings_of("compress", scene, tmp_path / "s.zarr", "--lossless", "--tile", 32) == []


def test_zeros_above_all_others_are_told_too(tmp_path: Path) -> None:
    """Radar in decibels."""
    block = (-filled(900, "float32") / 50).astype("float32")
    block.reshape(2, -1)[:, :500] = 0
    scene = write_tif(tmp_path / "s.tif", block)
    (line,) = warnings_of("compress", scene, tmp_path / "s.zarr", "--lossless")
    assert "are 0 in " in line


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63) + 5])
def test_no_remedy_is_said_where_nodata_cannot_name_the_value(tmp_path: Path, value: int) -> None:
    block = filled(0, "int64")
    block.reshape(2, -1)[:, :500] = value
    scene = write_tif(tmp_path / "s.tif", block)
    assert warnings_of("compress", scene, tmp_path / "s.zarr", "--lossless") == []


def test_of_a_store_it_was_told_when_that_was_made(tmp_path: Path) -> None:
    scene = write_tif(tmp_path / "s.tif", filled(-9999))
    assert len(warnings_of("compress", scene, tmp_path / "s.zarr", "--lossless")) == 1
    assert warnings_of("denoise", tmp_path / "s.zarr", tmp_path / "d.tif") == []


def test_of_a_store_under_a_mask_too(tmp_path: Path) -> None:
    scene = write_tif(tmp_path / "s.tif", filled(-9999))
    warnings_of("compress", scene, tmp_path / "s.zarr", "--lossless")
    mask = write_tif(tmp_path / "m.tif", (filled(0)[:1] > 500).astype("uint8"))
    words = ("--mask-band", mask, "--mask-values", 1)
    assert warnings_of("denoise", tmp_path / "s.zarr", tmp_path / "d.tif", *words) == []


def test_denoising_meets_the_largest_number_without_a_word() -> None:
    band = np.full((1, 8, 8), np.finfo("float32").max, "float32")
    assert rounding(band, np.ones((8, 8), bool)) == [2.0**103]
    assert rounding(-band / 2**20, np.ones((8, 8), bool)) == [2.0**84]


def test_a_fill_of_the_last_date_alone_is_told(tmp_path: Path) -> None:
    block = filled(-9999)
    block[0] = filled(500)[0]
    (line,) = warnings_of("compress", write_tif(tmp_path / "s.tif", block), tmp_path / "s.zarr", "--rmse", 5)
    assert "of the pixels read of band_2 are -9999" in line


@pytest.mark.parametrize(
    ("values", "dtype", "fill"),
    [
        ([-9999.9, 1000, 9000], "float32", True),
        ([-3000, 0, 10000], "int16", True),
        ([-99, -25, 0], "float32", True),
        ([255, 1, 9], "uint8", True),
        ([255, 0, 128], "uint8", False),
        ([0, 2001, 2023], "uint16", False),
        ([-1, 0, 100], "int16", False),
        ([-1000, -900, 100], "float32", False),
    ],
)
def test_how_far_is_far_depends_on_the_value(values: list[float], dtype: str, fill: bool) -> None:
    """Of the first value there are 20, of the others one each."""
    band = np.array([values[0]] * 20 + values[1:], dtype)[None]
    found = fill_of(ends_of(band, np.ones(band.shape, bool)), band.dtype)
    assert (found is not None) == fill
    assert found is None or found[0] == band[0, 0]


def ends_slowly(values: NDArray[np.generic]) -> Ends:
    """The same by sorting."""
    distinct, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    if not distinct.size:
        return NO_ENDS
    above, below = (distinct[1], distinct[-2]) if distinct.size > 1 else (np.inf, -np.inf)
    return Ends(int(counts.sum()), distinct[0], counts[0], above, distinct[-1], counts[-1], below)


numbers = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([np.nan, np.inf, -np.inf, 1e30]))


@given(st.lists(st.lists(numbers, max_size=6), max_size=5))
def test_ends_of_parts_add_up_to_those_of_the_whole(parts: list[list[float]]) -> None:
    blocks = [np.array(part, "float32").reshape(1, -1) for part in parts]
    found = reduce(Ends.joined, [ends_of(block, np.ones(block.shape, bool)) for block in blocks], NO_ENDS)
    assert found == ends_slowly(np.array([*chain.from_iterable(parts)], "float32"))


def spotted(values: list[float], dtype: str = "float32", band: int = 1) -> NDArray[np.generic]:
    """Three bands of 100 to 900 with noise, and in one of them such single pixels, one below the other."""
    block = np.concatenate([filled(500, pixels=0)] * 2)[:3].astype(dtype)
    block[band, 40 : 40 + len(values), 70] = values
    return block


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1e15], "the values of 1 pixel (1e+15 in band_2 at row 40, column 70; all others of that tile "),
        ([-3.4028235e38], "the values of 1 pixel (-3.4028235e+38 in band_2 at row 40, "),
        ([9.96921e36] * 2, "the values of 2 pixels (9.96921e+36 in band_2 at row 40, "),
        ([1e8, 1e12], "the values of 2 pixels (1e+12 in band_2 at row 41, "),
    ],
)
def test_a_few_pixels_that_outweigh_their_tile_are_told(tmp_path: Path, values: list[float], said: str) -> None:
    scene = write_tif(tmp_path / "s.tif", spotted(values))
    (line,) = warnings_of("compress", scene, tmp_path / "s.zarr", "--snr", 40, "--tile", 64)
    value = said.partition("(")[2].partition(" in ")[0]
    assert line.startswith(f"Warning: s: {said}")
    assert ") are nearly all that an SNR of " in line
    if len(set(values)) > 1:  # no nodata is both
        assert line.endswith(": give --rmse, which does not hang on them, or write what is none as nodata")
        return
    assert f", and no nodata sets them apart: they count as data; if they are none, say --nodata={value}, in a" in line
    assert line.endswith("; or give --rmse, which does not hang on them")
    words = ("--snr", 40, "--tile", 64, f"--nodata={value}")
    assert warnings_of("compress", scene, tmp_path / "n.zarr", *words) == []


@pytest.mark.parametrize(
    ("words", "times"),
    [
        (("denoise", "d.zarr", "--basis", "scene"), 0),
        (("compress", "c.zarr", "--snr", 60), 1),
        (("compress", "c.zarr", "--rmse", 1), 0),
        (("compress", "c.zarr", "--lossless"), 0),
    ],
)
def test_what_has_an_snr_tells_them_once(tmp_path: Path, words: tuple[object, ...], times: int) -> None:
    command, name, *more = words
    scene = write_tif(tmp_path / "s.tif", spotted([1e20]))
    told = [line for line in warnings_of(command, scene, tmp_path / str(name), *more) if "sets them apart" in line]
    assert [("the values of 1 pixel (1e+20 in band_2" in line) for line in told] == [True] * times


def test_python_tells_them_too(tmp_path: Path) -> None:
    array = pipeline.open_scene(str(write_tif(tmp_path / "s.tif", spotted([1e20]))))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        array.terrasketch.compress(tmp_path / "p.zarr", snr=40)
    words = "the values of 1 pixel (1e+20 in band_2 at row 40, column 70"
    assert [words in str(one.message) for one in told].count(True) == 1


@pytest.mark.parametrize(
    "block",
    [spotted([-9999]), spotted([65535], "uint16"), spotted([30000] * 9, "int16"), spotted([2e4, 5e4])],
    ids=["few fills", "saturated", "ship", "glint"],
)
def test_nothing_is_said_of_bright_pixels(tmp_path: Path, block: NDArray[np.generic]) -> None:
    scene = write_tif(tmp_path / "s.tif", block)
    assert warnings_of("compress", scene, tmp_path / "s.zarr", "--snr", 40, "--tile", 64) == []


def test_nothing_is_said_of_what_decides_no_snr() -> None:
    """Kelvins: the mean is signal, too. And of the sentinel of a band of dates."""
    block = 290 + np.random.default_rng(0).normal(0, 0.01, (2, 64, 64))
    block[0, 5, 5] = 1200
    valid, window = np.ones((64, 64), bool), Window(64, 128, 0, 64)
    assert far_of(block, valid, window, None) == NO_FAR
    block[1, 5, 5] = 1e9
    found = far_of(block, valid, window, None)
    assert (found.pixels, found.value, found.band, found.y, found.x) == (1, 1e9, 1, 69, 5)
    assert far_of(block, valid, window, 1e9) == NO_FAR


def test_those_of_tiles_add_up_to_the_worst() -> None:
    one, other = Far(2, 5.0, 1e9, 1, 3, 4, 0, 1), Far(1, 9.0, 1e12, 0, 7, 8, 0, 2)
    assert one.joined(other) == other.joined(one) == other._replace(pixels=3, alike=False)
    assert NO_FAR.joined(one) == one.joined(NO_FAR) == one
