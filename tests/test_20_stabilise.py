"""Floor 2: noise that grows with the signal is found, made equal, undone without bias; other noise is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.denoise import estimate_noise
from pipeline.denoise.stabilise import BINS, Seen, Stabiliser, _binned, _unmixed, fit_stabiliser

DATA = Path(__file__).parents[2] / "shared" / "data"


def hills(bands=4, size=160, seed=0):
    """Smooth hills from 0 to about 1, each band its own mixture of three, with an edge and fine texture in all."""
    rng = np.random.default_rng(seed)
    maps = ndimage.gaussian_filter(rng.standard_normal((3, size, size)), (0, 8, 8)) * 25
    maps += 0.3 * ndimage.gaussian_filter(rng.standard_normal((3, size, size)), (0, 1.5, 1.5))
    maps[:, :, size // 2 :] += 1.0
    mixed = np.tensordot(rng.uniform(0.3, 1.0, (bands, 3)), maps, 1)
    low, high = mixed.min(axis=(1, 2), keepdims=True), mixed.max(axis=(1, 2), keepdims=True)
    return (mixed - low) / (high - low)


def all_valid(block):
    return np.ones(block.shape[1:], bool)


def fitted(noisy, valid=None):
    valid = all_valid(noisy) if valid is None else valid
    return fit_stabiliser(noisy, valid, estimate_noise(noisy, valid))


def with_noise(clean, gain, floor, seed=1):
    return clean + np.sqrt(gain * clean + floor) * np.random.default_rng(seed).standard_normal(clean.shape)


@pytest.mark.parametrize("bands", [1, 4, 12])
def test_the_line_of_the_variance_is_found(bands):
    clean = hills(bands)
    found = fitted(with_noise(clean, 0.005, 1e-4))
    assert found is not None
    assert np.median(found.gain) == pytest.approx(0.005, rel=0.25)
    np.testing.assert_allclose(found.sigma, np.sqrt((0.005 * clean + 1e-4).mean(axis=(1, 2))), rtol=0.15)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bands", [1, 4, 12])
def test_equal_noise_is_left_alone(bands, seed):
    rng = np.random.default_rng(seed)
    clean = hills(bands, seed=seed)
    sigma = 0.03 * np.exp(rng.uniform(-1, 1, bands))
    assert fitted(clean + sigma[:, None, None] * rng.standard_normal(clean.shape)) is None


def test_noise_that_falls_with_the_signal_is_not_poisson():
    clean = hills()
    assert fitted(with_noise(1 - clean, 0.005, 1e-4) * -1 + 1) is None


def test_noise_is_one_in_the_dark_and_in_the_light():
    clean = hills()
    noisy = with_noise(clean, 0.01, 1e-4)
    found = fitted(noisy)
    assert found is not None
    rest = found.forward(noisy) - found.forward(clean)
    for inside in (clean < np.quantile(clean, 0.2), clean > np.quantile(clean, 0.8)):
        assert np.std(rest[inside]) == pytest.approx(1.0, rel=0.12)


@settings(deadline=None, max_examples=25)
@given(
    gain=st.floats(0.2, 50.0), offset=st.floats(-2000, 2000), electrons=st.floats(2.0, 4000.0), read=st.floats(0, 4.0)
)
def test_the_inverse_of_the_mean_root_is_the_mean(gain, offset, electrons, read):
    """Exact unbiased: x = gain·Poisson + gauss + offset, of variance gain·(mean − offset) + (gain·read)²."""
    rng = np.random.default_rng(3)
    count = 200_000
    noisy = gain * rng.poisson(electrons, count) + gain * read * rng.standard_normal(count) + offset
    floor = (gain * read) ** 2 - gain * offset
    way = Stabiliser(np.array([gain]), np.array([floor]), np.array([1.0]))
    root = way.forward(noisy.reshape(1, 1, -1)).mean(dtype=np.float64)
    back = way.inverse(np.full((1, 1, 1), root, np.float32))[0, 0, 0]
    deviation = gain * np.sqrt(electrons + read**2)
    assert back == pytest.approx(gain * electrons + offset, abs=0.05 * deviation + 1e-6 * abs(offset))


def test_bands_of_one_noise_are_scaled_and_come_back():
    block = np.random.default_rng(4).normal(5, 2, (2, 20, 20)).astype(np.float32)
    way = Stabiliser(np.zeros(2), np.zeros(2), np.array([2.0, 0.0]))
    forward = way.forward(block)
    np.testing.assert_allclose(forward[0], block[0] / 2, rtol=1e-6)
    np.testing.assert_array_equal(forward[1], block[1])
    np.testing.assert_allclose(way.inverse(forward), block, rtol=1e-6)


def test_negative_integers_and_an_offset_are_taken():
    """int16 around an offset of −3000: variance 8·(x + 3000) + 400, some pixels below the root's zero."""
    clean = hills() * 4000
    noisy = np.round(with_noise(clean, 8.0, 400.0) - 3000).astype(np.int16)
    found = fitted(noisy)
    assert found is not None
    np.testing.assert_allclose(found.gain, 8.0, rtol=0.3)
    below = np.full_like(noisy, -32768)
    assert np.isfinite(found.forward(below)).all()
    assert np.isfinite(found.inverse(found.forward(below))).all()


