"""Floor 1: equal and clustered singular values, of which a Krylov space holds too few, and shapes with few turns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.svd import dispatch, range_finder, svd
from pipeline.svd.krylov import _all_there_is, _crowded, block_size, krylov_svd
from pipeline.svd.range_finder import randomized_svd
from tests.matrices import best_error, error, matrix

ROUNDING = {np.dtype(np.float32): 3e-6, np.dtype(np.float64): 1e-12}


def assert_within_a_percent(A, rank, factors):
    """Of the best error, and of what rounding leaves; and orthonormal."""
    U, _, Vt = (np.asarray(part, np.float64) for part in factors)
    near = 5e-5 if A.dtype == np.float32 else 5e-11
    np.testing.assert_allclose(U.T @ U, np.eye(rank), atol=near)
    np.testing.assert_allclose(Vt @ Vt.T, np.eye(rank), atol=near)
    assert error(A, factors) <= 1.01 * best_error(A, rank) + ROUNDING[A.dtype] * np.linalg.norm(A)


def stepped(n, count, low, spread=0.0):
    """`count` values from 1 + spread down to 1, the others from low·(1 + spread) down to low."""
    return np.r_[np.linspace(1 + spread, 1, count), low * np.linspace(1 + spread, 1, n - count)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "rank", "spectrum"),
    [
        ((700, 600), 100, np.ones(100)),
        ((600, 700), 150, stepped(600, 150, 1e-3)),
        ((2000, 330), 100, stepped(330, 100, 0.1, 0.05)),
        ((700, 500), 80, np.r_[np.ones(80), 0.1 / np.arange(81, 501)]),
        ((700, 500), 90, np.r_[np.full(10, 9.0), np.ones(75), np.full(415, 1e-2)]),
        ((200, 200), 53, np.linspace(1, 0.01, 200)),
    ],
)
def test_every_copy_of_a_value_is_found(shape, rank, spectrum, dtype):
    A = matrix(*shape, spectrum, dtype)
    factors = svd(A, rank)
    assert_within_a_percent(A, rank, factors)
    values = np.append(spectrum, np.zeros(rank))[:rank]
    np.testing.assert_allclose(factors[1], values, atol=0.03 * values[0])


@pytest.mark.parametrize(("shape", "rank"), [((400, 300), 90), ((525, 350), 21), ((600, 600), 183)])
def test_noise_alone_in_few_columns(shape, rank):
    A = np.random.default_rng(1).standard_normal(shape)
    assert_within_a_percent(A, rank, svd(A, rank))


@settings(deadline=None, max_examples=60)
@given(
    shape=st.sampled_from([(90, 80), (200, 200), (300, 260), (1500, 200), (330, 420), (700, 500)]),
    share=st.floats(0.02, 0.33),
    copies=st.floats(0.4, 2.2),
    low=st.sampled_from([1e-3, 0.01, 0.1, 0.5]),
    spread=st.sampled_from([0.0, 1e-4, 0.01, 0.05, 0.3]),
    kind=st.sampled_from(["one", "two", "stairs", "power", "low rank"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 9),
)
def test_clusters_of_any_size_and_place(shape, share, copies, low, spread, kind, dtype, seed):
    n = min(shape)
    rank = max(1, round(share * n))
    count = max(1, round(copies * rank))
    spectrum = {
        "one": stepped(n, count, low, spread),
        "two": np.r_[np.full(rank // 2, 10.0), stepped(n, count, low, spread)][:n],
        "stairs": low ** (np.arange(n) // count / 2.0) * np.linspace(1 + spread / 10, 1, n),
        "power": np.r_[np.linspace(1 + spread, 1, count), low / np.arange(1, n + 1)][:n],
        "low rank": np.linspace(1 + spread, 1, count),
    }[kind]
    A = matrix(*shape, spectrum, dtype, seed)
    assert_within_a_percent(A, rank, svd(A, rank, rng=seed))


def test_values_that_stand_close_are_crowded_where_more_of_them_would_matter():
    tail = np.geomspace(1.0, 0.1, 60)
    assert _crowded(np.r_[np.ones(32), 0.01 * tail], 32, 40.0)
    assert _crowded(np.r_[5.0, np.linspace(1.1, 1.0, 32), 0.01 * tail], 32, 45.0)
    assert not _crowded(np.r_[np.ones(32), 0.01 * tail], 33, 40.0)
    assert not _crowded(np.r_[np.ones(32), 0.01 * tail], 32, 1e5)
    assert not _crowded(np.ones(92), 32, 93.0)
    assert not _crowded(np.ones(32), 32, 93.0)


def test_a_krylov_space_that_holds_all_of_the_matrix_is_taken():
    A = matrix(700, 600, np.linspace(1.0, 0.5, 64))
    factors = krylov_svd(A, 50, np.random.default_rng(0))
    assert block_size(50, 8) == 32
    assert factors is not None
    assert error(A, factors) <= (1 + 1e-9) * best_error(A, 50)


def test_where_no_turn_leads_further_the_energy_outside_decides():
    A = matrix(90, 80, np.r_[np.linspace(2.0, 1.0, 40), np.full(40, 1e-3)])
    V = np.linalg.svd(A)[2].T
    energy = float(np.vdot(A, A))
    for columns, found in ((40, True), (39, False), (29, False)):
        K = np.ascontiguousarray(V[:, :columns])
        Y = A @ K
        factors = _all_there_is(Y.T @ Y, K, [Y], 30, energy)
        assert (factors is not None) == found


def test_a_range_that_does_not_come_to_rest_is_no_answer(monkeypatch):
    A = np.random.default_rng(2).standard_normal((400, 300))
    monkeypatch.setattr(range_finder, "MOST_ITERATIONS", 3)
    assert randomized_svd(A, 60, np.random.default_rng(0)) is None
    monkeypatch.setattr(dispatch, "EXACT_COLUMNS", 0)
    monkeypatch.setattr(dispatch, "krylov_svd", lambda *args: None)
    assert error(A, svd(A, 60)) <= (1 + 1e-9) * best_error(A, 60)
