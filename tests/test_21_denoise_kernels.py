"""Floor 2: the kernels of denoise, each against a slow twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.denoise.details import DAUBECHIES, HAAR, add_energies, lowest, mirror, plateaus, transform
from pipeline.denoise.impulses import Forecast, _judged, _lone, _places, _suspected, forecast
from pipeline.denoise.judging import DOUBT, LEAST_NEAR, LEAST_SPREAD, LIKELY, MAD, RADIUS, judge
from pipeline.denoise.mixture import nearest, rough_whiteners
from pipeline.denoise.moments import Moments
from pipeline.denoise.patches import paired_rows
from pipeline.denoise.stabilise import by_rank
from pipeline.denoise.whiten import standardised

SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, height=st.integers(4, 19), width=st.integers(4, 19), haar=st.booleans())
def test_the_transform_is_a_filter_along_each_axis(seed, height, width, haar):
    rng = np.random.default_rng(seed)
    pixels = rng.standard_normal((height, width)).astype(np.float32)
    size, taps = (2, HAAR) if haar else (4, DAUBECHIES)
    shape = (height - size) // 2 + 1, (width - size) // 2 + 1
    whole = rng.random(shape) < 0.9
    diagonal, edges, mean = np.ones(shape, np.float32), np.ones((2, *shape), np.float32), np.ones(shape, np.float32)
    transform(pixels, taps, mirror(taps, size), whole, 0.05, diagonal, edges, mean)
    low = taps[:size].astype(np.float64)
    high = low[::-1] * (-1.0) ** np.arange(size)
    squares = np.lib.stride_tricks.sliding_window_view(pixels.astype(np.float64), (size, size))[::2, ::2]
    for found, down, across in ((diagonal, high, high), (edges[0], low, high), (edges[1], high, low)):
        plain = np.einsum("yxij,i,j->yx", squares, down, across)
        sure = np.abs(np.abs(plain) - 0.05) > 1e-5
        np.testing.assert_allclose(found[sure], np.where(whole & (np.abs(plain) > 0.05), plain, 0)[sure], atol=1e-5)
    np.testing.assert_allclose(mean, np.einsum("yxij,i,j->yx", squares, low, low) / 2, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, height=st.integers(1, 12), width=st.integers(1, 12))
def test_plateaus_are_openings_of_what_has_no_detail(seed, height, width):
    rng = np.random.default_rng(seed)
    coarse = rng.random((4, 3, -(-height // 4), -(-width // 4))) < 0.3
    moving = np.kron(coarse, np.ones((4, 4)))[:, :, :height, :width] * (rng.random((4, 3, height, width)) < 0.9)
    moving[3] = 0
    diagonal, edges = moving[:, 0].astype(np.float32), np.ascontiguousarray(moving[:, 1:].swapaxes(0, 1), np.float32)
    whole = rng.random((height, width)) < 0.95
    live, some, every = np.zeros(4, bool), np.zeros((height, width), bool), np.ones((height, width), bool)
    plateaus(diagonal, edges, whole, live, some, every)
    still = ~moving.any(axis=1)
    np.testing.assert_array_equal(live, ~still.all(axis=(1, 2)))
    opened = [ndimage.binary_opening(one & whole, np.ones((3, 3))) for one in still[live]]
    np.testing.assert_array_equal(some, np.any(opened, axis=0) if opened else False)
    np.testing.assert_array_equal(every, np.all(opened, axis=0) if opened else True)


def test_energies_weigh_every_detail_alike():
    rng = np.random.default_rng(1)
    edges = (rng.standard_normal((3, 7, 9)) * np.array([1, 1e3, 0])[:, None, None]).astype(np.float32)
    lively = rng.random((7, 9)) < 0.8
    energy = np.zeros((7, 9))
    add_energies(edges, lively, energy)
    squares = edges[:2].astype(np.float64) ** 2
    expected = (squares / squares[:, lively].mean(axis=1)[:, None, None]).sum(axis=0)
    np.testing.assert_allclose(energy, np.where(lively, expected, 0), rtol=1e-10)


@settings(deadline=None, max_examples=60)
@given(seed=SEEDS, count=st.integers(12, 90), step=st.sampled_from([0.0, 0.5, 3.0]))
def test_groups_by_rank_are_those_of_a_stable_sort(seed, count, step):
    values = np.random.default_rng(seed).standard_normal((3, count)).astype(np.float32)
    values = np.round(values / step) * np.float32(step) if step else values
    ends = np.cumsum([len(part) for part in np.array_split(values[0], 5)])
    order, plain = by_rank(values, ends), np.argsort(values, axis=1, kind="stable")
    for found, expected in zip(np.split(order, ends[:-1], axis=1), np.split(plain, ends[:-1], axis=1), strict=True):
        np.testing.assert_array_equal(found, np.sort(expected, axis=1))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.4, 1.0])
def test_the_lowest_share_is_that_of_a_quantile(share):
    values = np.random.default_rng(2).standard_normal(101)
    np.testing.assert_array_equal(values <= lowest(values, share), values <= np.quantile(values, share))


def slow_judgement(block, valid, bad, guide, sigma, place):
    """The slow twin of `judge`: score and value of one place (band, y, x); zeros where too little is near."""
    k, y, x = place
    rows, columns = np.mgrid[: valid.shape[0], : valid.shape[1]]
    away = np.maximum(np.abs(rows - y), np.abs(columns - x))
    weights = np.where(bad[guide.helpers[k], y, x], 0.0, guide.weights[k])
    foretold = np.tensordot(weights, block[guide.helpers[k]].astype(np.float64), 1)
    left = block[k] - foretold
    near = valid & ~bad[k] & (away <= RADIUS)
    close = near & (away <= 1)
    if near.sum() < LEAST_NEAR:
        return 0.0, 0.0
    guess = foretold[y, x] + (left[close].mean() if close.sum() >= 3 else np.median(left[near]))
    spread = max(MAD * np.median(np.abs(left[near] - np.median(left[near]))), LEAST_SPREAD * sigma[k])
    departure = 0.0
    if abs(block[k, y, x] - guess) > LIKELY * spread:
        others = valid & (away == 1)
        for h, b in zip(guide.helpers[k], guide.weights[k], strict=True):
            departure += b * (block[h, y, x] - np.median(block[h][others])) if others.any() else 0.0
    return (block[k, y, x] - guess) / (spread + DOUBT * abs(departure)), guess


def spoilt(seed):
    rng = np.random.default_rng(seed)
    block = ndimage.gaussian_filter(rng.standard_normal((4, 24, 21)), (0, 2, 2)) * 8 + rng.standard_normal((4, 24, 21))
    block[1:3] += block[0]
    hit = rng.random(block.shape) < 0.02
    block[hit] += rng.choice([-1, 1], hit.sum()) * rng.uniform(8, 40, hit.sum())
    valid = rng.random((24, 21)) < 0.93
    block[1::2, 5:20:7, 4:17:6] += 40
    return block.astype(np.float32), valid, np.full(4, 1.2)


@pytest.mark.parametrize("heard", [1.0, 0.0])
@pytest.mark.parametrize("seed", range(5))
def test_judgements_are_those_of_a_slow_look(seed, heard):
    """Also where bands foretell nothing of one another: what is sure in two of them is then no impulse."""
    block, valid, sigma = spoilt(seed)
    guide, bad = forecast(block, valid, sigma), _suspected(block, valid, sigma, np.arange(4), 1)
    guide = Forecast(guide.helpers, heard * guide.weights)
    places = _places(bad)
    expected = np.array([slow_judgement(block, valid, bad, guide, sigma, place) for place in places])
    score, values = np.zeros(len(places)), np.zeros(len(places))
    judge(block, valid, bad, guide.helpers, guide.weights, sigma, places, DOUBT, -1.0, score, values)
    np.testing.assert_allclose(np.stack([score, values], axis=1), expected, rtol=1e-5, atol=1e-5)
    for least in (LIKELY, 8.0):
        some, its = _judged(block, valid, bad, guide, sigma, places, least)
        told = np.abs(expected[:, 0]) > least
        np.testing.assert_allclose(some[told], expected[told, 0], rtol=1e-5)
        np.testing.assert_allclose(its[told], expected[told, 1], rtol=1e-5, atol=1e-5)
        assert (np.abs(some[~told]) <= least).all()
    second = {tuple(place) for place, (one, _) in zip(places, expected, strict=True) if abs(one) > LIKELY}
    sure = [tuple(place) for place, (one, _) in zip(places, expected, strict=True) if abs(one) > 8.0]
    lone = [(k, y, x) for k, y, x in sure if not any((h, y, x) in second for h in guide.helpers[k])]
    assert [tuple(place) for place in _lone(block, valid, bad, guide, sigma)[0]] == lone
    assert lone
    assert heard or len(lone) < len(sure)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_standardised_is_exact_before_it_is_rounded(dtype):
    rng = np.random.default_rng(3)
    block = rng.uniform(0, 100, (3, 12, 9)).astype(dtype)[:, 2:11]
    valid, mean, sigma = rng.random((9, 9)) < 0.8, np.array([50.0, 1e-3, 7.0]), np.array([1.0, 1e-3, 3.0])
    expected = (block.astype(np.float64) - mean[:, None, None]) / sigma[:, None, None]
    np.testing.assert_array_equal(standardised(block, valid, mean, sigma), np.where(valid, expected, 0).astype("f4"))


def test_moments_of_chosen_rows_are_those_of_the_rows_alone():
    rng = np.random.default_rng(4)
    rows, chosen = (rng.standard_normal((300, 7)) + 1e3).astype(np.float32), rng.permutation(300)[:190]
    found = Moments.empty(7)
    found.add(rows, chosen, np.empty((64, 7), np.float32))
    some = rows[chosen].astype(np.float64)
    assert found.count == 190
    np.testing.assert_allclose(found.mean, some.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.covariance(), np.cov(some.T, bias=True), rtol=1e-3, atol=1e-3)


def test_rows_go_to_the_likeliest_gaussian():
    """With the covariance of each class drawn to the unit noise, as for a round."""
    rng = np.random.default_rng(5)
    groups = [rng.standard_normal((n, 6)) * rng.uniform(1, 30, 6) + rng.normal(0, 20, 6) for n in (700, 900, 650, 300)]
    parts = [Moments.empty(6) for _ in groups]
    for part, rows in zip(parts, groups, strict=True):
        part.add(rows.astype(np.float32))
    scores = np.concatenate(groups).astype(np.float32)
    cost = []
    for part in parts:
        covariance = (part.scatter + 6 * np.eye(6)) / (part.count + 6)
        off = scores - part.mean
        cost.append(np.einsum("ni,ij,nj->n", off, np.linalg.inv(covariance), off) + np.linalg.slogdet(covariance)[1])
    found = nearest(scores, rough_whiteners(parts))
    best, sure = np.argmin(cost, axis=0), np.diff(np.sort(cost, axis=0)[:2], axis=0)[0] > 1e-2
    assert sure.mean() > 0.95
    assert len(np.unique(best)) == 4
    np.testing.assert_array_equal(found[sure], best[sure])


def test_rows_of_pairs_are_counted_by_their_cut_means():
    rng = np.random.default_rng(6)
    steps, both = rng.exponential(1, (30, 41)).astype(np.float32), rng.random((30, 41)) < 0.8
    cut = np.where(both, np.minimum(steps, 1.5), np.nan)
    expected = np.count_nonzero(np.nanmean(cut[:, ::2], axis=1) < np.nanmean(cut[:, 1::2], axis=1))
    assert paired_rows(steps, both, np.float32(1.5)) == expected
    assert 0 < expected < 30
