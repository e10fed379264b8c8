"""Foretold integers: exact or within the bound, holes nearly free, damaged sections harmless."""

from __future__ import annotations

import struct
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codec import Bound, decode, encode, predicted, read_header
from pipeline.codec.container import Header, Section, unpack
from pipeline.codec.entropy import BIT_PLANES
from pipeline.codec.predictor import Shape
from pipeline.codec.predictor_fit import Plan, find_repeats
from pipeline.errors import FormatError
from tests.page_contexts import contexts
from tests.page_contexts import predicted as slow_predicted

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4"]
SHAPES = st.sampled_from([(1, 1, 1), (3, 1, 1), (2, 1, 9), (3, 13, 1), (1, 2, 2), (4, 17, 33), (7, 5, 6)])
PLANS = st.builds(
    Plan,
    shape=st.tuples(st.integers(0, 10), st.integers(0, 6), st.integers(0, 6), st.integers(0, 24)).map(
        lambda t: Shape(t[0], max(t[1:3]), min(t[1:3]), t[3])
    ),
    classes=st.integers(1, 4),
    samples=st.sampled_from([1, 100, 10000]),
    rounds=st.integers(0, 3),
)


def header_of(block: NDArray[Any], step: int) -> Header:
    return Header(block.shape, block.dtype, Bound("lossless"), residual_step=float(step))


