"""Dates of many bands are denoised as each is alone, dates of few together; holes and masks of one stay its own."""

from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

import pipeline
from pipeline.denoise import denoise_block
from pipeline.flow.arithmetic import denoise_flops
from pipeline.flow.by_date import bands_together, dates_among, dates_of, some_dates
from pipeline.flow.denoise import Denoising
from pipeline.flow.denoised import denoised_window
from pipeline.flow.lacking import lacking_pixels
from pipeline.flow.read import open_scene
from pipeline.flow.report import measure_noise
from pipeline.grid import Window
from pipeline.plan.memory import denoise_memory
from pipeline.raster.masks import clear_of
from tests.raster_files import whole
from tests.scenes import call, call_json, read, write_tif

DAYS = ("2016-01-17", "2016-02-06", "2016-03-07")
ALL = (slice(0, 80), slice(0, 90))


def truth(bands: int, seed: int = 0) -> np.ndarray:
    """(band, y, x) of 80 x 90 pixels: fields with sharp edges, of few spectra."""
    rng = np.random.default_rng([seed, 5])
    fields = rng.integers(0, 4, (8, 9)).repeat(10, 0).repeat(10, 1)
    return rng.uniform(500, 3000, (4, bands))[fields].transpose(2, 0, 1) + 20 * np.sin(np.arange(90) / 9)


def dates(bands: int) -> list[np.ndarray]:
    """Three noisy dates, uint16; 0 in a hole that lies elsewhere on each."""
    rng = np.random.default_rng([3])
    found = []
    for number in range(len(DAYS)):
        block = truth(bands, number) + rng.normal(0, 25, (bands, 80, 90))
        block[:, 20 * number + 5 : 20 * number + 20, 10:40] = 0
        found.append(block.round().clip(0).astype("uint16"))
    return found


