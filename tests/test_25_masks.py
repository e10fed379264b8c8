"""Masks of clouds: who may teach and who may not; what lies under a cloud is kept, and denoised all the same."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.denoise import denoise_block
from pipeline.errors import ConfigError, SourceError
from pipeline.flow.compress import SceneJob, source_identity
from pipeline.flow.denoise import Denoising
from pipeline.flow.features import fit
from pipeline.flow.read import open_scene
from pipeline.flow.scene_basis import fit_scene
from pipeline.grid import Window
from pipeline.network import fit_bank
from pipeline.raster.masks import CODINGS, MaskChoice, MaskedSource, Rule, clear_of
from pipeline.raster.open import open_source
from pipeline.raster.zarr_store import read_attributes
from sample_data.generator import Settings, scene_block, sigmas
from tests.raster_files import NORTH_UP, numbers, whole, write_tif
from tests.scenes import call, call_json, snapshot
from tests.scenes import write_tif as write_scene

SCL = ([4, 4, 5, 6], [0, 1, 2, 3], [7, 8, 9, 10], [11, 4, 4, 5])
SCL_CLEAR = ([1, 1, 1, 1], [0, 0, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1])


def cloudy(bands: int = 6, side: int = 128, bright: float = 9000.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, noisy block uint16 (band, y, x), and clear (y, x): the generator's, with a cloud and its shadow."""
    settings = Settings(height=side, width=side, bands=bands, seed=11)
    truth, _, _ = scene_block(Window(0, side, 0, side), settings)
    ys, xs = np.mgrid[:side, :side]
    cloud = np.clip(1.5 - np.hypot(ys - 0.4 * side, xs - 0.4 * side) / (0.27 * side), 0, 1)
    shade = 1 - 0.5 * (np.hypot(ys - 0.8 * side, xs - 0.8 * side) < 0.15 * side)
    truth = truth * shade * (1 - cloud) + (bright + 600 * np.sin(ys / 5) * np.cos(xs / 7)) * cloud
    noise = np.random.default_rng([5]).standard_normal(truth.shape) * sigmas(settings)[:, None, None]
    return truth, np.rint(truth + noise).clip(1, 65535).astype("uint16"), (cloud == 0) & (shade == 1)


def psnr(block: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((block.astype(float) - truth)[:, where] ** 2)))


def slow_out(rule: Rule, value: float) -> bool:
    """What `Rule.out` says, pixel by pixel."""
    if value != value or value in (float("inf"), float("-inf")) or value != int(value):
        return True
    return int(value) in rule.values or any(int(value) >> bit & 1 for bit in rule.bits)


@given(
    st.lists(st.integers(0, 65535), max_size=4),
    st.lists(st.integers(0, 15), max_size=4),
    st.lists(st.one_of(st.integers(0, 65535).map(float), st.floats(-4, 4)), min_size=1, max_size=20),
)
def test_a_rule_is_its_slow_self(values, bits, pixels):
    rule = Rule(tuple(values), tuple(bits))
    np.testing.assert_array_equal(rule.out(np.array(pixels)), [slow_out(rule, pixel) for pixel in pixels])


@pytest.mark.parametrize(
    ("name", "out", "clear"),
    [
        ("T18SVG_20160112T155622_SCL_20m.jp2", [0, 1, 3, 8, 9, 10], [2, 4, 5, 6, 7, 11]),
        ("LC08_L2SP_016034_20160112_QA_PIXEL.TIF", [1, 2, 4, 8, 16, 22280, 23888], [64, 21824, 21952, 30048]),
        ("HLS.S30.T18SVG.2016012T155622.v2.0.Fmask.tif", [2, 4, 8, 66, 255], [0, 16, 32, 64, 192, 224]),
        ("cfmask", [2, 4, 255], [0, 1, 3]),
    ],
)
def test_a_coding_is_known_by_its_name(name, out, clear):
    rule = MaskChoice.of(name, None, None).rule(name)
    assert rule.out(np.array(out)).all()
    assert not rule.out(np.array(clear)).any()


