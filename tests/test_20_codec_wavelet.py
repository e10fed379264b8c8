"""The 9/7 wavelet against lifting written out sample by sample, and the kernels against NumPy in the same order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codec import context, kernels, low_rank, wavelet
from pipeline.codec.sample import sample_of

SIZES = st.integers(1, 40)


def analyse_line(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """One level on one line, mirrored at its ends, one sample at a time."""
    x, n = x.copy(), len(x)
    if n == 1:
        return x
    for first, factor in ((1, wavelet.ALPHA), (0, wavelet.BETA), (1, wavelet.GAMMA), (0, wavelet.DELTA)):
        for i in range(first, n, 2):
            left, right = abs(i - 1), i + 1 if i + 1 < n else 2 * (n - 1) - (i + 1)
            x[i] += float(factor) * (x[left] + x[right])
    return np.concatenate([x[::2] * float(wavelet.LOW), x[1::2] * float(wavelet.HIGH)])


def slow_forward(plane: NDArray[np.float32], levels: int) -> NDArray[np.float64]:
    out = plane.astype(np.float64)
    h, w = plane.shape
    for _ in range(levels):
        corner = np.apply_along_axis(analyse_line, 1, out[:h, :w])
        out[:h, :w] = np.apply_along_axis(analyse_line, 0, corner)
        h, w = (h + 1) // 2, (w + 1) // 2
    return out


@settings(max_examples=40)
@given(SIZES, SIZES, st.integers(0, 5), st.integers(0, 2**32))
def test_forward_is_the_lifting_of_the_paper_and_inverse_undoes_it(h: int, w: int, levels: int, seed: int) -> None:
    planes = np.random.default_rng(seed).normal(0, 100, (2, h, w)).astype(np.float32)
    coefficients = planes.copy()
    wavelet.forward(coefficients, levels)
    for plane, transformed in zip(planes, coefficients, strict=True):
        np.testing.assert_allclose(transformed, slow_forward(plane, levels), rtol=0, atol=2e-3)
    wavelet.inverse(coefficients, levels)
    np.testing.assert_allclose(coefficients, planes, rtol=0, atol=2e-3)


def lift(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """One level down the first axis, in float32, one step for all before the next."""
    if len(x) == 1:
        return x
    s, d = x[::2].copy(), x[1::2].copy()
    for high, factor in ((True, wavelet.ALPHA), (False, wavelet.BETA), (True, wavelet.GAMMA), (False, wavelet.DELTA)):
        if high:
            d = d + factor * (s[: len(d)] + np.concatenate([s[1:], s[-1:]])[: len(d)])
        else:
            s = s + factor * (np.concatenate([d[:1], d])[: len(s)] + np.concatenate([d, d[-1:]])[: len(s)])
    return np.concatenate([wavelet.LOW * s, wavelet.HIGH * d])


def unlift(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Undo `lift`, in float32."""
    if len(x) == 1:
        return x
    half, out = (len(x) + 1) // 2, np.empty_like(x)
    s, d = wavelet.UNLOW * x[:half], wavelet.UNHIGH * x[half:]
    for high, factor in ((False, wavelet.DELTA), (True, wavelet.GAMMA), (False, wavelet.BETA), (True, wavelet.ALPHA)):
        if high:
            d = d + -factor * (s[: len(d)] + np.concatenate([s[1:], s[-1:]])[: len(d)])
        else:
            s = s + -factor * (np.concatenate([d[:1], d])[: len(s)] + np.concatenate([d, d[-1:]])[: len(s)])
    out[::2], out[1::2] = s, d
    return out


ODD = [(1, 1), (1, 9), (9, 1), (2, 1), (1, 2), (2, 2), (2, 3), (3, 2), (17, 31), (33, 145), (64, 128), (145, 37)]


@pytest.mark.parametrize("shape", ODD)
def test_kernels_have_the_bits_of_plain_float32_lifting(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape)
    for levels in range(6):
        planes = rng.normal(0, 100, (2, *shape)).astype(np.float32)
        expected, back, sizes = planes.copy(), planes.copy(), [shape]
        for _ in range(levels):
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        for one, other in zip(expected, back, strict=True):
            for h, w in sizes[:levels]:
                one[:h, :w] = lift(lift(one[:h, :w].T.copy()).T.copy())
            for h, w in reversed(sizes[:levels]):
                other[:h, :w] = unlift(unlift(other[:h, :w].copy()).T.copy()).T
        ours, undone = planes.copy(), planes.copy()
        wavelet.forward(ours, levels)
        wavelet.inverse(undone, levels)
        np.testing.assert_array_equal(ours.view(np.int32), expected.view(np.int32))
        np.testing.assert_array_equal(undone.view(np.int32), back.view(np.int32))


