"""flow/report.py: what a report shows of a scene, beside the scene."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import rasterio
from numpy.testing import assert_allclose, assert_array_equal

from pipeline.flow.read import open_scene
from pipeline.flow.report import take_pictures
from tests.scenes import call, write_tif


def test_pictures_show_each_band_where_it_has_a_value(tmp_path: Path) -> None:
    block = np.random.default_rng(1).integers(1, 900, (4, 40, 50)).astype(np.uint16)
    block[3, 5:25] = 0
    block[:, 30:, 40:] = 0
    source = open_scene(str(write_tif(tmp_path / "a.tif", block, nodata=0)))
    pictures = take_pictures(source, source)
    for shown in (pictures.before, pictures.after, pictures.detail.before):
        assert_array_equal(shown, np.where(block == 0, np.nan, block))


def test_pixels_have_the_size_that_they_have_on_a_turned_grid(tmp_path: Path) -> None:
    block = np.random.default_rng(1).integers(1, 900, (1, 64, 64)).astype(np.uint16)
    turned = rasterio.Affine.translation(4e5, 4e6) @ rasterio.Affine.rotation(30) @ rasterio.Affine.scale(20, -10)
    write_tif(tmp_path / "a.tif", block, transform=turned)
    (tmp_path / "job.yaml").write_text(
        "version: 1\nsources: [a.tif]\nout: out\ndenoise: {quality: none}\ncompress: {lossless: true}\n"
        "write: {report: true}\n"
    )
    assert call("run", tmp_path / "job.yaml").exit_code == 0
    found = re.search(r"Pixel size</th><td>([\d.]+) × ([\d.]+)", (tmp_path / "out/a/report.html").read_text())
    assert found is not None
    assert_allclose([float(found[1]), float(found[2])], [20, 10])
