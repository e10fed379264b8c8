"""What stands alone in a scene and belongs to it comes back: small objects of few bands, lines of few wavelengths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import chdtri

from pipeline.denoise import denoise_block, estimate_noise
from pipeline.denoise.defects import repair
from pipeline.denoise.targets import AROUND, CHANCE, MARGIN, NEVER, brighten, standing_out


def town(sigma: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Roofs and cars of 1 to 7 pixels a side, five materials of three bands, and the same with noise."""
    rng = np.random.default_rng(seed)
    ground = np.array([1000.0, 1050.0, 1100.0])
    materials = np.array([[2000, 2600, 2700], [2400, 900, 600], [800, 1400, 500], [900, 1500, 3400], [6400] * 3], float)
    clean = np.broadcast_to(ground[:, None, None], (3, 192, 192)).copy()
    for _ in range(400):
        (y, x), (height, width) = rng.integers(0, 185, 2), rng.integers(1, 8, 2)
        colour = materials[rng.choice(5, p=[0.25, 0.35, 0.2, 0.1, 0.1])] * rng.uniform(0.8, 1.2)
        clean[:, y : y + height, x : x + width] = colour[:, None, None]
    return clean, np.round(clean + rng.normal(0, sigma, clean.shape)).clip(1, 65535).astype(np.uint16)


@pytest.mark.parametrize("sigma", [5.0, 15.0, 40.0])
def test_roofs_and_cars_are_no_impulses(sigma: float) -> None:
    for seed in range(3):
        clean, block = town(sigma, seed)
        valid = np.ones(block.shape[1:], bool)
        narrow = block.astype(np.float32)
        assert repair(narrow, valid, estimate_noise(block, valid)).block is narrow
        after = denoise_block(block, valid).block
        assert np.sqrt(np.mean((after - clean) ** 2, axis=(1, 2))).max() < 0.75 * sigma


@pytest.mark.parametrize("bands", [3, 5, 10])
def test_what_is_two_pixels_wide_on_one_date_alone_is_no_impulse(bands: int) -> None:
    rng = np.random.default_rng(bands)
    land = 1000 + 300 * ndimage.gaussian_filter(rng.standard_normal((200, 200)), 6) * 12
    block = land * rng.uniform(0.8, 1.2, (bands, 1, 1)) + rng.normal(0, 20, (bands, 200, 200))
    for band in block:
        for y, x in zip(*rng.integers(0, 199, (2, 40)), strict=True):
            band[y, x : x + 2] += rng.choice((-1, 1)) * rng.uniform(16, 60) * 20
    block = block.astype(np.float32)
    valid = np.ones((200, 200), bool)
    assert repair(block, valid, np.full(bands, 20.0)).block is block


def test_whole_numbers_smoother_than_their_rounding_are_not_judged() -> None:
    """As of JPEG: smooth colour, rounded to bytes. What rounding leaves looks like impulses."""
    rng = np.random.default_rng(3)
    light = np.linspace(100, 130, 160) + np.linspace(0, 20, 160)[:, None]
    colour = [ndimage.zoom(rng.normal(0, 4, (5, 5)), 32, order=1) for _ in range(3)]
    block = np.rint(light + np.stack(colour)).clip(0, 255).astype(np.float32)
    for band in block:  # blots of the compression
        y, x = rng.integers(2, 158, (2, 60))
        band[y, x] += rng.choice((-12, 12), 60)
    valid = np.ones((160, 160), bool)
    sigma = np.full(3, 0.2)
    assert repair(block, valid, sigma).block is block
    assert repair(block + np.float32(0.25), valid, sigma).impulses.sum() > 100  # which no integers are


def cube(bands: int = 100) -> np.ndarray:
    """Three patterns of smooth spectra."""
    rng = np.random.default_rng(0)
    y, x = np.linspace(0, 6, 128)[:, None], np.linspace(0, 6, 128)
    patterns = np.stack([np.sin(y + 0 * x), np.cos(x + 0 * y), np.sin(x * y)])
    return 3000 + np.tensordot(rng.standard_normal((bands, 3)), patterns, 1) * 300


@pytest.mark.parametrize("quality", ["fast", "quality"])
def test_targets_of_few_wavelengths_come_back_as_measured(quality: str) -> None:
    land = cube()
    clean = land.copy()
    clean[50, 100, 100] += 40 * 30
    clean[49:52, 80, 60] += 20 * 30
    clean[:, 20, 30] += 10 * 30 * np.random.default_rng(1).choice((-1, 1), 100)
    noisy = (clean + np.random.default_rng(2).normal(0, 30, clean.shape)).astype(np.float32)
    after = denoise_block(noisy, np.ones((128, 128), bool), quality=quality).block
    for y, x in ((100, 100), (80, 60), (20, 30)):
        target, found = (pixel[:, y, x] - land[:, y, x] for pixel in (clean, after))
        assert 0.9 < found @ target / (target @ target) < 1.1
    assert np.sqrt(np.mean((after - clean) ** 2)) < 0.3 * 30


def test_noise_that_is_larger_in_places_is_no_target() -> None:
    clean = cube()
    spread = np.where(np.arange(128) < 64, 20.0, 40.0)
    noisy = (clean + spread * np.random.default_rng(2).standard_normal(clean.shape)).astype(np.float32)
    after = denoise_block(noisy, np.ones((128, 128), bool)).block
    assert (after[:, :, 64:] == noisy[:, :, 64:]).mean() < 0.001
    assert np.sqrt(np.mean((after - clean)[:, :, 64:] ** 2)) < 0.75 * 40


