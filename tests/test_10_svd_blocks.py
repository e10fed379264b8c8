"""Floor 1: passes that do two things at once, and blocks made orthonormal in one call, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.svd import krylov
from pipeline.svd.blocks import beside, block_gram
from pipeline.svd.krylov import krylov_svd
from pipeline.svd.lanes import narrow_product, packed
from pipeline.svd.passes import product, there_and_back, weighted_sums
from tests.matrices import best_error, error, matrix

EPS = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-14}
DTYPES = st.sampled_from([np.float32, np.float64])


def near(found, exact, dtype, times=3):
    np.testing.assert_allclose(found, exact, atol=times * EPS[np.dtype(dtype)] * np.abs(exact).max(initial=1.0))


@settings(deadline=None, max_examples=60)
@given(
    m=st.integers(1, 300),
    n=st.integers(1, 60),
    columns=st.sampled_from([16, 32, 48]),
    dtype=DTYPES,
    order=st.sampled_from("CF"),
)
@example(m=1000, n=37, columns=32, dtype=np.float32, order="C")
def test_there_and_back_is_both_products_and_the_energy(m, n, columns, dtype, order):
    rng = np.random.default_rng([m, n, columns])
    A = np.array(rng.standard_normal((m, n)), dtype, order=order)
    V = rng.standard_normal((n, columns)).astype(dtype)
    Y, Z, energy = there_and_back(A, V)
    wide = A.astype(np.float64)
    near(Y, wide @ V, dtype)
    near(Z, wide.T @ (wide @ V), dtype)
    near(product(A, V), wide @ V, dtype)
    assert energy == pytest.approx(float(np.vdot(wide, wide)), rel=10 * EPS[np.dtype(dtype)])


@settings(deadline=None, max_examples=100)
@given(m=st.integers(1, 70), n=st.integers(1, 40), columns=st.integers(1, 16), dtype=DTYPES)
def test_a_product_of_any_size_fills_its_array_and_no_more(m, n, columns, dtype):
    rng = np.random.default_rng([m, n, columns])
    columns = min(columns, 64 // np.dtype(dtype).itemsize)
    A, W = rng.standard_normal((m, n)).astype(dtype), rng.standard_normal((n, columns))
    store = np.full(m * columns + 128, -1.0, dtype)
    Y = store[64 : 64 + m * columns].reshape(m, columns)
    narrow_product(A, packed(W, dtype), Y)
    near(Y, A.astype(np.float64) @ W.astype(dtype), dtype)
    assert (store[:64] == -1).all()
    assert (store[64 + m * columns :] == -1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weighted_sums_are_a_product_with_a_sparse_matrix(dtype):
    rng = np.random.default_rng(0)
    A, weights = rng.standard_normal((90, 33)).astype(dtype), rng.standard_normal(90).astype(dtype)
    buckets = rng.integers(0, 7, 90)
    S = np.zeros((90, 8))
    S[np.arange(90), buckets] = weights
    near(weighted_sums(A, buckets, weights, 8), S.T @ A, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [16, 32, 96])
@pytest.mark.parametrize("beyond", [0, 32, 640])
def test_a_block_is_made_orthonormal_beside_others(beyond, columns, dtype):
    """Few columns beside few go through the kernels, many through BLAS."""
    rng = np.random.default_rng([beyond, columns])
    K = np.ascontiguousarray(np.linalg.qr(rng.standard_normal((1100, beyond)))[0].astype(dtype))
    Y = matrix(1100, columns, np.geomspace(1.0, 0.02, columns), dtype)
    Y += K @ rng.standard_normal((beyond, columns)).astype(dtype)
    shares = K.T.astype(np.float64) @ Y
    block = beside(Y, K, shares)
    assert block.sound
    near(block.V.T @ block.V, np.eye(columns), dtype)
    near(K.T @ block.V, np.zeros((beyond, columns)), dtype)
    near(block.R, block.V.T.astype(np.float64) @ Y, dtype, times=30)
    near(block.V @ block.R + K @ shares, Y, dtype, times=30)
    near(block_gram(Y), Y.T.astype(np.float64) @ Y, dtype)
    if not beyond:
        assert block.energy == pytest.approx(float(np.vdot(Y, Y)), rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fault", ["a column twice", "a column of K", "a column of zeros", "all zeros", "NaN"])
def test_a_block_that_adds_fewer_directions_is_not_sound(fault, dtype):
    rng = np.random.default_rng(1)
    K = np.ascontiguousarray(np.linalg.qr(rng.standard_normal((300, 16)))[0].astype(dtype))
    Y = rng.standard_normal((300, 16)).astype(dtype)
    if fault == "a column twice":
        Y[:, 3] = Y[:, 7]
    elif fault == "a column of K":
        Y[:, 3] = K[:, 7]
    elif fault == "NaN":
        Y[5, 5] = np.nan
    else:
        Y[:, 3 if fault == "a column of zeros" else slice(None)] = 0
    assert not beside(Y, K, K.T.astype(np.float64) @ Y).sound


@pytest.mark.parametrize("rank", [3, 20, 60])
def test_blocks_that_are_never_sound_give_the_same_values(rank, monkeypatch):
    A = matrix(500, 400, np.arange(1, 401) ** -0.7)
    quick = krylov_svd(A, rank, np.random.default_rng(0))
    monkeypatch.setattr(krylov, "beside", lambda *args: beside(*args)._replace(sound=False))
    slow = krylov_svd(A, rank, np.random.default_rng(0))
    np.testing.assert_allclose(quick[1], slow[1], rtol=1e-9)
    assert error(A, slow) == pytest.approx(error(A, quick), rel=1e-9)
    assert error(A, slow) <= 1.01 * best_error(A, rank)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_second_sweep_takes_away_what_the_known_shares_left(dtype):
    rng = np.random.default_rng(2)
    K = np.ascontiguousarray(np.linalg.qr(rng.standard_normal((1100, 32)))[0].astype(dtype))
    Y = rng.standard_normal((1100, 32)).astype(dtype)
    block = beside(Y, K, K.T.astype(np.float64) @ Y + rng.standard_normal((32, 32)))
    assert block.sound
    near(block.V.T @ block.V, np.eye(32), dtype)
    near(K.T @ block.V, np.zeros((32, 32)), dtype)
    near(block.R, block.V.T.astype(np.float64) @ Y, dtype, times=30)
