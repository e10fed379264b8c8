"""Bands of classes are told where their numbers are denoised or stored with a loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.scenes import call, write_tif


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("compress", "--snr", "30"), "stored with a loss as if"),
        (("denoise",), "denoised as if"),
        (("compress", "--lossless"), None),
        (("denoise", "--quality", "none"), None),
        (("compress", "--snr", "30", "-b", "1..2"), None),
        (("compress", "--snr", "30", "--mask-band", "SCL"), None),
    ],
)
def test_they_are_told_where_they_are_taken_for_measurements(
    tmp_path: Path, words: tuple[str, ...], told: str | None
) -> None:
    rng = np.random.default_rng(25)
    block = rng.normal(900, 20, (3, 80, 80)).astype("uint16")
    block[2] = rng.integers(3, 9, (80, 80))
    source = write_tif(tmp_path / "s.tif", block)
    with rasterio.open(source, "r+") as file:
        file.descriptions = ("B02", "B03", "SCL")
    result = call(words[0], source, tmp_path / "out.zarr", *words[1:])
    assert result.exit_code == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if "by name of classes" in line]
    assert len(lines) == (told is not None)
    if told is not None:
        assert lines[0].startswith("Warning: s: by name of classes: SCL; ")
        assert told in lines[0]
        assert lines[0].endswith("leave it out (-b, --bands), or let it mask clouds (--mask-band SCL)")
