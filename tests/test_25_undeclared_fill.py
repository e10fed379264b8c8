"""A fill value that nobody declared is told: it counts as data, and under --snr it drowns the rest."""

from functools import reduce
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.flow.undeclared import NO_ENDS, Ends, ends_of
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
    assert f"s: 8.1 % of the pixels of band_1 are {said}, all others " in lines[0]
    assert f"no nodata is declared: they count as data; if they are none, say --nodata={said}" in lines[0]


@pytest.mark.parametrize(
    "words",
    [
        ("denoise", "d.tif", "--tile", 16),
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


def test_run_tells_it_once(tmp_path: Path) -> None:
    write_tif(tmp_path / "s.tif", filled(-9999))
    job = tmp_path / "w.yaml"
    job.write_text("version: 1\nsources: [s.tif]\nread: {tile: 32}\nwrite: {cog: [], report: false}\n")
    lines = warnings_of("run", job, "--out", tmp_path / "out")
    assert [line for line in lines if "8.1 % of the pixels of band_1 are -9999" in line] == lines[:1] != []


def test_nothing_is_said_of_a_declared_one_or_of_another_than_the_declared(tmp_path: Path) -> None:
    scene = write_tif(tmp_path / "s.tif", filled(-9999))
    assert warnings_of("compress", scene, tmp_path / "a.zarr", "--rmse", 5, "--nodata=-9999") == []
    (line,) = warnings_of("compress", scene, tmp_path / "b.zarr", "--rmse", 5, "--nodata=0")
    assert "and nodata is 0: they count as data" in line


@pytest.mark.parametrize(
    "block",
    [
        filled(0, "uint16"),  # the rest begins at 80: a shadow may be as dark
        filled(900, "uint16"),  # saturated
        filled(-9999, pixels=15),  # a target
        filled(500),
        filled(0, pixels=64 * 96),
        (filled(0) > 500).astype("uint8"),  # a mask
        (filled(0) > 500).astype("uint8") + (filled(0) > 700).astype("uint8") * 2,  # classes
    ],
    ids=["dark", "saturated", "ship", "amid", "constant", "mask", "classes"],
)
def test_nothing_is_said_of_values_that_may_be_data(tmp_path: Path, block: NDArray[np.generic]) -> None:
    scene = write_tif(tmp_path / "s.tif", block)
    lines = warnings_of("compress", scene, tmp_path / "s.zarr", "--lossless", "--tile", 32)
    assert lines == []


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
    blocks = [np.array(part, "float32").reshape(1, 1, -1) for part in parts]
    found = reduce(Ends.joined, [ends_of(block, np.ones((1, block.shape[2]), bool)) for block in blocks], NO_ENDS)
    assert found == ends_slowly(np.array([*chain.from_iterable(parts)], "float32"))
