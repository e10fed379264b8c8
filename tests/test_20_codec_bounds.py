"""Every bound is a promise: over any dtype and content, what decodes is as near as was asked, and masks come back."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codec import Bound, decode, encode, read_header
from pipeline.codec.lossless import residual_step
from pipeline.errors import BlockError, ConfigError

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"]
SHAPES = st.sampled_from(
    [(1, 1, 1), (2, 1, 9), (3, 13, 1), (1, 40, 33), (2, 33, 40), (5, 24, 17), (40, 9, 8), (60, 5, 7)]
)
BOUNDS = st.one_of(
    st.just(Bound("lossless")),
    st.floats(-10, 90).map(lambda value: Bound("snr", value)),
    st.floats(0, 50).map(lambda value: Bound("rmse", value)),
    st.floats(0, 50).map(lambda value: Bound("max_error", value)),
)


def smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Fields mixed into bands, and noise; about −3 to 3."""
    y, x = np.mgrid[: shape[1], : shape[2]]
    fields = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 4)])
    return np.tensordot(rng.standard_normal((shape[0], 3)), fields, 1) + 0.05 * rng.standard_normal(shape)


def content(kind: str, dtype: np.dtype[Any], shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    if kind == "constant":
        return np.full(shape, 7 if dtype.kind != "f" else 0.1, dtype)
    if dtype.kind == "f":
        if kind == "smooth":
            return smooth(rng, shape).astype(dtype)
        if kind == "mixed":
            return np.asarray(10.0 ** rng.uniform(-30, 30, shape) * rng.choice([-1, 1], shape)).astype(dtype)
        extreme = (rng.uniform(-1, 1, shape) * float(np.finfo(dtype).max)).astype(dtype)
        extreme.flat[0] = np.inf if rng.random() < 0.5 else -0.0
        return extreme
    info = np.iinfo(dtype)
    if kind == "smooth":
        middle = (int(info.max) + int(info.min)) // 2
        return np.clip(middle + smooth(rng, shape) * min(info.max / 8, 3000), info.min, info.max).astype(dtype)
    high = 4 if kind == "mixed" else int(info.max)
    return rng.integers(0 if kind == "mixed" else info.min, high, shape, dtype=dtype, endpoint=True)


def keeps(bound: Bound, x: NDArray[Any], y: NDArray[Any]) -> bool:
    """Whether the valid elements x, decoded as y, keep the promise; in extended precision."""
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.where(x == y, 0, x.astype(np.longdouble) - y.astype(np.longdouble))
        mse, power = np.square(e).mean(), np.square(x.astype(np.longdouble)).mean()
    if bound.mode == "lossless":
        return bool((x == y).all() and (np.signbit(x) == np.signbit(y)).all())
    value, slack = np.longdouble(bound.value or 0), 1 + 1e-9
    if bound.mode == "max_error":
        return bool(np.abs(e).max() <= value)
    if bound.mode == "rmse":
        return bool(mse <= value**2 * slack)
    return bool(mse * 10 ** (value / 10) <= power * slack) or not e.any()


@settings(max_examples=300)
@given(
    dtype=st.sampled_from(DTYPES).map(np.dtype),
    shape=SHAPES,
    kind=st.sampled_from(["smooth", "smooth", "mixed", "extreme", "constant"]),
    bound=BOUNDS,
    holes=st.sampled_from(["none", "pixels", "elements", "nodata"]),
    effort=st.sampled_from(["fast", "best"]),
    seed=st.integers(0, 2**32),
)
def test_bounds_hold(
    dtype: np.dtype[Any], shape: tuple[int, int, int], kind: str, bound: Bound, holes: str, effort: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    block = content(kind, dtype, shape, rng)
    nodata = block.flat[0].item() if holes == "nodata" and math.isfinite(block.flat[0]) else None
    valid = {"pixels": rng.random(shape[1:]) < 0.5, "elements": rng.random(shape) < 0.7}.get(holes)
    data = encode(block, valid, bound, nodata=nodata, effort=effort)
    decoded, real = decode(data)
    expected = np.broadcast_to(True if valid is None else valid, shape)
    if nodata is not None:
        expected = expected & (block != dtype.type(nodata))
        assert (decoded[expected] != dtype.type(nodata)).all()
    assert decoded.dtype == dtype
    assert decoded.shape == shape
    np.testing.assert_array_equal(np.broadcast_to(real, shape), expected)
    np.testing.assert_array_equal(decoded[~expected], read_header(data).fill)
    assert not expected.any() or keeps(bound, block[expected], decoded[expected])


@pytest.mark.parametrize("bound", [Bound("snr", 40.0), Bound("rmse", 9.0), Bound("snr", 30.0)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("effort", ["fast", "best"])
def test_a_real_scene_comes_within_one_percent_of_what_was_asked(
    sample_scene: Any, bound: Bound, masked: bool, effort: str
) -> None:
    with rasterio.open(sample_scene) as source:
        block = source.read(window=((0, 256), (100, 356)))
    valid = np.hypot(*(np.mgrid[:256, :256] - 128)) < (100 if masked else 999)
    data = encode(block, valid, bound, effort=effort)
    decoded, _ = decode(data)
    x, e = block[:, valid].astype(float), (block.astype(float) - decoded)[:, valid]
    asked = bound.value if bound.mode == "rmse" else math.sqrt(np.square(x).mean() / 10 ** (bound.value / 10))
    assert 0.985 * asked <= math.sqrt(np.square(e).mean()) <= asked
    assert len(data) < block.nbytes / 4
    assert data == encode(block, valid, bound, effort=effort)


def test_lossless_is_smaller_than_half_on_hyperspectral_like_bands() -> None:
    rng = np.random.default_rng(3)
    block = (smooth(rng, (60, 48, 64)) * 500 + 3000).astype(np.uint16)
    data = encode(block, None, Bound("lossless"))
    np.testing.assert_array_equal(decode(data)[0], block)
    assert len(data) < 0.5 * block.nbytes


@pytest.mark.parametrize(
    ("dtype", "bound"),
    [(dtype, Bound("lossless")) for dtype in [*DTYPES, "u8", "i8"]]
    + [
        (dtype, bound)
        for dtype in DTYPES
        for bound in (Bound("snr", 40.0), Bound("rmse", 0.1), Bound("max_error", 1.0))
    ],
)
def test_a_constant_or_empty_tile_takes_next_to_nothing(dtype: str, bound: Bound) -> None:
    constant = np.full((13, 256, 256), 11, dtype)
    assert len(encode(constant, None, bound)) < 400
    decoded, valid = decode(encode(constant, np.zeros((256, 256), bool), bound, nodata=3))
    assert (decoded == 3).all()
    assert not valid.any()
    assert len(encode(constant, None, bound, nodata=11)) == 76


@pytest.mark.parametrize(("nodata", "neighbour"), [(100, 101), (255, 254), (0, 1)])
def test_valid_elements_step_aside_for_nodata(nodata: int, neighbour: int) -> None:
    block = np.full((2, 16, 16), neighbour, np.uint8)
    block[:, ::2] += 1 if nodata < 255 else np.uint8(255)
    block[0, 3, 3] = nodata
    for bound in (Bound("rmse", 20.0), Bound("max_error", 1.0), Bound("max_error", 2.0)):
        decoded, valid = decode(encode(block, None, bound, nodata=nodata))
        np.testing.assert_array_equal(decoded == nodata, ~np.broadcast_to(valid, block.shape))
        assert np.count_nonzero(decoded == nodata) == 1
        assert keeps(bound, block[block != nodata], decoded[block != nodata])


def test_max_error_leaves_room_for_stepping_aside() -> None:
    rng = np.random.default_rng(8)
    block = rng.choice(np.array([97, 98, 99, 101, 102, 103], np.int16), (3, 40, 40))
    for error in (1.0, 2.0, 3.0):
        decoded, _ = decode(encode(block, None, Bound("max_error", error), nodata=100))
        assert not (decoded == 100).any()
        assert keeps(Bound("max_error", error), block, decoded)


@settings(max_examples=50)
@given(st.floats(0, 1e6))
def test_residual_steps_are_as_wide_as_the_bound_allows(max_error: float) -> None:
    whole = residual_step(np.dtype(np.int32), max_error)
    assert whole % 2 == 1
    assert (whole - 1) / 2 <= max_error < (whole + 1) / 2
    assert 1.999 * max_error <= residual_step(np.dtype(np.float32), max_error) <= 2 * max_error


@pytest.mark.parametrize(
    ("bound", "dtype", "bits"),
    [
        (Bound("lossless"), np.uint16, 8.5),
        (Bound("max_error", 1.0), np.uint16, 6.9),
        (Bound("max_error", 20.0), np.uint16, 3.1),
        (Bound("max_error", 1.0), np.float32, 7.5),
    ],
)
def test_bounds_on_every_element_are_kept_in_few_bits(sample_scene: Any, bound: Bound, dtype: Any, bits: float) -> None:
    with rasterio.open(sample_scene) as source:
        block = source.read(window=((0, 256), (0, 256))).astype(dtype)
    data = encode(block, None, bound)
    assert keeps(bound, block, decode(data)[0])
    assert 8 * len(data) / block.size < bits


def test_nan_stands_for_invalid_and_comes_back() -> None:
    rng = np.random.default_rng(5)
    block = smooth(rng, (3, 30, 30)).astype(np.float32)
    block[:, :5] = np.nan
    block[1, 20, 20] = np.nan
    decoded, valid = decode(encode(block, None, Bound("rmse", 0.02)))
    np.testing.assert_array_equal(valid, ~np.isnan(block))
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(block))
    decoded, _ = decode(encode(block, None, Bound("rmse", 0.02), nodata=-9999.0))
    np.testing.assert_array_equal(decoded == -9999.0, np.isnan(block))


def test_holes_cost_little(sample_scene: Any) -> None:
    with rasterio.open(sample_scene) as source:
        block = source.read(window=((100, 228), (200, 328)))
    half = np.mgrid[:128, :128][1] < 64
    bound = Bound("rmse", 12.0)
    whole, left, right = (len(encode(block, valid, bound, nodata=0)) for valid in (None, half, ~half))
    noise = np.random.default_rng(0).integers(1, 65535, block.shape, np.uint16)
    assert len(encode(np.where(half, block, noise), half, bound, nodata=0)) == left
    assert left + right < 1.2 * whole


def test_three_hundred_bands_and_byte_order() -> None:
    block = (smooth(np.random.default_rng(9), (300, 20, 21)) * 400 + 4000).astype(">i2")
    data = encode(block, None, Bound("snr", 45.0))
    decoded, _ = decode(data)
    assert decoded.dtype == np.int16
    assert keeps(Bound("snr", 45.0), block, decoded)
    assert 3 <= read_header(data).rank < 100
    assert data == encode(np.asfortranarray(block.astype(np.int16)), None, Bound("snr", 45.0))


@pytest.mark.parametrize(
    ("block", "options", "error"),
    [
        (np.zeros((2, 3, 4), complex), {}, BlockError),
        (np.zeros((2, 3, 4), bool), {}, BlockError),
        (np.zeros((2, 3, 4), np.float16), {}, BlockError),
        (np.zeros((2, 3, 4), np.int64), {}, BlockError),
        (np.zeros((3, 4), np.uint8), {}, BlockError),
        (np.zeros((3, 0, 4), np.uint8), {}, BlockError),
        (np.zeros((2, 3, 4), np.uint8), {"valid": np.ones((4, 3), bool)}, BlockError),
        (np.zeros((2, 3, 4), np.uint8), {"valid": np.ones((3, 4), np.uint8)}, BlockError),
        (np.zeros((2, 3, 4), np.uint8), {"nodata": 256}, ConfigError),
        (np.zeros((2, 3, 4), np.uint8), {"nodata": 0.5}, ConfigError),
        (np.zeros((2, 3, 4), np.uint8), {"nodata": math.nan}, ConfigError),
        (np.zeros((2, 3, 4), np.float32), {"nodata": -1.7e308}, ConfigError),
        (np.zeros((2, 3, 4), np.uint8), {"effort": "most"}, ConfigError),
    ],
)
def test_what_cannot_be_stored_is_said_in_one_line(block: Any, options: dict[str, Any], error: type) -> None:
    valid = options.pop("valid", None)
    with pytest.raises(error) as caught:
        encode(block, valid, Bound("snr", 30.0), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_best_is_not_larger_where_the_error_jumps_past_the_bound(share: float) -> None:
    """Maps of classes and single spikes: a search that ends far below the bound is not the end."""
    field = np.random.default_rng(4).standard_normal((96, 96)).cumsum(axis=0).cumsum(axis=1)
    block = (field > np.quantile(field, 1 - share)).astype(np.uint8)[None]
    spike = np.zeros((1, 96, 96), np.uint16)
    spike[0, 40, 50] = 50000
    for values, bound in ((block, Bound("snr", 40.0)), (spike, Bound("rmse", 1.0))):
        assert len(encode(values, None, bound, effort="best")) <= len(encode(values, None, bound))


def test_what_stands_far_below_the_strongest_component_is_coded_with_loss() -> None:
    """A Gram in float32 rounds it away; the chunk then went without loss, in twice the bytes."""
    rng = np.random.default_rng(0)
    mixed = np.tensordot(rng.standard_normal((200, 6)), rng.standard_normal((6, 16, 16)), 1)
    block = (1000 + 200 * mixed + 0.05 * rng.standard_normal(mixed.shape)).astype(np.float32)
    data = encode(block, None, Bound("snr", 90.0))
    assert len(data) < 0.2 * block.nbytes
    assert np.square(block - decode(data)[0].astype(np.float64)).sum() > 0


@pytest.mark.parametrize("effort", ["fast", "best"])
@pytest.mark.parametrize("shape", [(330, 2, 2), (100, 2, 2), (10, 4, 4)])
def test_a_small_chunk_under_max_error_is_no_larger_than_without_loss(shape: tuple[int, int, int], effort: str) -> None:
    block = np.random.default_rng([2]).integers(0, 4000, shape).astype("u2")
    bounded = encode(block, None, Bound("max_error", 2.0), effort=effort)
    assert len(bounded) <= len(encode(block, None, Bound("lossless"), effort=effort))
    assert np.abs(decode(bounded)[0].astype(int) - block).max() <= 2


def test_a_bound_whose_square_overflows_is_a_bound() -> None:
    block = np.random.default_rng([3]).normal(0, 1e-25, (3, 40, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded, _ = decode(encode(block, None, Bound("max_error", 1e300)))
    assert np.isfinite(decoded).all()
    assert np.abs(decoded - block).max() <= 1e300