def test_a_band_of_the_file_is_the_mask_and_none_of_the_scenes(tmp_path: Path) -> None:
    block = numbers(3, 4, 4)
    block[1] = SCL

    def name(dataset) -> None:
        dataset.descriptions = ("B02", "SCL", "B03")

    path = write_tif(tmp_path / "s.tif", block, name)
    for words in ("SCL", "scl", "scl:2", "SCL:scl"):
        source = pickle.loads(pickle.dumps(open_source(path, mask_band=words)))
        assert source.info.bands == ("B02", "B03")
        np.testing.assert_array_equal(whole(source)[0], block[[0, 2]])
        assert whole(source)[1].all()
        np.testing.assert_array_equal(clear_of(source, Window(0, 4, 0, 4)), np.array(SCL_CLEAR, bool))
        np.testing.assert_array_equal(clear_of(source, Window(1, 3, 2, 4)), np.array(SCL_CLEAR, bool)[1:3, 2:4])
    own = open_source(path, mask_band="2", mask_values=[4])
    np.testing.assert_array_equal(clear_of(own, Window(0, 4, 0, 4)), block[1] != 4)
    assert open_source(path, mask_band="SCL", bands=["B03"]).info.bands == ("B03",)
    for words in ({"bidx": [1, 2]}, {"bands": ["SCL"]}):
        with pytest.raises(ConfigError, match="SCL is the mask"):
            open_source(path, mask_band="SCL", **words)


def test_a_mask_of_twice_the_pixel_lies_on_the_scene_by_nearest(tmp_path: Path) -> None:
    paths = [write_tif(tmp_path / f"x_{name}.tif", numbers(1, 10, 8, seed=n)) for n, name in enumerate(("B02", "B03"))]
    coarse = np.array(SCL, "uint8")[None]
    mask = write_tif(tmp_path / "x_SCL.tif", coarse, transform=NORTH_UP * NORTH_UP.scale(2), nodata=4)
    expected = np.zeros((10, 8), bool)  # beside the mask nobody knows
    expected[:8] = np.repeat(np.repeat(SCL_CLEAR, 2, 0), 2, 1)
    for given_paths, words in ((paths, str(mask)), (paths[0], f"scl:{mask}"), (tmp_path, "SCL")):
        source = open_source(given_paths, mask_band=words)
        assert "SCL" not in "".join(source.info.bands)
        np.testing.assert_array_equal(clear_of(source, Window(0, 10, 0, 8)), expected)
        np.testing.assert_array_equal(clear_of(source, Window(3, 9, 1, 6)), expected[3:9, 1:6])


def test_an_asset_of_a_stac_item_is_the_mask(tmp_path: Path) -> None:
    block = numbers(2, 4, 4)
    write_tif(tmp_path / "B02.tif", block[:1])
    write_tif(tmp_path / "B03.tif", block[1:])
    write_tif(tmp_path / "q.tif", np.array(SCL, "uint8")[None])
    assets = {
        key: {"href": href, "type": "image/tiff", "roles": ["data"]}
        for key, href in (("B02", "B02.tif"), ("B03", "B03.tif"), ("scl", "q.tif"))
    }
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "i", "geometry": None, "bbox": [0, 0, 1, 1], "links": [],
        "properties": {"datetime": "2016-01-12T00:00:00Z"}, "assets": assets,
    }  # fmt: skip
    (tmp_path / "i.json").write_text(json.dumps(item))
    for words in ({}, {"bands": ["B02", "B03"]}):
        source = open_source(tmp_path / "i.json", mask_band="SCL", **words)
        assert source.info.bands == ("B02", "B03")
        np.testing.assert_array_equal(clear_of(source, Window(0, 4, 0, 4)), np.array(SCL_CLEAR, bool))
    with pytest.raises(ConfigError, match="scl is the mask"):
        open_source(tmp_path / "i.json", mask_band="SCL", bands=["B02", "scl"])


@pytest.mark.parametrize(
    ("words", "error", "match"),
    [
        ({"mask_band": "B02"}, ConfigError, "name does not say how it is coded"),
        ({"mask_band": "CLOUDS"}, ConfigError, "no mask band or file CLOUDS"),
        ({"mask_band": "scl:far.tif"}, SourceError, "lies beside"),
        ({"mask_band": "scl:two.tif"}, SourceError, "2 bands"),
        ({"mask_band": "scl:lost.tif"}, SourceError, "no CRS"),
        ({"mask_values": [3]}, ConfigError, "--mask-values without --mask-band"),
        ({"mask_band": "B02", "mask_bits": [40]}, ConfigError, "--mask-bits 40"),
        ({"mask_band": "1", "mask_bits": [0], "path": "one.tif"}, ConfigError, "no other band"),
    ],
)
def test_what_no_mask_can_be_is_one_line(tmp_path: Path, monkeypatch, words, error, match) -> None:
    monkeypatch.chdir(tmp_path)

    def name(dataset) -> None:
        dataset.descriptions = ("B02", "B03")

    path = write_tif(tmp_path / "s.tif", numbers(2, 8, 8), name)
    write_tif(tmp_path / "one.tif", numbers(1, 8, 8))
    write_tif(tmp_path / "far.tif", numbers(1, 8, 8), transform=NORTH_UP * NORTH_UP.translation(100, 0))
    write_tif(tmp_path / "two.tif", numbers(2, 8, 8))
    write_tif(tmp_path / "lost.tif", numbers(1, 4, 4), crs=None, transform=None)
    with pytest.raises(error, match=match) as caught:
        open_source(**{"paths": words.get("path", path)} | {k: v for k, v in words.items() if k != "path"})
    assert "\n" not in str(caught.value)