@given(SIZES, SIZES, st.integers(0, 5))
def test_subbands_tile_the_plane(h: int, w: int, levels: int) -> None:
    seen = np.zeros((h, w), int)
    for y, x in wavelet.subbands(h, w, levels):
        seen[y, x] += 1
    assert (seen == 1).all()
    assert len(wavelet.norms(levels)) == 1 + 3 * levels


@pytest.mark.parametrize("levels", [1, 3, 5])
def test_norms_are_those_of_the_synthesis_functions(levels: int) -> None:
    for (y, x), norm in zip(wavelet.subbands(512, 512, levels), wavelet.norms(levels), strict=True):
        plane = np.zeros((1, 512, 512), np.float32)
        plane[0, (y.start + y.stop) // 2, (x.start + x.stop) // 2] = 1
        wavelet.inverse(plane, levels)
        assert np.square(plane, dtype=np.float64).sum() == pytest.approx(norm, rel=2e-3)


def test_levels_suit_the_size() -> None:
    assert [wavelet.levels_for(n, n) for n in (1, 15, 16, 64, 255, 256, 4096)] == [0, 0, 1, 3, 4, 5, 5]
    assert wavelet.levels_for(1, 300) == 5


@settings(max_examples=20)
@given(st.integers(1, 11), st.integers(0, 9), st.integers(1, 1100), st.integers(0, 2**32))
def test_reconstruction_has_the_bits_of_plain_float32_arithmetic(bands: int, rank: int, pixels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 1, (bands, rank)).astype(np.float32)
    planes = rng.normal(0, 50, (rank, pixels)).astype(np.float32)
    mean = rng.normal(100, 50, bands)
    total = np.zeros((bands, pixels), np.float32)
    for j in range(rank):
        total = total + weights[:, j : j + 1] * planes[j]
    values = mean[:, None] + 0.7 * total.astype(np.float64)
    combined = np.empty_like(total)
    kernels.combine(weights, planes, combined)
    np.testing.assert_array_equal(combined, total)
    for dtype, whole in ((np.uint8, True), (np.float32, False)):
        low, high = (0.0, 255.0) if whole else (-1e30, 1e30)
        out = np.empty((bands, pixels), dtype)
        kernels.reconstruct(weights, planes, mean, 0.7, np.array([low, high]), whole, out)
        expected = np.clip(np.rint(values) if whole else values, low, high).astype(dtype)
        np.testing.assert_array_equal(out, expected)


def test_a_nan_reconstructs_to_the_lowest_value() -> None:
    out = np.ones((1, 3), np.uint8)
    planes = np.full((1, 3), np.nan, np.float32)
    kernels.reconstruct(np.ones((1, 1), np.float32), planes, np.ones(1), 1.0, np.array([0.0, 255.0]), True, out)
    assert (out == 0).all()


@settings(max_examples=30)
@given(st.integers(1, 5), st.floats(0.01, 3), st.integers(0, 2**32))
def test_moments_give_the_error_of_quantising_and_back(groups: int, step: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    c = rng.laplace(0, 1, 16 * groups).astype(np.float32)
    inverse, threshold = np.float32(1 / step), np.float32(0.36)
    q, back, moments = np.empty(c.size, np.int32), np.empty_like(c), np.empty(5)
    kernels.quantise(c, inverse, threshold, q)
    np.testing.assert_array_equal(q, np.sign(c) * np.floor(np.abs(c * inverse) + threshold))
    kernels.quantisation_moments(c, np.ones_like(c), inverse, threshold, moments)
    kernels.dequantise(q, np.float32(0.1), np.float32(-0.2), back)
    error = moments[0] - 0.1 * (2 * moments[2] - 0.1 * moments[1]) + 0.2 * (2 * moments[4] + 0.2 * moments[3])
    scaled = (c * inverse).astype(np.float64)
    assert np.square(scaled - back).sum() == pytest.approx(error, rel=1e-4, abs=1e-6)


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2), st.integers(0, 2**32))
def test_errors_of_subbands_are_those_of_numpy(planes: int, height: int, width: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    Z = rng.laplace(0, 2, (planes, height, width)).astype(np.float32)
    q, back = np.empty(Z.shape, np.int32), np.empty_like(Z)
    kernels.quantise(Z.reshape(-1), np.float32(0.7), np.float32(0.36), q.reshape(-1))
    first, second = np.float32(0.1), np.float32(-0.2)
    kernels.dequantise(q.reshape(-1), first, second, back.reshape(-1))
    boxes = context.boxes_of(height, width, levels)
    errors, sums = np.zeros((2, planes, len(boxes)))
    kernels.add_errors(Z, q, boxes, np.float32(0.7), first, second, errors, sums)
    missed = np.square(0.7 * Z.astype(np.float64) - back)
    for k, (y0, y1, x0, x1) in enumerate(boxes[:, :4]):
        np.testing.assert_allclose(errors[:, k], missed[:, y0:y1, x0:x1].sum(axis=(1, 2)), rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(sums[:, k], np.abs(q[:, y0:y1, x0:x1]).sum(axis=(1, 2)))


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 1100), st.sampled_from(["u2", "i4", "f4"]), st.integers(0, 2**32))
def test_sums_are_those_of_numpy(bands: int, pixels: int, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(0, 60000, (bands, pixels)).astype(dtype) for _ in range(2))
    wide, off = x.astype(np.float64), x.astype(np.float64) - y
    for valid in (rng.random((1, pixels)) < 0.7, rng.random((bands, pixels)) < 0.7):
        assert kernels.squared_sum(x, valid) == np.square(wide * valid).sum()
        assert kernels.squared_error(x, y, valid) == np.square(off * valid).sum()
    np.testing.assert_array_equal(kernels.means(x), wide.sum(axis=1) / pixels)
    assert kernels.peak_of(off.astype(np.float32).reshape(-1)) == np.abs(off).max()


