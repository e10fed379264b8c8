"""Floor 2: patches and their SVD in panels, against plain references that hold everything at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.denoise import patch_svd as patch_svd_module
from pipeline.denoise.patch_svd import Moments, Patches, class_svd, pooled
from pipeline.denoise.patches import box_sums, energies, fill_holes, starts, voters


def plain_class_svd(planes, label, size, ys, xs, classes):
    """The same denoiser with the whole patch matrix in memory, LAPACK's SVD of it, and a loop to fold it."""
    A = np.array([planes[:, y : y + size, x : x + size].ravel() for y in ys for x in xs], np.float64)
    out, weight = np.empty_like(A), np.empty(len(A))
    for c in range(classes):
        rows = np.flatnonzero(label == c)
        mean = A[rows].mean(axis=0)
        s, Vt = np.linalg.svd(A[rows] - mean, full_matrices=False)[1:]
        w, beta = s**2 / len(rows), A.shape[1] / len(rows)
        keep = w > (1 + np.sqrt(beta)) ** 2
        w, Vt = w[keep], Vt[keep]
        t = w + 1 - beta
        spike = (t + np.sqrt(t**2 - 4 * w)) / 2 - 1
        signal = spike * (1 - beta / spike**2) / (1 + beta / spike)
        gain = signal / (signal + 1)
        out[rows] = ((A[rows] - mean) @ Vt.T * gain) @ Vt + mean
        weight[rows] = 1 / (1 + np.sum(gain**2))
    total, share = np.zeros(planes.shape), np.zeros(planes.shape[1:])
    for row, (y, x) in enumerate((y, x) for y in ys for x in xs):
        total[:, y : y + size, x : x + size] += weight[row] * out[row].reshape(-1, size, size)
        share[y : y + size, x : x + size] += weight[row]
    return total / share


@pytest.mark.parametrize("panel_rows", [1, 100, 4096])
@pytest.mark.parametrize(
    ("planes", "height", "width", "size", "stride", "classes"), [(2, 41, 53, 4, 2, 3), (1, 60, 33, 5, 3, 1)]
)
def test_panels_give_what_the_whole_patch_matrix_gives(
    planes, height, width, size, stride, classes, panel_rows, monkeypatch
):
    monkeypatch.setattr(patch_svd_module, "PANEL_ROWS", panel_rows)
    rng = np.random.default_rng(0)
    signal = ndimage.gaussian_filter(rng.standard_normal((planes, height, width)), (0, 4, 4)) * 60 + 40
    E = (signal + rng.standard_normal(signal.shape)).astype(np.float32)
    ys, xs = starts(height, size, stride, 0), starts(width, size, stride, 0)
    label = np.arange(len(ys) * len(xs)) * classes // (len(ys) * len(xs))
    patches = Patches(size, ys, xs, label)
    expected = plain_class_svd(E.astype(np.float64), label, size, ys, xs, classes)
    np.testing.assert_allclose(class_svd(E, patches, patches, classes), expected, atol=2e-3)
    assert np.abs(expected - E).max() > 1


@settings(max_examples=50)
@given(length=st.integers(1, 60), size=st.integers(1, 8), stride=st.integers(1, 8), origin=st.integers(0, 50))
def test_starts_cover_the_length_on_the_scenes_grid(length, size, stride, origin):
    size, stride = min(size, length), min(stride, size)
    found = starts(length, size, stride, origin)
    covered = np.zeros(length, bool)
    for start in found:
        covered[start : start + size] = True
    assert covered.all()
    assert (np.diff(found) > 0).all()
    assert found[0] == 0
    assert found[-1] == length - size
    assert ((found[1:-1] + origin) % stride == 0).all()


def test_energies_and_votes_are_those_of_the_patches():
    rng = np.random.default_rng(11)
    planes = (rng.standard_normal((3, 20, 23)) * 50 + 300).astype(np.float32)
    valid = rng.random((20, 23)) > 0.25
    ys, xs = starts(20, 5, 3, 1), starts(23, 5, 3, 0)
    cubes = np.array([planes[:, y : y + 5, x : x + 5] for y in ys for x in xs], np.float64)
    real = np.array([valid[y : y + 5, x : x + 5].mean() for y in ys for x in xs])
    np.testing.assert_allclose(energies(planes, ys, xs, 5), 25 * cubes.var(axis=(2, 3)).sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(box_sums(planes[0], ys, xs, 5).ravel(), cubes[:, 0].sum(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(voters(valid, ys, xs, 5), real >= 0.75)
    assert 0 < np.count_nonzero(real >= 0.75) < len(real)


def test_holes_are_filled_with_what_is_near():
    planes = np.tile(np.linspace(0, 10, 40, dtype=np.float32), (2, 30, 1))
    valid = np.ones((30, 40), bool)
    valid[10:14, 10:14] = False
    valid[:, 34:] = False
    holed = np.where(valid, planes, np.float32(0))
    fill_holes(holed, valid, 3)
    np.testing.assert_array_equal(holed[:, valid], planes[:, valid])
    np.testing.assert_allclose(holed[:, 10:14, 10:14], planes[:, 10:14, 10:14], atol=0.5)
    assert (holed[:, :, 34:37] > 7).all()
    assert (holed[:, :, 38:] == 0).all()


def test_a_thin_class_borrows_its_neighbours_moments():
    rng = np.random.default_rng(12)
    parts = [rng.normal(c, 1 + c, (n, 3)) for c, n in enumerate((50, 4, 60, 70))]
    moments = [Moments(len(A), A.mean(axis=0), (A - A.mean(axis=0)).T @ (A - A.mean(axis=0))) for A in parts]
    joined = np.concatenate(parts[:3])
    thin = pooled(moments, 1)
    np.testing.assert_allclose(thin.mean, joined.mean(axis=0))
    np.testing.assert_allclose(thin.scatter / (thin.count - 1), np.cov(joined.T))
    assert pooled(moments, 0) is moments[0]
