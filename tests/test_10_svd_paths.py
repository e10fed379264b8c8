"""Floor 1: each path of svd by its name: the bounds of the papers, and when a path says that it cannot serve."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.svd import svd
from pipeline.svd.adaptive import rand_qb_ei, sample_rows, sampled_svd
from pipeline.svd.gram import eigh_descending, gram, gram_svd
from pipeline.svd.range_finder import orthonormal, randomized_svd, range_basis
from pipeline.svd.shrinkage import frobenius_gains, noise_edge
from tests.matrices import best_error, error, matrix


def test_range_finder_keeps_the_expected_error_of_the_paper():
    """HMT theorem 10.5, q = 0: E‖A − QQᵀA‖_F <= sqrt(1 + k/(p−1)) · (Σ_{j>k} σ_j²)^½; mean of 20 seeds."""
    A = matrix(300, 200, 1.0 / np.arange(1, 201))
    k, p = 10, 5
    errors = []
    for seed in range(20):
        Q = range_basis(A, k + p, np.random.default_rng(seed), power_iterations=0)
        np.testing.assert_allclose(Q.T @ Q, np.eye(k + p), atol=1e-12)
        errors.append(np.linalg.norm(A - Q @ (Q.T @ A)))
    bound = np.sqrt(1 + k / (p - 1)) * best_error(A, k)
    assert best_error(A, k + p) <= min(errors)
    assert np.mean(errors) <= bound


def test_each_power_iteration_lowers_the_error():
    A = matrix(300, 200, np.arange(1, 201) ** -0.5)
    rngs = [np.random.default_rng(5) for _ in range(3)]
    errors = [error(A, randomized_svd(A, 10, r, power_iterations=q)) for q, r in enumerate(rngs)]
    assert errors[0] > errors[1] > errors[2] >= best_error(A, 10)


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e7, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_orthonormal_basis_of_any_condition(condition, dtype):
    Y = matrix(400, 12, np.geomspace(1.0, 1.0 / condition, 12) if np.isfinite(condition) else np.eye(12)[0], dtype)
    Q = orthonormal(Y)
    near = 5e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(Q.T @ Q, np.eye(12), atol=near)
    np.testing.assert_allclose(Q @ (Q.T @ Y), Y, atol=near)


def test_sampled_rows_stand_one_in_each_stratum():
    rows = sample_rows(100_000, np.random.default_rng(0), 1000)
    assert (rows // 100 == np.arange(1000)).all()
    assert len(np.unique(rows % 100)) > 90
    assert (sample_rows(5, np.random.default_rng(0), 10) == np.arange(5)).all()


@pytest.mark.parametrize("size", [1000, 5.7])
def test_sampled_basis_is_refused_when_the_sample_misses_energy(size):
    """A few rows of their own direction, between the sampled ones, are most of the matrix, or 4 % of it."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40_000, 40)).astype(np.float32)
    sampled = set(sample_rows(len(A), np.random.default_rng(0)))
    missed = [row for row in range(len(A)) if row not in sampled][:50]
    A[missed] += size * rng.standard_normal(40).astype(np.float32)
    assert sampled_svd(A, 3, None, np.random.default_rng(0)) is None
    assert error(A, svd(A, 3, rng=np.random.default_rng(0))) <= 1.01 * best_error(A, 3)


def test_sampled_basis_is_taken_when_it_serves():
    A = matrix(20_000, 60, np.r_[[100.0, 60, 30], np.ones(57)], np.float32)
    factors = sampled_svd(A, 3, None, np.random.default_rng(0))
    assert factors is not None
    assert error(A, factors) <= 1.01 * best_error(A, 3)


def test_fixed_precision_stops_at_the_tolerance():
    A = matrix(300, 250, 0.9 ** np.arange(100))
    for least, tolerance in enumerate(0.9 ** np.arange(1, 60), start=1):
        factors = rand_qb_ei(A, tolerance, np.random.default_rng(0), rank=250)
        assert error(A, factors) <= tolerance * np.linalg.norm(A)
        assert least <= len(factors[1]) <= least + 1
    assert rand_qb_ei(np.eye(90), 0.05, np.random.default_rng(0), rank=90) is None


@pytest.mark.parametrize("rows", [1, 8191, 8192, 8193, 20_000])
def test_panelled_gram_is_the_gram(rows):
    A = np.random.default_rng(rows).standard_normal((rows, 7)).astype(np.float32)
    exact = A.astype(np.float64).T @ A.astype(np.float64)
    np.testing.assert_allclose(gram(A), exact, rtol=1e-5, atol=1e-5 * np.trace(exact))
    np.testing.assert_allclose(gram(A, np.float64), exact, rtol=1e-12, atol=1e-12 * np.trace(exact))


def test_gram_svd_says_when_it_cannot_see():
    A = matrix(300, 6, 10.0 ** -np.arange(0, 12, 2))
    assert gram_svd(A, 6) is None
    assert gram_svd(A, 3) is not None


@pytest.mark.parametrize("rank", [None, 2, 30])
def test_eigenpairs_descend_with_fixed_signs(rank):
    A = matrix(90, 30, np.arange(30, 0, -1.0))
    w, V = eigh_descending(A.T @ A, rank)
    np.testing.assert_allclose(w, np.arange(30, 0, -1.0)[:rank] ** 2, rtol=1e-9)
    np.testing.assert_allclose((A.T @ A) @ V, V * w, atol=1e-9)
    assert (V[np.abs(V).argmax(axis=0), np.arange(V.shape[1])] > 0).all()


def test_noise_alone_gets_no_gain_and_strong_signal_keeps_nearly_all():
    assert noise_edge(0.25) == pytest.approx(2.25)
    gains = frobenius_gains(np.array([1e6, 100.0, noise_edge(0.1), 1.0, 0.0]), 0.1)
    assert gains[0] == pytest.approx(1.0, abs=1e-5)
    assert 0.9 < gains[1] < 1.0
    assert (gains[2:] == 0).all()


@pytest.mark.parametrize("beta", [0.05, 0.5, 2.0])
def test_gains_are_the_best_linear_ones(beta):
    """Along each eigenvector of one sample, the gain that loses least on the next; mean of 12 samples.

    With two spikes ℓ in unit noise that gain is Σ_j ℓ_j v_j² / (1 + Σ_j ℓ_j v_j²).
    """
    d, m, spikes = 300, int(300 / beta), np.array([30.0, 3.0])
    given, best = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        noisy = rng.standard_normal((m, 2)) * np.sqrt(spikes) @ np.eye(2, d) + rng.standard_normal((m, d))
        w, V = eigh_descending(noisy.T @ noisy / m, 2)
        kept = spikes @ V[:2] ** 2
        given.append(frobenius_gains(w, beta))
        best.append(kept / (1 + kept))
    np.testing.assert_allclose(np.mean(given, axis=0), np.mean(best, axis=0), atol=0.03)
