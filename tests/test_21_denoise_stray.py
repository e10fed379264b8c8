"""A few pixels far from all others teach nothing, switch nothing off and come back as they were."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.denoise import denoise_block, estimate_noise
from pipeline.denoise.block import _narrowed
from pipeline.denoise.stray import FAR, stray, without_stray
from pipeline.errors import BlockError
from tests.scenes import call, read, write_tif

HOT = (40, 57)


def scene(bands: int = 4, side: int = 96) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Smooth bands of 100 to 3000, and the same with noise of 30."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:side, :side] / side
    one = 1500 + 1000 * np.sin(5 * x + 2 * y) * np.cos(4 * y)
    truth = one * np.linspace(0.6, 1.2, bands)[:, None, None]
    return truth.astype("f4"), (truth + rng.normal(0, 30, truth.shape)).astype("f4")


def all_of(block: NDArray[np.generic]) -> NDArray[np.bool_]:
    return np.ones(block.shape[1:], bool)


def error(block: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """Root mean square, but for the hot pixel."""
    away = all_of(block)
    away[HOT] = False
    return float(np.sqrt(np.mean((block - truth)[:, away] ** 2)))


@pytest.mark.parametrize("bands", [1, 4])
@pytest.mark.parametrize("value", [1e8, 1e12, -3.4028235e38, 9.96921e36])
@pytest.mark.parametrize("where", ["all bands", "one band"])
def test_around_a_hot_pixel_is_denoised_as_without_it(bands: int, value: float, where: str) -> None:
    truth, noisy = scene(bands)
    plain, sigma = error(denoise_block(noisy, all_of(noisy)).block, truth), estimate_noise(noisy, all_of(noisy))
    noisy[(slice(None) if where == "all bands" else slice(0, 1), *HOT)] = value
    found = denoise_block(noisy, all_of(noisy))
    assert error(found.block, truth) < 1.02 * plain < 15
    np.testing.assert_array_equal(found.block[:, *HOT], noisy[:, *HOT])
    np.testing.assert_allclose(estimate_noise(noisy, all_of(noisy)), sigma, rtol=0.05)
    assert found.astray is not None
    assert np.argwhere(found.astray).tolist() == [list(HOT)]


def test_several_hot_pixels_of_any_size_are_spared_together() -> None:
    truth, noisy = scene()
    plain = error(denoise_block(noisy, all_of(noisy)).block, truth)
    for number, value in enumerate((1e9, 1e13, -1e17, 1e21, 3e35)):
        noisy[number % 4, 10 + 12 * number, 20] = value
    found = denoise_block(noisy, all_of(noisy))
    kept = found.astray
    assert kept is not None
    assert np.count_nonzero(kept) == 5
    np.testing.assert_array_equal(found.block[:, kept], noisy[:, kept])
    assert np.sqrt(np.mean((found.block - truth)[:, ~kept] ** 2)) < 1.05 * plain


@pytest.mark.parametrize("words", [(), ("--basis", "scene"), ("--tile", 64)])
def test_the_commands_keep_them_to_the_last_bit(tmp_path: Path, words: tuple[object, ...]) -> None:
    """In float64, whose digits float32 has not."""
    truth, noisy = scene()
    block = noisy.astype("f8")
    plain = call("denoise", write_tif(tmp_path / "p.tif", block), tmp_path / "q.tif", *words)
    assert plain.exit_code == 0, plain.stderr
    block[:, *HOT] = 1.23456789012345e12
    block[1, *HOT] = -1.5e150
    result = call("denoise", write_tif(tmp_path / "s.tif", block), tmp_path / "d.tif", *words)
    assert result.exit_code == 0, result.stderr
    made = read(tmp_path / "d.tif")
    np.testing.assert_array_equal(made[:, *HOT], block[:, *HOT])
    assert error(made, truth) < 1.02 * error(read(tmp_path / "q.tif"), truth) < 15


def test_what_scenes_hold_is_not_astray() -> None:
    rng = np.random.default_rng(0)
    rain = np.where(rng.random((1, 128, 128)) < 0.004, rng.gamma(1, 50, (1, 128, 128)), 0)
    lone = np.zeros((1, 64, 64))
    lone[0, 3, 5] = 1e9  # of a constant band nothing is far
    eight = np.full((1, 64, 64), 7, "u1") + rng.integers(0, 2, (1, 64, 64), "u1")
    eight[0, 9, 9] = 255
    sea = rng.normal(50, 3, (2, 128, 128))
    sea[:, 60, 60:64] = 8000  # a ship
    sea[:, :12, :12] = 60000  # a cloud
    many = rng.normal(50, 3, (1, 64, 64))
    many.reshape(-1)[:100] = 1e20  # a fortieth: a fill, which is told of
    for block in (rain, lone, eight, sea, many, rng.normal(0, 1, (1, 6, 6))):
        assert stray(block, all_of(block)) is None
        valid = all_of(block)
        assert without_stray(block, valid) is valid


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("folder", ["../shared/data", "sample_data"])
def test_no_pixel_of_a_real_scene_is_astray(folder: str) -> None:
    paths = sorted(Path(folder).glob("*band*.tif"))
    if not paths:
        pytest.skip(f"{folder} has no scenes")
    for path in paths:
        with rasterio.open(path) as file:
            block = file.read()
        for y in range(0, block.shape[1], 128):
            tile = block[:, y : y + 128]
            assert stray(tile, all_of(tile), FAR / 100) is None, path


def test_holes_and_what_is_not_finite_are_not_looked_at() -> None:
    _, noisy = scene()
    valid = all_of(noisy)
    valid[:20] = False
    for fill in (-3.4028235e38, np.nan, np.inf):
        noisy[:, :20] = fill
        assert stray(noisy, valid) is None
    noisy[2, 50, 50], noisy[1, 30, 30] = np.inf, 1e9
    found = stray(noisy, valid)
    assert found is not None
    assert np.argwhere(found).tolist() == [[30, 30]]


@given(st.integers(0, 2**32 - 1), st.sampled_from(["f4", "f8", "i4", "u2"]), st.integers(1, 3))
def test_the_quick_look_misses_nothing(seed: int, dtype: str, bands: int) -> None:
    """Against all distances, sorted."""
    rng = np.random.default_rng(seed)
    block = rng.normal(500, rng.choice([0.0, 3.0, 100.0]), (bands, 40, 50)).astype(dtype)
    for _ in range(rng.integers(0, 6)):
        block[rng.integers(bands), rng.integers(40), rng.integers(50)] = rng.choice([0, 60000])
    valid = rng.random((40, 50)) < rng.choice([0.6, 1.0])
    wanted = np.zeros_like(valid)
    for band in block.astype("f8"):
        values = np.sort(band[valid])
        away = abs(band - values[values.size // 2])
        for far, share in ((FAR, 0.002), (3e4, 0.02)):
            usual = np.sort(away[valid])[values.size - 1 - max(1, int(share * values.size))]
            wanted |= valid & (away > far * usual) & (usual > 0)
    found = stray(block, valid)
    np.testing.assert_array_equal(np.zeros_like(valid) if found is None else found, wanted)


@pytest.mark.parametrize("bands", [1, 2, 4])
@pytest.mark.parametrize("offset", [0, 10])
@pytest.mark.parametrize("size", [1e20, 1e25, 1e30])
def test_noise_beyond_float32_is_refused_of_however_many_bands(bands: int, offset: int, size: float) -> None:
    block = ((offset + np.random.default_rng(0).normal(0, 1, (bands, 64, 64))) * size).astype("f4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            BlockError, match=r"values of up to .*e\+.. cannot be squared in float32; give them in larger"
        ):
            denoise_block(block, all_of(block))
        with pytest.raises(BlockError, match="cannot be squared in float32"):
            estimate_noise(block, all_of(block))


@pytest.mark.parametrize("words", [(), ("--basis", "scene")])
def test_the_command_refuses_it_in_one_line(tmp_path: Path, words: tuple[object, ...]) -> None:
    block = (np.random.default_rng(0).normal(0, 1, (1, 64, 64)) * 1e30).astype("f4")
    result = call("denoise", write_tif(tmp_path / "s.tif", block), tmp_path / "d.tif", *words)
    assert result.exit_code == 1
    assert "cannot be squared in float32" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "d.tif").exists()


def test_what_is_finite_never_comes_back_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    _, noisy = scene()

    def broken(planes: NDArray[np.float32], *_: object) -> NDArray[np.float32]:
        return np.full_like(planes, np.nan)

    monkeypatch.setattr("pipeline.denoise.block.denoise_planes", broken)
    with pytest.raises(
        BlockError, match=r"denoising band 0 gave NaN or infinity, of values of up to 3\.\d+e\+03; give"
    ):
        denoise_block(noisy, all_of(noisy))


def test_doubles_beyond_float32_come_as_near_as_it_does() -> None:
    top = np.finfo("f4").max
    block = np.array([[[1e300, -1e300, np.inf, 5.0]]])
    np.testing.assert_array_equal(_narrowed(block), np.array([[[top, -top, np.inf, 5]]], "f4"))


@pytest.mark.parametrize("share", [0.004, 0.015])
def test_many_hot_pixels_of_many_values_do_not_wreck_the_others(share: float) -> None:
    """Beyond two in a thousand the others had up to 75 times the noise."""
    truth, noisy = scene()
    plain = denoise_block(noisy, all_of(noisy)).block
    hot = np.random.default_rng(1).random(noisy.shape[1:]) < share
    noisy[:, hot] = np.random.default_rng(2).uniform(0.5e8, 2e8, (len(noisy), hot.sum())).astype(np.float32)
    found = denoise_block(noisy, all_of(noisy))
    np.testing.assert_array_equal(found.astray, hot)
    error, without = (np.sqrt(np.mean((after - truth)[:, ~hot] ** 2)) for after in (found.block, plain))
    assert error < 1.5 * without