def test_a_mask_without_clouds_changes_no_bit():
    _, noisy, _ = cloudy()
    valid = np.ones(noisy.shape[1:], bool)
    valid[:30, :50] = False
    for quality in ("fast", "quality"):
        plain = denoise_block(noisy, valid, quality=quality)
        clear = denoise_block(noisy, valid, quality=quality, clear=np.ones_like(valid))
        np.testing.assert_array_equal(plain.block, clear.block)
        np.testing.assert_array_equal(plain.sigma, clear.sigma)


def test_what_lies_under_a_cloud_teaches_nothing():
    """Noise: whatever stands under the cloud. Bases: the land far from it is the same to the last bit."""
    _, noisy, clear = cloudy()
    valid = np.ones_like(clear)
    other = noisy.copy()
    other[:, ~clear] = np.random.default_rng([1]).integers(1, 30000, (len(noisy), np.count_nonzero(~clear)))
    one, two = (denoise_block(block, valid, clear=clear) for block in (noisy, other))
    np.testing.assert_array_equal(one.sigma, two.sigma)
    far = ndimage.binary_erosion(clear, iterations=12, border_value=1)
    assert np.count_nonzero(far) > 2000
    np.testing.assert_array_equal(one.block[:, far], two.block[:, far])
    assert not np.array_equal(denoise_block(other, valid).sigma, one.sigma)


@pytest.mark.parametrize("bands", [6, 24])
def test_land_gains_and_clouds_do_not_suffer(bands):
    truth, noisy, clear = cloudy(bands, 128 if bands > 16 else 192)
    valid = np.ones_like(clear)
    plain, taught = denoise_block(noisy, valid), denoise_block(noisy, valid, clear=clear)
    assert psnr(taught.block, truth, clear) > psnr(plain.block, truth, clear) - 0.05
    # Beyond the land's planes a cloud of many bands is left as it was read; nothing of it may be lost.
    least = 5.0 if bands <= 16 else 0.5
    assert psnr(taught.block, truth, ~clear) > psnr(noisy, truth, ~clear) + least


def test_a_tile_all_cloud_is_denoised_as_without_a_mask():
    _, noisy, clear = cloudy()
    valid = np.ones_like(clear)
    clear[:] = False
    clear[:60, :60] = True
    np.testing.assert_array_equal(denoise_block(noisy, valid, clear=clear).block, denoise_block(noisy, valid).block)


def with_scl(tmp_path: Path, bands: int = 4) -> tuple[Path, np.ndarray]:
    """A scene on disk whose last band is SCL; its clear pixels."""
    _, noisy, clear = cloudy(bands, 160)
    path = write_scene(tmp_path / "c.tif", np.concatenate([noisy, np.where(clear, 4, 9).astype("uint16")[None]]))
    return path, clear


def test_the_scenes_own_basis_is_learnt_where_it_is_clear(tmp_path: Path) -> None:
    path, clear = with_scl(tmp_path)
    source = open_scene(str(path), mask_band="scl:5")

    def here(function, arguments):
        return map(function, arguments)

    model = fit_scene(source, "fast", None, here)
    block, _ = source.read(Window(0, 160, 0, 160))
    np.testing.assert_allclose(model.whitening.mean, block[:, clear].mean(axis=1), rtol=1e-6)
    assert model.learnt
    truth = cloudy(4, 160)[0]
    done = denoise_block(block, np.ones_like(clear), model=model, clear=clear)
    for where in (clear, ~clear):
        assert psnr(done.block, truth, where) > psnr(block, truth, where) + 5


@pytest.mark.parametrize("name", ["rcf-mixed", "classic"])
def test_banks_are_fitted_where_it_is_clear(tmp_path: Path, name: str) -> None:
    path, clear = with_scl(tmp_path)
    source = open_scene(str(path), mask_band="scl:5")
    assert isinstance(source, MaskedSource)
    block, _ = whole(source)
    expected = fit_bank(name, [(block, clear)], bands=source.info.bands, seed=1)
    assert fit(name, [source], 160, seed=1).digest() == expected.digest()
    assert fit(name, [source.source], 160, seed=1).digest() != expected.digest()


