"""What `compress` stores is the user's array again: dimensions, coordinate values, attributes, whatever they are."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from rasterio.errors import NotGeoreferencedWarning

import pipeline
from pipeline.errors import BlockError, SourceError
from tests.scenes import call, read, small_scene, write_tif

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(900, 1100, (3, 30, 40)).astype("uint16")


def array(dims: tuple[str, ...], **coords: Any) -> xr.DataArray:
    return xr.DataArray(PIXELS, dims=dims, coords=coords)


def gaussian_grid(count: int) -> np.ndarray:
    return np.sort(np.degrees(np.arcsin(np.polynomial.legendre.leggauss(count)[0])))[::-1]


SCENES = {
    "integers": array(("band", "y", "x"), band=[1, 2, 3], y=np.arange(30)[::-1] * 10.0 + 5, x=np.arange(40) * 10.0),
    "linspace": array(("band", "y", "x"), band=["a", "b", "c"], y=np.linspace(60, 50, 30), x=np.linspace(-10, 2, 40)),
    "arange": array(("band", "y", "x"), y=np.arange(3, 0, -0.1)[:30], x=np.arange(0, 4, 0.1)[:40]),
    "float32": array(("b", "y", "x"), y=np.arange(60, 50, -0.1, "f4")[:30], x=np.arange(-10, 2, 0.1, "f4")[:40]),
    "gaussian": array(("band", "y", "x"), band=["a", "b", "c"], y=gaussian_grid(30), x=np.arange(40) * 3.0),
    "stretched": array(("band", "y", "x"), y=np.cumsum(np.linspace(1, 5, 30)), x=np.arange(40)),
    "lat and lon": array(
        ("level", "lat", "lon"), level=[850, 500, 200], lat=np.arange(30.0)[::-1], lon=np.arange(40.0)
    ),
    "time": array(
        ("time", "latitude", "longitude"),
        time=np.array(["2020-01-01", "2020-01-02T03:04:05.678", "2020-03-01"], "M8[ns]"),
        latitude=("latitude", np.linspace(60, 50, 30), {"units": "degrees_north", "valid": [1, 2.5]}),
        longitude=np.linspace(-10, 2, 40),
        platform="S2A",
        sun=("time", [0.5, np.nan, 0.25]),
        good=("time", [True, False, True]),
        away=("time", np.array([1, 2, 3], "m8[h]").astype("m8[ns]")),
        terrain=(("latitude", "longitude"), RNG.random((30, 40))),
        orbit=7,
    ),
    "bare": array(("band", "row", "column")),
    "referenced": array(("band", "y", "x"), y=np.linspace(60, 50, 30), x=np.linspace(-1, 2, 40)).rio.write_crs(4326),
}
ATTRIBUTES = {"units": "K", "valid_min": 3, "range": (1, 2.5), "flags": np.array([1, 2]), "more": {"a": [1]}}


@pytest.mark.parametrize("name", SCENES)
def test_the_store_is_the_array_again(tmp_path: Path, name: str) -> None:
    scene = SCENES[name].assign_attrs(ATTRIBUTES)
    stored = scene.terrasketch.compress(tmp_path / "a.zarr", lossless=True, tile=16)
    alone = xr.open_zarr(tmp_path / "a.zarr").scene
    xr.testing.assert_equal(stored.compute(), scene)
    xr.testing.assert_equal(alone.compute(), scene)
    for found in (stored, alone):
        assert list(found.coords) == list(scene.coords) or {*found.coords} == {*scene.coords}
        assert (found - scene).shape == scene.shape
        assert all(value == found.attrs[key] for key, value in (("units", "K"), ("valid_min", 3), ("more", {"a": [1]})))
        assert found.attrs["range"] == [1, 2.5]
        assert found.attrs["flags"] == [1, 2]
        assert found.rio.crs == scene.rio.crs
    twice = stored.terrasketch.compress(tmp_path / "b.zarr", lossless=True)
    xr.testing.assert_identical(twice.compute(), stored.compute())


@pytest.mark.parametrize("name", ["gaussian", "stretched", "referenced", "linspace"])
def test_only_equal_steps_are_a_transform(tmp_path: Path, name: str) -> None:
    scene = SCENES[name].rio.write_crs(4326)
    scene.rio.write_transform(rasterio.Affine(1, 0, 0, 0, -1, 0), inplace=True)  # of another grid
    scene.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    even = name in ("referenced", "linspace")
    attributes = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]
    assert ("spatial:transform" in attributes) == even
    assert ("GeoTransform" in xr.open_zarr(tmp_path / "a.zarr").spatial_ref.attrs) == even
    assert call("decompress", tmp_path / "a.zarr", tmp_path / "a.tif").exit_code == 0
    if not even:
        with pytest.warns(NotGeoreferencedWarning):
            rasterio.open(tmp_path / "a.tif").close()
        return
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.crs == "EPSG:4326"
        assert np.allclose(file.xy(29, 39), (scene.x[39], scene.y[29]), atol=1e-9)


def test_a_scene_of_rioxarray_keeps_numbers_names_and_scales(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "scene.tif", np.maximum(PIXELS, 950) - 950, nodata=0)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets, file.descriptions = (1e-4,) * 3, (-0.1,) * 3, ("B02", "B03", "B04")
    scene = rioxarray.open_rasterio(path)
    stored = scene.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    xr.testing.assert_equal(stored.compute(), scene.rename(stored.name))
    assert stored.band.values.tolist() == [1, 2, 3]
    assert tuple(stored.attrs["long_name"]) == ("B02", "B03", "B04")
    assert stored.rio.transform() == scene.rio.transform()
    assert stored.rio.nodata == scene.rio.nodata == 0
    assert (stored.attrs["scale_factor"], stored.attrs["add_offset"]) == (1e-4, -0.1)
    alone = xr.open_zarr(tmp_path / "a.zarr").scene
    wanted = rioxarray.open_rasterio(path, mask_and_scale=True)
    assert np.allclose(alone, wanted, equal_nan=True, atol=1e-7)
    assert np.array_equal(np.isnan(alone), np.isnan(wanted))
    assert call("decompress", tmp_path / "a.zarr", tmp_path / "back.tif").exit_code == 0
    with rasterio.open(tmp_path / "back.tif") as file:
        assert file.descriptions == ("B02", "B03", "B04")
        assert (file.scales, file.offsets, file.nodata) == ((1e-4,) * 3, (-0.1,) * 3, 0)
    assert np.array_equal(read(tmp_path / "back.tif"), read(path))


def test_values_that_were_scaled_on_opening_are_not_scaled_again(tmp_path: Path) -> None:
    packed = xr.Dataset({"t": (("y", "x"), PIXELS[0].astype("int16"))})
    packed.t.attrs.update(scale_factor=0.5, add_offset=10.0, _FillValue=np.int16(1000))
    packed.to_zarr(tmp_path / "packed.zarr", zarr_format=3, consolidated=False)
    scene = xr.open_zarr(tmp_path / "packed.zarr", consolidated=False).t
    assert scene.dtype.kind == "f"
    assert scene.isnull().any()
    stored = scene.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    alone = xr.open_zarr(tmp_path / "a.zarr").scene
    for found in (stored, alone):
        xr.testing.assert_equal(found[0].drop_vars("band", errors="ignore").compute(), scene.compute())


@pytest.mark.filterwarnings("ignore:Scales differ:UserWarning", "ignore:Offsets differ:UserWarning")
def test_of_several_scales_each_band_keeps_its_own(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "scene.tif", PIXELS)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1e-4, 2e-4, 1.0), (-0.1, 0.0, 0.0)
    rioxarray.open_rasterio(path).terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    pipeline.open_scene(path).terrasketch.compress(tmp_path / "b.zarr", lossless=True)
    for name in ("a.zarr", "b.zarr"):
        assert xr.open_zarr(tmp_path / name).scene.attrs["scales"] == [1e-4, 2e-4, 1.0]
        assert call("decompress", tmp_path / name, tmp_path / f"{name}.tif").exit_code == 0
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            assert (file.scales, file.offsets) == ((1e-4, 2e-4, 1.0), (-0.1, 0.0, 0.0))


def test_a_plane_is_the_band_that_it_was(tmp_path: Path) -> None:
    plane = rioxarray.open_rasterio(small_scene(tmp_path / "scene.tif", height=40, width=50))[2]
    stored = plane.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    assert stored.band.values.tolist() == [3]
    assert np.array_equal(stored[0], plane)
    assert (stored - plane).shape == (1, 40, 50)


@pytest.mark.parametrize(
    ("dims", "remedy"),
    [
        (("y", "x", "band"), "'band', 'y', 'x'"),
        (("lat", "lon", "time"), "'time', 'lat', 'lon'"),
        (("time", "x", "y"), "'time', 'y', 'x'"),
        (("row", "column", "band"), "'band', 'row', 'column'"),
        (("y", "column", "band"), "'band', 'y', 'column'"),
    ],
)
def test_other_orders_are_refused_with_the_remedy(tmp_path: Path, dims: tuple[str, ...], remedy: str) -> None:
    scene = array(dims)
    for verb in (scene.terrasketch.denoise, scene.terrasketch.features):
        with pytest.raises(BlockError, match="transpose"):
            verb()
    with pytest.raises(BlockError, match=rf"^a scene is \(band, y, x\) .*; give scene\.transpose\({remedy}\)$"):
        scene.terrasketch.compress(tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())


def test_what_zarr_cannot_hold_is_left_out_and_named(tmp_path: Path) -> None:
    scene = SCENES["linspace"].assign_attrs(spec=object(), units="K")
    scene = scene.assign_coords(box=("band", np.array([{"a"}, {"b"}, {"c"}], object)))
    with pytest.warns(UserWarning, match="is left out: Zarr does not hold") as said:
        stored = scene.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    assert [str(one.message).split(" is left out")[0] for one in said] == [
        "coordinate box",
        "attribute spec of the scene",
    ]
    xr.testing.assert_equal(stored.compute(), scene.drop_vars("box"))
    assert stored.attrs["units"] == "K"
    with pytest.raises(BlockError, match=r"'valid' is the name of a part of the store"):
        SCENES["linspace"].assign_coords(valid=1).terrasketch.compress(tmp_path / "b.zarr")


def test_words_of_which_some_bands_have_none_are_kept(tmp_path: Path) -> None:
    scene = SCENES["linspace"]
    for number, none in enumerate((None, np.nan)):
        given = scene.assign_coords(common_name=("band", np.array(["blue", none, "red"], object)))
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            stored = given.terrasketch.compress(tmp_path / f"{number}.zarr")
        assert stored.common_name.values.tolist() == ["blue", "", "red"]
    given = scene.assign_coords(common_name=("band", np.array(["blue", {1}, None], object)))
    with pytest.warns(UserWarning, match="common_name is left out: Zarr does not hold set and the like"):
        given.terrasketch.compress(tmp_path / "c.zarr")


def test_coordinates_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    SCENES["linspace"].terrasketch.compress(tmp_path / "a.zarr")
    meta = tmp_path / "a.zarr" / "zarr.json"
    whole = json.loads(meta.read_text())
    ours = json.loads(whole["attributes"]["terrasketch"])
    whole["attributes"]["terrasketch"] = json.dumps(ours | {"dims": ["other", "y", "x"]})
    meta.write_text(json.dumps(whole))
    with pytest.raises(SourceError, match=r"the coordinates of the store cannot be read: scene is .*other"):
        pipeline.open_scene(tmp_path / "a.zarr")


def test_a_coordinate_of_endless_words_is_refused(tmp_path: Path) -> None:
    """Nothing of it need be there: its fill value would be as wide as it says."""
    SCENES["linspace"].assign_coords(kind=("band", ["a", "b", "c"])).terrasketch.compress(tmp_path / "a.zarr")
    meta = tmp_path / "a.zarr" / "zarr.json"
    facts = json.loads(meta.read_text())
    wide = {"name": "fixed_length_utf32", "configuration": {"length_bytes": 4 << 24}}
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    facts["consolidated_metadata"]["metadata"]["kind"] |= {"data_type": wide, "codecs": [little], "fill_value": ""}
    meta.write_text(json.dumps(facts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SourceError, match=r"kind has 67108864 bytes a value"):
            pipeline.open_scene(tmp_path / "a.zarr")


KELVIN = (290 + RNG.normal(0, 0.15, (2, 40, 60))).astype("float32")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            (),
            r"4 of 4 tiles .* snr 40 dB allows .* \(it counts the mean as signal, .*, or give --rmse in data units, or",
        ),
        (
            ("--rmse", "1"),
            r"4 of 4 tiles .* rmse 1 allows .* vary by; .* apart, or give a smaller --rmse, or --lossless",
        ),
        (("--rmse", "0.05"), ""),
        (("--snr", "80"), ""),
        (("--lossless",), ""),
    ],
)
def test_data_that_a_bound_makes_constants_are_told(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    path = write_tif(tmp_path / "scene.tif", KELVIN)
    result = call("compress", path, tmp_path / "a.zarr", "--tile", 32, *words)
    assert result.exit_code == 0
    assert ("Warning" in result.stderr) == bool(says)
    assert re.search(says, result.stderr), result.stderr
    if not words:
        with pytest.warns(
            UserWarning,
            match=r"constants, or most of their bands: snr 40 dB .*, or give rmse in data units, or a higher snr$",
        ) as told:
            pipeline.open_scene(path).terrasketch.compress(tmp_path / "b.zarr", tile=32)
        assert [one.filename for one in told] == [__file__]


def test_bands_that_drown_in_those_of_larger_numbers_are_told(tmp_path: Path) -> None:
    block = RNG.normal(0.1, 0.05, (4, 64, 64)).astype("float32")
    assert "Warning" not in call("compress", write_tif(tmp_path / "a.tif", block), tmp_path / "a.zarr").stderr
    block[3] = RNG.normal(290, 8, (64, 64))
    result = call("compress", write_tif(tmp_path / "b.tif", block), tmp_path / "b.zarr")
    assert "1 of 1 tile with values that vary became constants, or most of their bands: snr 40 dB" in result.stderr
    block[2] = RNG.normal(280, 8, (64, 64))  # two of four are not most
    assert "Warning" not in call("compress", write_tif(tmp_path / "c.tif", block), tmp_path / "c.zarr").stderr


def test_tiles_that_are_constants_or_calm_are_not_told(tmp_path: Path) -> None:
    block = np.full((2, 64, 64), 290, "float32")
    block[:, :32, :32] = np.nan
    assert "Warning" not in call("compress", write_tif(tmp_path / "a.tif", block), tmp_path / "a.zarr").stderr
    block[:, 32:] = RNG.normal(900, 200, (2, 32, 64))
    block[:, :32, 32:] += RNG.normal(0, 0.1, (2, 32, 32))  # one of three
    path = write_tif(tmp_path / "b.tif", block)
    assert "Warning" not in call("compress", path, tmp_path / "b.zarr", "--tile", 32, "--rmse", 5).stderr


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("command", ["compress", "features", "inspect"])
def test_of_other_zarr_the_line_that_makes_a_store_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    xr.Dataset({"a": SCENES["arange"]}).to_zarr("foreign.zarr", zarr_format=version, consolidated=False)
    outputs = [] if command == "inspect" else ["out.zarr"]
    result = call(command, "foreign.zarr", *outputs)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    remedy = result.stderr.strip().split("in Python: ")[1]
    with pytest.warns(RuntimeWarning, match="consolidated"):
        exec(remedy.replace("VARIABLE", "'a'").replace("OUT.zarr", "made.zarr"))
    assert call(command, "made.zarr", *outputs).exit_code == 0


def scaled(path: Path, scales: tuple[float, ...], offsets: tuple[float, ...], units: tuple[str, ...]) -> Path:
    write_tif(path, PIXELS)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets, file.units = scales, offsets, units
        file.descriptions = ("B02", "B03", "B04")
    return path


@pytest.mark.filterwarnings("ignore:Scales differ:UserWarning", "ignore:Offsets differ:UserWarning")
@pytest.mark.parametrize("opened", [pipeline.open_scene, rioxarray.open_rasterio])
def test_bands_that_were_chosen_keep_their_own_scales_units_and_names(tmp_path: Path, opened: Any) -> None:
    path = scaled(tmp_path / "scene.tif", (1e-4, 2e-4, 0.5), (-0.1, 0.0, 3.0), ("m", "m", "K"))
    scene = opened(path)
    for number, chosen in enumerate((scene.isel(band=[2, 0]), scene.isel(band=slice(1, 2)), scene.isel(band=2))):
        order = ([2, 0], [1], [2])[number]
        chosen.terrasketch.compress(tmp_path / f"{number}.zarr", lossless=True)
        assert call("decompress", tmp_path / f"{number}.zarr", tmp_path / f"{number}.tif").exit_code == 0
        with rasterio.open(tmp_path / f"{number}.tif") as file:
            assert file.scales == tuple((1e-4, 2e-4, 0.5)[i] for i in order)
            assert file.offsets == tuple((-0.1, 0.0, 3.0)[i] for i in order)
            assert file.descriptions == tuple(("B02", "B03", "B04")[i] for i in order)
        units = xr.open_zarr(tmp_path / f"{number}.zarr").scene.attrs["units"]
        assert list(units) == [("m", "m", "K")[i] for i in order]


def test_one_scale_for_all_bands_is_a_number_that_any_of_them_keeps(tmp_path: Path) -> None:
    path = scaled(tmp_path / "scene.tif", (1e-4,) * 3, (-0.1,) * 3, ("1",) * 3)
    scene = pipeline.open_scene(path)
    assert (scene.attrs["scale_factor"], scene.attrs["add_offset"], scene.attrs["units"]) == (1e-4, -0.1, "1")
    scene.sel(band=["B04", "B02"]).terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    physical = xr.open_zarr(tmp_path / "a.zarr").scene
    assert np.allclose(physical, PIXELS[[2, 0]] * 1e-4 - 0.1, atol=1e-7)


def test_scales_that_are_nobodys_are_refused(tmp_path: Path) -> None:
    scene = xr.DataArray(PIXELS, dims=("band", "y", "x"), coords={"band": ["a", "b", "c"]})
    scene.attrs["scales"] = [1.0, 2.0]
    with pytest.raises(BlockError, match="'scales' has 2 numbers and the scene another number of bands"):
        scene.terrasketch.compress(tmp_path / "a.zarr", lossless=True)
    assert not list(tmp_path.iterdir())
