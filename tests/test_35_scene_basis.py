"""Bases of the scene: one model for all tiles, the same on every scheduler; borders vanish, awkward scenes pass."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cluster import open_cluster
from pipeline.denoise import denoise_block, model_file, pool
from pipeline.denoise.whiten import fit_whitening, whitening_of
from pipeline.errors import ConfigError, SourceError, TileError
from pipeline.flow import scene_basis
from pipeline.flow.denoise import Denoising
from pipeline.flow.denoised import denoised_tile, settle
from pipeline.flow.flight import gather
from pipeline.flow.read import open_scene
from pipeline.flow.scene_basis import fit_scene, spread_windows, with_basis
from pipeline.grid import Grid
from tests.scenes import band_psnr, call, read, small_scene, snapshot, write_tif

TIMES = ("receipt.json", "report.html", "item.json")


def here(function, arguments):
    """The results, one after the other, in this thread."""
    return map(function, arguments)


def flat(value):
    """Every array and number of a model, in order."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, (list, tuple)):
        return [part for one in value for part in flat(one)]
    if hasattr(value, "__dataclass_fields__"):
        return [part for one in fields(value) for part in flat(getattr(value, one.name))]
    return [np.asarray(value)]


def same(one, other):
    """Whether two models are equal to the last bit."""
    return [(a.dtype, a.tobytes()) for a in flat(one)] == [(b.dtype, b.tobytes()) for b in flat(other)]


def noisy_tif(folder: Path, **changes):
    """A scene of the generator with its truth."""
    path = small_scene(folder / "scene.tif", folder / "truth.tif", **changes)
    return path, read(folder / "truth.tif").astype(float)


def tiled(source, tile, denoising):
    """The whole scene, denoised tile by tile."""
    info = source.info
    result = np.zeros((len(info.bands), info.height, info.width), info.dtype)
    for one in Grid(info.height, info.width, tile):
        result[:, *one.window.slices] = denoised_tile(source, one, tile, denoising)[0]
    return result


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(16, 300))
def test_windows_are_few_lie_apart_and_are_the_whole_of_a_small_scene(height: int, width: int, side: int) -> None:
    windows = spread_windows(height, width, side, 24)
    assert 1 <= len(windows) <= 24
    seen = np.zeros((height, width), np.uint8)
    for window in windows:
        assert 0 < min(window.shape) <= max(window.shape) <= side
        seen[window.slices] += 1
    assert seen.max() == 1
    if -(-height // side) * -(-width // side) <= 24:
        assert seen.min() == 1
    else:
        assert len(windows) >= 12


def test_windows_add_up_to_the_scene(synthetic) -> None:
    windows = spread_windows(*synthetic.valid.shape, 50)
    parts = []
    for window in windows:
        block, valid = synthetic.noisy[:, *window.slices], synthetic.valid[window.slices]
        parts.append(pool.survey(block, valid, (window.y0, window.x0), sigma=synthetic.sigma))
    found = pool.agree([part for part in parts if part is not None])
    np.testing.assert_allclose(found.sigma, synthetic.sigma)
    pixels = synthetic.noisy[:, synthetic.valid].astype(float)
    total = pool.merged([part.moments for part in parts if part is not None])
    np.testing.assert_allclose(total.mean, pixels.mean(axis=1))
    np.testing.assert_allclose(total.covariance(), np.cov(pixels, bias=True), rtol=1e-4, atol=1e-3 * pixels.var())
    whole = fit_whitening(synthetic.noisy, synthetic.valid, synthetic.sigma.astype(float))
    again = whitening_of(total, synthetic.sigma.astype(float))
    assert again.rank == whole.rank
    np.testing.assert_allclose(np.abs(np.sum(again.V[:, :3] * whole.V[:, :3], axis=0)), 1, atol=1e-4)


def test_noise_is_the_median_over_the_pixels_of_windows_that_have_some() -> None:
    moments = pool.band_moments(np.zeros((2, 4, 4)), np.ones((4, 4), bool))
    levels = [(100, 5.0), (90, 1.0), (100, 2.0), (100, 0.0), (5, 40.0)]
    surveys = [pool.Survey(n, np.array([s, 0.0]), None, moments, False) for n, s in levels]
    found = pool.agree(surveys)
    assert 1.0 < found.sigma[0] < 5.0
    assert found.sigma[1] == 0
    assert len(found.whitening.sigma) == 1


def test_a_model_goes_through_its_arrays_unchanged(tmp_path: Path) -> None:
    path, _ = noisy_tif(tmp_path)
    model = fit_scene(open_scene(str(path)), "fast", None, here)
    assert model is not None
    assert len(model.learnt[0].classes) == len(model.learnt[0].sorters) > 1
    arrays = model_file.to_arrays(model)
    assert same(model_file.from_arrays(arrays), model)
    for cut in (arrays["values"][:-1], np.append(arrays["values"], 0.0)):
        with pytest.raises((ValueError, IndexError)):
            model_file.from_arrays(arrays | {"values": cut})


def test_the_model_depends_on_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_basis, "spread_windows", lambda height, width: spread_windows(height, width, 40))
    path, _ = noisy_tif(tmp_path)
    source = open_scene(str(path))
    first = fit_scene(source, "fast", None, here)
    for workers in (1, 3):
        with ThreadPoolExecutor(workers) as crew:
            again = fit_scene(source, "fast", None, lambda f, a, c=crew, n=workers: gather(f, a, c, n))
        assert same(again, first)


