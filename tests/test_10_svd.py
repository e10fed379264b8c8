"""Floor 1: every path of svd against LAPACK, and the bounds of the papers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BlockError
from pipeline.svd import dispatch, svd
from pipeline.svd.adaptive import rand_qb_ei, sample_rows, sampled_svd
from pipeline.svd.gram import eigh_descending, gram, gram_svd
from pipeline.svd.range_finder import orthonormal, randomized_svd, range_basis
from pipeline.svd.shrinkage import frobenius_gains, noise_edge


def matrix(m, n, spectrum, dtype=np.float64, seed=0):
    """A matrix (m, n) with these singular values and random singular vectors."""
    rng = np.random.default_rng(seed)
    k = len(spectrum)
    U = np.linalg.qr(rng.standard_normal((m, k)))[0]
    V = np.linalg.qr(rng.standard_normal((n, k)))[0]
    return ((U * spectrum) @ V.T).astype(dtype)


def error(A, factors):
    U, s, Vt = (np.asarray(part, np.float64) for part in factors)
    return np.linalg.norm(A.astype(np.float64) - (U * s) @ Vt)


def best_error(A, k):
    return np.linalg.norm(np.linalg.svd(A.astype(np.float64), compute_uv=False)[k:])


def assert_factors(A, factors, k):
    """Shapes, dtypes, order, orthonormality and signs, as the contract has them."""
    U, s, Vt = factors
    expected = np.float64 if A.dtype.kind in "iuf" and A.dtype.itemsize > 2 and A.dtype != np.float32 else np.float32
    assert (U.shape, s.shape, Vt.shape) == ((A.shape[0], k), (k,), (k, A.shape[1]))
    assert {U.dtype, s.dtype, Vt.dtype} == {np.dtype(expected)}
    assert (np.diff(s) <= 0).all()
    assert (s >= 0).all()
    near = 2e-4 if expected == np.float32 else 1e-9
    np.testing.assert_allclose(U.T @ U, np.eye(k), atol=near)
    np.testing.assert_allclose(Vt @ Vt.T, np.eye(k), atol=near)
    peaks = np.take_along_axis(Vt, np.abs(Vt).argmax(axis=1)[:, None], axis=1)
    assert (peaks > 0).all()


DECAYS = {
    "harmonic": 1.0 / np.arange(1, 41),
    "geometric": 0.8 ** np.arange(40),
    "spiked": np.r_[np.full(6, 50.0), np.ones(34)],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("shape", [(700, 40), (40, 700), (500, 300), (9000, 60), (3000, 41)])
def test_truncation_is_within_a_percent_of_the_best(shape, decay, dtype):
    A = matrix(*shape, DECAYS[decay], dtype)
    factors = svd(A, 7)
    assert_factors(A, factors, 7)
    assert error(A, factors) <= 1.01 * best_error(A, 7)


@settings(deadline=None, max_examples=60)
@given(
    m=st.integers(1, 70),
    n=st.integers(1, 70),
    rank=st.integers(0, 12),
    kind=st.sampled_from(["<f4", "<f8", "<i2", "|u1", "<i4"]),
    seed=st.integers(0, 9),
)
def test_full_svd_restores_any_matrix(m, n, rank, kind, seed):
    rng = np.random.default_rng(seed)
    left, right = rng.integers(-3, 4, (m, rank)), rng.integers(-3, 4, (rank, n))
    A = (np.abs(left @ right) if kind == "|u1" else left @ right).astype(kind)
    factors = svd(A)
    assert_factors(A, factors, min(m, n))
    scale = max(1.0, np.linalg.norm(A.astype(np.float64)))
    precise = 1e-13 if factors[1].dtype == np.float64 else 1e-5
    assert error(A, factors) <= 30 * precise * scale
    values = np.linalg.svd(A.astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(factors[1], values, atol=30 * precise * scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2000, 20), (3000, 50), (400, 350), (350, 400)])
@pytest.mark.parametrize("tolerance", [0.5, 0.05, 0.004, 1e-5])
def test_tolerance_is_met_with_hardly_more_than_the_least_rank(shape, tolerance, dtype):
    spectrum = 0.6 ** np.arange(20)
    A = matrix(*shape, spectrum, dtype)
    U, s, Vt = svd(A, tolerance=tolerance)
    tails = np.sqrt(np.cumsum(spectrum[::-1] ** 2)[::-1])
    least = int(np.flatnonzero(np.append(tails[1:], 0.0) <= tolerance * tails[0])[0]) + 1
    rounding = 1e-6 if dtype == np.float32 else 0.0
    assert error(A, (U, s, Vt)) <= (tolerance + rounding) * np.linalg.norm(A.astype(np.float64))
    assert least <= len(s) <= least + 1


@pytest.mark.parametrize("shape", [(300, 20), (3000, 50), (400, 350)])
def test_rank_caps_tolerance(shape):
    A = matrix(*shape, 0.9 ** np.arange(20))
    assert len(svd(A, 3, tolerance=1e-3)[1]) == 3
    assert len(svd(A, 15, tolerance=0.6)[1]) < 15


@pytest.mark.parametrize("shape", [(30, 8), (3000, 40), (500, 400)])
def test_tolerance_zero_keeps_every_direction(shape):
    A = np.random.default_rng(3).standard_normal(shape)
    assert error(A, svd(A, tolerance=0.0)) <= 1e-12 * np.linalg.norm(A)


def test_small_singular_values_survive_float32():
    spectrum = np.array([1.0, 1e-2, 1e-3, 1e-4])
    A = matrix(5000, 4, spectrum, np.float32)
    U, s, Vt = svd(A)
    np.testing.assert_allclose(s, spectrum, rtol=2e-3)
    np.testing.assert_allclose(U.T @ U, np.eye(4), atol=1e-5)
    assert error(A, (U, s, Vt)) <= 1e-6


def test_small_singular_values_survive_float64():
    spectrum = np.array([1.0, 1e-6, 1e-10, 1e-13])
    A = matrix(500, 4, spectrum)
    np.testing.assert_allclose(svd(A)[1][:3], spectrum[:3], rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (50, 6), (6, 50), (90, 80), (5000, 40)])
def test_constant_matrices(shape, value):
    A = np.full(shape, value)
    factors = svd(A, 1)
    assert_factors(A, factors, 1)
    assert error(A, factors) <= 1e-10 * max(1.0, np.linalg.norm(A))
    assert len(svd(A, tolerance=0.1)[1]) == 1


@pytest.mark.parametrize("scale", [1e-35, 1e30])
def test_squares_that_leave_float32_do_no_harm(scale):
    unit = matrix(400, 5, 0.5 ** np.arange(5), np.float32)
    s = svd(unit * np.float32(scale))[1].astype(np.float64)
    np.testing.assert_allclose(s / scale, 0.5 ** np.arange(5), rtol=1e-4)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
def test_empty_matrices_have_no_values(shape):
    U, s, Vt = svd(np.empty(shape))
    assert (U.shape, s.shape, Vt.shape) == ((shape[0], 0), (0,), (0, shape[1]))


@pytest.mark.parametrize(
    ("A", "options", "word"),
    [
        (np.array([[1.0, np.nan]]), {}, "NaN"),
        (np.array([[1.0, np.inf]]), {}, "infinity"),
        (np.zeros(3), {}, "real matrix"),
        (np.zeros((2, 2), complex), {}, "real matrix"),
        (np.zeros((3, 2)), {"rank": 0}, "rank 0"),
        (np.zeros((3, 2)), {"rank": 3}, "1 to 2"),
        (np.zeros((3, 2)), {"tolerance": 1.0}, "tolerance"),
        (np.zeros((3, 2)), {"tolerance": -0.1}, "tolerance"),
        (np.zeros((3, 2)), {"tolerance": np.nan}, "tolerance"),
    ],
)
def test_what_cannot_be_decomposed_is_refused(A, options, word):
    with pytest.raises(BlockError, match=word):
        svd(A, **options)


@pytest.mark.parametrize(
    ("shape", "rank", "tolerance", "path"),
    [
        ((900, 32), 5, None, "gram_svd"),
        ((32, 900), 5, None, "gram_svd"),
        ((900, 33), 5, None, "sampled_svd"),
        ((200, 150), 5, None, "randomized_svd"),
        ((200, 150), None, 0.1, "rand_qb_ei"),
        ((200, 150), 100, None, "_lapack"),
        ((900, 33), None, None, "_lapack"),
    ],
)
def test_dispatch_takes_the_path_it_names(shape, rank, tolerance, path, monkeypatch):
    taken = []
    for name in ("gram_svd", "sampled_svd", "randomized_svd", "rand_qb_ei", "_lapack"):
        real = getattr(dispatch, name)
        monkeypatch.setattr(dispatch, name, lambda *a, _n=name, _f=real, **k: (taken.append(_n), _f(*a, **k))[1])
    svd(matrix(*shape, 0.5 ** np.arange(20)), rank, tolerance=tolerance)
    assert taken[0] == path


def test_equal_calls_give_equal_bytes_and_the_generator_decides():
    A = matrix(500, 300, 1.0 / np.arange(1, 200))
    first, again = svd(A, 5), svd(A, 5)
    other = svd(A, 5, rng=np.random.default_rng([1, 2, 3]))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))
    assert first[0].tobytes() != other[0].tobytes()


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