@pytest.mark.parametrize("shape", ODD)
def test_scores_may_be_inverted_in_their_own_memory(shape: tuple[int, int]) -> None:
    q = np.rint(np.random.default_rng(shape).laplace(0, 1, (3, *shape))).astype(np.int32)
    size = np.abs(q).astype(np.float32)
    offsets = np.where(size == 1, np.float32(0.03), np.float32(-0.02))
    expected = np.where(q == 0, np.float32(0), np.sign(q).astype(np.float32) * (size + offsets))
    plain = np.empty_like(expected)
    kernels.dequantise(q.reshape(-1), np.float32(0.03), np.float32(-0.02), plain.reshape(-1))
    np.testing.assert_array_equal(plain.view(np.int32), expected.view(np.int32))
    wavelet.inverse(expected, 2)
    wavelet.inverse_of(q, np.float32(0.03), np.float32(-0.02), 2, q.view(np.float32))
    np.testing.assert_array_equal(q, expected.view(np.int32))


def test_the_sample_foretells_the_error_of_all_coefficients() -> None:
    rng = np.random.default_rng(3)
    scale = np.geomspace(90, 1, 200)[:, None] * np.geomspace(40, 1, 300)
    coefficients = rng.laplace(0, 1, (20, 200, 300)).astype(np.float32) * scale.astype(np.float32)
    sample, norms = sample_of(coefficients, 4)
    assert sample.size < coefficients.size / 3
    assert norms.sum(dtype=np.float64) == pytest.approx(coefficients.size, rel=0.1)
    moments = np.empty(5)
    kernels.quantisation_moments(sample, norms, np.float32(0.1), np.float32(0.36), moments)
    q = np.empty(coefficients.size, np.int32)
    kernels.quantise(coefficients.reshape(-1), np.float32(0.1), np.float32(0.36), q)
    error = np.square(np.abs(coefficients.reshape(-1)) / 10 - np.abs(q), dtype=np.float64).sum()
    assert moments[0] == pytest.approx(error, rel=0.1)


@settings(max_examples=20)
@given(st.integers(2, 60), st.integers(2, 7), st.integers(0, 2**32))
def test_more_bands_than_pixels_have_the_same_components(more: int, pixels: int, seed: int) -> None:
    """Of the small Gram beside that of the bands: eigenvalues, and the projection on the leading vectors."""
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((pixels + more, pixels)) * 4.0 ** -np.arange(pixels)).astype(np.float32)
    w, V = low_rank._principal(X, 1.0)
    whole, vectors = np.linalg.eigh(X.astype(np.float64) @ X.T.astype(np.float64))
    k = min(len(w), 4)
    np.testing.assert_allclose(w[:k], whole[::-1][:k], rtol=1e-6)
    leading = vectors[:, ::-1][:, :k]
    np.testing.assert_allclose(V[:, :k] @ V[:, :k].T, leading @ leading.T, atol=1e-5)
