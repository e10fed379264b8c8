"""Sentinel to valid and back: what goes out invalid comes in invalid, and no valid pixel is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.raster.nodata import (
    convert,
    is_nodata,
    mark,
    nudge,
    real_elements,
    representable,
    restore,
    shared,
    unite,
    valid_from,
)

SENTINELS = [
    ("uint8", 0.0),
    ("uint8", 255.0),
    ("int16", -9999.0),
    ("int16", -32768.0),
    ("uint16", 65535.0),
    ("int32", 2147483647.0),
    ("float32", -9999.0),
    ("float32", 0.0),
    ("float32", float("nan")),
    ("float32", -3.4028234663852886e38),
    ("float32", -3.402823567e38),
    ("float64", -3.4e38),
    ("float64", float("-inf")),
]


def _block(dtype: str, nodata: float, seed: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values around the sentinel, in a dtype that can hold it, and an unrelated valid."""
    rng = np.random.default_rng(seed)
    near = nodata if np.isfinite(nodata) else 0.0
    wide = near + rng.integers(-2, 3, (3, 5, 7))
    block = convert(np.asarray(wide, np.float64), dtype) if np.dtype(dtype).kind != "f" else wide.astype(dtype)
    return block, rng.random((5, 7)) < 0.7


@pytest.mark.parametrize(("dtype", "nodata"), SENTINELS)
@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_what_is_marked_reads_back(dtype: str, nodata: float, seed: int) -> None:
    block, valid = _block(dtype, nodata, seed)
    before = block.copy()
    out = mark(nudge(block, valid, nodata), valid, nodata)
    assert np.array_equal(valid_from(out, (nodata,) * 3), valid)
    untouched = valid & ~is_nodata(before, nodata).any(axis=0)
    assert np.array_equal(out[:, untouched], before[:, untouched])


@pytest.mark.parametrize(("dtype", "nodata"), SENTINELS)
def test_a_nudge_is_the_smallest_that_counts(dtype: str, nodata: float) -> None:
    block = np.full((1, 1, 1), nodata, dtype)
    out = nudge(block.copy(), np.ones((1, 1), bool), nodata)[0, 0, 0]
    if not np.isfinite(nodata):
        assert np.array_equal(out, block[0, 0, 0], equal_nan=True)
    elif np.dtype(dtype).kind == "f":
        assert np.isfinite(out)
        assert not is_nodata(np.array([out]), nodata)[0]
        assert abs(float(out) - nodata) <= max(1e-5 * abs(nodata), 1e-30)
    else:
        assert abs(int(out) - int(nodata)) == 1


def test_a_pixel_is_valid_where_every_band_is_real() -> None:
    block = np.array([[[1.0, 0.0, 1.0, np.nan, np.inf, 1.0]], [[1.0, 1.0, 7.0, 1.0, 1.0, 0.0]]], np.float32)
    valid = valid_from(block, (0.0, 7.0))
    assert valid.tolist() == [[True, False, False, False, False, True]]


def test_a_sentinel_rounded_in_the_file_is_found() -> None:
    pixels = np.array([np.finfo(np.float32).min, -3.4e38, -3.3e38], np.float32)
    assert is_nodata(pixels, -3.4028234663852886e38).tolist() == [True, False, False]
    assert is_nodata(pixels, -3.4e38).tolist() == [False, True, False]
    assert is_nodata(np.array([0.1], np.float32), 0.1).tolist() == [True]


def test_a_sentinel_that_no_pixel_can_hold_masks_nothing() -> None:
    block = np.zeros((1, 2, 2), np.uint8)
    for nodata in (-9999.0, 0.5, float("nan"), 256.0):
        assert not representable(nodata, "uint8")
        assert valid_from(block, (nodata,)).all()


@given(
    st.lists(st.floats(-1e20, 1e20), min_size=1, max_size=20),
    st.sampled_from(["uint8", "int8", "uint16", "int32", "uint32", "int64", "uint64"]),
)
def test_conversion_rounds_and_clips_like_python(values: list[float], dtype: str) -> None:
    limits = np.iinfo(dtype)
    got = convert(np.array(values).reshape(1, 1, -1), dtype)
    top = int(limits.max) if limits.bits < 64 else int(np.nextafter(float(limits.max), 0))
    expected = [min(max(round(value), int(limits.min)), top) for value in values]
    assert got.dtype == dtype
    assert got.ravel().tolist() == expected


