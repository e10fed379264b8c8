"""Isolated targets survive bounds on the mean; the list comes back as it was written, and damage is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.codec import Bound, container, decode, encode, read_header
from pipeline.codec.container import read_figures
from pipeline.codec.outliers import ROOM, Outliers, find_outliers, mend, pack_outliers, unpack_outliers
from pipeline.errors import FormatError


def sea(dtype: str) -> np.ndarray:
    """A quiet sea in six bands with a ship of two pixels in one of them, and a flare."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:96, :80]
    base = 400 + 30 * np.sin(y / 17) + 20 * np.cos(x / 23)
    block = base + rng.normal(0, 3, (6, 96, 80))
    block[2, 40:42, 31] += 2500
    block[4, 70, 70] = 9000
    return block.astype(dtype)


@pytest.mark.parametrize("effort", ["fast", "best"])
@pytest.mark.parametrize("dtype", ["uint16", "float32", "int32"])
@pytest.mark.parametrize("bound", [Bound("rmse", 12.0), Bound("snr", 28.0)], ids=str)
def test_no_target_is_off_by_more_than_eight_times_the_error(effort: str, dtype: str, bound: Bound) -> None:
    block = sea(dtype)
    data = encode(block, None, bound, effort=effort)
    assert container.Kind.OUTLIERS in container.unpack(data)[1]
    error = np.abs(decode(data)[0].astype(np.float64) - block)
    allowed = 12.0 if bound.mode == "rmse" else float(np.sqrt(np.mean(block.astype(np.float64) ** 2) / 10**2.8))
    assert np.sqrt(np.mean(error**2)) <= allowed
    assert error.max() <= 8 * allowed


@pytest.mark.parametrize("effort", ["fast", "best"])
@pytest.mark.parametrize("rmse", [0.3876, 0.52, 1.4])
def test_stepping_aside_for_nodata_makes_no_outlier(effort: str, rmse: float) -> None:
    """Spikes on level ground, some of which are decoded as nodata, which moves them by one more."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        ground = np.rint(100 + rng.normal(0, 0.3 * rmse, (3, 64, 64)))
        spikes = (
            (rng.random(ground.shape) < 0.002) * rng.choice([-1, 1], ground.shape) * rng.integers(2, 60, ground.shape)
        )
        block = np.clip(ground + spikes, 0, 250).astype(np.uint8)
        for nodata in (96, 103, 104):
            decoded, valid = decode(encode(block, None, Bound("rmse", rmse), nodata=nodata, effort=effort))
            real = np.broadcast_to(valid, block.shape)
            assert np.abs(decoded.astype(float) - block)[real].max() <= 8 * rmse
            assert (decoded[real] != nodata).all()


@pytest.mark.parametrize(("dtype", "step"), [("<u8", 1.0), ("<f4", 0.0), ("<f4", 1e308), ("<i4", 2.0)])
def test_hostile_steps_are_refused_or_clipped(dtype: str, step: float) -> None:
    header = container.Header((2, 4, 4), np.dtype(dtype), Bound("rmse", 1.0), residual_step=step)
    listed = container.Section(1, pack_outliers(Outliers(np.array([3]), np.array([2**31 - 1], np.int32), 1.0)))
    means = container.Section(1 if dtype == "<f4" else 2, bytes(8 if dtype == "<f4" else 16))
    data = container.pack(header, {container.Kind.MEAN: means, container.Kind.OUTLIERS: listed})
    if step == 1e308:
        assert decode(data)[0].ravel()[3] == np.finfo(np.float32).max
    else:
        with pytest.raises(FormatError, match="damaged"):
            decode(data)


def test_what_is_not_valid_is_no_target() -> None:
    block = sea("uint16")
    valid = np.ones((96, 80), bool)
    valid[40:42, 31] = valid[70, 70] = False
    assert container.Kind.OUTLIERS not in container.unpack(encode(block, valid, Bound("rmse", 12.0)))[1]


@settings(max_examples=40)
@given(st.sets(st.integers(0, 9999), min_size=1, max_size=60), st.integers(0, 99))
def test_lists_survive(places: set[int], seed: int) -> None:
    indices = np.array(sorted(places), np.int64)
    steps = np.random.default_rng(seed).integers(-(2**31) + 1, 2**31, len(indices)).astype(np.int32)
    back = unpack_outliers(pack_outliers(Outliers(indices, steps, 3.0)), 10000, 3.0)
    np.testing.assert_array_equal(back.indices, indices)
    np.testing.assert_array_equal(back.steps, steps)


def test_mending_stays_within_the_dtype() -> None:
    block = np.full((1, 2, 2), 250, np.uint8)
    mend(block, Outliers(np.array([1, 3]), np.array([9, -200], np.int32), 5.0))
    assert block.ravel().tolist() == [250, 255, 250, 0]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff" + bytes(40),
        pack_outliers(Outliers(np.array([3, 500]), np.array([1, 1], np.int32), 1.0)),
        pack_outliers(Outliers(np.array([3, 9]), np.array([1, 1], np.int32), 1.0))[:-3],
    ],
    ids=["empty", "none", "many", "outside", "short"],
)
def test_damage_is_named(payload: bytes) -> None:
    with pytest.raises(FormatError, match=r"damaged"):
        unpack_outliers(payload, 100, 1.0)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.9])
def test_outliers_are_those_that_numpy_finds_however_many(share: float) -> None:
    rng = np.random.default_rng(11)
    block = rng.integers(0, 60000, (3, 37, 61)).astype(np.uint16)
    decoded, real = block + rng.integers(-30, 31, block.shape), rng.random((1, 37, 61)) < 0.8
    decoded[rng.random(block.shape) < share] += 5000
    found, near = find_outliers(block, decoded, real, 25.0)
    error = block.astype(np.float64) - decoded
    far = np.abs(error) > 7.9 * 5
    expected = np.flatnonzero(far & real)
    assert near == np.square(error[~far & real]).sum()
    assert (expected.size > ROOM) is (share > 0.5)
    if found is None:
        assert not expected.size
        return
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_array_equal(found.steps, np.rint(error.flat[expected] / 11))


def test_the_error_of_a_store_counts_what_steps_aside_for_nodata() -> None:
    rng, listed = np.random.default_rng(0), 0
    for _ in range(60):
        block = np.rint(100 + rng.normal(0, 3, (10, 48, 48)))
        far = rng.random(block.shape) < 4e-4
        block[far] += rng.integers(3000, 3040, np.count_nonzero(far))
        block = block.astype(np.int16)
        nodata = int(block[far][0]) + int(rng.integers(1, 3))  # what a mended element may well come to
        data = encode(block, None, Bound("rmse", float(rng.uniform(2.5, 8))), nodata=nodata)
        decoded, real = decode(data)
        error = np.where(real, block.astype(np.float64) - decoded, 0.0)
        header = read_header(data)
        figures = read_figures(header, data)
        assert figures is not None
        assert figures.error == np.square(error).sum()
        listed += "outliers" in header.section_bytes()
    assert listed > 20
