"""Banks against the models they are named after, written out; components and hidden layers against plain sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import convolve2d

from pipeline.errors import BankError
from pipeline.gemm import average_pool, conv2d
from pipeline.grid import Window
from pipeline.network import Bank, describe, features_block, filters, fit_bank, fitting_bytes, recipes
from pipeline.network.filters import principal_components
from pipeline.network.sample import Moments

IMAGE = 12


def scene_of(bands, height=48, width=60, seed=0):
    """Smooth correlated bands of very different levels."""
    rng = np.random.default_rng([seed, bands])
    sources = rng.standard_normal((6, height, width)).cumsum(axis=1).cumsum(axis=2) / 30
    block = np.tensordot(rng.standard_normal((bands, 6)), sources, 1) + 0.05 * rng.standard_normal(
        (bands, height, width)
    )
    return block * rng.uniform(1, 50, (bands, 1, 1)) + 300, np.ones((height, width), bool)


def fitted(name, bands=4, **options):
    scene, valid = scene_of(bands)
    return fit_bank(name, [(scene, valid)], bands=tuple(f"B{band}" for band in range(bands)), **options), scene, valid


def features_of(bank, scene, valid, pool, stride):
    window = Window(0, scene.shape[1], 0, scene.shape[2])
    shape = scene.shape[1:]
    found, _ = features_block(
        scene, valid, bank, pool=pool, stride=stride, window=window, outer=window, scene_shape=shape
    )
    return found


def scored(bank, scene):
    return (scene - bank.mean[:, None, None]) / bank.std[:, None, None]


def images(scene):
    """The scene cut into images of IMAGE x IMAGE, with their cells."""
    for i in range(scene.shape[1] // IMAGE):
        for j in range(scene.shape[2] // IMAGE):
            yield (i, j), scene[:, i * IMAGE : (i + 1) * IMAGE, j * IMAGE : (j + 1) * IMAGE]


def correlated(image, filters):
    """conv2d of torch without padding, as a sum: (N, y, x)."""
    windows = sliding_window_view(image, filters.shape[-2:], axis=(1, 2))
    return np.einsum("cyxij,ncij->nyx", windows, filters.astype(np.float64))


@pytest.mark.parametrize("name", ["torchgeo-rcf", "torchgeo-rcf-empirical"])
def test_a_cell_is_what_torchgeos_rcf_makes_of_an_image(name):
    """RCF.forward: relu(conv + b) and relu(−(conv + b)), each averaged over all positions of the filter."""
    bank, scene, valid = fitted(name, count=8)
    found = features_of(bank, scene, valid, IMAGE - 2, IMAGE)
    for (i, j), image in images(scored(bank, scene)):
        z = correlated(image, bank.filters) - 1.0
        expected = np.concatenate([np.maximum(z, 0).mean(axis=(1, 2)), np.maximum(-z, 0).mean(axis=(1, 2))])
        assert_allclose(found[:, i, j], expected, rtol=1e-4, atol=1e-4)


def test_a_cell_is_what_mosaiks_makes_of_an_image():
    """BasicCoatesNgNet.forward: relu(conv − 1) and relu(−conv − 1): the bias is a threshold on both sides."""
    bank, scene, valid = fitted("mosaiks-paper", count=8)
    found = features_of(bank, scene, valid, IMAGE - 2, IMAGE)
    for (i, j), image in images(scored(bank, scene)):
        z = correlated(image, bank.filters[:8])
        expected = np.concatenate([np.maximum(z - 1, 0).mean(axis=(1, 2)), np.maximum(-z - 1, 0).mean(axis=(1, 2))])
        assert_allclose(found[:, i, j], expected, rtol=1e-4, atol=1e-4)
    assert bank.features == (*(f"rcf_{n:03d}+" for n in range(8)), *(f"rcf_{n:03d}-" for n in range(8)))


def normalize_patches(patches, zca_bias=0.001, min_divisor=1e-8):
    """MOSAIKS' normalize_patches, which torchgeo took over, from its description: patches (m, d) -> (m, d)."""
    patches = patches - patches.mean(axis=1)[:, None]
    norms = np.linalg.norm(patches, axis=1)
    patches = patches / np.where(norms < min_divisor, 1, norms)[:, None]
    w, V = np.linalg.eig(patches.T @ patches / len(patches))
    zca = V @ np.diag((w + zca_bias) ** -0.5) @ V.T
    return patches @ zca @ zca.T


