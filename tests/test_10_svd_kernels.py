"""Floor 1: the kernels for narrow matrices against BLAS, and svd whatever the layout and size of its input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import BlockError
from pipeline.svd import svd
from pipeline.svd.gram import gram, lifted, times
from pipeline.svd.krylov import _enough, block_size, krylov_svd
from pipeline.svd.lanes import NARROW, narrow_gram, narrow_product_and_energy, packed
from pipeline.svd.strips import narrow_transposed
from tests.matrices import best_error, error, matrix

NEAR = {np.dtype(np.float32): 3e-6, np.dtype(np.float64): 1e-14}


def near(found, exact, dtype):
    np.testing.assert_allclose(found, exact, atol=NEAR[np.dtype(dtype)] * max(1.0, np.abs(exact).max()))


@settings(deadline=None, max_examples=60)
@given(
    m=st.integers(0, 2000),
    n=st.integers(1, NARROW),
    dtype=st.sampled_from([np.float32, np.float64]),
    precision=st.sampled_from([np.float32, np.float64]),
)
@example(m=8193, n=10, dtype=np.float32, precision=np.float32)
def test_narrow_gram_is_the_gram(m, n, dtype, precision):
    A = np.random.default_rng([m, n]).standard_normal((m, n)).astype(dtype)
    exact = A.T.astype(np.float64) @ A.astype(np.float64)
    G = narrow_gram(A, np.promote_types(dtype, precision))
    near(G, exact, np.promote_types(dtype, precision))
    assert (G == G.T).all()


@settings(deadline=None, max_examples=60)
@given(
    m=st.integers(1, 300),
    n=st.integers(1, 60),
    columns=st.sampled_from([1, 3, 5, 8, 16, 32, 48]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_narrow_products_are_the_products(m, n, columns, dtype):
    rng = np.random.default_rng([m, n, columns])
    A, W = rng.standard_normal((m, n)).astype(dtype), rng.standard_normal((n, columns))
    near(times(A, W), A.astype(np.float64) @ W.astype(dtype), dtype)
    if columns % 16 == 0:
        Y, Z = np.empty((m, columns), dtype), rng.standard_normal((m, columns)).astype(dtype)
        energy = narrow_product_and_energy(A, packed(W, dtype), Y)
        near(Y, A.astype(np.float64) @ W.astype(dtype), dtype)
        assert energy == pytest.approx(float(np.square(A, dtype=np.float64).sum()), rel=NEAR[A.dtype] * 10)
        near(narrow_transposed(A, Z), A.T.astype(np.float64) @ Z.astype(np.float64), dtype)


def test_a_product_stays_within_its_array():
    """Rows are stored over the pad of those before: what stands behind the last one is not touched."""
    A, W = np.ones((50, 9), np.float32), np.ones((9, 3))
    store = np.full(50 * 3 + 64, -1.0, np.float32)
    narrow_product_and_energy(A, packed(W, np.float32), store[:150].reshape(50, 3))
    assert (store[:150] == 9).all()
    assert (store[150:] == -1).all()


def test_left_vectors_that_the_gram_spoilt_are_mended():
    A = matrix(4000, 6, 0.3 ** np.arange(6), np.float32)
    w, V = np.linalg.eigh(A.T.astype(np.float64) @ A.astype(np.float64))
    spoilt = w[::-1] * np.array([1, 1.01, 0.99, 1.02, 1.03, 0.98])
    factors = lifted(A, spoilt, V[:, ::-1], sure=False)
    near(gram(factors[0]), np.eye(6), np.float32)
    assert error(A, factors) <= 1e-6
    assert lifted(A, w[::-1] * 4.0, V[:, ::-1], sure=False) is None


LAYOUTS = {
    "fortran": np.asfortranarray,
    "every other row": lambda A: np.repeat(A, 2, axis=0)[::2],
    "backwards": lambda A: np.ascontiguousarray(A[::-1, ::-1])[::-1, ::-1],
    "columns of more": lambda A: np.concatenate([A, A], axis=1)[:, : A.shape[1]],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(700, 9), (700, 30), (9000, 60), (300, 200), (200, 300)])
def test_the_layout_of_the_input_does_not_matter(shape, layout, dtype):
    A = matrix(*shape, 0.7 ** np.arange(min(shape)), dtype)
    U, s, Vt = svd(A, 4)
    other = svd(LAYOUTS[layout](A), 4)
    rounding = 2e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(other[1], s, rtol=rounding)
    np.testing.assert_allclose((other[0] * other[1]) @ other[2], (U * s) @ Vt, atol=rounding)


SPECTRA = {
    "harmonic": lambda n: 1.0 / np.arange(1, n + 1),
    "slow": lambda n: np.arange(1, n + 1) ** -0.5,
    "flat": np.ones,
    "nearly flat": lambda n: np.linspace(1.0, 0.9, n),
    "spiked": lambda n: np.r_[1e3, 1e2, 10.0, np.ones(n - 3)],
    "geometric": lambda n: 0.9 ** np.arange(n),
    "low rank": lambda n: np.r_[np.ones(12), np.zeros(n - 12)],
}


@pytest.mark.parametrize(
    ("ratio", "rank", "most"), [(0.97, 5, 1.01), (0.97, 10, 1.01), (0.97, 20, 1.01), (0.99, 20, 1.02)]
)
def test_spectra_that_hardly_fall_do_not_stop_the_turns_too_soon(ratio, rank, most):
    A = matrix(400, 330, ratio ** np.arange(330))
    assert error(A, svd(A, rank)) <= most * best_error(A, rank)


def test_turns_end_when_little_is_left_to_gain():
    """Of a squared error of 1 at the second turn, and then what the shares of the last gains foretell."""
    assert _enough([8.5, 9.0], 10.0, np.dtype(np.float32), roomy=True)
    assert not _enough([8.0, 9.0], 10.0, np.dtype(np.float32), roomy=True)
    assert not _enough([8.5, 9.0], 10.0, np.dtype(np.float32), roomy=False)
    assert not _enough([7.0, 8.5, 9.0], 10.0, np.dtype(np.float32), roomy=False)
    assert _enough([7.0, 8.9, 9.0], 10.0, np.dtype(np.float32), roomy=False)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(("shape", "rank"), [((350, 330), 3), ((400, 330), 20), ((1200, 350), 60)])
def test_krylov_blocks_come_within_a_percent_on_any_spectrum(shape, rank, spectrum, dtype):
    A = matrix(*shape, SPECTRA[spectrum](min(shape)), dtype)
    for seed in range(2):
        factors = svd(A, rank, rng=np.random.default_rng(seed))
        near = 2e-5 if dtype == np.float32 else 2e-11
        np.testing.assert_allclose(factors[0].T @ factors[0], np.eye(rank), atol=near)
        np.testing.assert_allclose(factors[2] @ factors[2].T, np.eye(rank), atol=near)
        rounding = 3e-6 if dtype == np.float32 else 1e-12
        assert error(A, factors) <= 1.01 * best_error(A, rank) + rounding * np.linalg.norm(A)


@pytest.mark.parametrize(("shape", "rank"), [((300, 250), 10), ((250, 300), 5), ((9000, 64), 8), ((400, 380), 40)])
def test_randomized_paths_keep_the_expected_error_of_the_paper(shape, rank):
    """HMT theorem 10.5 at the oversampling of a block; the mean of 20 seeds, and 1 % of the best besides."""
    A = matrix(*shape, np.arange(1, min(shape) + 1) ** -0.7, np.float32)
    errors = [error(A, svd(A, rank, rng=np.random.default_rng(seed))) for seed in range(20)]
    best = best_error(A, rank)
    bound = np.sqrt(1 + rank / (max(block_size(rank, 16), rank + 10) - rank - 1)) * best
    assert np.mean(errors) <= min(bound, 1.01 * best)


@pytest.mark.parametrize("shape", [(500, 5), (500, 15), (900, 20)])
def test_the_exact_paths_are_the_best_approximation(shape):
    A = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    assert error(A, svd(A, 3)) <= (1 + 1e-6) * best_error(A, 3)


def test_rows_that_stand_alone_are_found():
    """A few bright rows, whose directions share their sums in the first sketch."""
    rng = np.random.default_rng(2)
    A = 1e-3 * rng.standard_normal((600, 400))
    A[rng.choice(600, 20, replace=False)] += np.linalg.qr(rng.standard_normal((400, 20)))[0].T
    for seed in range(5):
        assert error(A, svd(A, 20, rng=np.random.default_rng(seed))) <= 1.01 * best_error(A, 20)


def test_krylov_says_when_rounding_would_decide():
    A = matrix(400, 300, np.r_[1.0, np.full(299, 1e-5)], np.float32)
    assert krylov_svd(A, 5, np.random.default_rng(0)) is None
    assert error(A, svd(A, 5)) <= 1.02 * best_error(A, 5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (-1, -1), (50, 3)])
@pytest.mark.parametrize("shape", [(90, 9), (900, 20), (9000, 60), (300, 200), (5000, 500)])
def test_nan_and_infinity_are_refused_on_every_path(shape, place, bad):
    A = np.ones(shape, np.float32)
    A[place] = bad
    for request in ({"rank": 3}, {"tolerance": 0.1}, {}):
        if request or shape[1] < 100:
            with pytest.raises(BlockError, match="NaN or infinity"):
                svd(A, **request)
            with pytest.raises(BlockError, match="NaN or infinity"):
                svd(A.T, **request)


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1e18, 1e33])
@pytest.mark.parametrize("shape", [(500, 9), (500, 25), (9000, 60), (300, 200)])
def test_sizes_whose_squares_leave_float32_do_no_harm(shape, scale):
    unit = matrix(*shape, 0.5 ** np.arange(9), np.float32)
    s = svd(unit * np.float32(scale), 4)[1].astype(np.float64)
    np.testing.assert_allclose(s / scale, 0.5 ** np.arange(4), rtol=2e-3)
