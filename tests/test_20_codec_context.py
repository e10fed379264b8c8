"""Integers under contexts: they come back, a slow decoder agrees, damaged bytes do no harm."""

from __future__ import annotations

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codec import context, context_weights
from pipeline.codec.context import boxes_of
from pipeline.codec.context_coder import encode_integers, shifted
from pipeline.codec.context_decoder import decode_integers
from pipeline.codec.context_side import mean_codes
from pipeline.codec.context_sums import LANES, add_above, expect_inside, expect_outside, rows_of, separate_row
from pipeline.codec.wavelet import subbands
from pipeline.errors import FormatError
from pipeline.svd.lanes import LINE, NARROW
from tests.page_contexts import contexts, subband_boxes

I32 = NDArray[np.int32]
SHAPES = st.sampled_from(
    [(1, 1, 1), (1, 1, 37), (1, 37, 1), (3, 1, 2), (2, 13, 17), (4, 16, 16), (1, 40, 33), (9, 5, 3)]
)
KINDS = ["zeros", "small", "laplace", "huge", "extreme", "rare", "mixed"]


def integers(kind: str, shape: tuple[int, int, int], seed: int) -> I32:
    rng = np.random.default_rng(seed)
    info = np.iinfo(np.int32)
    if kind == "zeros":
        return np.zeros(shape, np.int32)
    if kind == "small":
        return rng.integers(-1, 2, shape, np.int32)
    if kind == "laplace":
        return np.rint(rng.laplace(0, 10 ** rng.uniform(-1, 4), shape)).astype(np.int32)
    if kind == "huge":
        return rng.integers(info.min, info.max, shape, np.int32, endpoint=True)
    if kind == "extreme":
        return rng.choice(np.array([info.min, info.max, info.min + 1, 0], np.int32), shape)
    values = np.zeros(shape, np.int32)
    if kind == "rare":
        values[rng.random(shape) < 0.02] = info.min
        return values
    for plane in values:
        plane[:] = np.rint(rng.standard_cauchy(plane.shape) * 10 ** rng.uniform(-1, 7)).clip(info.min, info.max)
    return values


def decoded(payload: bytes, shape: tuple[int, int, int], levels: int) -> I32:
    values = np.full(shape, -77, np.int32)
    decode_integers(payload, values, levels)
    return values


@settings(max_examples=120)
@given(SHAPES, st.sampled_from(KINDS), st.integers(0, 5), st.integers(0, 2**32))
def test_integers_come_back(shape: tuple[int, int, int], kind: str, levels: int, seed: int) -> None:
    values = integers(kind, shape, seed)
    payload = encode_integers(values, levels)
    np.testing.assert_array_equal(decoded(payload, shape, levels), values)
    assert payload == encode_integers(values.copy(), levels)


@settings(max_examples=40)
@given(SHAPES, st.sampled_from(KINDS), st.integers(0, 5), st.integers(0, 2**32))
def test_the_page_is_enough_to_decode_them(shape: tuple[int, int, int], kind: str, levels: int, seed: int) -> None:
    values = integers(kind, shape, seed)
    np.testing.assert_array_equal(contexts(encode_integers(values, levels), shape, levels), values)


def test_the_page_is_enough_where_weights_are_written_too() -> None:
    rng = np.random.default_rng(3)
    size = np.exp(np.add.outer(np.sin(np.arange(96) / 9), np.cos(np.arange(130) / 7)))
    values = np.rint(rng.laplace(0, 1, (3, 96, 130)) * size * [[[40.0]], [[3000.0]], [[0.4]]]).astype(np.int32)
    for levels in (0, 2):
        np.testing.assert_array_equal(contexts(encode_integers(values, levels), values.shape, levels), values)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (33, 40), (31, 64)])
def test_boxes_are_the_subbands(size: tuple[int, int]) -> None:
    for levels in range(6):
        boxes = boxes_of(*size, levels)[:, :4]
        expected = [(y.start, y.stop, x.start, x.stop) for y, x in subbands(*size, levels)]
        np.testing.assert_array_equal(boxes, expected)
        np.testing.assert_array_equal(boxes, subband_boxes(*size, levels))