def test_empirical_filters_are_mosaiks_normalised_patches():
    """All patches of the scene are fewer than the sample holds, so that it holds them all."""
    bank, scene, _ = fitted("mosaiks-paper", bands=2, count=40)
    windows = sliding_window_view(scored(bank, scene), (3, 3), axis=(1, 2))
    rows = windows.transpose(1, 2, 0, 3, 4).reshape(-1, 18)
    every = normalize_patches(rows).real
    for cube in bank.filters[:40].reshape(40, -1):
        assert np.abs(every - cube).max(axis=1).min() < 1e-3 * np.abs(cube).max()
    assert_array_equal(bank.filters[40:], -bank.filters[:40])


@settings(max_examples=20)
@given(bands=st.integers(2, 24), windows=st.integers(1, 3), seed=st.integers(0, 99))
def test_components_of_a_sample_are_white(bands, windows, seed):
    blocks = [scene_of(bands, 20 + 3 * n, 25, seed + n)[0] for n in range(windows)]
    moments = Moments(bands, pairs=True)
    for number, block in enumerate(blocks):
        valid = np.random.default_rng([seed, number]).random(block.shape[1:]) > 0.1
        block[:, ~valid] = 1e9
        moments.add(block, valid)
        blocks[number] = block[:, valid]
    pixels = np.concatenate(blocks, axis=1)
    assert_allclose(moments.correlation(), np.corrcoef(pixels), atol=1e-9)
    projection = principal_components(moments.correlation(), 5).astype(np.float64)
    assert projection.shape == (min(5, bands), bands)
    z = (pixels - moments.mean[:, None]) / moments.std()[:, None]
    assert_allclose(np.cov(projection @ z, ddof=0), np.eye(len(projection)), atol=2e-4)


def test_components_of_rounding_are_left_out():
    twins = np.kron(np.corrcoef(np.random.default_rng(0).standard_normal((3, 50))), np.ones((2, 2)))
    assert principal_components(twins, 6).shape == (3, 6)
    assert np.isfinite(principal_components(np.zeros((4, 4)), 3)).all()


def test_whole_numbers_of_low_rank_have_as_many_components_as_there_is_something_to_see():
    rng = np.random.default_rng(3)
    exact = 3000 + np.tensordot(rng.normal(size=(24, 4)) * [300, 150, 75, 40], rng.normal(size=(4, 64, 64)), 1)
    valid = np.ones((64, 64), bool)
    names = tuple(f"b{number}" for number in range(24))
    floats, whole = (
        fit_bank("rcf-mixed", [(block, valid)], bands=names, count=8).projection.astype(np.float64)
        for block in (exact, np.rint(exact).astype(np.int16))
    )
    assert len(floats) == len(whole) == 4  # of rounded values FAINT alone lets 20 through
    assert_allclose(whole, floats, atol=1e-3 * np.abs(floats).max())
    share = fit_bank("rcf-mixed", [(exact / 1e4, valid)], bands=names, count=8).projection
    assert_allclose(share, floats, atol=1e-3 * np.abs(floats).max())  # floats may be of any unit
    noisy = np.rint(exact + rng.normal(size=exact.shape)).astype(np.int16)
    assert len(fit_bank("rcf-mixed", [(noisy, valid)], bands=names, count=8).projection) == 20


@pytest.mark.parametrize("name", recipes.PROJECTED)
def test_more_than_16_bands_are_seen_as_20_components(name):
    assert not fitted(name, bands=16, count=4)[0].projection.size
    bank, scene, valid = fitted(name, bands=24, count=4)
    assert bank.projection.shape == (20, 24)
    first = bank.hidden if bank.hidden.size else bank.filters
    assert first.shape[1] == 20
    folded = np.einsum("nkij,kc->ncij", first, bank.projection)
    parts = {key: getattr(bank, key) for key in bank.__dict__} | {"projection": np.empty((0, 0))}
    whole = Bank(**parts | ({"hidden": folded} if bank.hidden.size else {"filters": folded}))
    found, expected = (features_of(one, scene, valid, 5, 3) for one in (bank, whole))
    assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["torchgeo-rcf", "torchgeo-rcf-empirical", "classic"])
