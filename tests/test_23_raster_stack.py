"""Files on one grid: every pixel against the affine arithmetic of whole numbers, one pixel at a time."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pystac
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.enums import ColorInterp

from pipeline.errors import ConfigError, SourceError
from pipeline.raster.open import open_source
from pipeline.raster.scene import SceneInfo
from tests.raster_files import NORTH_UP, numbers, rasterio_open, read_all, whole, write_tif


class File(NamedTuple):
    """A file's pixels and grid, in whole units: left, top, size of a pixel."""

    block: NDArray[Any]
    left: int
    top: int
    step: int

    @property
    def transform(self) -> Affine:
        return Affine(self.step, 0, self.left, 0, -self.step, self.top)


def slow_stack(files: list[File], left: int, top: int, step: int, height: int, width: int, near: bool = False) -> Any:
    """Each pixel of each band by exact fractions: the source pixel that contains its centre; of finer files, unless
    `near`, the mean by area of those under it."""
    block = np.zeros((sum(len(file.block) for file in files), height, width))
    valid = np.ones((height, width), bool)
    for y in range(height):
        for x in range(width):
            band = 0
            for file in files:
                rows, columns = file.block.shape[1:]
                if file.step < step and not near:
                    ys = _shares(Fraction(file.top - top + y * step, file.step), Fraction(step, file.step), rows)
                    xs = _shares(Fraction(left + x * step - file.left, file.step), Fraction(step, file.step), columns)
                else:
                    column = (left + (x + Fraction(1, 2)) * step - file.left) // file.step
                    row = (file.top - top + (y + Fraction(1, 2)) * step) // file.step
                    ys = {row: Fraction(1)} if 0 <= row < rows else {}
                    xs = {column: Fraction(1)} if 0 <= column < columns else {}
                if ys and xs:
                    for number, plane in enumerate(file.block, band):
                        total = sum(int(plane[r, c]) * ys[r] * xs[c] for r in ys for c in xs)
                        block[number, y, x] = total / (sum(ys.values()) * sum(xs.values()))
                else:
                    valid[y, x] = False
                band += len(file.block)
    return block, valid


def _shares(start: Fraction, length: Fraction, extent: int) -> dict[int, Fraction]:
    """How much of each pixel of a line lies between start and start + length."""
    inside = {pixel: min(start + length, pixel + 1) - max(start, pixel) for pixel in range(extent)}
    return {pixel: share for pixel, share in inside.items() if share > 0}


def _write(folder: Path, files: list[File]) -> list[Path]:
    return [
        write_tif(folder / f"S_B{number:02d}.tif", file.block, transform=file.transform)
        for number, file in enumerate(files, 1)
    ]


sizes = st.integers(1, 6)


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(sizes, sizes, st.integers(-30, 30), st.integers(-30, 30), st.sampled_from([10, 20, 30, 60])),
        min_size=2,
        max_size=4,
    ),
    st.sampled_from([None, 10, 15, 40, 60]),
    st.sampled_from([None, "nearest"]),
)
def test_any_grids_as_the_slow_reference(
    tmp_path_factory: pytest.TempPathFactory,
    grids: list[tuple[int, ...]],
    resolution: int | None,
    resampling: str | None,
) -> None:
    folder = tmp_path_factory.mktemp("stack")
    files = [
        File(numbers(1, height, width, seed=number), 400_000 + left, 4_000_000 + top, step)
        for number, (height, width, left, top, step) in enumerate(grids)
    ]
    source = open_source(_write(folder, files), resolution=resolution, resampling=resampling)
    info = source.info
    assert info.geo.transform is not None
    step, _, left, _, down, top = map(int, info.geo.transform)
    assert (step, down) == (resolution or min(file.step for file in files), -(resolution or min(f.step for f in files)))
    anchor = next((file for file in files if file.step == step), min(files, key=lambda file: file.step))
    assert (left - anchor.left) % step == 0
    assert (anchor.top - top) % step == 0
    edges = [(f.left, f.left + f.step * f.block.shape[2], f.top, f.top - f.step * f.block.shape[1]) for f in files]
    assert left <= min(edge[0] for edge in edges) < left + step
    assert left + step * (info.width - 1) < max(edge[1] for edge in edges) <= left + step * info.width
    assert top >= max(edge[2] for edge in edges) > top - step
    assert top - step * (info.height - 1) > min(edge[3] for edge in edges) >= top - step * info.height
    block, valid = slow_stack(files, left, top, step, info.height, info.width, near=resampling is not None)
    first, _ = whole(source)
    for got, real in (whole(source), read_all(source, 5)):
        np.testing.assert_array_equal(real, valid)
        np.testing.assert_array_equal(got, first)
        np.testing.assert_allclose(got, block, rtol=0, atol=0.5 + 1e-9)  # of means the nearest whole number
    assert info.masked or valid.all()


