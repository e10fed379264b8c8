"""Anomalies: windows against sums one by one, scores against their definition, tails against draws, ships on water."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.stats import f as fisher

from benchmarks.ships import area_under_curve, implanted, open_sea
from pipeline.answers import Annulus, Anomaly, Background, Moments, Water
from pipeline.answers.anomaly import SHRINK
from pipeline.answers.detections import grouped, outlines, strongest
from pipeline.answers.tail import histogram, quantile, threshold
from pipeline.errors import BlockError, ConfigError

ALL = (slice(None), slice(None))


@given(st.integers(1, 14), st.integers(1, 14), st.sampled_from([(3, 1), (5, 3), (9, 5), (21, 7)]), st.integers(0, 99))
def test_sums_over_an_annulus_are_those_of_its_pixels(height: int, width: int, sides: Any, seed: int) -> None:
    plane = np.random.default_rng(seed).normal(size=(height, width))
    annulus = Annulus(*sides)
    found = annulus.sums(plane)
    for y, x in np.ndindex(height, width):
        expected = 0.0
        for v, u in np.ndindex(height, width):
            away = max(abs(v - y), abs(u - x))
            expected += plane[v, u] if annulus.guard // 2 < away <= annulus.reach else 0.0
        assert found[y, x] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("sides", [(7, 7), (6, 3), (9, 4), (5, 0), (3, 5)])
def test_a_window_that_is_none_is_refused(sides: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="--window"):
        Annulus(*sides)


def textbook(block: NDArray[Any], valid: NDArray[np.bool_], annulus: Annulus) -> NDArray[np.float64]:
    """Quasi-local RX, pixel by pixel."""
    _, height, width = block.shape
    block = block.astype(np.float64)

    def around(y: int, x: int) -> list[tuple[int, int]]:
        return [
            (v, u)
            for v, u in np.ndindex(height, width)
            if valid[v, u] and annulus.guard // 2 < max(abs(v - y), abs(u - x)) <= annulus.reach
        ]

    places = {at: around(*at) for at in np.ndindex(height, width)}
    residual = np.zeros_like(block)
    for (y, x), own in places.items():
        residual[:, y, x] = block[:, y, x] - np.mean([block[:, v, u] for v, u in own], axis=0)
    rows = residual[:, valid]
    scaled = residual / rows.std(axis=1)[:, None, None]
    w, V = np.linalg.eigh(scaled[:, valid] @ scaled[:, valid].T / rows.shape[1])
    energy = np.tensordot(V.T, scaled, 1) ** 2 / w[:, None, None]
    prior = SHRINK * annulus.window**2
    scores = np.full((height, width), np.nan)
    for (y, x), own in places.items():
        local = (np.sum([energy[:, v, u] for v, u in own], axis=0) + prior) / (len(own) + prior)
        scores[y, x] = (energy[:, y, x] / local).mean() if valid[y, x] else np.nan
    return scores


def test_scores_are_the_textbooks() -> None:
    rng = np.random.default_rng(1)
    block = rng.normal(100, 5, (3, 17, 15)).astype(np.float32)
    block[1] += block[0]
    valid = rng.random((17, 15)) > 0.05  # so that every window has enough
    annulus = Annulus(9, 3)
    background = Background(annulus)
    model = Anomaly.fit(Moments.of(block, valid, background, ALL), background)
    assert model.halo == 8
    found = model.answer(block, valid)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], textbook(block, valid, annulus), rtol=2e-4)


@pytest.mark.parametrize("water", [None, Water(0, 2, 0.1)])
def test_tiles_do_not_show(water: Water | None) -> None:
    rng = np.random.default_rng(2)
    block = rng.uniform(50, 100, (3, 60, 50)).astype(np.float32)
    block[2] *= np.where(rng.random((60, 50)) > 0.05, 0.3, 2.0)
    valid = rng.random((60, 50)) > 0.1
    background = Background(Annulus(11, 5), water)
    whole = Moments.of(block, valid, background, ALL)
    model = Anomaly.fit(whole, background)
    assert model.background == background
    scores = model.answer(block, valid)[0]
    halves = [
        Moments.of(block[:, a:b], valid[a:b], background, (slice(c, d), slice(None)))
        for a, b, c, d in ((0, 35, 0, 30), (25, 60, 5, 35))
    ]
    both = halves[0] + halves[1]
    assert both.count == whole.count > 500
    np.testing.assert_allclose(both.gram, whole.gram, rtol=1e-5, atol=1e-2)
    part = model.answer(block[:, 30 - model.halo :], valid[30 - model.halo :])[0, model.halo :]
    np.testing.assert_allclose(part, scores[30:], rtol=1e-3)


def test_shores_are_not_scored_and_objects_are() -> None:
    rng = np.random.default_rng(3)
    block = rng.normal(100, 3, (2, 60, 60)).astype(np.float32)
    block[1] *= 0.3
    block[:, :, :20] = rng.normal(300, 9, (2, 60, 20))
    block[1, :, :20] += 100
    block[1, 30:32, 40:42] = 200
    background = Background(Annulus(21, 7), Water(0, 1))
    valid = np.ones((60, 60), bool)
    scores = Anomaly.fit(Moments.of(block, valid, background, ALL), background).answer(block, valid)[0]
    assert np.isnan(scores[:, :22]).all()
    assert np.isfinite(scores[:, 30:]).all()
    ship = scores[30:32, 40:42].copy()
    scores[30:32, 40:42] = 0
    assert ship.min() > 100 * np.nanmax(scores)


def test_what_cannot_be_told_is_said() -> None:
    valid = np.ones((30, 30), bool)
    dry = Background(Annulus(9, 3), Water(0, 1))
    flat = np.full((2, 30, 30), 7, np.float32)
    with pytest.raises(BlockError, match="is there water"):
        Anomaly.fit(Moments.of(flat, valid, dry, ALL), dry)
    plain = Background(Annulus(9, 3))
    with pytest.raises(BlockError, match="no band varies"):
        Anomaly.fit(Moments.of(flat, valid, plain, ALL), plain)
    with pytest.raises(BlockError, match="all of it nodata"):
        Anomaly.fit(Moments.of(flat, ~valid, plain, ALL), plain)


def test_units_and_flat_bands_change_nothing_and_copies_add_no_direction() -> None:
    rng = np.random.default_rng(4)
    block = rng.normal(0, 1, (2, 40, 40)).astype(np.float32)
    block[1] += block[0]
    valid = np.ones((40, 40), bool)
    background = Background(Annulus(9, 3))
    other = np.stack([block[0], 50 * block[1] + 3, np.full((40, 40), 7, np.float32)])
    scores = []
    for cube in (block, other, block[[0, 1, 1]]):
        model = Anomaly.fit(Moments.of(cube, valid, background, ALL), background)
        assert len(model.whitening) == 2
        scores.append(model.answer(cube, valid))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-3)


@pytest.mark.parametrize(("dimensions", "degrees"), [(10, 6.0), (4, 40.0), (200, 12.0)])
def test_the_rate_of_false_alarms_is_kept_where_the_tail_is_as_assumed(dimensions: int, degrees: float) -> None:
    rng = np.random.default_rng(5)
    scores = 0.7 * fisher.rvs(dimensions, degrees, size=400_000, random_state=rng)
    counts = histogram(scores[:1000]) + histogram(np.append(scores[1000:], np.nan))
    assert counts.sum() == 400_000
    for share in (0.1, 0.5, 0.99):
        assert quantile(counts, share) == pytest.approx(np.quantile(scores, share), rel=0.01)
    for rate in (1e-2, 1e-3, 1e-4):
        found = (scores > threshold(counts, dimensions, rate)).mean()
        assert rate / 2 < found < 2 * rate


@given(st.integers(0, 200), st.floats(0.02, 0.6))
def test_components_are_those_of_the_image(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    image = rng.random((11, 13)) < density
    rows, columns = np.nonzero(image)
    own = grouped(rows, columns)
    labels, count = label(image, np.ones((3, 3)))
    pairs = set(zip(own.tolist(), labels[rows, columns].tolist(), strict=True))
    assert len(pairs) == count
    scores = rng.random(len(rows)).astype(np.float32)
    members = strongest(own, scores, rows, columns)
    assert sorted(np.concatenate(members).tolist() if members else []) == list(range(len(rows)))
    tops = [scores[pixels].max() for pixels in members]
    assert tops == [scores[pixels[0]] for pixels in members] == sorted(tops, reverse=True)
    shapes = list(outlines(members, rows, columns))
    assert [shape.area for shape in shapes] == [len(pixels) for pixels in members]


@pytest.mark.parametrize("kind", ["brighter", "mixed"])
@pytest.mark.parametrize("seed", range(2))
def test_ships_on_the_samples_sea_are_found(sample_scene: Path, kind: str, seed: int) -> None:
    """2 x 2 pixels of contrast .6 (benchmarks/ships.py says of what), between pixels: AUC over the sea at least .94."""
    with rasterio.open(sample_scene) as file:
        scene = file.read()
    sea = open_sea(scene)
    ships, covered = implanted(scene, sea, kind, seed)
    valid = np.ones(sea.shape, bool)
    background = Background(Annulus(21, 7))
    block = ships.astype(np.float32)
    scores = Anomaly.fit(Moments.of(block, valid, background, ALL), background).answer(block, valid)[0]
    assert area_under_curve(scores, covered, sea) >= 0.94
