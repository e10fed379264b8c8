"""Floor 1: every path of svd against LAPACK, and the bounds of the papers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BlockError
from pipeline.svd import dispatch, svd
from tests.matrices import best_error, error, matrix


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
        (np.zeros((3, 2)), {"rank": 1.5}, "rank 1.5 is no whole number"),
        (np.zeros((3, 2)), {"rank": 3}, "1 to 2"),
        (np.zeros((3, 2)), {"rank": True}, "rank True is no whole number"),
        (np.zeros((3, 2)), {"tolerance": "0.1"}, "tolerance '0.1' is not"),
        (np.zeros((3, 2)), {"tolerance": [0.1]}, "tolerance"),
        (np.zeros((3, 2)), {"rng": -1}, "rng -1 is no seed"),
        (np.zeros((3, 2)), {"rng": "x"}, "rng 'x' is no seed"),
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
        ((200, 150), 5, None, "krylov_svd"),
        ((200, 150), None, 0.1, "rand_qb_ei"),
        ((200, 150), 100, None, "_lapack"),
        ((900, 33), None, None, "_lapack"),
    ],
)
def test_dispatch_takes_the_path_it_names(shape, rank, tolerance, path, monkeypatch):
    taken = []
    for name in ("gram_svd", "sampled_svd", "krylov_svd", "rand_qb_ei", "_lapack"):
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


def test_a_seed_is_as_good_as_its_generator():
    A = np.random.default_rng(3).standard_normal((500, 400))
    seeded, other = svd(A, 5, rng=7), svd(A, 5, rng=8)
    for one, two in zip(seeded, svd(A, 5, rng=np.random.default_rng(7)), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(seeded[0], other[0])


@pytest.mark.parametrize("shape", [(3, 3), (5, 5), (40_000, 33)])
@pytest.mark.parametrize("fall", [0.9, 0.5, 0.1, 0.01])
def test_left_vectors_of_float64_are_orthonormal_to_a_part_in_ten_to_the_twelve(shape, fall):
    A = matrix(*shape, fall ** np.arange(shape[1]))
    for tolerance in (1e-3, 1e-5):
        U, s, _ = svd(A, tolerance=tolerance)
        np.testing.assert_allclose(U.T @ U, np.eye(len(s)), rtol=0, atol=1e-12)