def test_sentinel_bands_at_three_resolutions_and_origins(shared_data: Path) -> None:
    folder = shared_data / "s2_18SVG_west_bands"
    source = open_source(folder)
    names = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
    assert source.info.bands == tuple(names)
    assert (source.info.name, source.info.dtype, source.info.geo.epsg) == ("s2_18SVG_west_bands", "uint16", 32618)
    files = []
    for name in names:
        with rasterio_open(folder / f"{name}.tif") as dataset:
            a, _, c, _, _, f = map(int, tuple(dataset.transform)[:6])
            files.append(File(dataset.read(), c, f, a))
    block, valid = read_all(pickle.loads(pickle.dumps(source)), 512)
    assert source.info.geo.transform == (10, 0, 435_720, 0, -10, 4_179_480)
    # the finest files are copied pixel by pixel
    finest = files[names.index("B02")]
    y, x = (4_179_480 - finest.top) // 10, (finest.left - 435_720) // 10
    rows, columns = finest.block.shape[1:]
    np.testing.assert_array_equal(block[1, y : y + rows, x : x + columns], finest.block[0])
    assert not valid[:y].any()
    # and all of them at the corners and a strip across, against fractions
    for at_y, at_x in ((0, 0), (700, 500), (block.shape[1] - 12, block.shape[2] - 12)):
        left, top = 435_720 + 10 * at_x, 4_179_480 - 10 * at_y
        expected, real = slow_stack(files, left, top, 10, 12, 12)
        place = (slice(at_y, at_y + 12), slice(at_x, at_x + 12))
        np.testing.assert_array_equal(valid[place], real)
        np.testing.assert_array_equal(block[:, *place], expected)


def _pair(folder: Path, **changes: Any) -> tuple[File, File]:
    fine = File(numbers(1, 40, 40, "float32"), 400_000, 4_000_000, 10)
    coarse = File(numbers(1, 20, 20, "float32", seed=1), 400_000, 4_000_000, 20)
    write_tif(folder / "fine.tif", fine.block, transform=fine.transform)
    write_tif(folder / "coarse.tif", coarse.block, **({"transform": coarse.transform} | changes))
    return fine, coarse


def test_bands_in_any_order_by_number_or_name(tmp_path: Path) -> None:
    fine, coarse = _pair(tmp_path)
    source = open_source(tmp_path, bands=["fine", "coarse"])
    assert source.info.bands == ("fine", "coarse")
    block, _ = whole(source)
    np.testing.assert_array_equal(block[0], fine.block[0])
    np.testing.assert_array_equal(block[1], coarse.block[0].repeat(2, 0).repeat(2, 1))
    only = open_source(tmp_path, bidx=[1])
    assert (only.info.bands, only.info.height) == (("coarse",), 20)
    np.testing.assert_array_equal(whole(only)[0], coarse.block)
    with pytest.raises(ConfigError, match="no band B99; there are 1 coarse, 2 fine"):
        open_source(tmp_path, bands=["B99"])


def test_one_file_at_another_resolution(tmp_path: Path) -> None:
    fine, _ = _pair(tmp_path)
    source = open_source(tmp_path / "fine.tif", resolution=20, resampling="average")
    means = fine.block.reshape(1, 20, 2, 20, 2).mean((2, 4))
    np.testing.assert_allclose(whole(source)[0], means, rtol=1e-6)
    np.testing.assert_array_equal(whole(open_source(tmp_path / "fine.tif", resolution=20))[0], whole(source)[0])
    nearest = open_source(tmp_path / "fine.tif", resolution=(30.0, 10.0), resampling="nearest")
    np.testing.assert_array_equal(whole(nearest)[0][:, :, :13], fine.block[:, :, 1::3])


