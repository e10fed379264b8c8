"""A fit sees valid pixels only, gives the same bytes again, and its filters are what their sources say."""

import re
import warnings

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose
from threadpoolctl import threadpool_limits

from pipeline.errors import BankError
from pipeline.gemm import conv2d
from pipeline.network import BANKS, fit_bank, sample
from pipeline.network.filters import CLASSIC_KINDS, classic_filters, zca_filters
from pipeline.network.sample import Moments, Patches

BANDS = ("B02", "B03", "B04")


def windows(seed=0, count=3, dtype=np.float64, holes=40):
    """Sample windows of different sizes over correlated bands of very different levels."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        shape = (40 + number, 30 + 3 * number)
        mixed = np.tensordot(rng.standard_normal((3, 3)) + 2, rng.standard_normal((3, *shape)), 1)
        block = (mixed * [[[5.0]], [[20.0]], [[80.0]]] + [[[500.0]], [[2000.0]], [[30000.0]]]).astype(dtype)
        valid = np.ones(shape, bool)
        valid[rng.integers(0, shape[0], holes), rng.integers(0, shape[1], holes)] = False
        yield block, valid


@pytest.mark.parametrize("name", BANKS)
def test_the_same_fit_gives_the_same_bytes_on_any_number_of_threads(name):
    bank = fit_bank(name, windows(), bands=BANDS, seed=3)
    with threadpool_limits(2):
        assert fit_bank(name, list(windows()), bands=BANDS, seed=3).to_bytes() == bank.to_bytes()
    if name != "classic":
        assert fit_bank(name, windows(), bands=BANDS, seed=4).to_bytes() != bank.to_bytes()


@pytest.mark.parametrize("name", BANKS)
def test_what_lies_under_the_mask_never_matters(name):
    clean = fit_bank(name, windows(), bands=BANDS).to_bytes()
    for garbage in (np.nan, -3.4e38, np.inf):
        dirty = [(np.where(valid, block, garbage), valid) for block, valid in windows()]
        assert fit_bank(name, dirty, bands=BANDS).to_bytes() == clean
    undeclared = [(np.where(valid, block, np.nan), np.ones_like(valid)) for block, valid in windows()]
    assert fit_bank(name, undeclared, bands=BANDS).to_bytes() == clean


def test_moments_of_windows_are_the_moments_of_all_their_pixels():
    moments = Moments(3)
    for block, valid in windows():
        moments.add(block, valid)
    pixels = np.concatenate([block[:, valid] for block, valid in windows()], axis=1)
    assert moments.count == pixels.shape[1]
    assert_allclose(moments.mean, pixels.mean(axis=1), rtol=1e-13)
    assert_allclose(moments.std(), pixels.std(axis=1), rtol=1e-12)


def test_a_constant_band_has_std_one():
    block = np.stack([np.full((20, 20), 0.1), np.random.default_rng(0).random((20, 20))])
    bank = fit_bank("rcf-mixed", [(block, np.ones((20, 20), bool))] * 3, bands=("a", "b"))
    assert bank.std[0] == 1
    assert bank.mean[0] == pytest.approx(0.1)
    assert np.isfinite(bank.filters).all()


def test_rcf_mixed_responses_have_std_one_and_half_biases():
    """All patches are fewer than PATCHES, so the sample is the population."""
    samples = list(windows())
    bank = fit_bank("rcf-mixed", samples, bands=BANDS, count=10, size=4, seed=1)
    responses = []
    for block, valid in samples:
        z = (block - bank.mean[:, None, None]) / bank.std[:, None, None]
        whole = sliding_window_view(valid, (4, 4)).all(axis=(2, 3))
        responses.append(conv2d(z, bank.filters)[:, whole])
    assert_allclose(np.concatenate(responses, axis=1).std(axis=1), 1, rtol=1e-4)
    assert bank.bias.tolist() == [0.5, -0.5] * 5
    assert bank.filters.shape == (10, 3, 4, 4)
    assert len(bank.features) == 20 + 3 + 3


def test_rcf_mixed_is_half_gaussian_half_whitened_patches():
    bank = fit_bank("rcf-mixed", windows(), bands=BANDS, count=8)
    gaussian = np.random.default_rng([0, 0]).standard_normal((8, 3, 3, 3))
    alike = [abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(bank.filters, gaussian, strict=True)]
    assert min(alike[:4]) > 0.999999
    assert max(alike[4:]) < 0.9


def test_torchgeo_rcf_is_standard_normal_with_bias_minus_one():
    bank = fit_bank("torchgeo-rcf", windows(), bands=BANDS, count=2000)
    assert bank.bias.tolist() == [-1.0] * 2000
    assert not bank.spectra
    assert bank.filters.mean() == pytest.approx(0, abs=0.02)
    assert bank.filters.std() == pytest.approx(1, abs=0.02)


def test_zca_is_the_inverse_of_the_patches_covariance():
    rows = np.random.default_rng(0).normal(3, 2, (500, 12)).astype(np.float32)
    rows[0] = 7
    unit = rows.astype(np.float64)
    unit -= unit.mean(axis=1, keepdims=True)
    unit[1:] /= np.linalg.norm(unit[1:], axis=1, keepdims=True)
    inverse = np.linalg.inv(unit.T @ unit / 500 + 1e-3 * np.eye(12))
    assert_allclose(zca_filters(rows, 20), unit[:20] @ inverse, atol=1e-8)


def test_torchgeo_empirical_whitens_its_own_patches():
    bank = fit_bank("torchgeo-rcf-empirical", windows(), bands=BANDS, count=40)
    assert bank.filters.shape == (40, 3, 3, 3)
    assert bank.bias.tolist() == [-1.0] * 40
    with pytest.raises(BankError, match="60000 filters need as many patches"):
        fit_bank("torchgeo-rcf-empirical", windows(), bands=BANDS, count=60000)


def test_patches_are_whole_and_drawn_evenly_from_all_windows(monkeypatch):
    monkeypatch.setattr(sample, "PATCHES", 300)
    patches = Patches(3)
    blocks = []
    for number in range(6):
        block = (number * 1000 + np.arange(900).reshape(1, 30, 30)).astype(np.int32)
        valid = np.random.default_rng(number).random((30, 30)) > 0.01
        patches.add(np.where(valid, block, -1), valid, np.random.default_rng([7, number]))
        blocks.append(block)
    assert patches.values.shape == (300, 1, 3, 3)
    assert (np.diff(patches.keys) > 0).all()
    assert (patches.values >= 0).all()
    steps = patches.values - patches.values[:, :, :1, :1]
    assert (steps == np.add.outer([0, 30, 60], [0, 1, 2])).all()
    assert len(np.unique(patches.values[:, 0, 0, 0])) == 300
    shares = np.bincount(patches.values[:, 0, 0, 0] // 1000, minlength=6)
    assert shares.min() > 25
    assert shares.max() < 80


def test_classic_filters_are_the_textbooks():
    filters = classic_filters(7).astype(np.float64)
    assert filters.shape == (12, 1, 7, 7)
    assert_allclose(filters.sum(axis=(1, 2, 3)), 0, atol=1e-7)
    assert_allclose(np.abs(filters).sum(axis=(1, 2, 3)), 1, rtol=1e-6)
    y, x = np.mgrid[:7, :7] - 3.0
    for scale in (filters[:6], filters[6:]):
        sobel_x, sobel_y, log, *second = scale[:, 0]
        assert (sobel_x * x).sum() > 0.5
        assert_allclose(sobel_y, sobel_x.T, atol=1e-9)
        assert (sobel_y * x).sum() == pytest.approx(0, abs=1e-6)
        assert_allclose(log, log.T)
        assert (log * (x**2 + y**2)).sum() > 0
        for angle, kernel in zip(np.deg2rad([0, 60, 120]), second, strict=True):
            responses = [(kernel * (np.cos(a) * x - np.sin(a) * y) ** 2).sum() for a in angle + np.deg2rad([0, 30, 90])]
            assert responses[0] > responses[1] > responses[2]


def test_classic_sees_each_band_alone():
    bank = fit_bank("classic", windows(), bands=BANDS)
    assert bank.filters.shape == (36, 1, 7, 7)
    assert bank.groups == 3
    assert bank.labels[:6] == tuple(f"{kind}_1_B02" for kind in CLASSIC_KINDS)
    assert bank.labels[-1] == "d2_120_2_B04"


def test_a_sampled_fit_works_on_integers():
    as_int = fit_bank("rcf-mixed", windows(dtype=np.uint16), bands=BANDS)
    as_float = fit_bank("rcf-mixed", [(b.astype(float), v) for b, v in windows(dtype=np.uint16)], bands=BANDS)
    assert as_int.to_bytes() == as_float.to_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "vgg"}, "choose one of rcf-mixed"),
        ({"bands": ()}, "at least one band"),
        ({"bands": ("a",)}, "sample 0 is float64"),
        ({"count": 0}, "--count 0"),
        ({"count": 10**6}, "--count 1000000"),
        ({"size": 0}, "--size 0"),
        ({"seed": -1}, "--seed -1"),
        ({"name": "classic", "count": 5}, "drop --count"),
        ({"name": "classic", "size": 4}, "odd size"),
        ({"samples": []}, "no valid pixel"),
        ({"samples": [(np.ones((3, 9, 9)), np.zeros((9, 9), bool))]}, "no valid pixel"),
        ({"samples": [(np.ones((3, 9, 9)), np.eye(9, dtype=bool))]}, "no 3 x 3 patch of valid pixels"),
        ({"samples": [(np.ones((3, 2, 9)), np.ones((2, 9), bool))]}, "no 3 x 3 patch of valid pixels"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_words(change, words):
    arguments = {"name": "rcf-mixed", "samples": windows(), "bands": BANDS, **change}
    with pytest.raises(BankError, match=words):
        fit_bank(**arguments)


@pytest.mark.parametrize(("name", "far"), [("torchgeo-rcf", -1.797e308), ("rcf-mixed", 1e100)])
def test_values_beyond_what_a_bank_holds_are_named(name, far):
    block = np.random.default_rng([3]).normal(100, 9, (2, 40, 40))
    block[1, :9, :9] = far
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BankError, match=f"red has values of up to {re.escape(f'{abs(far):.3g}')}, .*--nodata"):
            fit_bank(name, [(block, np.ones((40, 40), bool))], bands=("blue", "red"))
