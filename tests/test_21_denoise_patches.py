"""Floor 2: patches, their basis and their classes in panels, against plain references that hold everything at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.denoise import mixture as mixture_module
from pipeline.denoise import moments as moments_module
from pipeline.denoise import patches as patches_module
from pipeline.denoise.block import denoise_planes
from pipeline.denoise.mixture import assign, class_moments, energies, gaussian, gaussians
from pipeline.denoise.moments import Moments
from pipeline.denoise.patch_svd import patch_basis, patch_moments, project
from pipeline.denoise.patches import (
    box_sums,
    fill_holes,
    patches_among,
    patches_over,
    replication,
    starts,
    voters,
)
from pipeline.denoise.settings import Settings


def patch_matrix(planes, patches):
    """Every patch as a row, float64."""
    size = patches.size
    places = zip(patches.ys, patches.xs, strict=True)
    return np.array([planes[:, y : y + size, x : x + size].ravel() for y, x in places], np.float64)


def gains_of(w, beta):
    """Gavish, Donoho (2017): the gains of eigenvalues w above the edge."""
    w = w[w > (1 + np.sqrt(beta)) ** 2]
    t = w + 1 - beta
    spike = (t + np.sqrt(t**2 - 4 * w)) / 2 - 1
    signal = spike * (1 - beta / spike**2) / (1 + beta / spike)
    return signal / (signal + 1)


class PlainClass:
    """One Gaussian of a class, its covariance written out."""

    def __init__(self, rows, everything):
        r = rows.shape[1]
        count, mean, covariance = len(rows), rows.mean(axis=0), np.cov(rows.T, bias=True)
        if count < 2 * r:
            lent = 2 * r - count
            mix = (count * mean + lent * everything.mean(axis=0)) / (count + lent)
            second = count * (covariance + np.outer(mean - mix, mean - mix))
            second += lent * (
                np.cov(everything.T, bias=True) + np.outer(everything.mean(0) - mix, everything.mean(0) - mix)
            )
            count, mean, covariance = 2 * r, mix, second / (2 * r)
        w, V = np.linalg.eigh(covariance)
        w, V = w[::-1], V[:, ::-1]
        self.gain = np.zeros(r)
        found = gains_of(w, r / count)
        self.gain[: len(found)] = found
        self.mean, self.V = mean, V
        self.model = V @ np.diag(1 / (1 - self.gain)) @ V.T
        self.rough = (count * covariance + r * np.eye(r)) / (count + r)

    def distance(self, rows, model=None):
        """Mahalanobis and log determinant of the covariance the class stands for: unit noise and its signal."""
        d, model = rows - self.mean, self.model if model is None else model
        return np.sum(d * np.linalg.solve(model, d.T).T, axis=1) + np.linalg.slogdet(model)[1]

    def rough_distance(self, rows):
        """The same of the covariance as it is, drawn to unit noise: that of a round."""
        return self.distance(rows, self.rough)

    def shrunk(self, rows):
        return (rows - self.mean) @ self.V @ np.diag(self.gain) @ self.V.T + self.mean


def plain_denoise(planes, chosen):
    """The same denoiser with whole patch matrices, LAPACK, covariances in full, and a loop to fold."""
    shape = planes.shape[1:]
    learn = patches_among(shape, chosen.patch, chosen.learn, (0, 0))
    apply = patches_over(shape, chosen.patch, chosen.apply, (0, 0), chosen.shift)
    A = patch_matrix(planes, learn)
    mean, (_, s, Vt) = A.mean(axis=0), np.linalg.svd(A - A.mean(axis=0), full_matrices=False)
    gain = gains_of(s**2 / len(A), A.shape[1] / len(A))
    V = Vt[: min(A.shape[1], round(chosen.headroom * len(gain)))].T
    first = max(1, int(chosen.leading * len(gain)))
    scores = (A - mean) @ V[:, :first]
    cubes = (scores * gain[:first] @ V[:, :first].T).reshape(len(A), len(planes), -1)
    energy = 0.0 + np.sum((cubes - cubes.mean(axis=2, keepdims=True)) ** 2, axis=(1, 2))
    count = max(1, *(min(most, int(shape[0] * shape[1] / each / V.shape[1])) for most, each in chosen.classes))
    count = min(count, max(chosen.sure, V.shape[1] // 6))
    label = np.searchsorted(np.quantile(energy, np.arange(1, count) / count), energy)
    some = scores[:, : max(1, int(chosen.rough * first))]
    for _ in range(chosen.rounds if count > 1 else 0):
        label = np.argmin([PlainClass(some[label == c], some).rough_distance(some) for c in range(count)], axis=0)
    sorters = [PlainClass(scores[label == c], scores) for c in range(count)]
    A = patch_matrix(planes, apply) - mean
    scores = A @ V
    label = np.argmin([one.distance(scores[:, :first]) for one in sorters], axis=0)
    total, share = np.zeros(planes.shape), np.zeros(shape)
    window = np.outer(np.kaiser(chosen.patch, chosen.kaiser), np.kaiser(chosen.patch, chosen.kaiser))
    classes = [PlainClass(scores[label == c], scores) for c in range(count)]
    for row, (y, x) in enumerate(zip(apply.ys, apply.xs, strict=True)):
        one = classes[label[row]]
        patch = one.shrunk(scores[row : row + 1])[0] @ V.T + mean
        weight = window / (1 + np.sum(one.gain**2))
        where = np.s_[:, y : y + chosen.patch, x : x + chosen.patch]
        total[where] += weight * patch.reshape(-1, chosen.patch, chosen.patch)
        share[where[1:]] += weight
    return total / share, count


def noisy_planes(planes, height, width, seed=0):
    """Smooth planes with a lively corner, unit noise on top."""
    rng = np.random.default_rng(seed)
    signal = ndimage.gaussian_filter(rng.standard_normal((planes, height, width)), (0, 5, 5)) * 60 + 40
    signal[:, : height // 2, : width // 2] += (
        ndimage.gaussian_filter(rng.standard_normal((planes, height // 2, width // 2)), (0, 1, 1)) * 30
    )
    return (signal + rng.standard_normal(signal.shape)).astype(np.float32)


@pytest.mark.parametrize("panel_rows", [100, 4096])
@pytest.mark.parametrize(
    ("planes", "height", "width", "count", "chosen"),
    [
        (2, 61, 73, 4, Settings(4, (2, 2), (1, 2), ((4, 18),), 2)),
        (1, 60, 43, 1, Settings(5, (3, 3), (2, 2), ((1, 18),), 3)),
        (3, 90, 80, 3, Settings(3, (1, 1), (1, 1), ((3, 18),), 0)),
        (
            2,
            58,
            71,
            3,
            Settings(5, (2, 2), (1, 5), ((3, 18),), 1, headroom=1.25, leading=0.7, rough=0.6, kaiser=1.0),
        ),
        (2, 61, 73, 4, Settings(4, (2, 2), (1, 2), ((3, 18), (5, 30)), 2)),
        (1, 61, 73, 2, Settings(4, (2, 2), (1, 2), ((4, 18),), 2, sure=1, headroom=1.0)),
    ],
)
def test_panels_give_what_whole_patch_matrices_give(planes, height, width, count, chosen, panel_rows, monkeypatch):
    for module in (patches_module, mixture_module, moments_module):
        monkeypatch.setattr(module, "PANEL_ROWS", panel_rows)
    E = noisy_planes(planes, height, width)
    expected, classes = plain_denoise(E.astype(np.float64), chosen)
    assert classes == count
    found = denoise_planes(E, np.ones((height, width), bool), chosen, (0, 0))
    # A patch between two classes may fall to either; nearly all of the pixels know no such patch.
    assert np.mean(np.abs(found - expected) < 2e-3) > 0.98
    assert np.abs(found - expected).max() < 1.0
    assert np.abs(expected - E).max() > 1


def test_moments_add_up_to_those_of_all_rows():
    rng = np.random.default_rng(1)
    rows = (rng.standard_normal((700, 5)) * [1, 2, 3, 4, 5] + 1000).astype(np.float32)
    whole, left, right = (Moments.empty(5) for _ in range(3))
    whole.add(rows)
    left.add(rows[:123])
    right.add(rows[123:])
    left.merge(right)
    for found in (whole, left):
        assert found.count == 700
        np.testing.assert_allclose(found.mean, rows.mean(axis=0, dtype=np.float64), rtol=1e-9)
        np.testing.assert_allclose(
            found.covariance(), np.cov(rows.T.astype(np.float64), bias=True), rtol=1e-5, atol=1e-4
        )
    doubled = whole.scaled(1400)
    np.testing.assert_allclose(doubled.covariance(), whole.covariance())
    assert doubled.count == 1400
    assert Moments.empty(2).covariance().tolist() == [[0, 0], [0, 0]]


def test_a_class_of_few_rows_borrows_from_all():
    rng = np.random.default_rng(12)
    scores = np.concatenate([rng.normal(0, 9, (500, 4)), rng.normal(50, 1, (3, 4))]).astype(np.float32)
    few = gaussians(class_moments(scores, np.r_[np.zeros(500, np.intp), np.ones(3, np.intp)], 2))
    plain = PlainClass(scores[500:].astype(np.float64), scores.astype(np.float64))
    np.testing.assert_allclose(few[1].mean, plain.mean, rtol=1e-5)
    np.testing.assert_allclose(few[1].gains, plain.gain[: len(few[1].gains)], rtol=1e-4)
    assert len(gaussians(class_moments(scores, np.zeros(503, np.intp), 2))) == 2


def test_rows_of_huge_energy_still_find_their_class():
    """Squares of 1e10 leave nothing of unit noise in float32, unless they are scaled before they are squared."""
    rng = np.random.default_rng(3)
    axes = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    quiet = np.array([1e5, 1, 1, 1, 1, 1])
    lively = np.array([1e5, 1, 1, 20, 1, 1])
    rows = np.concatenate([rng.standard_normal((4000, 6)) * one for one in (quiet, lively)]) @ axes.T
    truth = np.repeat([0, 1], 4000)
    parts = [rows[truth == c] for c in (0, 1)]
    # Exact moments: this is about distances, and those of class_moments have the luck of float32 here.
    classes = gaussians([Moments(4000, part.mean(axis=0), np.cov(part.T, bias=True) * 4000) for part in parts])
    found = assign(rows.astype(np.float32), classes)
    assert np.mean(found == truth) > 0.9
    exact = np.argmin([PlainClass(rows[truth == c], rows).distance(rows) for c in (0, 1)], axis=0)
    assert np.mean(found == exact) > 0.98


def test_noise_alone_is_taken_for_noise():
    scores = np.random.default_rng(4).standard_normal((5000, 8)).astype(np.float32)
    moments = Moments.empty(8)
    moments.add(scores)
    only = gaussian(moments)
    assert len(only.gains) <= 1
    assert only.weight > 0.95


def test_energies_are_those_of_the_patches_that_scores_stand_for():
    E = noisy_planes(3, 40, 44, seed=5)
    patches = patches_over(E.shape[1:], 4, (2, 2), (0, 0))
    basis = patch_basis(patch_moments(E, patches, np.ones(len(patches), bool)), 2.0)
    scores = project(E, patches, basis)
    np.testing.assert_allclose(scores, (patch_matrix(E, patches) - basis.mean) @ basis.V, atol=2e-3)
    k = len(basis.gains)
    cubes = ((scores[:, :k] * basis.gains) @ basis.V[:, :k].T).reshape(len(scores), 3, -1)
    np.testing.assert_allclose(energies(scores, basis, 3), 16 * cubes.var(axis=2).sum(axis=1), rtol=1e-3)


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


@settings(max_examples=50)
@given(
    height=st.integers(5, 30),
    width=st.integers(5, 30),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 5)),
    shift=st.integers(0, 4),
    origin=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_shifted_patches_cover_all_and_are_those_of_the_scene(height, width, stride, shift, origin):
    found = patches_over((height, width), 5, stride, origin, shift)
    covered = np.zeros((height, width), int)
    for y, x in zip(found.ys, found.xs, strict=True):
        covered[y : y + 5, x : x + 5] += 1
    assert covered.shape == (height, width)
    assert (covered > 0).all()
    assert len(set(zip(found.ys, found.xs, strict=True))) == len(found)
    # Away from its rim a tile cuts the patches that the whole scene cuts there.
    scene = patches_over((origin[0] + height + 9, origin[1] + width + 9), 5, stride, (0, 0), shift)
    inside = (found.ys > 0) & (found.ys < height - 5) & (found.xs > 0) & (found.xs < width - 5)
    mine = set(zip(origin[0] + found.ys[inside], origin[1] + found.xs[inside], strict=True))
    assert mine <= set(zip(scene.ys, scene.xs, strict=True))


def test_votes_are_those_of_the_patches():
    rng = np.random.default_rng(11)
    plane = (rng.standard_normal((20, 23)) * 50 + 300).astype(np.float32)
    valid = rng.random((20, 23)) > 0.25
    patches = patches_over((20, 23), 5, (1, 3), (1, 0), 1)
    places = list(zip(patches.ys, patches.xs, strict=True))
    real = np.array([valid[y : y + 5, x : x + 5].mean() for y, x in places])
    sums = np.array([plane[y : y + 5, x : x + 5].sum(dtype=np.float64) for y, x in places])
    np.testing.assert_allclose(box_sums(plane, patches), sums, rtol=1e-6)
    np.testing.assert_array_equal(voters(valid, patches), real >= 0.75)
    assert 0 < np.count_nonzero(real >= 0.75) < len(real)


@pytest.mark.parametrize("origin", [(0, 0), (3, 5), (2, 7)])
def test_doubled_pixels_are_noticed_on_the_even_grid_alone(origin):
    rng = np.random.default_rng(6)
    small = rng.standard_normal((1, 60, 60)) * 10
    doubled = np.repeat(np.repeat(small, 2, axis=1), 2, axis=2)[:, origin[0] :, origin[1] :]
    plain = ndimage.gaussian_filter(rng.standard_normal((1, 120, 120)), (0, 1, 1))[:, origin[0] :, origin[1] :] * 50
    noise = rng.standard_normal(doubled.shape) * 3
    valid = np.ones(doubled.shape[1:], bool)
    block = np.concatenate([plain, doubled]) + noise
    assert replication(block, valid, origin)
    assert not replication(plain + noise, valid, origin)
    coast = plain + noise + np.where(np.arange(plain.shape[2]) < 60 - origin[1] % 2, 0, 500)
    assert not replication(coast, valid, origin)
    valid[:, ::2] = False
    assert not replication(block, valid, origin)


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
