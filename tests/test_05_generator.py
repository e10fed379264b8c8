"""The scene generator: known truth, known noise, the same pixels in every window, no memory to speak of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pipeline.grid import Window
from sample_data import landscape
from sample_data.generator import OFFSET, SCALE, Settings, main, scene_block, sigmas, striped, write_scene
from sample_data.landscape import CELL, METAL, PARCEL, SLANT, Cell, abundances, uniform, value_noise

ROOT = Path(__file__).parents[1]
WHOLE = Window(200, 560, 150, 580)


@pytest.fixture(scope="module")
def whole():
    """Four bands over parts of nine cells, with everything that can be asked for."""
    settings = Settings(bands=4, seed=7, stripes=0.01, holes=0.2)
    return settings, scene_block(WHOLE, settings)


@examples(max_examples=8)
@given(st.data())
def test_a_pixel_is_the_same_in_every_window(whole, data):
    settings, blocks = whole
    y0, x0 = (data.draw(st.integers(a, b - 1)) for a, b in ((200, 560), (150, 580)))
    y1, x1 = data.draw(st.integers(y0 + 1, 560)), data.draw(st.integers(x0 + 1, 580))
    window = Window(y0, y1, x0, x1)
    for part, block in zip(scene_block(window, settings), blocks, strict=True):
        assert part.tobytes() == block[..., *window.within(WHOLE)].tobytes()


@pytest.mark.parametrize(("dtype", "bands"), [("uint16", 11), ("float32", 1)])
def test_the_streamed_files_are_the_blocks(tmp_path, dtype, bands):
    settings = Settings(height=300, width=517, bands=bands, seed=1, holes=0.1, dtype=dtype)
    write_scene(tmp_path / "s.tif", settings, tmp_path / "t.tif", {"compress": "deflate"})
    truth, noisy, valid = scene_block(Window(0, 300, 0, 517), settings)
    with rasterio.open(tmp_path / "s.tif") as scene, rasterio.open(tmp_path / "t.tif") as clean:
        np.testing.assert_array_equal(scene.read(), noisy)
        np.testing.assert_array_equal(clean.read(), truth)
        np.testing.assert_array_equal(scene.dataset_mask() > 0, valid)
        assert (scene.dtypes[0], clean.dtypes[0]) == (dtype, "float32")
        assert (scene.crs.to_epsg(), scene.nodata, scene.compression.value) == (32618, 0, "DEFLATE")
        assert scene.transform == clean.transform
        assert scene.transform.a == 20
        assert len(set(scene.descriptions)) == bands
        assert Settings(**json.loads(scene.tags()["GENERATOR"])) == settings
        written = [float(scene.tags(band)["SIGMA"]) for band in scene.indexes]
        np.testing.assert_array_equal(np.float32(written), sigmas(settings))


def test_noise_is_white_and_as_strong_as_it_says():
    settings = Settings(bands=6, seed=2, noise=0.015, dtype="float32")
    truth, noisy, valid = scene_block(Window(0, 512, 0, 256), settings)
    noise = (noisy - truth) / sigmas(settings)[:, None, None]
    assert valid.all()
    np.testing.assert_allclose(noise.std((1, 2)), 1, atol=0.01)
    np.testing.assert_allclose(noise.mean((1, 2)), 0, atol=0.015)
    for shifted in (noise[:, 1:, :] * noise[:, :-1, :], noise[:, :, 1:] * noise[:, :, :-1]):
        assert np.abs(shifted.mean((1, 2))).max() < 0.015
    between = np.corrcoef(noise.reshape(6, -1)) - np.eye(6)
    assert np.abs(between).max() < 0.015
    relative = sigmas(settings) / (SCALE * settings.noise)
    assert 0.5 <= relative.min() < relative.max() <= 2
    assert relative.max() / relative.min() > 1.2
    cells = noise.reshape(6, 2, CELL, CELL)
    assert abs((cells[:, 0] * cells[:, 1]).mean()) < 0.01  # no cell repeats another's noise


def test_truth_is_mixed_from_a_few_spectra():
    truth, _, _ = scene_block(Window(0, 256, 0, 256), Settings(bands=60, seed=5))
    matrix = truth.reshape(60, -1).astype(np.float64) - OFFSET
    w = np.sqrt(np.linalg.eigvalsh(matrix @ matrix.T).clip(0))[::-1]
    rank = int((w > 1e-5 * w[0]).sum())
    assert 4 <= rank <= len(landscape.MATERIALS)
    assert truth.min() > 0
    assert truth.max() < 65535


@pytest.mark.parametrize("bands", [1, 300])
def test_any_band_count(bands):
    truth, noisy, _ = scene_block(Window(10, 12, 250, 262), Settings(bands=bands))
    assert truth.shape == noisy.shape == (bands, 2, 12)
    assert noisy.dtype == np.uint16
    assert np.abs(noisy - truth).max() < 6 * sigmas(Settings(bands=bands)).max() + 1


def test_seeds_make_other_worlds():
    window = Window(0, 64, 0, 64)
    first, second = (scene_block(window, Settings(bands=2, seed=seed))[0] for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_stripes_offset_whole_columns_of_some_bands():
    plain, odd = (Settings(bands=9, seed=6, noise=0, dtype="float32", stripes=s) for s in (0, 0.02))
    window = Window(0, 300, 0, 512)
    difference = scene_block(window, odd)[1] - scene_block(window, plain)[1]
    chosen = striped(odd)
    assert 0 < chosen.sum() < 9
    assert not striped(plain).any()
    assert not difference[~chosen].any()
    assert np.ptp(difference[chosen], axis=1).max() < 0.01  # data units: float32 rounding alone
    np.testing.assert_allclose(difference[chosen].std((1, 2)), 0.02 * SCALE, rtol=0.1)


def test_holes_cover_the_part_asked_for_and_touch_nothing_else():
    window = Window(0, 1024, 0, 1024)
    whole, holed = (scene_block(window, Settings(bands=1, seed=8, noise=0.2, holes=part)) for part in (0, 0.2))
    assert whole[2].all()
    assert 0.15 < 1 - holed[2].mean() < 0.25
    assert not holed[1][:, ~holed[2]].any()
    np.testing.assert_array_equal(holed[1][:, holed[2]], whole[1][:, holed[2]])
    np.testing.assert_array_equal(holed[0], whole[0])
    assert whole[1].min() >= 1  # 0 is kept for nodata


def test_bright_targets_are_two_by_two():
    metal = np.concatenate([abundances(Cell(4, row, 0))[METAL] > 0 for row in range(8)])
    assert metal.sum() > 20
    ys, xs = np.nonzero(metal)
    for y, x in zip(ys, xs, strict=True):
        corners = [metal[a : a + 2, b : b + 2] for a in (max(y - 1, 0), y) for b in (max(x - 1, 0), x)]
        assert sum(corner.size == 4 and corner.all() for corner in corners) == 1


@pytest.mark.parametrize("spacing", [1, 16, 100, 1024])
def test_value_noise_against_one_pixel_at_a_time(spacing):
    cell = Cell(9, 1, 2)
    fast = value_noise(cell, 33, spacing)
    for y, x in ((0, 0), (1, 255), (255, 17), (128, 100), (255, 255)):
        iy, ry = divmod(256 + y, spacing)
        ix, rx = divmod(512 + x, spacing)
        wy, wx = (3 * t**2 - 2 * t**3 for t in (ry / spacing, rx / spacing))
        corner = uniform(9, 33, np.array([[iy], [iy + 1]]), np.array([[ix, ix + 1]]))
        slow = np.array([1 - wy, wy]) @ corner @ np.array([1 - wx, wx])
        assert fast[y, x] == pytest.approx(slow, abs=1e-5)


def test_parcels_against_every_site():
    cell = Cell(9, 3, 1)
    green, _, hedge = landscape._parcels(cell)
    around = np.arange(-40, 60)
    v, u = (axis.ravel() for axis in np.meshgrid(around, around, indexing="ij"))
    at_u, at_v = (i + 0.1 + 0.8 * uniform(9, salt, v, u) for i, salt in ((u, 20), (v, 21)))
    rng = np.random.default_rng(0)
    seen = []
    for y, x in rng.integers(0, CELL, (300, 2)):
        ay, ax = 3 * CELL + y, CELL + x
        du = SLANT[0] * ax + SLANT[1] * ay - at_u * PARCEL[0]
        dv = SLANT[0] * ay - SLANT[1] * ax - at_v * PARCEL[1]
        nearest = np.argsort(np.hypot(du, dv))[:2]
        owner = uniform(9, 22, v[nearest[:1]], u[nearest[:1]])[0]
        margin = np.diff(np.hypot(du, dv)[nearest])[0]
        seen.append((green[y, x] == owner or margin < 0.01, hedge[y, x] == (margin < 2 * landscape.HEDGE)))
    assert np.mean(seen, axis=0).min() > 0.99  # a site two squares away may lie nearer, rarely


def test_the_hash_is_uniform_and_unrelated_along_axes_and_salts():
    ys, xs = np.arange(512)[:, None], np.arange(512)[None, :]
    values = uniform(0, 5, ys, xs)
    counts = np.histogram(values, 64, (0, 1))[0]
    assert ((counts - 4096) ** 2 / 4096).sum() < 110  # chi-squared, 63 degrees of freedom, p about 2e-4
    others = (uniform(0, 6, ys, xs), uniform(1, 5, ys, xs), uniform(0, 5, ys + 1, xs), uniform(0, 5, xs, ys))
    for other in others:
        assert abs(np.corrcoef(values.ravel(), other.ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("wrong", [{"bands": 0}, {"bands": 301}, {"holes": 0.5}, {"dtype": "int8"}, {"height": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        Settings(**wrong)


def test_the_command_line(tmp_path, capsys):
    out = tmp_path / "scene.tif"
    assert (
        main(
            [
                str(out),
                "--height",
                "40",
                "--width",
                "50",
                "--bands",
                "3",
                "--seed",
                "2",
                "--co",
                "compress=lzw",
            ]
        )
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    with rasterio.open(out) as scene:
        assert (scene.count, scene.height, scene.width, scene.nodata) == (3, 40, 50, None)
        assert said["sigma"] == [pytest.approx(float(scene.tags(b)["SIGMA"])) for b in (1, 2, 3)]
    assert main([str(out), "--bands", "0"]) == 1
    assert "1 to 300 bands" in capsys.readouterr().err
    assert main([str(tmp_path / "no" / "folder.tif")]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_memory_does_not_grow_with_the_scene(tmp_path):
    program = (
        "import sys; from sample_data.generator import Settings, write_scene; side = int(sys.argv[1]);"
        "write_scene(sys.argv[2], Settings(height=side, width=side, bands=2), sys.argv[2] + '.truth.tif');"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    small, large = (
        int(subprocess.check_output([sys.executable, "-c", program, str(side), str(tmp_path / "m.tif")], cwd=ROOT))
        for side in (256, 2048)
    )
    assert large - small < 25_000  # kB; the large scene and its truth are 50 MB