def test_they_take_about_their_entropy() -> None:
    rng = np.random.default_rng(1)
    for scale in (0.1, 1.0, 30.0, 3000.0):
        values = np.rint(rng.laplace(0, scale, (4, 128, 128))).astype(np.int32)
        _, counts = np.unique(values, return_counts=True)
        entropy = -(counts / values.size * np.log2(counts / values.size)).sum()
        assert 8 * len(encode_integers(values, 0)) / values.size < 1.03 * entropy + 0.03
    assert len(encode_integers(np.zeros((200, 256, 256), np.int32), 0)) < 60


@settings(max_examples=150)
@given(SHAPES, st.sampled_from(KINDS), st.integers(0, 3), st.integers(0, 2**32), st.data())
def test_damage_gives_an_error_or_other_values(
    shape: tuple[int, int, int], kind: str, levels: int, seed: int, data: st.DataObject
) -> None:
    payload = bytearray(encode_integers(integers(kind, shape, seed), levels))
    match data.draw(st.sampled_from(["flip", "cut", "more", "noise"])):
        case "flip":
            payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
        case "cut":
            del payload[data.draw(st.integers(0, len(payload) - 1)) :]
        case "more":
            payload += data.draw(st.binary(min_size=1, max_size=9))
        case _:
            payload = bytearray(data.draw(st.binary(max_size=200)))
    try:
        values = decoded(bytes(payload), shape, levels)
    except FormatError:
        return
    assert values.shape == shape


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\0\0", b"\xff" * 7])
def test_too_few_bytes_for_many_values_are_refused_in_bounded_memory(payload: bytes) -> None:
    shape = (2, 1024, 1024)
    decode_integers(encode_integers(np.ones((1, 1, 1), np.int32), 0), np.empty((1, 1, 1), np.int32), 0)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            decoded(payload, shape, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * np.prod(shape)


@pytest.mark.parametrize("spread", [0.4, 3.0, 200.0])
def test_weights_are_of_the_terms_as_they_are_defined(spread: float) -> None:
    """Sums of products on one plane without subbands, from the definitions, in float64."""
    values = np.rint(np.random.default_rng(3).laplace(0, spread, (1, 30, 50))).astype(np.int32)
    boxes = boxes_of(30, 50, 0)
    means = mean_codes(values, boxes)
    A = shifted(values, boxes, means)
    sums, counts = np.zeros((context.KINDS, NARROW * LINE)), np.zeros(context.KINDS, np.int64)
    context_weights._moments(A, boxes, means, 1, sums, counts)
    w = np.empty(context.TERMS, np.int64)
    context.products(means, boxes, 0, 0, np.full((context.KINDS, context.TERMS), 256), w)
    rows = []
    wide = np.pad(A[0].astype(float), ((2, 0), (2, 1)))
    for y, x in product(range(2, 32), range(4, 52)):
        left, above = wide[y, x - 1], wide[y - 1, x]
        corners = wide[y - 1, x - 1] + wide[y - 1, x + 1]
        mean = w[context.MEAN] / context.UNIT
        terms = np.zeros(context.TERMS + 1)
        terms[[context.LEFT, context.ABOVE, context.CORNERS]] = left, above, corners
        terms[[context.SECOND, context.MEAN, -1]] = wide[y, x - 2] + wide[y - 2, x], mean, wide[y, x]
        rows.append(terms / (0.15 * (left + above + corners / 2) + 0.3 * mean + 0.2))
    found = sums[0].reshape(NARROW, LINE)[: context.TERMS + 1, : context.TERMS + 1]
    np.testing.assert_allclose(found, np.transpose(rows) @ np.array(rows), rtol=1e-4)
    assert counts[0] == 30 * 48


def terms_of(A: I32, boxes: NDArray[np.int64], c: int, k: int, y: int, x: int) -> NDArray[np.int64]:
    """What stands around element (y, x) of subband k in plane c, for each term but the mean: docs/format.md."""

    def at(plane: int, box: int, dy: int, dx: int) -> int:
        if plane < 0 or box < 0:
            return 0
        y0, y1, x0, x1 = boxes[box, :4]
        return int(A[plane, y0 + dy, x0 + dx]) if 0 <= dy < y1 - y0 and 0 <= dx < x1 - x0 else 0

    def about(plane: int, box: int, dy: int, dx: int) -> int:
        y0, y1, x0, x1 = boxes[box, :4]
        if dy >= y1 - y0 or dx >= x1 - x0:
            return 0
        return sum(at(plane, box, dy + i, dx + j) for i, j in ((-1, 0), (1, 0), (0, -1), (0, 1)))

    parent, first, other = (int(number) for number in boxes[k, 4:7])
    terms = np.zeros(context.TERMS, np.int64)
    terms[context.LEFT], terms[context.ABOVE] = at(c, k, y, x - 1), at(c, k, y - 1, x)
    terms[context.CORNERS] = at(c, k, y - 1, x - 1) + at(c, k, y - 1, x + 1)
    terms[context.SECOND] = at(c, k, y, x - 2) + at(c, k, y - 2, x)
    terms[context.PARENT], terms[context.ABOUT_PARENT] = at(c, parent, y // 2, x // 2), about(c, parent, y // 2, x // 2)
    terms[context.BEFORE], terms[context.ABOUT_BEFORE] = at(c - 1, k, y, x), about(c - 1, k, y, x)
    terms[context.TWO_BEFORE], terms[context.OTHER] = at(c - 2, k, y, x), at(c, other, y, x)
    terms[context.FIRST], terms[context.ABOUT_FIRST] = at(c, first, y, x), about(c, first, y, x)
    if parent < 0:
        terms[context.ABOUT_PARENT] = 0
    if first < 0:
        terms[context.ABOUT_FIRST] = 0
    return terms


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 4), st.integers(0, 2**32))
def test_sums_are_of_the_terms_as_they_are_defined(height: int, width: int, levels: int, seed: int) -> None:
    """On every row of every subband, with the edges of subbands and of planes; nothing beside a row counts."""
    rng = np.random.default_rng(seed)
    A = rng.integers(0, context.MOST, (3, height, width), np.int32, endpoint=True)
    boxes, rows, w = boxes_of(height, width, levels), rows_of(width), np.empty(context.TERMS, np.int64)
    means = rng.choice([40, 64, 90], (3, len(boxes)))
    separate = np.empty((context.TERMS, width + LANES), np.int32)
    c, k = int(rng.integers(3)), int(rng.integers(len(boxes)))
    context.products(means, boxes, c, k, rng.integers(0, 300, (context.KINDS, context.TERMS)), w)
    n = int(boxes[k, 3] - boxes[k, 2])
    outside, inside, above = np.empty((3, height * width + LANES), np.int32)
    expect_outside(A, boxes, c, k, w, rows, outside)
    expect_inside(A, boxes, c, k, w, outside, inside)
    for y in range(boxes[k, 0], boxes[k, 1] if n else boxes[k, 0]):
        terms = np.array([terms_of(A, boxes, c, k, y - int(boxes[k, 0]), x) for x in range(n)])
        own = A[c, y, boxes[k, 2] : boxes[k, 3]]
        itself = np.zeros((n, context.TERMS), np.int64)
        itself[1:, context.LEFT], itself[2:, context.SECOND] = own[: n - 1], own[: max(n - 2, 0)]
        row, here = y - int(boxes[k, 0]), (c * height + y) * width + int(boxes[k, 2])
        at = int(boxes[k, 9]) + row * n
        add_above(A.reshape(-1), here, width, row, n, w, outside, at, above, 0)
        np.testing.assert_array_equal(inside[at : at + n], terms @ w + w[context.MEAN])
        np.testing.assert_array_equal(above[:n], (terms - itself) @ w + w[context.MEAN])
        separate_row(A, boxes, c, k, y, w, rows, separate.reshape(-1), width + LANES)
        wanted = (terms - itself) * w
        wanted[:, context.MEAN] = w[context.MEAN]
        np.testing.assert_array_equal(separate[:, :n], wanted.T)


def test_one_byte_less_or_more_is_told() -> None:
    values = integers("laplace", (4, 16, 16), 5)
    payload = encode_integers(values, 1)
    for wrong in (payload[:-1], payload + b"\0"):
        with pytest.raises(FormatError):
            decoded(wrong, (4, 16, 16), 1)
