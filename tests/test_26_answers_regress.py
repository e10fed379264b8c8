"""Ridge against its normal equations, folds against a search of all pairs, figures against scikit-learn's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from pipeline.answers import Regressor, accuracy
from pipeline.answers.regress import PENALTIES, chosen, ridges, targets_of
from pipeline.answers.spatial_blocks import apart, dealt, judgeable, splits
from pipeline.errors import ConfigError


@pytest.mark.parametrize("n", [15, 200])
def test_the_ridge_solves_its_equations_with_fewer_rows_than_features_and_more(n: int) -> None:
    rng = np.random.default_rng(n)
    rows = (rng.normal(size=(n, 30)) * 10.0 ** rng.integers(-2, 4, 30) + 5).astype(np.float32)
    targets = rng.normal(size=(n, 3)) + np.array([1, 20, -3])
    X = rows.astype(np.float64)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    for penalty, model in zip((0.5, 30.0), ridges(rows, targets, [0.5, 30.0], 0), strict=True):
        W = np.linalg.solve(X.T @ X + penalty * np.eye(30), X.T @ (targets - targets.mean(axis=0)))
        np.testing.assert_allclose(model.weights, W, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(model.values(rows), X @ W + targets.mean(axis=0), rtol=1e-3, atol=1e-3)


def test_classes_are_regressed_on_plus_and_minus_one() -> None:
    assert targets_of(np.array([1, 0]), 3).tolist() == [[-1, 1, -1], [1, -1, -1]]
    assert targets_of(np.array([1.5, 2.0]), 0).tolist() == [[1.5], [2.0]]


def test_maps_hold_numbers_or_classes_from_1() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 2)).astype(np.float32)
    block, valid = rows.T.reshape(2, 15, 20).copy(), rng.random((15, 20)) > 0.1
    line = Regressor.fit(rows, (3 * rows[:, :1] + 7).astype(np.float64), 1e-2, 0).answer(block, valid)
    np.testing.assert_allclose(line[0][valid], 3 * block[0][valid] + 7, atol=1e-2)
    assert np.isnan(line[0][~valid]).all()
    side = (rows[:, 1] > 0).astype(np.intp)
    told = Regressor.fit(rows, targets_of(side, 2), 1.0, 2).answer(block, valid)
    assert told.dtype == np.uint8
    assert (told[0][~valid] == 0).all()
    assert (told[0][valid] == side.reshape(15, 20)[valid] + 1).mean() > 0.95


cells = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=8, max_size=60, unique=True)


@given(cells, st.integers(1, 9), st.integers(2, 3), st.integers(0, 6), st.integers(1, 20))
def test_no_training_cell_is_near_a_test_cell_and_small_groups_are_whole(
    places: list[tuple[int, int]], side: int, folds: int, gap: int, size: int
) -> None:
    rows, columns = np.array(places).T
    group = np.arange(len(rows)) // size
    block = np.array([100 * (y // side) + x // side for y, x in places])
    for own in (group == number for number in range(group.max() + 1)):
        if max(np.ptp(rows[own]), np.ptp(columns[own])) < side:
            names, count = np.unique(block[own], return_counts=True)
            block[own] = names[count.argmax()]
    rng = np.random.default_rng(0)
    if len(set(block.tolist())) < folds:
        with pytest.raises(ConfigError, match="too few"):
            dealt(rows, columns, side, folds, rng, [group])
        return
    fold = dealt(rows, columns, side, folds, rng, [group])
    for number in block:
        assert len(set(fold[block == number].tolist())) == 1
    tested = np.zeros(len(rows), int)
    for train, test in splits(rows, columns, fold, gap):
        tested += test
        for index in range(len(rows)):
            away = np.maximum(abs(rows[test] - rows[index]), abs(columns[test] - columns[index])).min()
            assert train[index] == (away > gap and not test[index])
    assert (tested == 1).all()
    assert set(fold.tolist()) == set(range(folds))


def test_of_groups_in_groups_the_outer_ones_are_whole_where_they_are_small() -> None:
    rows, columns = np.zeros(12, np.intp), np.arange(12)
    inner = columns // 2
    outer = np.array([0] * 2 + [1] * 4 + [2] * 6)  # the last is larger than a block
    fold = dealt(rows, columns, 4, 2, np.random.default_rng(0), (inner, outer))
    assert len({*fold[2:6].tolist()}) == 1
    cut = dealt(rows, columns, 4, 3, np.random.default_rng(0))
    assert fold[6] == fold[7]
    assert fold[8] == fold[11]
    assert cut[3] != cut[4]


def test_gap_0_leaves_neighbours() -> None:
    rows, columns = np.array([0, 0, 0]), np.array([0, 1, 2])
    assert apart(rows, columns, np.array([True, False, False]), 0).tolist() == [False, True, True]
    assert apart(rows, columns, np.array([True, False, False]), 1).tolist() == [False, False, True]


def test_folds_without_sense_are_refused() -> None:
    for side, folds in ((0, 3), (4, 1)):
        with pytest.raises(ConfigError, match="spatial folds"):
            dealt(np.arange(9), np.arange(9), side, folds, np.random.default_rng(0))


def test_the_penalty_is_the_one_that_costs_least_within_the_cells() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(90, 60)).astype(np.float32)
    labels = rows[:, 0] + rng.normal(size=90) * 2
    usable = np.arange(90) < 80
    asked: list[Any] = []

    def parts(allowed: Any) -> Iterator[Any]:
        asked.append(allowed)
        yield usable & (np.arange(90) < 40), usable & (np.arange(90) >= 40)

    penalty = chosen(rows, labels, usable, parts, 0)
    cost = []
    for alpha in PENALTIES:
        model = Regressor.fit(rows[:40], labels[:40, None], alpha, 0)
        cost.append(((model.predict(rows[40:80]) - labels[40:80]) ** 2).sum())
    assert penalty == PENALTIES[int(np.argmin(cost))] > PENALTIES[0]
    assert np.array_equal(asked[0], usable)
    assert chosen(rows, labels, usable, lambda _: iter(()), 0) == PENALTIES[4] == 100


def test_penalties_that_all_cost_the_same_are_told_apart_by_nothing() -> None:
    rng = np.random.default_rng(6)
    labels = np.arange(40) % 2
    rows = (rng.normal(size=(40, 3)) + 20 * labels[:, None]).astype(np.float32)
    half = np.arange(40) < 20
    assert chosen(rows, labels, np.ones(40, bool), lambda _: iter([(half, ~half)]), 2) == 100


def test_of_test_cells_those_count_whose_class_is_trained_on_beside_another() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    train, test = np.array([1, 0, 1, 0, 0, 0], bool), np.array([0, 1, 0, 1, 1, 1], bool)
    assert judgeable(labels, train, test).tolist() == [False, True, False, True, False, False]
    assert not judgeable(labels, train & (labels == 0), test).any()


def test_a_split_that_trains_on_one_cell_or_on_cells_alike_counts_as_none() -> None:
    rng = np.random.default_rng(4)
    rows, labels = rng.normal(size=(30, 5)).astype(np.float32), rng.normal(size=30)
    rows[20:25] = rows[20]
    cells = np.ones(30, bool)
    good = (np.arange(30) < 15, np.arange(30) >= 15)
    for few in (np.arange(30) == 3, (np.arange(30) >= 20) & (np.arange(30) < 25)):
        assert chosen(rows, labels, cells, lambda _, few=few: iter([(few, ~few)]), 0) == 100
        with_good = chosen(rows, labels, cells, lambda _, few=few: iter([(few, ~few), good]), 0)
        assert with_good == chosen(rows, labels, cells, lambda _: iter([good]), 0)


def test_figures_are_scikit_learns() -> None:
    rng = np.random.default_rng(5)
    labels, found = rng.integers(0, 5, 400), rng.integers(0, 6, 400)
    found[:200] = labels[:200]
    figures = accuracy.classes(labels, found, 6)
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(labels, found))
    assert figures["kappa"] == pytest.approx(metrics.cohen_kappa_score(labels, found))
    recall = metrics.recall_score(labels, found, labels=range(5), average="macro")
    assert figures["mean_class_accuracy"] == pytest.approx(recall)
    assert np.array_equal(figures["confusion"], metrics.confusion_matrix(labels, found, labels=range(6)))
    truth = rng.normal(size=50)
    guess = truth + rng.normal(size=50) + 0.3
    numbers = accuracy.numbers(truth, guess)
    assert numbers["r2"] == pytest.approx(metrics.r2_score(truth, guess))
    assert numbers["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, guess))
    assert numbers["bias"] == pytest.approx((guess - truth).mean())
    assert accuracy.numbers(np.ones(3), np.ones(3))["r2"] is None
    assert accuracy.classes(np.zeros(3, int), np.zeros(3, int), 2)["kappa"] is None