def test_parity_banks_see_every_band(name):
    assert not fitted(name, bands=24)[0].projection.size


def test_the_hidden_layer_is_the_strided_network_at_every_phase():
    """conv, relu, mean of 2 x 2 every 2 pixels, conv, relu: from every corner of the 2 x 2 grid."""
    bank, scene, valid = fitted("random-2layer", count=6)
    found = features_of(bank, scene, valid, 1, 1)
    z = scored(bank, scene)
    for dy, dx in np.ndindex(2, 2):
        hidden = average_pool(conv2d(z[:, dy:, dx:], bank.hidden, bank.hidden_bias, relu=True), 2, 2)
        strided = conv2d(hidden, bank.filters, bank.bias)
        # Output (0, 0) sees the pixels 0..7 after (dy, dx): its own is the 5th of them.
        here = found[:, 4 + dy :: 2, 4 + dx :: 2][:, : strided.shape[1], : strided.shape[2]]
        assert_allclose(here[:6], np.maximum(strided, 0), atol=1e-4)
        assert_allclose(here[6:12], np.maximum(-strided, 0), atol=1e-4)


def test_responses_of_both_layers_have_std_one(monkeypatch):
    monkeypatch.setattr(recipes, "MOST_PIXELS_AT_ONCE", 5000)
    bank, scene, _ = fitted("random-2layer", count=16)
    z = scored(bank, scene)
    hidden = conv2d(z, bank.hidden)
    assert_allclose(hidden.std(axis=(1, 2)), 1, atol=0.15)
    maps = average_pool(conv2d(z, bank.hidden, bank.hidden_bias, relu=True), 2)
    responses = conv2d(maps, bank.filters, bank.bias, dilation=2)
    assert_allclose(responses.std(axis=(1, 2)), 1, atol=1e-3)
    assert_allclose(responses.mean(axis=(1, 2)), [0.5, -0.5] * 8, atol=1e-3)


def test_the_plan_names_projection_and_hidden_layer():
    bank = fitted("random-2layer", bands=24, count=4)[0]
    projection, hidden, mean, conv = describe(bank, 9, 4, 101, 80)[:4]
    rows, columns = 25 * 4 + 9, 19 * 4 + 9
    assert (conv.name, conv.m, conv.n, conv.k) == ("conv 3x3", rows * columns, 4, 32 * 9)
    assert (mean.name, mean.m, mean.n) == ("hidden mean 2x2", (rows + 4) * (columns + 4), 32)
    assert (hidden.name, hidden.m, hidden.n, hidden.k) == ("hidden 3x3", (rows + 5) * (columns + 5), 32, 180)
    assert (projection.name, projection.m, projection.n, projection.k) == (
        "projection",
        (rows + 7) * (columns + 7),
        20,
        24,
    )
    assert fitting_bytes("torchgeo-rcf", 24, 3) == 0
    assert fitting_bytes("rcf-mixed", 24, 3) == 3 * 8 * 20480 * 24 * 9
    assert fitting_bytes("random-2layer", 200, 3) < 3 * 8 * 180e6 / 4


@pytest.mark.parametrize("name", ["mosaiks-paper", "torchgeo-rcf-empirical"])
def test_filters_need_as_many_patches(name):
    with pytest.raises(BankError, match="5000 filters need as many patches, the samples have 2668"):
        fitted(name, count=5000)


@pytest.mark.parametrize("name", ["rcf-mixed", "mosaiks-paper", "random-2layer"])
def test_filters_too_wide_to_whiten_are_refused_before_they_are_drawn(name):
    with pytest.raises(BankError, match=r"too many to whiten.*smaller --size"):
        fitted(name, bands=12, size=41)


@pytest.mark.parametrize("size", [5, 7, 9, 31])
def test_derivatives_are_convolved_as_scipy_does_to_the_bit(size: int) -> None:
    sobel = np.outer([1.0, 2.0, 1.0], [-1.0, 0.0, 1.0])
    for sigma in (0.75 * size / 7, 1.5 * size / 7):
        smooth = filters._gaussian(size - 2, sigma)[0]
        for kernel in (sobel, sobel.T):
            assert np.array_equal(filters._convolved(smooth, kernel), convolve2d(smooth, kernel))
