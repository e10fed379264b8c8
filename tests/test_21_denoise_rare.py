"""Floor 2: small objects that stand in few bands come back, and of white noise nothing does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import chdtri

from pipeline.denoise import denoise_block
from pipeline.denoise.rare import CHANCE, FAR, SHAPES, given_back, height, limit_of, suspicious, with_rims

F32 = NDArray[np.float32]
SIDE = 96


def fields(bands: int, seed: int) -> F32:
    """Four materials, mixed smoothly: (band, y, x), contrasts of several units."""
    rng = np.random.default_rng([seed, bands])
    maps = ndimage.gaussian_filter(rng.standard_normal((4, SIDE, SIDE)), (0, 5, 5)) * 50
    return np.einsum("bk,kyx->byx", rng.standard_normal((bands, 4)), maps).astype(np.float32)


def kept(bands: int, chosen: slice, where: tuple[slice, slice], contrast: float, **words: object) -> float:
    """The share of an object's contrast, in units of the noise, that comes through; mean of two seeds."""
    shares = []
    for seed in range(2):
        truth = fields(bands, seed)
        noisy = truth + np.random.default_rng([8, seed]).standard_normal(truth.shape).astype(np.float32)
        noisy[chosen, *where] += contrast
        done = denoise_block(noisy, np.ones((SIDE, SIDE), bool), **words).block
        shares.append(float((done - truth)[chosen, *where].mean() / contrast))
    return float(np.mean(shares))


BOX, SPOT = np.s_[40:45, 50:55], np.s_[40:43, 50:53]


@pytest.mark.parametrize(
    ("bands", "chosen", "where", "contrast", "least"),
    [
        (60, slice(30, 31), SPOT, 8, 0.9),  # a line of emission; .04 before
        (20, slice(4, 8), BOX, 4, 0.75),  # one date of five; .54
        (17, slice(8, 9), BOX, 5, 0.75),  # .20
        (16, slice(8, 9), BOX, 5, 0.6),  # .32
        (10, slice(4, 5), BOX, 5, 0.6),  # .45
    ],
)
def test_objects_of_few_bands_keep_their_contrast(
    bands: int, chosen: slice, where: tuple[slice, slice], contrast: float, least: float
) -> None:
    assert least < kept(bands, chosen, where, contrast) < 1.1


def test_objects_of_few_bands_keep_their_contrast_in_quality() -> None:
    assert kept(17, slice(8, 9), BOX, 5, quality="quality") > 0.75


@pytest.mark.parametrize("place", [np.s_[40, 20:70], np.s_[20:70, 40], (range(20, 70), range(20, 70))])
def test_roads_in_one_band_keep_their_contrast(place: tuple[slice, slice]) -> None:
    assert kept(24, slice(9, 10), place, 6, repair="none") > 0.75


def test_noise_that_grows_with_the_signal() -> None:
    """Objects are told in units of the noise there is."""
    truth = (fields(24, 0) * 12 + 2000).clip(100)
    spread = np.sqrt(truth)
    noisy = truth + spread * np.random.default_rng(4).standard_normal(truth.shape)
    noisy[9:12, *BOX] += 6 * spread[9:12, *BOX]
    done = denoise_block(noisy.astype(np.float32), np.ones((SIDE, SIDE), bool), repair="none").block
    assert ((done - truth)[9:12, *BOX] / spread[9:12, *BOX]).mean() / 6 > 0.85


@pytest.mark.parametrize("bands", [1, 10, 40])
def test_of_noise_alone_nothing_comes_back(bands: int) -> None:
    """White, and white where few pixels are valid: no more than chance has of so many shapes, at their rims too."""
    found = 0
    for seed in range(6):
        rng = np.random.default_rng([bands, seed])
        valid = rng.random((150, 150)) < 0.2 + 0.8 * (seed % 2)
        rows, _, _ = given_back(rimmed(rng.standard_normal((bands, 150, 150)), valid), valid, np.ones(bands, bool))
        found += len(rows)
    assert found <= 6


def rimmed(taken: NDArray[np.floating], valid: NDArray[np.bool_]) -> F32:
    """Taken (band, y, x), 0 where not valid, within zeros."""
    room = with_rims(taken.shape)
    room[:, FAR:-FAR, FAR : FAR + valid.shape[1]] = np.where(valid, taken, 0)
    return room


