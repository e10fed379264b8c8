"""Similarity and groups against their definitions, written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from pipeline.answers import Groups, Scaling, Similar, best, peaks
from pipeline.answers.colours import hex_of, palette
from pipeline.answers.kmeans import nearest
from pipeline.answers.scaling import cells_of, planes_of
from pipeline.errors import BlockError


def some_block(seed: int = 0, features: int = 5, height: int = 9, width: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Features of very different sizes (F, y, x), and valid with holes."""
    rng = np.random.default_rng(seed)
    block = rng.normal(3, 1, (features, height, width)) * 10.0 ** np.arange(features)[:, None, None]
    return block.astype(np.float32), rng.random((height, width)) > 0.2


def test_cells_and_planes_are_each_others_inverse() -> None:
    block, valid = some_block()
    back = planes_of(cells_of(block, valid), valid, np.nan)
    assert np.array_equal(back[:, valid], block[:, valid])
    assert np.isnan(back[:, ~valid]).all()


def test_scaling_is_to_mean_0_and_deviation_1_and_flat_features_are_silent() -> None:
    rows = cells_of(*some_block())
    rows = np.column_stack([rows, np.full(len(rows), 1e4, np.float32)])
    scaling = Scaling.of(rows)
    scaled = scaling.rows(rows)
    np.testing.assert_allclose(scaled[:, :-1].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled[:, :-1].std(axis=0), 1, rtol=1e-5)
    assert (scaled[:, -1] == 0).all()
    with pytest.raises(BlockError, match="no feature varies"):
        Scaling.of(rows[:, -1:])
    with pytest.raises(BlockError, match="no valid cell"):
        Scaling.of(rows[:0])


@pytest.mark.parametrize("asked", [[(2, 3)], [(2, 3), (5, 1), (8, 6)]])
def test_similarity_is_the_cosine_to_the_nearest_place(asked: list[tuple[int, int]]) -> None:
    block, _ = some_block()
    valid = np.ones(block.shape[1:], bool)
    valid[0, :3] = False
    sample = cells_of(block, valid)
    places = np.stack([block[:, y, x] for y, x in asked])
    found = Similar.to(places, sample).answer(block, valid)
    assert found.dtype == np.float32
    assert found.shape == (1, 9, 7)
    mean, std = sample.astype(float).mean(axis=0), sample.astype(float).std(axis=0)
    for y, x in np.ndindex(9, 7):
        if not valid[y, x]:
            assert np.isnan(found[0, y, x])
            continue
        own = (block[:, y, x] - mean) / std
        cosines = [own @ z / np.linalg.norm(own) / np.linalg.norm(z) for z in (places - mean) / std]
        assert found[0, y, x] == pytest.approx(max(cosines), abs=1e-5)
    assert all(found[0, y, x] == pytest.approx(1) for y, x in asked)
    assert np.nanmax(np.abs(found)) <= 1


@given(st.integers(0, 5), st.integers(0, 300), st.integers(2, 6))
def test_peaks_are_where_nothing_near_is_higher_or_as_high_and_first(apart: int, seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    plane = rng.integers(0, levels, (11, 9)).astype(np.float32)
    plane[rng.random((11, 9)) < 0.2] = np.nan
    found = peaks(plane, apart)
    top = np.zeros(plane.shape, bool)
    for y, x in np.ndindex(11, 9):
        near = plane[max(0, y - apart) : y + apart + 1, max(0, x - apart) : x + apart + 1]
        top[y, x] = np.isfinite(plane[y, x]) and plane[y, x] >= np.nanmax(near)
    for y, x in np.ndindex(11, 9):
        earlier = [
            (v, u)
            for v, u in np.ndindex(11, 9)
            if top[v, u] and (v, u) < (y, x) and max(abs(v - y), abs(u - x)) <= apart
        ]
        assert found[y, x] == (top[y, x] and not earlier)


def test_the_best_come_first_and_equals_in_raster_order() -> None:
    values = np.array([0.5, 0.9, 0.5, 0.9, 0.1], np.float32)
    rows, columns = np.array([1, 3, 0, 2, 0]), np.array([0, 0, 5, 7, 0])
    assert best(values, rows, columns, 4).tolist() == [3, 1, 2, 0]


def four_groups(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n, 3) around four centres along a line, and which centre."""
    own = rng.integers(0, 4, 900)
    centres = np.array([[0, 0, 0], [10, 10, 50], [20, 20, 100], [30, 30, 150]])
    return (centres[own] + rng.normal(size=(900, 3)) * [1, 1, 5]).astype(np.float32), own


def test_groups_that_are_there_are_found_in_order() -> None:
    rows, own = four_groups(np.random.default_rng(0))
    groups = Groups.fit(rows, 4, seed=0)
    block, valid = rows.T.reshape(3, 30, 30).copy(), np.ones((30, 30), bool)
    valid[4] = False
    found = groups.answer(block, valid)[0]
    assert found.dtype == np.uint8
    assert (found[4] == 0).all()
    assert adjusted_rand_score(own.reshape(30, 30)[valid], found[valid]) > 0.99
    order = [own.reshape(30, 30)[found == number].mean() for number in range(1, 5)]
    assert order == sorted(order) or order == sorted(order, reverse=True)
    again = Groups.fit(rows, 4, seed=0)
    assert np.array_equal(groups.centres, again.centres)
    halves = [(block[:, part], valid[part]) for part in (slice(0, 11), slice(11, 30))]
    sums = sum(groups.sums(part, real, groups.answer(part, real)) for part, real in halves)
    scores = (rows - rows.mean(0, dtype=float)) / rows.std(0, dtype=float)
    of_group = [scores.T.reshape(3, 30, 30)[:, found == number].mean(1) for number in range(1, 5)]
    traits = Groups.traits(sums, ("a", "b", "c"), 2)
    for own, means in zip(traits, of_group, strict=True):
        assert len(own) == 2
        assert own == {name: pytest.approx(means["abc".index(name)], abs=6e-3) for name in own}
    assert sums[:, -1].tolist() == [(found == number).sum() for number in range(1, 5)]
    assert Groups.traits(np.zeros_like(sums), ("a", "b", "c")) == [{}] * 4


def test_the_nearest_centre_is_that_of_a_search() -> None:
    rng = np.random.default_rng(1)
    rows, centres = (rng.normal(size=(count, 6)).astype(np.float32) for count in (300, 7))
    distance = ((rows[:, None] - centres) ** 2).sum(axis=2)
    assert np.array_equal(nearest(rows, centres), distance.argmin(axis=1))


@pytest.mark.parametrize("times", [1, 5, 500])
def test_more_groups_than_different_cells_are_refused(times: int) -> None:
    rows = np.repeat(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, -1.0]], np.float32), times, axis=0)
    with pytest.raises(BlockError, match="4 groups of 3 different cells"):
        Groups.fit(rows, 4, seed=0)
    groups = Groups.fit(rows, 3, seed=0)
    found = groups.answer(rows.T[:, None].copy(), np.ones((1, len(rows)), bool))
    assert np.bincount(found.ravel(), minlength=4).tolist() == [0, times, times, times]


def test_colours_differ() -> None:
    colours = palette(255)
    assert len(set(colours)) == 255
    assert all(0 <= part <= 255 for colour in colours for part in colour)
    distance = [
        max(abs(a - b) for a, b in zip(one, other, strict=True)) for one in colours[:12] for other in colours[:12]
    ]
    assert sorted(distance)[12] > 25
    assert hex_of((0, 16, 255)) == "#0010ff"