@pytest.mark.parametrize("nodata", [None, 150.0])
def test_other_resampling_is_smooth_and_does_not_see_windows(tmp_path: Path, nodata: float | None) -> None:
    fine, coarse = _pair(tmp_path, nodata=nodata)
    source = open_source(tmp_path, resampling="bilinear")
    block, valid = whole(source)
    again, same = read_all(source, 7)
    np.testing.assert_array_equal(block, again)
    np.testing.assert_array_equal(valid, same)
    np.testing.assert_array_equal(block[1], fine.block[0])
    inner = block[0, 1:-1, 1:-1]
    assert np.nanmin(inner) >= coarse.block.min()
    assert np.nanmax(inner) <= coarse.block.max()
    assert not np.array_equal(block[0], coarse.block[0].repeat(2, 0).repeat(2, 1))
    # a pixel centre a quarter of a coarse pixel inside: 9/16, 3/16, 3/16, 1/16 of its neighbours
    c = coarse.block[0].astype(float)
    expected = (9 * c[4, 4] + 3 * c[4, 5] + 3 * c[5, 4] + c[5, 5]) / 16
    if nodata is None or nodata not in c[4:6, 4:6]:
        assert block[0, 9, 9] == pytest.approx(expected, rel=1e-5)
    assert valid.all() == (nodata is None or nodata not in c)


def test_masks_and_alpha_of_members_count(tmp_path: Path) -> None:
    _pair(tmp_path)
    mask = np.ones((20, 20), bool)
    mask[3, 4] = False
    block = numbers(1, 20, 20)
    transform = Affine(20, 0, 400_000, 0, -20, 4_000_000)
    write_tif(tmp_path / "coarse.tif", block, lambda d: d.write_mask(mask), transform=transform)
    np.testing.assert_array_equal(whole(open_source(tmp_path))[1], mask.repeat(2, 0).repeat(2, 1))


def test_holes_of_files_with_different_nodata_are_nan_and_their_own(tmp_path: Path) -> None:
    fine, coarse = _pair(tmp_path, nodata=float(numbers(1, 20, 20, "float32", seed=1)[0, 5, 6]))
    source = open_source(tmp_path)
    assert repr(source.info.nodata) == "nan"
    assert source.info.masked
    expected = (coarse.block[0] != coarse.block[0, 5, 6]).repeat(2, 0).repeat(2, 1)
    block, valid = read_all(source, 7)
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(block[0], np.where(expected, coarse.block[0].repeat(2, 0).repeat(2, 1), np.nan))
    np.testing.assert_array_equal(block[1], fine.block[0])


def test_what_a_file_without_nodata_does_not_cover_or_masks_is_missing_there_alone(tmp_path: Path) -> None:
    left = numbers(1, 6, 4, "float32", seed=1)
    mask = np.ones((6, 4), bool)
    mask[0, 0] = mask[1, 1] = False
    write_tif(tmp_path / "a.tif", left, lambda dataset: dataset.write_mask(mask))
    other = numbers(1, 6, 8, "float32", seed=2)
    other[0, 0, :2] = -9999
    write_tif(tmp_path / "b.tif", other, nodata=-9999)
    block, valid = whole(open_source([tmp_path / "a.tif", tmp_path / "b.tif"]))
    a, b = np.full((6, 8), np.nan, np.float32), np.where(other[0] == -9999, np.nan, other[0])
    a[:, :4] = np.where(mask, left[0], np.nan)
    np.testing.assert_array_equal(block, [a, b])
    np.testing.assert_array_equal(valid, np.isfinite(a) & np.isfinite(b))


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
def test_files_of_integers_share_a_nodata_that_the_other_cannot_hold(tmp_path: Path, resampling: str) -> None:
    narrow, wide = numbers(1, 6, 8, "uint8"), numbers(1, 3, 4, "int16", seed=1)
    narrow[0, 2, 2], wide[0, 0, 0] = 0, -9999
    write_tif(tmp_path / "a.tif", narrow, nodata=0)
    with rasterio_open(tmp_path / "a.tif") as dataset:
        coarse = dataset.transform * Affine.scale(2)
    write_tif(tmp_path / "b.tif", wide, nodata=-9999, transform=coarse)
    source = open_source([tmp_path / "a.tif", tmp_path / "b.tif"], resampling=resampling)
    assert (source.info.dtype, source.info.nodata) == ("int16", -9999)
    block, valid = whole(source)
    assert np.argwhere(block[0] == -9999).tolist() == [[2, 2]]
    np.testing.assert_array_equal(block[0][valid], narrow[0][valid])
    assert block[1, 0, 0] == -9999
    assert block[1, 2, 2] > 0
    np.testing.assert_array_equal(valid, (block != -9999).all(axis=0))