@pytest.mark.parametrize("degrees", [3, 90])
def test_what_stands_out_is_what_a_slow_look_around_finds(degrees: int) -> None:
    rng = np.random.default_rng(degrees)
    energy = rng.chisquare(degrees, (40, 50)).astype(np.float32)
    energy[:, 30:] *= 3
    energy[rng.random((40, 50)) < 0.02] *= 9
    valid = rng.random((40, 50)) > 0.1
    valid[:6, :6] = False
    valid[3, 3] = True
    energy[3, 3] = 5 * chdtri(degrees, CHANCE)
    found = standing_out(energy, valid, degrees)
    for y in range(40):
        for x in range(50):
            around = np.s_[max(0, y - AROUND) : y + AROUND + 1, max(0, x - AROUND) : x + AROUND + 1]
            level = max(1.0, np.median(energy[around][valid[around]]) / degrees) if valid[y, x] else 1.0
            limit = min(MARGIN * chdtri(degrees, CHANCE) * level, NEVER * degrees)
            above = energy[y, x] > limit and energy[y, x] > MARGIN * chdtri(degrees, CHANCE)
            assert found[y, x] == (valid[y, x] and above), (y, x)
    assert found.any()


def ships(bands: int, size: int, contrast: float) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """A smooth sea (band, y, x) of noise 10 without it and with it, and where ships of size x 1 pixels begin, each
    `contrast` deviations of the noise of all bands above it."""
    rng = np.random.default_rng([bands, size])
    sea = ndimage.gaussian_filter(rng.standard_normal((256, 256)), 12)
    truth = np.stack([(15 * sea / sea.std() + 300) * (1 - 0.1 * band) for band in range(bands)])
    places = [(y + rng.integers(8), x + rng.integers(8)) for y in range(12, 232, 32) for x in range(12, 232, 32)]
    for y, x in places:
        truth[:, y : y + size, x] += 10 * contrast / np.sqrt(bands)
    return truth, (truth + 10 * rng.standard_normal(truth.shape)).astype(np.float32), places


@pytest.mark.parametrize("quality", ["fast", "quality"])
@pytest.mark.parametrize(("bands", "size"), [(10, 1), (10, 2), (2, 2), (4, 3)])
def test_ships_that_a_class_has_seen_keep_their_contrast(quality: str, bands: int, size: int) -> None:
    """Of two and four bands up to 21 percent were taken, for what was left was less than noise can do."""
    truth, noisy, places = ships(bands, size, 12)
    after = denoise_block(noisy, np.ones((256, 256), bool), quality=quality).block
    kept = [1 + np.mean((after - truth)[:, y : y + size, x]) / (120 / np.sqrt(bands)) for y, x in places]
    assert np.mean(kept) > 0.93
    far = np.ones((256, 256), bool)
    for y, x in places:
        far[y - 4 : y + size + 4, x - 4 : x + 5] = False
    assert (after == noisy)[:, far].mean() < 1e-4


def test_pixels_that_stand_out_are_those_that_a_plain_search_finds() -> None:
    """Each pixel by itself, at the borders as well."""
    rng = np.random.default_rng(8)
    planes = rng.standard_normal((3, 30, 40)).astype(np.float32)
    spots = rng.integers(0, (30, 40), (40, 2))
    planes[:, spots[:, 0], spots[:, 1]] += rng.uniform(-14, 14, (3, 40)).astype(np.float32)
    smooth = (0.8 * planes).astype(np.float32)
    found, wanted = smooth.copy(), smooth.copy()
    brighten(planes, found, np.ones((30, 40), bool))
    for y, x in np.ndindex(30, 40):
        if stands_out(planes, smooth, y, x):
            wanted[:, y, x] = planes[:, y, x]
    assert 5 < (wanted != smooth).any(axis=0).sum() < 40
    np.testing.assert_array_equal(found, wanted)


FOUR = ((-2, 0), (2, 0), (0, -2), (0, 2))


def stands_out(planes: np.ndarray, smooth: np.ndarray, y: int, x: int) -> bool:
    """Whether one pixel stands out of the ring at two pixels from it, of no pattern, and was dimmed."""

    def at(dy: int, dx: int) -> np.ndarray:
        return planes[:, np.clip(y + dy, 0, 29), np.clip(x + dx, 0, 39)].astype(float)

    def energy(dy: int, dx: int) -> float:
        row, column = np.clip(y + dy, 0, 29), np.clip(x + dx, 0, 39)
        four = [planes[:, np.clip(row + j, 0, 29), np.clip(column + i, 0, 39)] for j, i in FOUR]
        return float(np.sum((planes[:, row, column] - np.mean(four, axis=0)) ** 2))

    def ring(side: int) -> np.ndarray:
        reach = range(-side, side + 1)
        return np.array([at(dy, dx) - mean for dy in reach for dx in reach if max(abs(dy), abs(dx)) == side])

    mean = np.mean([at(dy, dx) for dy, dx in FOUR], axis=0)
    others = [energy(dy, dx) for dy in range(-6, 7, 3) for dx in range(-6, 7, 3) if dy or dx]
    line = at(0, 0) - mean
    length = np.linalg.norm(line)
    along = ring(2) @ line / length
    middle = np.median(along)
    spread = np.median(np.abs(along - middle)) / 0.674489750196082
    whole = ((ring(2) - middle * line / length) ** 2).sum(axis=1)
    spread = max(1.0, spread, np.sqrt(np.median(whole) / (1.25 * 3)))
    alike = [np.mean(ring(side) @ line / length - middle > (length - middle) / 2) for side in range(3, 9)]
    return bool(
        length**2 > (0.75 * 7) ** 2 + 1.25 * 3
        and length**2 >= 5 * np.mean(others)
        and line @ (at(0, 0) - smooth[:, y, x]) / length >= 1.64
        and length - middle >= spread * np.sqrt(7**2 + 1.25 * 3)
        and max(alike) <= 0.2
    )
