"""Names of bands that a file does not have are none in what is made of it either."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from pipeline.raster.geotiff import open_raster
from pipeline.raster.scene import SceneInfo
from tests.scenes import call

OURS = ("band_1", "band_2", "band_3")


def scene(path: Path, names: tuple[str | None, ...]) -> Path:
    pixels = np.random.default_rng(0).integers(100, 200, (3, 64, 64)).astype("uint16")
    grid = {"crs": "EPSG:32618", "transform": from_origin(4e5, 4e6, 10, 10)}
    with rasterio.open(path, "w", driver="GTiff", count=3, height=64, width=64, dtype="uint16", **grid) as file:
        file.write(pixels)
        for band, name in enumerate(names, 1):
            if name is not None:
                file.set_band_description(band, name)
    return path


def names_of(path: Path) -> tuple[str | None, ...]:
    with rasterio.open(path) as file:
        return tuple(file.descriptions)


@pytest.mark.parametrize("names", [(None, None, None), ("red", None, "blue"), OURS])
def test_bands_come_back_with_the_names_that_they_had(tmp_path: Path, names: tuple[str | None, ...]) -> None:
    source = scene(tmp_path / "s.tif", names)
    assert open_raster(str(source)).info.bands == tuple(a or b for a, b in zip(names, OURS, strict=True))
    assert call("denoise", source, tmp_path / "c.tif").exit_code == 0
    assert call("compress", source, tmp_path / "c.zarr").exit_code == 0
    assert call("decompress", tmp_path / "c.zarr", tmp_path / "d.tif").exit_code == 0
    assert names_of(tmp_path / "c.tif") == names_of(tmp_path / "d.tif") == names


def test_a_band_that_was_chosen_keeps_its_number(tmp_path: Path) -> None:
    source = scene(tmp_path / "s.tif", (None, None, None))
    assert call("denoise", source, tmp_path / "c.tif", "-b", "3,1").exit_code == 0
    assert names_of(tmp_path / "c.tif") == ("band_3", "band_1")


def test_stores_of_before_do_not_say(tmp_path: Path) -> None:
    info = open_raster(str(scene(tmp_path / "s.tif", OURS))).info
    assert SceneInfo.from_json(info.to_json()).described
    plain = open_raster(str(scene(tmp_path / "p.tif", (None, None, None)))).info
    assert "described" not in plain.to_json()
    assert not SceneInfo.from_json(plain.to_json()).described