def test_tiles_do_not_show_and_nothing_is_lost(tmp_path: Path) -> None:
    path, truth = noisy_tif(tmp_path, height=256, width=250, bands=5, holes=0.0)
    source = open_scene(str(path))
    shared = with_basis(source, Denoising("fast", None, "scene"), tmp_path / "basis.npz", "key", here)
    whole, own_whole = tiled(source, 256, shared), tiled(source, 256, Denoising())
    parts, own = tiled(source, 64, shared), tiled(source, 64, Denoising())
    assert band_psnr(truth, whole) > band_psnr(truth, own_whole) - 0.2
    assert band_psnr(truth, whole) > band_psnr(truth, read(path)) + 5
    assert abs(band_psnr(truth, parts) - band_psnr(truth, whole)) < 0.02
    border = np.zeros(truth.shape[1:], bool)
    for start in range(64, 256, 64):
        border[start - 2 : start + 2], border[:, start - 2 : start + 2] = True, True

    def jump(block, reference):
        error, fair = (np.mean((one - truth) ** 2, axis=0) for one in (block, reference))
        return np.sqrt(error[border].mean() / error[~border].mean() * fair[~border].mean() / fair[border].mean())

    assert jump(parts, whole) < 1.01
    assert abs(jump(parts, whole) - 1) < abs(jump(own, own_whole) - 1)


def test_resumed_after_loss_of_chunks_and_basis_it_writes_the_same_bytes(tmp_path: Path) -> None:
    small_scene(tmp_path / "scene.tif")
    (tmp_path / "job.yaml").write_text("denoise: {basis: scene}\nread: {tile: 64}\nfeatures: null\n")
    words = ("run", tmp_path / "job.yaml", tmp_path / "scene.tif", "--out", tmp_path / "out")
    assert call(*words).exit_code == 0
    folder = tmp_path / "out" / "scene"
    before = snapshot(folder, leave_out=TIMES)
    assert "basis.npz" in before
    (folder / "scene.zarr/scene/c/0/1/1").unlink()
    (folder / "basis.npz").write_bytes(before["basis.npz"][:-9])
    result = call(*words)
    assert "9 tiles, 8 of them there already" in result.stdout, result.stderr
    assert snapshot(folder, leave_out=TIMES) == before
    (tmp_path / "job.yaml").write_text("read: {tile: 64}\nfeatures: null\n")
    refused = call(*words)
    assert refused.exit_code == 1
    assert "denoise.basis: scene -> tile" in refused.stderr