def labels(bands: int, of_each: int) -> list[str]:
    """What the bands of dates are told apart by."""
    return [DAYS[number // of_each] for number in range(bands)]


def written(folder: Path, blocks: list[np.ndarray], **profile) -> list[Path]:
    """A file for each date."""
    profile = {"nodata": 0} | profile
    return [write_tif(folder / f"s_{day}.tif", block, **profile) for day, block in zip(DAYS, blocks, strict=True)]


@pytest.mark.parametrize("basis", ["tile", "scene"])
def test_dates_of_many_bands_are_denoised_as_each_is_alone(tmp_path: Path, basis: str) -> None:
    paths, words = written(tmp_path, dates(6)), ("--basis", basis, "--tile", 64)
    assert call("denoise", *paths, "--stack", tmp_path / "all.tif", *words).exit_code == 0
    alone = []
    for number, path in enumerate(paths):
        assert call("denoise", path, tmp_path / f"{number}.tif", *words).exit_code == 0
        alone.append(read(tmp_path / f"{number}.tif"))
    found, noisy = read(tmp_path / "all.tif"), np.concatenate([read(path) for path in paths])
    np.testing.assert_array_equal(found, np.concatenate(alone))
    assert (found != noisy)[noisy != 0].mean() > 0.9
    assert sorted(path.name for path in tmp_path.iterdir() if "basis" in path.name) == []


def test_a_store_of_dates_knows_them_too(tmp_path: Path) -> None:
    paths = written(tmp_path, dates(6))
    assert call("compress", *paths, "--stack", tmp_path / "raw.zarr", "--lossless").exit_code == 0
    for scene in ("tile", "scene"):
        words = ("--basis", scene, "--tile", 64, "--overwrite")
        assert call("denoise", tmp_path / "raw.zarr", tmp_path / "a.tif", *words).exit_code == 0
        assert call("denoise", *paths, "--stack", tmp_path / "b.tif", *words).exit_code == 0
        np.testing.assert_array_equal(read(tmp_path / "a.tif"), read(tmp_path / "b.tif"))


def test_a_run_keeps_a_model_for_each_date(tmp_path: Path) -> None:
    paths = written(tmp_path, dates(6))
    workflow = tmp_path / "w.yaml"
    workflow.write_text("read: {tile: 64, stack: true}\ndenoise: {basis: scene}\nfeatures: null\nwrite: {cog: []}\n")
    run = ("run", workflow, *paths, "--out", tmp_path / "out")
    assert call(*run).exit_code == 0
    folder = tmp_path / "out" / "s_2016-01-17-stack"
    models = {path.name: path.read_bytes() for path in (folder / "basis").iterdir()}
    assert sorted(models) == ["000.npz", "001.npz", "002.npz"]
    assert not (folder / "basis.npz").exists()
    (folder / "basis" / "001.npz").write_bytes(b"half")
    (folder / "scene.zarr" / "scene" / "c" / "0" / "0" / "0").unlink()
    before = read_store(folder / "scene.zarr")
    assert call(*run).exit_code == 0
    assert {path.name: path.read_bytes() for path in (folder / "basis").iterdir()} == models
    assert (read_store(folder / "scene.zarr") != before).any()
    assert call(*run, "--overwrite", "--workers", 1).exit_code == 0
    assert {path.name: path.read_bytes() for path in (folder / "basis").iterdir()} == models


def read_store(path: Path) -> np.ndarray:
    """The pixels of a store, as plain xarray has them."""
    with xr.open_zarr(path, mask_and_scale=False) as store:
        return store.scene.values


def test_how_dates_are_denoised_stands_in_the_configuration() -> None:
    for bands, how in ((6, "apart"), (2, "together")):
        blocks = np.concatenate(dates(bands))
        found = Denoising("fast").configuration(dates_among(labels(len(blocks), bands)))
        assert found["dates"] == how
    assert "dates" not in Denoising("fast").configuration(None)
    assert "dates" not in Denoising("none").configuration(dates_among(["a", "b"]))


@pytest.mark.parametrize("lazy", [False, True])
def test_dates_of_arrays_in_any_order_of_bands(lazy: bool) -> None:
    blocks = dates(6)
    cube = np.stack(blocks, axis=1).reshape(18, 80, 90)  # band by band, its dates one after the other
    times = np.array([*DAYS] * 6, "M8[ns]")
    scene = xr.DataArray(cube, dims=("band", "y", "x"), coords={"time": ("band", times)}).rio.write_nodata(0)
    found = pipeline.denoise(scene.chunk(y=64, x=64) if lazy else scene, tile=64)
    for number, block in enumerate(blocks):
        one = xr.DataArray(block, dims=("band", "y", "x")).rio.write_nodata(0)
        np.testing.assert_array_equal(found[number::3], pipeline.denoise(one, tile=64))


def test_sigma_of_each_band_goes_with_it() -> None:
    blocks = dates(6)
    sigma = np.linspace(10, 60, 18)
    valid = np.logical_and.reduce([block.all(axis=0) for block in blocks])
    denoising = Denoising("fast", sigma)  # type: ignore[arg-type]
    words = {"clear": [None] * 3, "dates": dates_among(labels(18, 6))}
    made = denoised_window(denoising, np.concatenate(blocks), valid, (0, 0), ALL, 0, **words)
    for number, block in enumerate(blocks):
        part = slice(6 * number, 6 * number + 6)
        alone = denoise_block(block, block.all(axis=0), sigma=sigma[part]).block
        assert np.abs(made.block[part].astype(float) - alone)[block != 0].max() <= 0.5


def test_what_no_band_says_is_missing_is_missing_on_all_dates() -> None:
    block = np.concatenate(dates(6))
    block[block == 0] = 1000
    valid = np.ones((80, 90), bool)
    valid[:, :30] = False
    found = dates_among(labels(18, 6))
    assert all((own == valid).all() for own in found.valid(block, valid, 0))
    made = denoised_window(Denoising("fast"), block, valid, (0, 0), ALL, 0, clear=[None] * 3, dates=found)
    np.testing.assert_array_equal(made.block[:, ~valid], block[:, ~valid])
    assert (made.block != block)[:, valid].mean() > 0.9


def test_a_pixel_lacks_a_band_where_its_date_does() -> None:
    block, found = np.concatenate(dates(2)), dates_among(labels(6, 2))
    valid = block.all(axis=0)
    assert lacking_pixels(block, valid, 0, found) == 0
    assert lacking_pixels(block, valid, 0) == 3 * 15 * 30
    block[3, 79, :7] = 0
    assert lacking_pixels(block, block.all(axis=0), 0, found) == 7


def test_holes_of_dates_are_not_warned_of_and_holes_of_bands_are(tmp_path: Path) -> None:
    blocks = dates(6)
    result = call("denoise", *written(tmp_path, blocks), "--stack", tmp_path / "a.tif")
    assert "lack a band" not in result.stderr
    blocks[1][2, :, 50:] = 0
    result = call("denoise", *written(tmp_path, blocks), "--stack", tmp_path / "b.tif")
    assert "3200 pixels (" in result.stderr
    assert "lack a band and have others" in result.stderr


@pytest.fixture
def masked(tmp_path: Path) -> list[Path]:
    """Three dates of six bands and a mask: the second is all cloud, of the third 1800 of 7200 pixels are."""
    blocks = []
    for number, block in enumerate(dates(6)):
        mask = np.full((1, 80, 90), 5, "uint16")
        if number:
            mask[:, : 80 if number == 1 else 20] = 4
        block[block == 0] = 700
        blocks.append(np.concatenate([block, mask]))
    return written(tmp_path, blocks, nodata=None)


def test_a_mask_of_one_date_takes_nothing_from_the_others(tmp_path: Path, masked: list[Path]) -> None:
    words = ("-b", "1..6", "--mask-band", "7", "--mask-values", 4, "-v")
    result = call("denoise", *masked, "--stack", tmp_path / "all.tif", *words)
    assert result.exit_code == 0, result.stderr
    for number, path in enumerate(masked):
        alone = call("denoise", path, tmp_path / f"{number}.tif", *words)
        assert alone.exit_code == 0, alone.stderr
        expected = read(tmp_path / f"{number}.tif")
        np.testing.assert_array_equal(read(tmp_path / "all.tif")[6 * number : 6 * number + 6], expected)
    (line,) = (line for line in result.stderr.splitlines() if "out of learning" in line)
    assert "takes 8.3 % of the valid pixels out of learning, of 41.7 % masked: 1 of 1 tile is less than 25 %" in line
    assert "clear on some date, which learns from masked pixels there, too (most on 2016-02-06); give" in line


def test_the_receipt_counts_the_pixels_of_all_dates(tmp_path: Path, masked: list[Path]) -> None:
    workflow = tmp_path / "w.yaml"
    workflow.write_text(
        "read: {stack: true, bidx: [1, 2, 3, 4, 5, 6], mask_band: '7', mask_values: [4]}\nfeatures: null\n"
        "write: {cog: [], report: false}\n"
    )
    facts = call_json("run", workflow, *masked, "--out", tmp_path / "out")["scenes"][0]["facts"]["mask"]
    assert facts["valid_pixels"] == 3 * 7200
    assert facts["share"] == pytest.approx(9000 / 21600)
    assert facts["effective_share"] == pytest.approx(1800 / 21600)
    assert facts["clouded_tiles"] == 1


def test_one_date_to_learn_from_is_its_file(tmp_path: Path, masked: list[Path]) -> None:
    words = {"bidx": (1, 2, 3, 4, 5, 6), "mask_band": "7", "mask_values": (4,)}
    stack = open_scene([str(path) for path in masked], stack=True, **words)
    for number, path in enumerate(masked):
        alone, part = open_scene(str(path), **words), some_dates(stack, dates_of(stack.info), (number,))
        for one, other in zip(whole(part), whole(alone), strict=True):
            np.testing.assert_array_equal(one, other)
        window = Window(0, 80, 0, 90)
        np.testing.assert_array_equal(clear_of(part, window), clear_of(alone, window))
        assert len(part.info.bands) == 6


def test_a_date_of_a_store_has_its_own_bands_and_holes(tmp_path: Path) -> None:
    paths = written(tmp_path, dates(6))
    assert call("compress", *paths, "--stack", tmp_path / "s.zarr", "--lossless").exit_code == 0
    source = open_scene(str(tmp_path / "s.zarr"))
    found = dates_of(source.info)
    for number, path in enumerate(paths):
        part = some_dates(source, found, (number,))
        assert part.info.bands == source.info.bands[6 * number : 6 * number + 6]
        block, valid = whole(part)
        np.testing.assert_array_equal(block, read(path))
        np.testing.assert_array_equal(valid, read(path).all(axis=0))


def test_a_plan_counts_dates_as_they_are_denoised(tmp_path: Path) -> None:
    for bands, blocks in ((6, 3), (2, 1)):
        folder = tmp_path / str(bands)
        folder.mkdir()
        paths = [str(path) for path in written(folder, dates(bands))]
        stack, one = open_scene(paths, stack=True).info, open_scene(paths[0]).info
        assert bands_together(stack) == [3 * bands // blocks] * blocks
        if blocks > 1:
            assert denoise_flops(stack, "fast") == 3 * denoise_flops(one, "fast")
            more = denoise_memory(stack, "fast", 10**6) - denoise_memory(one, "fast", 10**6)
            assert more == 2 * 2 * 18 * 10**6  # both the pixels of all dates as they were read and as they come


def test_a_report_knows_the_noise_of_dates_that_share_no_pixel(tmp_path: Path) -> None:
    blocks = dates(6)
    blocks[0][:, 40:], blocks[1][:, :40], blocks[2][:] = 0, 0, 0
    paths = [str(path) for path in written(tmp_path, blocks)]
    noise = measure_noise(open_scene(paths, stack=True))
    alone = [measure_noise(open_scene(path)) for path in paths[:2]]
    np.testing.assert_array_equal(noise, np.concatenate([*alone, np.zeros(6)]))
    assert np.abs(noise[:12] / 25 - 1).max() < 0.25
    assert measure_noise(open_scene(paths[2])) is None
