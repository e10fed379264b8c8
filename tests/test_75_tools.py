"""What we write, opened by the tools people have: each finds bands, place, validity and a picture by itself."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pystac
import pytest
import rasterio
import rioxarray
import xarray as xr
from rio_cogeo.cogeo import cog_validate
from rio_tiler.io import Reader, STACReader

from tests.scenes import CRS, call, read, small_scene

BANDS = ("B02", "B03", "B04", "B08")
FLOW = "features: {bank: classic, stride: 8}\nwrite: {cog: [denoised, features], report: false}\n"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run over two scenes."""
    folder = tmp_path_factory.mktemp("tools")
    for name in ("one", "two"):
        with rasterio.open(small_scene(folder / f"{name}.tif", height=140, width=150), "r+") as file:
            file.descriptions = BANDS
    (folder / "flow.yaml").write_text(FLOW)
    words = ["run", folder / "flow.yaml", folder / "one.tif", folder / "two.tif", "--out", folder / "out"]
    done = call(*words)
    assert done.exit_code == 0, done.stderr
    return folder / "out"


@pytest.mark.parametrize("name", ["denoised.tif", "features.tif"])
def test_rio_cogeo_finds_a_valid_cog(out: Path, name: str) -> None:
    assert cog_validate(out / "one" / name, strict=True) == (True, [], [])


def test_a_tile_server_shows_the_cog(out: Path) -> None:
    with Reader(str(out / "one" / "denoised.tif")) as reader:
        assert reader.info().colorinterp[:3] == ["blue", "green", "red"]
        assert [name for _, name in reader.info().band_descriptions] == list(BANDS)
        west, south, east, north = reader.get_geographic_bounds("EPSG:4326")
        tile = reader.tms.tile((west + east) / 2, (south + north) / 2, 13)
        shown = reader.tile(tile.x, tile.y, tile.z, indexes=(3, 2, 1))
        assert shown.data.shape == (3, 256, 256)
        assert 0 < shown.mask.astype(bool).mean() < 1  # beside the scene, and in its holes, nothing is shown
        assert len(shown.render(img_format="PNG")) > 1000


def test_the_item_s_picture_is_neither_black_nor_white(out: Path) -> None:
    item = pystac.Item.from_file(str(out / "one" / "item.json"))
    render = item.properties["renders"]["denoised_cog"]
    with STACReader(str(out / "one" / "item.json")) as reader:
        assert "denoised_cog" in reader.assets
    with Reader(str(out / "one" / "denoised.tif")) as reader:
        shown = reader.preview(indexes=tuple(render["bidx"]))
        shown.rescale(tuple(map(tuple, render["rescale"])))
        pixels = shown.data[:, shown.mask.astype(bool)]
    assert pixels.dtype == np.uint8
    assert (pixels.mean(axis=1) > 60).all()
    assert (pixels.mean(axis=1) < 200).all()
    assert (pixels.std(axis=1) > 20).all()


@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")  # odc-geo calls it
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # of what it warps in memory
def test_rioxarray_and_odc_geo_find_the_place(out: Path) -> None:
    cog = rioxarray.open_rasterio(out / "one" / "denoised.tif", chunks={})
    assert cog.rio.crs == cog.odc.crs == CRS
    assert cog.attrs["long_name"] == BANDS
    with xr.open_zarr(out / "one" / "scene.zarr") as store:
        assert store.odc.geobox == cog.odc.geobox
        assert store.scene.odc.geobox.resolution.x == 20
        there = store.scene.odc.reproject("EPSG:4326")
        assert there.odc.crs.epsg == 4326
        assert np.isfinite(there.values).any()


def test_plain_xarray_reads_the_pixels_of_the_store(out: Path) -> None:
    with xr.open_zarr(out / "one" / "scene.zarr", mask_and_scale=False) as store:
        assert np.array_equal(store.scene, read(out / "one" / "denoised.tif"))


def test_geopandas_reads_the_table(out: Path, tmp_path: Path) -> None:
    words = ["features", out / "one" / "denoised.tif", tmp_path / "f.parquet", "--bank", "classic", "--stride", 16]
    assert call(*words).exit_code == 0
    table = geopandas.read_parquet(tmp_path / "f.parquet")
    assert table.crs == CRS
    assert len(table) > 20
    with rasterio.open(out / "one" / "denoised.tif") as file:
        left, bottom, right, top = file.bounds
    x0, y0, x1, y1 = table.total_bounds
    assert left <= x0 < x1 <= right + 16 * 20  # the last cells reach beyond the scene
    assert bottom - 16 * 20 <= y0 < y1 <= top


def test_pystac_walks_the_catalogue(out: Path) -> None:
    collection = pystac.Collection.from_file(str(out / "collection.json"))
    items = list(collection.get_items(recursive=True))
    assert {item.id for item in items} == {"one", "two"}
    for item in items:
        for key, asset in item.get_assets().items():
            assert Path(asset.get_absolute_href()).exists(), key
    assert pystac.Item.from_file(str(out / "one" / "item.json")).ext.render.renders["denoised_cog"].rescale