def test_files_of_integers_with_different_nodata_share_none(tmp_path: Path) -> None:
    block = numbers(2, 4, 5)
    block[0, 0, 0], block[1, 0, 1], block[0, 0, 2] = 250, 251, 251
    for name, band, nodata in zip("ab", block, (250, 251), strict=True):
        write_tif(tmp_path / f"{name}.tif", band[None], nodata=nodata)
    source = open_source([tmp_path / "a.tif", tmp_path / "b.tif"])
    got, valid = whole(source)
    assert (source.info.nodata, source.info.masked) == (None, True)
    np.testing.assert_array_equal(got, block)
    assert np.argwhere(~valid).tolist() == [[0, 0], [0, 1]]


def test_a_file_with_south_at_the_top_is_placed_by_its_georeference(tmp_path: Path) -> None:
    fine, coarse = _pair(tmp_path)
    flipped = Affine(20, 0, 400_000, 0, 20, 4_000_000 - 400)
    write_tif(tmp_path / "coarse.tif", coarse.block[:, ::-1], transform=flipped)
    block, valid = read_all(open_source(tmp_path), 9)
    np.testing.assert_array_equal(block[0], coarse.block[0].repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(block[1], fine.block[0])
    assert valid.all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crs": None}, "coarse.tif has no CRS"),
        ({"crs": "EPSG:32617"}, "is in EPSG:32618, .*coarse.tif in EPSG:32617"),
        ({"transform": Affine(20, 1, 400_000, 0, -20, 4_000_000)}, "coarse.tif lies on a rotated grid"),
        ({"transform": Affine(0, 20, 400_000, 20, 0, 4_000_000)}, "coarse.tif lies on a rotated grid"),
        ({"crs": None, "transform": None}, "coarse.tif has no CRS and transform"),
    ],
)
def test_what_cannot_be_placed_is_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    _pair(tmp_path, **changes)
    with pytest.raises(SourceError, match=words) as error:
        open_source(tmp_path)
    assert "\n" not in str(error.value)


def test_members_of_several_bands_keep_their_names(tmp_path: Path) -> None:
    transform = Affine(20, 0, 400_000, 0, -20, 4_000_000)
    write_tif(tmp_path / "T_a.tif", numbers(2, 5, 5), transform=transform)
    write_tif(
        tmp_path / "T_b.tif", numbers(1, 5, 5, seed=1), lambda d: d.set_band_description(1, "nir"), transform=transform
    )
    source = open_source([tmp_path / "T_b.tif", tmp_path / "T_a.tif"])
    assert source.info.bands == ("nir", "a_band_1", "a_band_2")
    np.testing.assert_array_equal(whole(source)[0], [*numbers(1, 5, 5, seed=1), *numbers(2, 5, 5)])


def _item(folder: Path, assets: dict[str, dict[str, Any]], **changes: Any) -> Path:
    facts = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "../S2 scene",
        "geometry": None,
        "properties": {"datetime": "2016-01-12T00:00:00Z"},
        "links": [],
        "assets": assets,
    } | changes
    (folder / "items").mkdir(exist_ok=True)
    path = folder / "items" / "item.json"
    path.write_text(json.dumps(facts))
    return path


TIFF = pystac.MediaType.COG