def test_a_basis_that_is_there_is_not_learnt_again(tmp_path: Path) -> None:
    path, _ = noisy_tif(tmp_path)
    source, file = open_scene(str(path)), tmp_path / "basis.npz"
    wanted = Denoising("fast", None, "scene")
    first = with_basis(source, wanted, file, "one", here)

    def never(function, arguments):
        raise AssertionError("learnt again")

    assert with_basis(source, wanted, file, "one", never) == first
    with pytest.raises(AssertionError, match="learnt again"):
        with_basis(source, wanted, file, "another", never)


def test_a_basis_that_was_replaced_or_lost_is_refused(tmp_path: Path) -> None:
    path, _ = noisy_tif(tmp_path)
    source, file = open_scene(str(path)), tmp_path / "basis.npz"
    denoising = with_basis(source, Denoising("fast", None, "scene"), file, "key", here)
    file.write_bytes(file.read_bytes()[:-1])
    tile = Grid(150, 170, 64)[0]
    with pytest.raises(SourceError, match=r"basis\.npz: the basis of the scene cannot be read: another run"):
        denoised_tile(source, tile, 64, denoising)
    file.unlink()
    with pytest.raises(SourceError, match="run again"):
        denoised_tile(source, tile, 64, denoising)


@pytest.mark.parametrize("kind", ["constant", "nodata", "tiny", "sliver", "half", "one band", "many bands"])
def test_awkward_scenes_pass(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(5)
    shape = {"tiny": (3, 4, 3), "sliver": (3, 2, 90), "one band": (1, 90, 80), "many bands": (40, 50, 60)}
    noise = rng.normal(0, 30, shape.get(kind, (3, 90, 80)))
    truth = 900 + 200 * np.sin(np.arange(noise.shape[2]) / 20) + 2 * np.arange(noise.shape[1])[:, None]
    block = (truth + noise).astype(np.float32)
    if kind == "constant":
        block[:] = 7
    elif kind == "nodata":
        block[:] = -1
    elif kind == "half":
        block[:, :, :50] = -1
    path = write_tif(tmp_path / "scene.tif", block, nodata=-1)
    for quality in ("fast", "quality"):
        clean = tmp_path / f"{quality}.tif"
        result = call("denoise", path, clean, "--basis", "scene", "--tile", 32, "--quality", quality)
        assert result.exit_code == 0, result.stderr
        done = read(clean)
        assert (done.dtype, done.shape) == (block.dtype, block.shape)
        assert np.array_equal(done[block == -1], block[block == -1])
        if kind in ("constant", "nodata", "tiny", "sliver"):
            assert np.array_equal(done, block)
        if kind in ("half", "one band", "many bands"):
            real = block != -1
            assert np.std((done - truth)[real]) < 15
    assert sorted(one.name for one in tmp_path.iterdir()) == ["fast.tif", "quality.tif", "scene.tif"]


def test_noise_that_grows_with_the_signal_is_levelled_for_the_scene(tmp_path: Path) -> None:
    _, truth = noisy_tif(tmp_path, height=200, width=220, holes=0.0)
    rng = np.random.default_rng(2)
    noisy = (truth + rng.standard_normal(truth.shape) * np.sqrt(20 * np.maximum(truth - 900, 0) + 100)).astype("f4")
    source = open_scene(str(write_tif(tmp_path / "poisson.tif", noisy)))
    model = fit_scene(source, "fast", None, here)
    assert model is not None
    assert model.stabiliser is not None
    np.testing.assert_allclose(np.median(model.stabiliser.gain), 20, rtol=0.3)
    np.testing.assert_allclose(model.whitening.sigma, 1, atol=0.25)
    shared = with_basis(source, Denoising("fast", None, "scene"), tmp_path / "basis.npz", "key", here)
    assert band_psnr(truth, tiled(source, 128, shared)) > band_psnr(truth, tiled(source, 128, Denoising())) - 0.3


def test_a_window_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Torn:
        inner: object

        @property
        def info(self):
            return self.inner.info

        def read(self, window):
            raise SourceError("torn")

    with pytest.raises(TileError, match=r"^scene.*basis of the scene \(rows 0:150, columns 0:170\): torn$"):
        fit_scene(Torn(open_scene(str(small_scene(tmp_path / "scene.tif")))), "fast", None, here)


def test_what_is_no_basis_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="basis 'world' is not known to denoise; use tile or scene"):
        Denoising(basis="world")
    result = call("denoise", tmp_path / "a.tif", tmp_path / "b.tif", "--basis", "world")
    assert result.exit_code == 2
    assert "'tile', 'scene'" in result.stderr