def test_integers_become_other_integers_by_clipping() -> None:
    assert convert(np.array([[[-5, 300, 7]]], np.int16), "uint8").ravel().tolist() == [0, 255, 7]
    assert convert(np.array([[[2**64 - 1]]], np.uint64), "int8").ravel().tolist() == [127]


def test_restore_gives_dtype_and_invalid_pixels_back() -> None:
    original = np.array([[[0, 5, 9, 4]], [[3, 0, 9, 4]]], np.uint16)
    valid = np.array([[False, False, True, True]])
    computed = np.array([[[7, 7, -3.2, 4.5]], [[7, 7, 70000, 5.5]]], np.float32)
    out = restore(computed, valid, original, 0.0)
    assert out.dtype == np.uint16
    assert out.tolist() == [[[0, 5, 1, 4]], [[3, 0, 65535, 6]]]
    assert np.array_equal(valid_from(out, (0.0, 0.0)), valid)


def test_restore_without_a_sentinel_moves_nothing() -> None:
    original = np.zeros((1, 1, 2), np.float32)
    computed = np.array([[[0.0, np.nan]]], np.float32)
    assert restore(computed, np.array([[True, False]]), original, None).tolist() == [[[0.0, 0.0]]]


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize("infinite", [False, True])
@pytest.mark.parametrize("nodata", [None, 7.0, float("nan")])
def test_elements_are_real_as_each_says_by_itself(dtype: str, infinite: bool, nodata: float | None) -> None:
    rng = np.random.default_rng(3)
    kinds = [1, 2, 3, 7] if dtype == "uint16" else [1, 2, 3, 7, np.nan, np.inf, -np.inf]
    block, mask = rng.choice(kinds, (3, 40, 40)).astype(dtype), rng.random((40, 40)) < 0.5
    sentinel = None if dtype == "uint16" and nodata != 7 else nodata
    real = real_elements(block, mask & valid_from(block, (sentinel,) * 3), sentinel, infinite=infinite)
    for y, x in np.ndindex(40, 40):
        pixel = block[:, y, x]
        missing = [bool(value != value or value == sentinel) for value in pixel]
        odd = [one or bool(abs(float(value)) == np.inf) for one, value in zip(missing, pixel, strict=True)]
        wanted = [not one for one in (missing if infinite else odd)] if any(odd) or mask[y, x] else [False] * 3
        assert real[:, y, x].tolist() == wanted


NAN = float("nan")


@pytest.mark.parametrize(
    ("bands", "wanted"),
    [
        ([("uint8", 7.0), ("int16", 7.0)], 7.0),
        ([("float32", None), ("float32", None)], None),
        ([("float32", None), ("float32", NAN)], None),  # NaN is missing in both
        ([("float32", -1.0), ("float32", -9999.0)], NAN),
        ([("float32", -1.0), ("float64", None)], NAN),
        ([("float32", NAN), ("float32", -9999.0)], NAN),
        ([("uint16", 0.0), ("uint16", 65535.0)], None),  # each is a value of the other
        ([("uint8", None), ("uint8", 255.0)], None),
        ([("uint8", 0.0), ("int16", -9999.0)], -9999.0),  # no byte is that
        ([("uint8", None), ("uint16", 65535.0)], 65535.0),
        ([("uint8", 0.0), ("float32", -9999.0)], -9999.0),
        ([("uint8", 0.0), ("float32", 254.99999)], NAN),  # taken for it
        ([("uint32", 0.0), ("float64", 2.0**32)], NAN),  # as the largest is for 2^32
        ([("float32", float("inf")), ("float32", None)], NAN),
    ],
)
def test_bands_that_differ_share_what_no_valid_pixel_of_theirs_is(
    bands: list[tuple[str, float | None]], wanted: float | None
) -> None:
    found = shared([value for _, value in bands], [dtype for dtype, _ in bands])
    assert repr(found) == repr(wanted)


def test_holes_of_each_band_get_the_one_sentinel_and_nothing_else_does() -> None:
    read = np.array([[[-1, -9999, 5]], [[-1, -9999, 5]], [[-1, -9999, 5]]], np.int32)
    block = unite(read.astype(np.float64), read, (-1.0, -9999.0, None), NAN)
    np.testing.assert_array_equal(block[:, 0], [[NAN, -9999, 5], [-1, NAN, 5], [-1, -9999, 5]])
    assert unite(read.copy(), read, (-1.0, -9999.0, None), None).tolist() == read.tolist()