def test_an_items_assets_are_stacked(tmp_path: Path) -> None:
    fine, coarse = _pair(tmp_path)
    path = _item(
        tmp_path,
        {
            "thumb": {"href": "../none.png", "type": "image/png", "roles": ["thumbnail"]},
            "red": {"href": "../coarse.tif", "type": TIFF, "roles": ["data"], "bands": [{"name": "B04"}]},
            "nir": {
                "href": "../fine.tif",
                "type": TIFF,
                "roles": ["data"],
                "bands": [{"name": "B08", "eo:common_name": "nir08"}],
            },
            "extra": {"href": "../none.tif", "type": TIFF, "roles": ["overview"]},
        },
    )
    source = open_source(path)
    assert (source.info.name, source.info.bands) == ("_S2_scene", ("red", "nir"))
    np.testing.assert_array_equal(whole(source)[0][1], fine.block[0])
    chosen = open_source(path, bands=["nir08", "B04"])
    assert chosen.info.bands == ("nir08", "B04")
    np.testing.assert_array_equal(whole(chosen)[0][1], coarse.block[0].repeat(2, 0).repeat(2, 1))
    with pytest.raises(ConfigError, match="no asset or band B99; there are red, nir, extra, B04, B08"):
        open_source(path, bands=["B99"])


def test_an_item_of_version_1_0_with_one_cube(tmp_path: Path) -> None:
    block = numbers(3, 5, 6)
    write_tif(tmp_path / "cube.tif", block, crs=None, transform=None)
    bands = [{"name": "B02", "common_name": "blue"}, {"name": "B03"}, {"name": "B04", "common_name": "red"}]
    asset = {"href": "../cube.tif", "type": "image/tiff; application=geotiff", "eo:bands": bands}
    eo = ["https://stac-extensions.github.io/eo/v1.0.0/schema.json"]
    path = _item(tmp_path, {"cube": asset}, stac_version="1.0.0", stac_extensions=eo)
    source = open_source(path)
    assert (source.info.bands, source.info.geo.transform) == (("B02", "B03", "B04"), None)
    np.testing.assert_array_equal(whole(source)[0], block)
    np.testing.assert_array_equal(whole(open_source(path, bands=["red", "B02"]))[0], block[[2, 0]])
    np.testing.assert_array_equal(whole(open_source(path, bidx=[2]))[0], block[[1]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no JSON"),
        ("[1]", "is no STAC item but list"),
        ('{"type": "FeatureCollection", "stac_version": "1.0.0"}', "is no STAC item but FeatureCollection"),
        ('{"type": "Feature", "stac_version": "1.0.0"}', "is no valid STAC item"),
    ],
)
def test_what_is_no_item_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "item.json").write_text(text)
    with pytest.raises(SourceError, match=words) as error:
        open_source(tmp_path / "item.json")
    assert "\n" not in str(error.value)


def test_an_item_without_rasters_or_with_lost_ones_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"item.json has no raster among its assets \(none\)"):
        open_source(_item(tmp_path, {}))
    with pytest.raises(SourceError, match=r"gone.tif: No such file"):
        open_source(_item(tmp_path, {"a": {"href": "./gone.tif", "type": TIFF}}))
    with pytest.raises(SourceError, match=r"other.json: No such file"):
        open_source(tmp_path / "other.json")


def test_facts_of_a_stack_pass_through_json(shared_data: Path) -> None:
    info = open_source(shared_data / "s2_18SVG_west_bands").info
    assert SceneInfo.from_json(json.loads(json.dumps(info.to_json()))) == info


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize(("dtype", "opaque"), [("float32", 1), ("float32", 255), ("uint16", 65535)])
def test_alpha_of_a_file_that_is_warped_takes_its_own_pixels_alone(
    tmp_path: Path, resampling: str, dtype: str, opaque: int
) -> None:
    def alpha(dataset: Any) -> None:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.alpha]

    coarse = np.full((3, 20, 20), 100, dtype)
    coarse[1] = 50
    coarse[2] = opaque
    coarse[:, 5:10, 3:12] = 0
    write_tif(tmp_path / "a.tif", numbers(1, 40, 40, dtype))
    write_tif(tmp_path / "b.tif", coarse, alpha, transform=NORTH_UP * Affine.scale(2))
    block, valid = read_all(open_source([tmp_path / "a.tif", tmp_path / "b.tif"], resampling=resampling), 16)
    out = np.zeros((40, 40), bool)
    out[10:20, 6:24] = True
    np.testing.assert_array_equal(valid, ~out)
    np.testing.assert_allclose(block[1:, valid], np.repeat([[100], [50]], valid.sum(), axis=1), rtol=1e-5)