@pytest.mark.parametrize("bands", [1, 2, 16, 200])
def test_the_limit_is_what_chance_exceeds_so_often(bands: int) -> None:
    """Counted where it can be: of one band it is χ²; of more it lies between one band's and all bands'; and draws of
    a thousandth exceed what the same sum says of a thousandth."""
    assert chdtri(1, CHANCE) <= limit_of(bands)
    if bands == 1:
        assert limit_of(1) == pytest.approx(chdtri(1, CHANCE), abs=1 / 16)
    squares = np.random.default_rng(bands).standard_normal((100_000, bands), np.float32) ** 2
    sums = np.where(squares > height(bands), squares, 0).sum(axis=1)
    assert np.quantile(sums, 0.999) == pytest.approx(limit_of(bands, 1e-3), rel=0.05)


def plainly(taken: F32, valid: NDArray[np.bool_], bands: NDArray[np.intp]) -> NDArray[np.float64]:
    """(y, x) the largest sum over the bands of squares above the height, shape by shape."""
    most = np.zeros(valid.shape)
    for y, x in np.ndindex(*valid.shape):
        for shape in SHAPES:
            picked = [
                (row, column)
                for row, column in np.argwhere(shape) - FAR + (y, x)
                if 0 <= row < valid.shape[0] and 0 <= column < valid.shape[1] and valid[row, column]
            ]
            if picked:
                rows, columns = np.transpose(picked)
                squares = taken[bands][:, rows, columns].astype(np.float64).sum(axis=1) ** 2 / len(picked)
                most[y, x] = max(most[y, x], squares[squares > height(len(bands))].sum())
    return most


@settings(max_examples=15)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_what_is_suspicious_is_what_plain_sums_say(tall: int, wide: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    taken, valid = rng.standard_normal((count, tall, wide)) * rng.uniform(0.5, 3), rng.random((tall, wide)) < 0.8
    bands = np.flatnonzero(rng.random(count) < 0.8) if count > 1 else np.zeros(1, np.intp)
    if not bands.size:
        return
    room, real = rimmed(taken, valid), rimmed(valid[None], valid)[0]
    most = plainly(np.where(valid, taken, 0).astype(np.float32), valid, bands)
    limit = float(np.median(most)) + 0.01
    found = suspicious(room, real, bands, np.float32(height(len(bands))), np.float32(limit))[:, :wide]
    sure = abs(most - limit) > 1e-3 * limit  # float32 may differ at the limit
    # A square right at the height may be above it in one and not in the other.
    assert np.mean(found[sure & valid] == (most > limit)[sure & valid]) >= 0.99 if (sure & valid).any() else True


def test_bands_with_impulses_are_no_witnesses() -> None:
    taken, valid = np.zeros((4, 20, 20)), np.ones((20, 20), bool)
    taken[1:3, 8:11, 8:11] = 5
    clean = np.array([True, True, False, True])
    rows, columns, gifts = given_back(rimmed(taken, valid), valid, clean)
    assert {(8, 8), (9, 9), (10, 10)} <= set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert gifts[1].max() == pytest.approx(5)
    assert not gifts[[0, 2, 3]].any()
    assert not given_back(rimmed(taken, valid), valid, np.array([False, True, False, False]))[0].size


def test_rims_are_as_they_were_measured_and_the_middle_is_the_mean() -> None:
    """A pixel inside of an object has the mean of the box; one beside it gets next to nothing of it."""
    taken, valid = np.random.default_rng(3).standard_normal((3, 40, 40)) * 0.3, np.ones((40, 40), bool)
    taken[1, 15:25, 15:25] += 6
    rows, columns, gifts = given_back(rimmed(taken, valid), valid, np.ones(3, bool))
    back = np.zeros((3, 40, 40))
    back[:, rows, columns] = gifts
    assert back[1, 17:23, 17:23] == pytest.approx(ndimage.uniform_filter(taken[1], 5)[17:23, 17:23], abs=1e-4)
    assert np.abs(back - taken)[1, 15:25, 15:25].max() < 1.5
    assert np.abs(back)[1, 13:15, 17:23].max() < 1.5
    assert not back[[0, 2]][:, 17:23, 17:23].any()


def test_where_the_noise_is_larger_it_does_not_come_back() -> None:
    rng = np.random.default_rng(6)
    taken, valid = rng.standard_normal((10, 120, 120)), np.ones((120, 120), bool)
    taken[:, :, 60:] *= 2
    _, columns, _ = given_back(rimmed(taken, valid), valid, np.ones(10, bool))
    assert np.count_nonzero(columns > 62) < 12


def test_targets_next_to_what_is_given_back_stay_as_they_are() -> None:
    """A pixel that came back as it was measured is not changed by what is around it."""
    noisy = (fields(6, 2) + np.random.default_rng(2).standard_normal((6, SIDE, SIDE))).astype(np.float32)
    noisy[:, 50, 50] += 25
    done = denoise_block(noisy, np.ones((SIDE, SIDE), bool), sigma=1.0).block
    np.testing.assert_allclose(done[:, 50, 50], noisy[:, 50, 50], atol=1e-3)