def content(kind: str, dtype: np.dtype[Any], shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    info = np.iinfo(dtype)
    if kind == "noise":
        middle, reach = (int(info.min) + int(info.max) + 1) // 2, min(int(info.max) - int(info.min), 2**30) // 2
        return rng.integers(middle - reach, middle + reach, shape, np.int64).astype(dtype)
    y, x = np.mgrid[: shape[1], : shape[2]]
    fields = np.stack([np.sin(x / 5), np.cos(y / 4), np.sin((x + y) / 6)])
    smooth = np.tensordot(rng.standard_normal((shape[0], 3)), fields, 1) * 20 + rng.normal(0, 1, shape)
    edge = int(info.max) if kind == "high" else int(info.min)
    return (edge + np.rint(smooth)).clip(int(info.min), int(info.max)).astype(dtype)


@settings(max_examples=150)
@given(
    st.sampled_from(DTYPES).map(np.dtype),
    SHAPES,
    st.sampled_from(["noise", "high", "low"]),
    PLANS,
    st.sampled_from([1, 3, 41, 2**31 - 1]),
    st.sampled_from(["fast", "best"]),
    st.integers(0, 2**32),
)
def test_what_is_foretold_comes_back(
    dtype: np.dtype[Any], shape: tuple[int, int, int], kind: str, plan: Plan, step: int, effort: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    block = content(kind, dtype, shape, rng)
    real = rng.random((rng.choice([1, shape[0]]), *shape[1:])) < rng.choice([0.0, 0.6, 1.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicted, "PLANS", {effort: ((0, plan),)})
        found = predicted.encode_predicted(block, real, step, effort)
    assert found is not None
    section, told = found
    fast = predicted.decode_predicted(header_of(block, step), section, real)
    np.testing.assert_array_equal(fast, told)
    error = np.abs(fast.astype(np.int64) - block)
    assert error[np.broadcast_to(real, shape)].max(initial=0) <= (step - 1) // 2
    if section.coder != BIT_PLANES:
        slow = slow_predicted(bytes(section.payload), real, shape, dtype, step, contexts)
        np.testing.assert_array_equal(slow, fast)


@pytest.mark.parametrize("dtype", ["u4", "i4"])
@pytest.mark.parametrize("effort", ["fast", "best"])
def test_values_that_spread_too_far_are_stored_otherwise(dtype: str, effort: str) -> None:
    info = np.iinfo(dtype)
    block = np.random.default_rng(1).choice(np.array([info.min, info.max], dtype), (2, 9, 9))
    assert predicted.encode_predicted(block, np.ones((1, 9, 9), bool), 1, effort) is None
    for bound in (Bound("lossless"), Bound("max_error", 2.0)):
        decoded, _ = decode(encode(block, None, bound, effort=effort))
        assert np.abs(decoded.astype(np.int64) - block.astype(np.int64)).max() <= (bound.value or 0)


@pytest.mark.parametrize("effort", ["fast", "best"])
@pytest.mark.parametrize("bound", [Bound("lossless"), Bound("max_error", 1.0)])
def test_bands_that_repeat_or_stand_still(effort: str, bound: Bound) -> None:
    band = content("noise", np.dtype("u2"), (1, 40, 50), np.random.default_rng(2))
    block = np.concatenate([band, band, np.full_like(band, 7), band])
    data = encode(block, None, bound, effort=effort)
    decoded, _ = decode(data)
    assert np.abs(decoded.astype(np.int64) - block).max() <= (bound.value or 0)
    if effort == "best":
        assert len(data) < 1.1 * len(encode(band, None, bound, effort=effort)) + 600


def sample(path: Any, size: int) -> NDArray[Any]:
    with rasterio.open(path) as source:
        block: NDArray[Any] = source.read(window=((0, size), (0, size)))
    return block


@pytest.mark.parametrize("effort", ["fast", "best"])
@pytest.mark.parametrize("bound", [Bound("lossless"), Bound("max_error", 2.0)])
def test_what_stands_in_holes_does_not_matter(sample_scene: Any, effort: str, bound: Bound) -> None:
    block = sample(sample_scene, 128)
    left = np.mgrid[:128, :128][1] < 64
    noise = np.random.default_rng(0).integers(1, 65535, block.shape, np.uint16)
    data = encode(np.where(left, block, noise), left, bound, nodata=0, effort=effort)
    assert data == encode(block, left, bound, nodata=0, effort=effort)
    halves = len(data) + len(encode(block, ~left, bound, nodata=0, effort=effort))
    assert halves < 1.12 * len(encode(block, None, bound, nodata=0, effort=effort))


def test_a_hole_costs_next_to_nothing(sample_scene: Any) -> None:
    block = sample(sample_scene, 128)
    ring = np.hypot(*(np.mgrid[:128, :128] - 64)) < 15
    for effort in ("fast", "best"):
        sizes = [len(encode(block, valid, Bound("lossless"), effort=effort)) for valid in (ring, None)]
        assert sizes[0] < 1.25 * ring.mean() * sizes[1] + 2500


@pytest.mark.parametrize(
    ("bound", "best", "fast"), [(Bound("lossless"), 7.4, 7.9), (Bound("max_error", 1.0), 5.8, 6.3)]
)
def test_fewer_bits_than_before(sample_scene: Any, bound: Bound, best: float, fast: float) -> None:
    block = sample(sample_scene, 256)
    for effort, bits in (("best", best), ("fast", fast)):
        data = encode(block, None, bound, effort=effort)
        assert data == encode(block.copy(), None, bound, effort=effort)
        assert 8 * len(data) / block.size < bits
        assert read_header(data).sections[0][0] == 9


def test_classes_pay_where_a_scene_has_two_kinds_of_ground() -> None:
    rng = np.random.default_rng(4)
    noise = np.cumsum(rng.normal(0, 9, (2, 96, 96)), axis=2)
    split = np.mgrid[:96, :96][0] < 48
    block = np.stack([noise[0], np.where(split, noise[0], -noise[0]) + rng.normal(0, 1, (96, 96))]).astype(np.int16)
    sizes = []
    for classes in (1, 2):
        plan = Plan(Shape(4, 1, 1, 4), classes, 10000, 3)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(predicted, "PLANS", {"best": ((0, plan),)})
            sizes.append(len(encode(block, None, Bound("lossless"), effort="best")))
    assert sizes[1] < 0.93 * sizes[0]


ALL = np.ones((1, 17, 18), bool)


@settings(max_examples=60)
@given(
    st.integers(2, 9),
    st.integers(0, 8),
    st.integers(0, 8),
    st.sampled_from([1, 5]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_pixels_that_repeat_are_written_once(
    side: int, cut_y: int, cut_x: int, step: int, holes: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    v, u = cut_y % side, cut_x % side
    fine = rng.integers(0, 60000, (2, 31, 37), np.uint16)
    coarse = fine[:1, : -(-(31 + v) // side), : -(-(37 + u) // side)].repeat(side, 1).repeat(side, 2)
    block = np.concatenate([fine, coarse[:, v : v + 31, u : u + 37]])
    real = np.ones((3, 31, 37), bool)
    if holes:
        real[2, :, 20:] = False
        block[2, :, 20:] = 9
    found = predicted.encode_predicted(block, real, step, "best")
    alone = predicted.encode_predicted(fine, real[:2], step, "best")
    assert found is not None
    assert alone is not None
    np.testing.assert_array_equal(found[1], predicted.decode_predicted(header_of(block, step), found[0], real))
    error = np.abs(found[1].astype(np.int64) - block)
    assert error[real].max() <= step // 2
    squares = (-(-31 // side) + 1) * (-(-37 // side) + 1)
    assert len(found[0].payload) - len(alone[0].payload) < 2.3 * squares + 120


def test_squares_are_those_there_are() -> None:
    plane = np.arange(12 * 15, dtype=np.int32).reshape(12, 15)
    planes = np.stack([plane, *(plane.repeat(n, 0).repeat(n, 1)[n // 2 :, 1:][:12, :15] for n in (2, 3, 6))])
    everything = np.ones((1, 12, 15), bool)
    np.testing.assert_array_equal(find_repeats(planes, everything), [[1, 0, 0], [2, 1, 1], [3, 1, 1], [6, 3, 1]])
    planes[1, 5, 5] += 1
    assert find_repeats(planes, everything)[1, 0] == 1
    hole = everything.copy()
    hole[0, 5, 5] = False
    assert find_repeats(planes, hole)[1, 0] == (2 if (5 + 1) % 2 else 1)
    planes[1, 5, 5] -= 1
    assert find_repeats(planes, hole)[1, 0] == 1
    assert find_repeats(plane[None, :1], everything[:, :1])[0, 0] == 1


def a_section(step: int = 1) -> tuple[Header, Section]:
    block = content("low", np.dtype("i2"), (3, 17, 18), np.random.default_rng(3))
    plan = Plan(Shape(5, 2, 1, 3), 2, 1000, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicted, "PLANS", {"best": ((0, plan),)})
        found = predicted.encode_predicted(block, ALL, step, "best")
    assert found is not None
    return header_of(block, step), found[0]


@settings(max_examples=150)
@given(st.data())
def test_damaged_sections_give_an_error_or_some_block(data: st.DataObject) -> None:
    header, section = a_section()
    payload = bytearray(section.payload)
    for _ in range(data.draw(st.integers(1, 3))):
        reach = 24 if data.draw(st.booleans()) else len(payload)
        payload[data.draw(st.integers(0, reach - 1))] ^= data.draw(st.integers(1, 255))
    del payload[data.draw(st.integers(1, len(payload))) :]
    step = data.draw(st.sampled_from([1.0, 3.0, 2.0**31 - 1]))
    try:
        block = predicted.decode_predicted(replace(header, residual_step=step), Section(2, bytes(payload)), ALL)
    except FormatError:
        return
    assert block.shape == header.shape


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("value", [0, 255])
def test_numbers_out_of_range_are_refused_or_harmless(place: int, value: int) -> None:
    header, section = a_section()
    payload = bytearray(section.payload)
    payload[place] = value
    with pytest.raises(FormatError):
        predicted.decode_predicted(header, Section(2, bytes(payload)), ALL)


@pytest.mark.parametrize(
    ("field", "index", "value"),
    [
        ("offsets", 1, 40000),
        ("shifts", 0, 3),
        ("shifts", 2, 21),
        ("repeats", (0, 0), 0),
        ("repeats", (1, 0), 17),
        ("repeats", (2, 1), 1),
        ("repeats", (2, 2), -1),
        ("classes", (0, 0, 0), 2),
    ],
)
def test_models_out_of_range_are_refused(field: str, index: Any, value: int) -> None:
    header, section = a_section()
    model, rest = predicted._unpack(section.payload, header)
    predicted.decode_predicted(header, Section(2, predicted._pack(model) + rest), ALL)
    getattr(model, field)[index] = value
    with pytest.raises(FormatError):
        predicted.decode_predicted(header, Section(2, predicted._pack(model) + rest), ALL)


@pytest.mark.parametrize("step", [0.0, 2.0, 1.5, 2.0**31 + 1])
def test_steps_that_are_not_odd_are_refused(step: float) -> None:
    header, section = a_section()
    with pytest.raises(FormatError):
        predicted.decode_predicted(replace(header, residual_step=step), section, ALL)
    with pytest.raises(FormatError):
        predicted.decode_predicted(replace(header, dtype=np.dtype("f4")), section, ALL)


def test_a_small_section_cannot_ask_for_many_coefficients() -> None:
    payload = struct.pack("<BBBBBxxxIII", 10, 64, 64, 8, 16, 0, 0, 0)
    header = Header((65536, 1, 1), np.dtype("u2"), Bound("lossless"), residual_step=1.0)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            predicted.decode_predicted(header, Section(2, payload), ALL)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_memory_is_a_few_times_the_block(sample_scene: Any) -> None:
    block = sample(sample_scene, 256)
    data = encode(block, None, Bound("lossless"), effort="best")
    decode(data)
    tracemalloc.start()
    try:
        decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * block.size
    assert unpack(data)[0].residual_step == 1.0
