"""Rotations of subbands: found where they pay, written and read back, undone by least squares; damage is named."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.codec import Bound, container, decode, encode, rotation
from pipeline.codec.context import boxes_of
from pipeline.codec.rotation import MOST_PLANES, fit_rotations, pack_rotations, rotate, unpack_rotations
from pipeline.errors import FormatError

LEVEL = 1.0


def coefficients(planes: int = 5, side: int = 64) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Planes that are alike in the finest diagonal detail and nowhere else."""
    rng = np.random.default_rng(2)
    c = rng.normal(0, 20, (planes, side, side)).astype(np.float32)
    boxes = boxes_of(side, side, 2)
    y0, y1, x0, x1 = boxes[-1, :4]
    shared = rng.normal(0, 60, (y1 - y0, x1 - x0))
    c[:, y0:y1, x0:x1] = shared * rng.uniform(0.5, 1, (planes, 1, 1)) + rng.normal(0, 3, (planes, y1 - y0, x1 - x0))
    return c, boxes


def test_only_what_is_correlated_is_turned() -> None:
    c, boxes = coefficients()
    found = fit_rotations(c, boxes, LEVEL)
    assert [one.box for one in found] == [len(boxes) - 1]
    y0, y1, x0, x1 = boxes[-1, :4]
    before = np.cov(c[:, y0:y1, x0:x1].reshape(len(c), -1))
    turned = c.copy()
    rotate(turned, boxes, found, back=False)
    after = np.cov(turned[:, y0:y1, x0:x1].reshape(len(c), -1))
    assert np.abs(after - np.diag(np.diag(after))).max() < 0.02 * np.abs(before - np.diag(np.diag(before))).max()
    np.testing.assert_array_equal(turned[:, :y0, :x0], c[:, :y0, :x0])


def test_back_is_what_was_there_and_what_numpy_says() -> None:
    c, boxes = coefficients()
    found = fit_rotations(c, boxes, LEVEL)
    turned = c.copy()
    rotate(turned, boxes, found, back=False)
    y0, y1, x0, x1 = boxes[-1, :4]
    slow = np.tensordot(found[0].weights.astype(np.float64), turned[:, y0:y1, x0:x1].astype(np.float64), 1)
    rotate(turned, boxes, found, back=True)
    np.testing.assert_allclose(turned[:, y0:y1, x0:x1], slow, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(turned, c, atol=2e-2)


def test_they_survive() -> None:
    c, boxes = coefficients(planes=9)
    c[:4] += 30 * c[4:8]
    found = fit_rotations(c, boxes, LEVEL)
    assert len(found) > 3
    back = unpack_rotations(pack_rotations(found, len(boxes)), len(boxes), len(c))
    for one, other in zip(found, back, strict=True):
        assert one.box == other.box
        np.testing.assert_array_equal(one.exponents, other.exponents)
        np.testing.assert_array_equal(one.entries, other.entries)


@pytest.mark.parametrize("length", [0, 1, 7, 13])
def test_too_little_is_named(length: int) -> None:
    with pytest.raises(FormatError, match="damaged"):
        unpack_rotations(bytes(length), 7, 5)


@pytest.mark.parametrize("spoil", ["short", "wide", "none", "steps"])
def test_damage_is_named(spoil: str) -> None:
    c, boxes = coefficients()
    data = bytearray(pack_rotations(fit_rotations(c, boxes, LEVEL), len(boxes)))
    if spoil == "short":
        del data[-2:]
    elif spoil == "wide":
        data[0:2] = (MOST_PLANES + 1).to_bytes(2, "little")
    elif spoil == "none":
        data[: 2 * len(boxes)] = bytes(2 * len(boxes))
    else:
        data[2 * len(boxes)] = 100
    with pytest.raises(FormatError, match="damaged"):
        unpack_rotations(bytes(data), len(boxes), 5)


def test_a_chunk_of_best_effort_uses_them() -> None:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:96, :96]
    smooth = np.stack([200 * np.sin(y / (9 + b)) + 150 * np.cos(x / (7 + b)) for b in range(6)])
    fine = rng.normal(0, 40, (96, 96)) * np.array([1, 0.9, 0.8, 0.7, 0.9, 1])[:, None, None]
    block = (2000 + smooth + fine + rng.normal(0, 2, smooth.shape)).astype(np.uint16)
    data = encode(block, None, Bound("rmse", 4.0), effort="best")
    assert container.Kind.ROTATIONS in container.unpack(data)[1]
    assert np.sqrt(np.mean((decode(data)[0].astype(float) - block) ** 2)) <= 4.0


@pytest.mark.parametrize("level", [0.3, 3.0, 30.0])
def test_the_size_that_is_told_wins_about_as_much_as_the_best(level: float) -> None:
    rng = np.random.default_rng(7)
    boxes = boxes_of(96, 96, 3)
    c = rng.normal(0, 40 / np.arange(1, 49)[:, None, None], (48, 96, 96)).astype(np.float32)
    for i in range(1, 30):
        c[i] += 0.3 * c[i - 1]
    told, best = 0.0, 0.0
    for y0, y1, x0, x1 in boxes[:, :4]:
        covariance, count = np.cov(c[:, y0:y1, x0:x1].reshape(len(c), -1)), (y1 - y0) * (x1 - x0)
        won = {m: rotation._rotation(0, covariance[:m, :m], count, level)[1] for m in (4, 8, 16, 32, 48)}
        told += max([0.0, *(won[m] for m in rotation._promising(covariance, count, level))])
        best += max(0.0, *won.values())
    assert 0.9 * best <= told <= best
    assert best > 500


def test_where_a_covariance_is_not_positive_all_sizes_are_tried() -> None:
    spoilt = np.diag([1e9, 1e3, -20.0, -20.0, 5.0])
    assert rotation._promising(spoilt, 1000, LEVEL) == [4, 5]
