"""Scenes as xarray objects: opened lazily, with their facts, and the verbs of the accessor."""

import json
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from rasterio.enums import ColorInterp

import pipeline
from pipeline.errors import BlockError, ConfigError, OutputError, SourceError
from tests.scenes import CRS, call, read, small_scene, snapshot, write_tif


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene whose third band says nothing of the spectrum."""
    path = tmp_path_factory.mktemp("open") / "scene.tif"
    small_scene(path, height=140, width=150)
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.49")
        file.update_tags(2, center_wavelength="0.56")
        file.update_tags(4, wavelength="842.5", wavelength_units="Nanometers")
    return path


def test_a_file_is_opened_lazily_with_all_its_facts(scene: Path) -> None:
    opened = pipeline.open_scene(scene, tile=64)
    plain = rioxarray.open_rasterio(scene)
    assert dask.is_dask_collection(opened.data)
    assert opened.chunks == ((4,), (64, 64, 12), (64, 64, 22))
    assert opened.dims == ("band", "y", "x")
    assert opened.dtype == plain.dtype
    assert opened.rio.crs == CRS
    assert opened.rio.transform() == rioxarray.open_rasterio(scene).rio.transform()
    assert opened.rio.nodata == plain.rio.nodata
    assert opened.band.values.tolist() == list(plain.attrs["long_name"])
    assert np.allclose(opened.wavelength, [490, 560, np.nan, 842.5], equal_nan=True)
    assert opened.wavelength.attrs["units"] == "nm"
    assert np.array_equal(opened.x, plain.x)
    assert np.array_equal(opened.y, plain.y)
    assert np.array_equal(opened.compute(), plain.values)


def test_masked_is_as_rioxarray_has_it(scene: Path) -> None:
    opened = pipeline.open_scene(scene, masked=True)
    plain = rioxarray.open_rasterio(scene, masked=True)
    assert opened.dtype == plain.dtype == np.float32
    assert opened.rio.encoded_nodata == plain.rio.encoded_nodata
    assert np.isnan(plain.values).any()
    assert np.array_equal(opened, plain, equal_nan=True)


@pytest.mark.parametrize(("nodata", "held"), [(None, np.nan), (np.nan, np.nan), (-9999.0, -9999.0)])
def test_a_band_without_a_number_takes_no_other_with_it(tmp_path: Path, nodata: float | None, held: float) -> None:
    block = np.random.default_rng(0).normal(900, 50, (3, 40, 50)).astype("float32")
    block[0, 3, 4], block[:, 7, 8], block[1, 9, 9] = held, held, np.inf
    path = write_tif(tmp_path / "scene.tif", block, nodata=nodata)
    plain = rioxarray.open_rasterio(path, masked=True)
    assert call("compress", path, tmp_path / "scene.zarr", "--lossless").exit_code == 0
    for source in (path, tmp_path / "scene.zarr"):
        assert np.array_equal(pipeline.open_scene(source), block, equal_nan=True)
        assert np.array_equal(pipeline.open_scene(source, masked=True), plain, equal_nan=True)


@pytest.mark.parametrize("kind", ["mask", "alpha"])
@pytest.mark.parametrize(
    ("dtype", "nodata", "held"), [("float32", None, np.nan), ("float32", -1.0, -1.0), ("uint16", 0.0, 0)]
)
def test_a_masked_pixel_of_which_a_band_holds_no_number_has_none(
    tmp_path: Path, kind: str, dtype: str, nodata: float | None, held: float
) -> None:
    block = np.random.default_rng(2).integers(800, 900, (3, 40, 50)).astype(dtype)
    block[0, 3, 4:8], block[1, 20, 20] = held, held
    shown = np.ones((40, 50), bool)
    shown[3, 2:6] = False
    path = tmp_path / "scene.tif"
    if kind == "alpha":
        write_tif(path, np.concatenate([block, shown[None].astype(dtype)]), nodata=nodata)
        with rasterio.open(path, "r+") as file:
            file.colorinterp = [*file.colorinterp[:3], ColorInterp.alpha]
    else:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(write_tif(path, block), "r+") as file:
            file.write_mask(shown)
    missing = ~shown | (block == held) | np.isnan(block)
    words = [] if nodata is None else ["--nodata", nodata]
    assert call("compress", path, tmp_path / "scene.zarr", "--lossless", *words).exit_code == 0
    for source, said in ((path, nodata), (tmp_path / "scene.zarr", None)):
        whole = pipeline.open_scene(source, masked=True, nodata=said)
        assert np.array_equal(np.isnan(whole.values), missing)
        assert np.array_equal(whole.values[~missing], block[~missing])
        for masked in (False, None):
            raw = pipeline.open_scene(source, masked=masked, nodata=said).values
            assert ((raw == held) | np.isnan(raw))[missing].all()
            assert np.array_equal(raw[~missing], block[~missing])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--lossless"], ""),
        (["--lossless", "--effort", "best"], ""),
        (["--max-error", "3"], "scene: 3 pixels with infinities: kept, and their tiles stored without loss"),
        (["--rmse", "3"], "scene: 3 pixels with infinities: taken as missing, as rmse 3"),
        (["--snr", "40"], "scene: 3 pixels with infinities: taken as missing, as snr 40"),
    ],
)
def test_infinities_come_back_unless_the_bound_is_an_average(tmp_path: Path, words: list[str], says: str) -> None:
    block = np.random.default_rng(1).normal(900, 50, (3, 40, 50)).astype("float32")
    block[0, 3, 4], block[1, 30, 30], block[2, 3, 5], block[:, 9, 9] = np.inf, -np.inf, np.nan, np.inf
    path = write_tif(tmp_path / "scene.tif", block)
    told = call("compress", path, tmp_path / "scene.zarr", *words)
    assert told.exit_code == 0
    assert [line[9 : 9 + len(says)] for line in told.stderr.splitlines() if "Warning" in line] == [says] * bool(says)
    assert call("decompress", tmp_path / "scene.zarr", tmp_path / "back.tif").exit_code == 0
    back = read(tmp_path / "back.tif")
    assert np.array_equal(back, block, equal_nan=True) == (words[0] in ("--lossless", "--max-error"))
    assert np.array_equal(np.isfinite(back), np.isfinite(block))
    with xr.open_zarr(tmp_path / "scene.zarr") as stored:
        assert np.array_equal(stored.scene, back, equal_nan=True)


def test_a_mask_that_the_values_do_not_tell_becomes_nan(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "masked.tif", np.full((2, 20, 30), 7, "uint16"))
    with rasterio.open(path, "r+") as file:
        file.write_mask(np.arange(600).reshape(20, 30) % 7 > 0)
    opened = pipeline.open_scene(path)
    assert opened.dtype == np.float32
    assert np.array_equal(np.isnan(opened.values[0]), np.arange(600).reshape(20, 30) % 7 == 0)
    raw = pipeline.open_scene(path, masked=False)
    assert raw.dtype == np.uint16
    assert (raw.values == 7).all()


def test_bands_are_chosen_and_what_is_not_there_is_named(scene: Path, tmp_path: Path) -> None:
    whole = pipeline.open_scene(scene)
    chosen = pipeline.open_scene([str(scene)], bands=[str(whole.band.values[2]), str(whole.band.values[0])])
    assert np.array_equal(chosen.values, whole.values[[2, 0]])
    with pytest.raises(ConfigError, match="no-such-band"):
        pipeline.open_scene(scene, bands=["no-such-band"])
    with pytest.raises(SourceError, match=r"none\.tif"):
        pipeline.open_scene(tmp_path / "none.tif")


def test_the_accessor_is_the_verbs(scene: Path) -> None:
    lazy = pipeline.open_scene(scene, tile=64)
    clean = lazy.terrasketch.denoise()
    assert dask.is_dask_collection(clean.data)
    assert clean.rio.crs == CRS
    assert np.array_equal(clean.wavelength, lazy.wavelength, equal_nan=True)
    assert np.array_equal(clean.compute(), pipeline.denoise(lazy).compute())
    features = lazy.terrasketch.features("classic", stride=10)
    assert dask.is_dask_collection(features.data)
    assert features.rio.crs == CRS
    assert np.array_equal(features.compute(), pipeline.features(lazy, "classic", stride=10).compute(), equal_nan=True)


@pytest.mark.parametrize("form", ["lazy", "numpy", "masked"])
def test_compress_writes_the_command_s_chunks(scene: Path, tmp_path: Path, form: str) -> None:
    given = pipeline.open_scene(scene, tile=64, masked=form == "masked")
    given = given if form == "lazy" else given.compute()
    stored = given.terrasketch.compress(tmp_path / "ours.zarr", rmse=20, tile=64)
    assert dask.is_dask_collection(stored.data)
    assert stored.chunks[1] == (64, 64, 12)
    assert stored.band.values.tolist() == given.band.values.tolist()
    assert np.allclose(stored.wavelength, given.wavelength, equal_nan=True)
    assert stored.rio.crs == CRS
    assert stored.rio.transform() == rioxarray.open_rasterio(scene).rio.transform()
    if form == "masked":
        assert np.array_equal(np.isnan(stored.values), np.isnan(given.values))
        assert np.sqrt(np.nanmean((stored.values - given.values) ** 2)) <= 20
        return
    assert call("compress", scene, tmp_path / "theirs.zarr", "--rmse", 20, "--tile", 64).exit_code == 0
    for name in ("scene/c", "valid/c"):
        assert snapshot(tmp_path / "ours.zarr" / name) == snapshot(tmp_path / "theirs.zarr" / name)
    with xr.open_zarr(tmp_path / "ours.zarr") as alone:
        assert np.array_equal(alone.scene, pipeline.open_scene(tmp_path / "ours.zarr", masked=True), equal_nan=True)
        assert alone.rio.crs == CRS


def test_a_chain_is_computed_tile_by_tile(scene: Path, tmp_path: Path) -> None:
    lazy = pipeline.open_scene(scene, tile=64)
    stored = lazy.terrasketch.denoise().terrasketch.compress(tmp_path / "clean.zarr", lossless=True)
    assert stored.chunks[1] == (64, 64, 12)  # the Dask chunks are the tiles
    assert call("denoise", scene, tmp_path / "clean.tif", "--tile", 64).exit_code == 0
    assert np.array_equal(stored, read(tmp_path / "clean.tif"))


def test_compress_refuses_and_leaves_nothing(scene: Path, tmp_path: Path) -> None:
    lazy = pipeline.open_scene(scene)
    with pytest.raises(ConfigError, match=r"\.zarr"):
        lazy.terrasketch.compress(tmp_path / "out.tif")
    with pytest.raises(ConfigError, match="snr, lossless: give one"):
        lazy.terrasketch.compress(tmp_path / "out.zarr", snr=30, lossless=True)
    with pytest.raises(BlockError, match="complex"):
        xr.DataArray(np.ones((2, 3, 3), complex)).terrasketch.compress(tmp_path / "out.zarr")
    failing = lazy.copy(data=lazy.data.map_blocks(_fail, dtype=lazy.dtype))
    with pytest.raises(SourceError, match="no such luck"):
        failing.terrasketch.compress(tmp_path / "out.zarr")
    assert not list(tmp_path.iterdir())
    lazy.terrasketch.compress(tmp_path / "out.zarr")
    with pytest.raises(OutputError, match="exists"):
        lazy.terrasketch.compress(tmp_path / "out.zarr")
    lazy.terrasketch.compress(tmp_path / "out.zarr", lossless=True, overwrite=True)
    assert np.array_equal(pipeline.open_scene(tmp_path / "out.zarr"), read(scene))


@pytest.mark.parametrize("words", [{"tile": -5}, {"tile": 0}, {"workers": -1}, {"workers": 2.5}, {"tile": True}])
def test_numbers_that_mean_nothing_are_refused_in_one_line(scene: Path, tmp_path: Path, words: dict[str, Any]) -> None:
    lazy, name = pipeline.open_scene(scene), next(iter(words))
    with pytest.raises(ConfigError, match=rf"^{name} .* is not a whole number above 0; give one, or leave it out$"):
        lazy.terrasketch.compress(tmp_path / "out.zarr", **words)
    for verb in (lazy.terrasketch.denoise, lazy.terrasketch.features, partial(pipeline.open_scene, scene)):
        if name == "tile":
            with pytest.raises(ConfigError, match=r"^tile .* is not a whole number"):
                verb(**words)
    assert not list(tmp_path.iterdir())


def test_messages_speak_python(scene: Path, tmp_path: Path) -> None:
    lazy = pipeline.open_scene(scene)
    lazy.terrasketch.compress(tmp_path / "out--tile.zarr", tile=np.int64(64))
    with pytest.raises(OutputError, match=r"out--tile\.zarr exists; give another name, or overwrite=True$"):
        lazy.terrasketch.compress(tmp_path / "out--tile.zarr")
    with pytest.raises(OutputError, match=r"give a smaller tile$"):
        lazy.terrasketch.compress(tmp_path / "large.zarr", tile=100_000)
    with pytest.raises(
        ConfigError, match=r"^times are those of the dates of a stack=True; leave them out, or give stack=T"
    ):
        pipeline.open_scene(scene, times=["2020-01-01"])


def _fail(block: np.ndarray) -> np.ndarray:
    if block.size:
        raise ValueError("no such luck")
    return block


def test_plain_arrays_without_any_place_are_scenes_too(tmp_path: Path) -> None:
    plane = xr.DataArray(np.arange(4800, dtype="int32").reshape(60, 80), dims=("row", "column"))
    stored = plane.terrasketch.compress(tmp_path / "plane.zarr", lossless=True)
    assert np.array_equal(stored[0], plane)
    assert stored.rio.crs is None


def test_features_and_denoised_stores_open_by_themselves(scene: Path, tmp_path: Path) -> None:
    words = ["features", scene, tmp_path / "f.zarr", "--bank", "classic", "--stride", 5]
    assert call(*words).exit_code == 0
    opened = pipeline.open_scene(tmp_path / "f.zarr")
    with xr.open_zarr(tmp_path / "f.zarr") as alone:
        assert opened.dims == alone.features.dims
        assert opened.rio.transform() == alone.features.rio.transform()
        assert np.array_equal(opened, alone.features, equal_nan=True)
        assert opened.feature.values.tolist() == alone.feature.values.tolist()


@pytest.mark.parametrize("order", ["import pipeline, xarray", "import xarray, pipeline"])
def test_the_accessor_is_there_whichever_is_imported_first(order: str) -> None:
    code = (
        f"{order}; import numpy; scene = xarray.DataArray(numpy.ones((2, 3, 3)));"
        "print(scene.terrasketch.denoise(quality='none').shape);"
        "from importlib.util import find_spec; print(type(find_spec('xarray').loader).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["(2, 3, 3)", "SourceFileLoader"]


def test_to_import_the_package_is_not_to_import_xarray() -> None:
    code = "import pipeline, sys; print({'xarray', 'dask', 'rasterio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_names_of_bands_and_features_are_strings_of_the_zarr_specification(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    write_tif(path, np.random.default_rng(4).integers(800, 900, (3, 40, 50)).astype(np.uint16))
    scene = pipeline.open_scene(path)
    for name, array in {"band": scene, "feature": scene.terrasketch.features("classic", stride=8)}.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            array.to_dataset(name="data").to_zarr(tmp_path / name, consolidated=False)
        kept = json.loads((tmp_path / name / name / "zarr.json").read_text())
        assert kept["data_type"] == "string"
        again = xr.open_zarr(tmp_path / name, consolidated=False)
        assert again[name].values.tolist() == array[name].values.tolist()


def test_a_store_has_an_address_of_this_machine_too(tmp_path: Path) -> None:
    scene = xr.DataArray(np.arange(800.0).reshape(2, 20, 20), dims=("band", "y", "x"))
    address = f"file://{tmp_path}/a.zarr"
    stored = scene.terrasketch.compress(address, lossless=True)
    assert (tmp_path / "a.zarr" / "zarr.json").is_file()
    assert np.array_equal(stored, scene)
    assert np.array_equal(pipeline.open_scene(address), scene)
    with pytest.raises(SourceError, match="no such store"):
        pipeline.open_scene(f"file://{tmp_path}/none.zarr")
    (tmp_path / "other.zarr").mkdir()
    with pytest.raises(SourceError) as told:
        pipeline.open_scene(f"file://{tmp_path}/other.zarr")
    assert "no such store" not in str(told.value)