def test_run_keeps_the_clouds_resumes_and_refuses_another_mask(tmp_path: Path) -> None:
    path, _ = with_scl(tmp_path)
    (tmp_path / "w.yaml").write_text(
        "version: 1\nsources: [c.tif]\nread: {tile: 64, mask_band: 'scl:5'}\ncompress: {lossless: true}\n"
        "denoise: {quality: none}\nfeatures: null\nwrite: {cog: [], report: false}\n"
    )
    result = call_json("run", tmp_path / "w.yaml", "--out", tmp_path / "out")["scenes"][0]
    assert result["status"] == "done"
    source = open_scene(str(path), mask_band="scl:5")
    stored = open_scene(str(tmp_path / "out/c/scene.zarr"))
    np.testing.assert_array_equal(whole(stored)[0], whole(source)[0])
    before = snapshot(tmp_path / "out")
    assert call("run", tmp_path / "w.yaml", "--out", tmp_path / "out").exit_code == 0
    assert snapshot(tmp_path / "out") == before
    for words in (("--mask-values", "9,11"), ("--mask-band", "scl:1")):
        again = call("run", tmp_path / "w.yaml", "--out", tmp_path / "out", *words)
        assert again.exit_code == 1
        assert "begun under another configuration" in again.stderr
    assert call("plan", tmp_path / "w.yaml", "--mask-band", "scl:5").exit_code == 0
    assert "c: 4 x 160 x 160" in call("plan", tmp_path / "w.yaml").stdout


def test_a_workflow_finds_its_mask_beside_it(tmp_path: Path) -> None:
    _, noisy, clear = cloudy(2, 64)
    write_scene(tmp_path / "c.tif", noisy)
    write_scene(tmp_path / "m.tif", np.where(clear, 0, 8).astype("uint16")[None])
    (tmp_path / "w.yaml").write_text(
        "version: 1\nsources: [c.tif]\nread: {tile: 64, mask_band: 'qa_pixel:m.tif'}\nfeatures: null\n"
        "write: {cog: [], report: false}\n"
    )
    assert call("run", tmp_path / "w.yaml", "--out", tmp_path / "out").exit_code == 0
    store = tmp_path / "out/c/scene.zarr"
    assert read_attributes(store)["configuration"]["source"]["mask"]
    masked = open_scene(str(store), mask_band=f"qa_pixel:{tmp_path / 'm.tif'}")
    np.testing.assert_array_equal(clear_of(masked, Window(0, 64, 0, 64)), clear)


def test_the_jobs_of_other_processes_write_the_same_bytes(tmp_path: Path) -> None:
    path, _ = with_scl(tmp_path)
    source = open_scene(str(path), mask_band="scl:5")
    job = SceneJob(source, str(tmp_path / "a"), 64, Denoising("fast"), None)
    (tmp_path / "a").mkdir()
    for tile in job.grid:
        job.run(tile)
    words = ("--tile", 64, "--scheduler", "threads", "--workers", 2, "--mask-band", "scl:5")
    assert call("denoise", path, tmp_path / "b.zarr", *words).exit_code == 0
    assert {k: v for k, v in snapshot(tmp_path / "b.zarr").items() if k.startswith("scene/c/")} == snapshot(
        tmp_path / "a"
    )
    assert len(pickle.dumps(job)) < 20_000


def test_what_is_said_of_a_mask_reaches_every_command(tmp_path: Path) -> None:
    path, _ = with_scl(tmp_path)
    calls = {
        "denoise": ("denoise", path, tmp_path / "d.tif"),
        "compress": ("compress", path, tmp_path / "c.zarr"),
        "fit": ("fit", path, "-o", tmp_path / "b.npz", "--bank", "classic"),
        "features": ("features", path, tmp_path / "f.zarr", "--bank", "classic", "--stride", 8),
    }
    for words in calls.values():
        assert call(*words, "--mask-band", "scl:5").exit_code == 0, words
        bad = call(*words, "--mask-band", "scl:6", "--overwrite")
        assert bad.exit_code == 2
        assert bad.stderr.strip().splitlines()[-1].startswith("Error: no mask band or file 6")
    assert call_json("inspect", path, "--mask-band", "scl:5")["shape"][0] == 4
    mask = write_scene(tmp_path / "m.tif", np.full((1, 160, 160), 4, "uint8"))
    refused = call("denoise", path, mask, "--mask-band", f"scl:{mask}", "--overwrite")
    assert refused.exit_code == 1
    assert "input" in refused.stderr


def test_identity_names_the_mask(tmp_path: Path) -> None:
    path, _ = with_scl(tmp_path)
    plain = source_identity(open_scene(str(path), bidx=[1, 2, 3, 4]))
    masked = source_identity(open_scene(str(path), mask_band="scl:5"))
    assert "mask" not in plain
    assert masked["mask"]["values"] == sorted(CODINGS["scl"].values)