def test_invalid_pixels_do_not_matter():
    noisy = with_noise(hills(), 0.01, 1e-4)
    valid = all_valid(noisy)
    valid[30:70, 20:120] = False
    one, other = noisy.copy(), noisy.copy()
    one[:, ~valid], other[:, ~valid] = np.nan, 1e6
    first, second = fitted(one, valid), fitted(other, valid)
    assert first is not None
    assert second is not None
    for name in ("gain", "floor", "sigma"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (20, 20)])
def test_too_little_seen_is_none(shape):
    block = np.random.default_rng(5).poisson(9.0, (3, *shape)).astype(np.float64)
    assert fitted(block) is None
    assert fit_stabiliser(block, np.zeros(shape, bool), np.ones(3)) is None
    assert fit_stabiliser(block, np.ones(shape, bool), np.zeros(3)) is None


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [
        ("s2_18SVG_west_10band_20m.tif", (40, 296), (40, 296)),
        ("LC80200392015216LGN00_10band_30m.tif", (200, 456), (40, 296)),
    ],
)
def test_real_scenes_tell_poisson_from_equal_noise(name, rows, columns):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not there: shared data are absent")
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(path) as scene:
        raw = scene.read(window=(rows, columns)).astype(np.float64)
    low, high = np.quantile(raw, [0.001, 0.999], axis=(1, 2))[:, :, None, None]
    clean = np.clip((raw - low) / (high - low), 0, None)
    equal = clean + np.random.default_rng(6).normal(0, 0.05, clean.shape)
    assert fitted(equal) is None
    found = fitted(with_noise(clean, 0.005, 1e-4))
    assert found is not None
    assert np.median(found.gain) == pytest.approx(0.005, rel=0.3)


def test_noise_of_other_bands_is_taken_out_of_the_variances():
    """Each band's residual holds noise of all, which grows with another brightness than its own."""
    rng = np.random.default_rng(7)
    brightness = rng.uniform(0, 1, (5, BINS * 50)).astype(np.float32)
    order = np.argsort(brightness, axis=1)
    gain, floor = rng.uniform(1, 3, 5), rng.uniform(0.2, 1, 5)
    mix = 0.6 * np.eye(5) + 0.4 * rng.dirichlet(np.ones(5), 5)
    own = gain[:, None] * brightness + floor[:, None]
    seen = Seen(_binned(brightness, order), _binned(mix @ own, order), 50, brightness, order, mix)
    assert np.abs(seen.variance / _binned(own, order) - 1).max() > 0.3
    np.testing.assert_allclose(seen.variance * _unmixed(seen, gain, floor), _binned(own, order), rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_texture_that_brightens_beside_water_is_no_poisson_noise(seed):
    """Landsat 7, its lower edge: factors learnt on the flattest quarter, mostly water, leave the fields' texture."""
    path = DATA / "L7_ETMs.tif"
    if not path.exists():
        pytest.skip("L7_ETMs.tif is not there: shared data are absent")
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(path) as scene:
        raw = scene.read(window=((224, 352), (0, 349))).astype(np.float64)
    low, high = np.quantile(raw, [0.001, 0.999], axis=(1, 2))[:, :, None, None]
    clean = (raw - low) / (high - low)
    assert fitted(clean + 0.02 * np.random.default_rng(seed).standard_normal(clean.shape)) is None


def test_a_line_that_runs_below_the_noise_leaves_the_band_its_sigma(sample_scene: Path) -> None:
    """Sea and shore of the sample, where the line of one band falls below nothing at the mean brightness."""
    with rasterio.open(sample_scene) as source:
        block = source.read(window=((120, 248), (240, 368)))
    valid = np.ones(block.shape[1:], bool)
    sigma = estimate_noise(block, valid)
    found = fit_stabiliser(block, valid, sigma)
    assert found is not None
    assert (found.sigma > 0.6 * sigma).all()