def test_older_configurations_keep_their_hash() -> None:
    assert Denoising("fast", 3.0).configuration() == {"quality": "fast", "sigma": 3.0}
    assert Denoising("none", basis="scene").configuration() == {"quality": "none", "sigma": "auto"}
    assert Denoising("fast", basis="scene").configuration() == {"quality": "fast", "sigma": "auto", "basis": "scene"}


@pytest.mark.cluster
@pytest.mark.slow
def test_threads_and_processes_write_the_same_bytes(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "scene.tif", height=300, width=290)
    stores = {}
    for scheduler, workers in (("threads", 1), ("threads", 2), ("processes", 2)):
        target = tmp_path / "clean.zarr"
        words = ("--basis", "scene", "--tile", 64, "--scheduler", scheduler, "--workers", workers, "--sigma", 60)
        result = call("denoise", scene, target, *words)
        assert result.exit_code == 0, result.stderr
        stores[scheduler, workers] = snapshot(target)
        shutil.rmtree(target)
    first = stores.pop(("threads", 1))
    assert all(other == first for other in stores.values())
    with open_cluster("processes", 2) as cluster:
        results = gather(abs, range(-9, 0), cluster.executor, cluster.workers)
        assert list(results) == list(range(9, 0, -1))


def test_calm_water_is_written_denoised_though_no_plane_stands_above_its_noise() -> None:
    water = (1000 + 5 * np.random.default_rng(21).standard_normal((3, 200, 200))).round().astype(np.uint16)
    valid = np.ones((200, 200), np.bool_)
    written = settle(denoise_block(water, valid), (slice(None), slice(None)), water, valid, None)
    assert np.sqrt(np.mean((written.astype(float) - 1000) ** 2)) < 1.0


def test_wide_numbers_are_mended_about_their_mean_under_the_scenes_model_too() -> None:
    rng = np.random.default_rng(22)
    clean = (2**28 + rng.normal(0, 300, (4, 160, 160))).round().astype(np.int32)  # float32 steps by 32 there
    striped, valid = clean.copy(), np.ones((160, 160), np.bool_)
    striped[1, :, ::9] += 2000
    model = pool.agree([pool.survey(clean, valid, (0, 0), sigma=None)])
    mended = model.measured(striped, valid).block
    assert np.abs(mended[1, :, ::9] - clean[1, :, ::9]).mean() < 200
    np.testing.assert_array_equal(mended[[0, 2, 3]], clean[[0, 2, 3]])


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_tile_without_pixels_is_as_read_and_not_denoised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """Its halo has some: denoised or not, the tile is the same to the last bit."""
    block = np.random.default_rng(3).normal(900, 30, (3, 64, 128)).astype(dtype)
    block[:, :, 64:] = 0
    source = open_scene(str(write_tif(tmp_path / "half.tif", block, nodata=0)))
    tile, denoising = Grid(64, 128, 64)[1], Denoising("fast")
    outer, valid = source.read(Grid(64, 128, 128)[0].window)
    assert valid[:, :64].all()
    place = (slice(0, 64), slice(64, 128))
    slow = settle(denoising.block(outer, valid, (0, 0)), place, outer[:, *place], valid[place], 0)

    def never(*_arguments: object) -> None:
        raise AssertionError("a tile without pixels was denoised")

    monkeypatch.setattr(Denoising, "block", never)
    quick, real = denoised_tile(source, tile, 64, denoising)
    assert quick.tobytes() == slow.tobytes() == outer[:, *place].tobytes()
    assert quick.dtype == slow.dtype
    assert not real.any()
