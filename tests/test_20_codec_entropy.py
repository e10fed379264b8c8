"""Integers to bit planes and back, against numpy.packbits; what is damaged is refused."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numcodecs.zstd import compress, decompress
from numpy.typing import NDArray

from pipeline.codec import mask, wavelet
from pipeline.codec.context import boxes_of
from pipeline.codec.entropy import decode_integers, encode_integers, unzip
from pipeline.errors import FormatError

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=11)
BLOCKS = st.one_of(
    hnp.arrays(np.int32, SHAPES),
    hnp.arrays(np.int64, SHAPES),
    hnp.arrays(np.int32, SHAPES, elements=st.integers(-3, 3)),
)


def whole(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.array([[0, values.shape[1], 0, values.shape[2]]], np.int64)


@settings(max_examples=60)
@given(BLOCKS)
@example(np.full((1, 1, 1), -(2**31), np.int32))
@example(np.full((2, 3, 5), -(2**63), np.int64))
def test_integers_survive(values: NDArray[Any]) -> None:
    back = np.empty_like(values)
    decode_integers(encode_integers(values, whole(values)), back, whole(values))
    np.testing.assert_array_equal(back, values)


@settings(max_examples=30)
@given(hnp.arrays(np.int32, SHAPES, elements=st.integers(-300, 300)))
def test_planes_are_those_of_packbits(values: NDArray[Any]) -> None:
    payload = encode_integers(values, whole(values))
    planes, length = struct.unpack("<BI", payload[:5])
    rows = [values[p, top : top + 4].T.ravel() for p in range(values.shape[0]) for top in range(0, values.shape[1], 4)]
    flat = np.concatenate(rows)
    assert planes == int(np.abs(flat).max()).bit_length()
    expected = [np.packbits(np.abs(flat) >> bit & 1, bitorder="little") for bit in reversed(range(planes))]
    stored = decompress(payload[5 : 5 + length]) if planes else b""
    assert stored == b"".join(plane.tobytes() for plane in expected)
    assert payload[5 + length :] == np.packbits(flat[flat != 0] < 0, bitorder="little").tobytes()


def plain(values: NDArray[Any], boxes: NDArray[np.int64]) -> bytes:
    """The payload, value by value: what the kernels must write, bit by bit."""
    order = [
        int(values[plane, y, x])
        for plane in range(len(values))
        for y0, y1, x0, x1 in boxes.tolist()
        for top in range(y0, y1, 4)
        for x in range(x0, x1)
        for y in range(top, min(top + 4, y1))
    ]
    planes, size = max(abs(v) for v in order).bit_length(), -(-len(order) // 8)
    rows = [sum((abs(v) >> b & 1) << i for i, v in enumerate(order)) for b in reversed(range(planes))]
    signs = [v < 0 for v in order if v]
    frame = bytes(compress(b"".join(row.to_bytes(size, "little") for row in rows), 1)) if planes else b""
    packed = sum(bit << i for i, bit in enumerate(signs)).to_bytes(-(-len(signs) // 8), "little")
    return struct.pack("<BI", planes, len(frame)) + frame + packed


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (2, 1, 9), (3, 9, 1), (1, 2, 3), (5, 17, 31), (2, 73, 145), (9, 37, 37), (2, 64, 128), (3, 33, 8)],
)
def test_payloads_are_those_written_value_by_value(shape: tuple[int, int, int], dtype: Any) -> None:
    rng = np.random.default_rng(shape)
    levels = wavelet.levels_for(*shape[1:])
    boxes = boxes_of(*shape[1:], levels)[:, :4].copy()
    values = np.rint(rng.laplace(0, 1, shape) ** 3).astype(dtype)
    values[:, : shape[1] // 2] //= 3
    values[rng.random(shape) < 0.002] = np.iinfo(dtype).min
    for case in (values, values * (np.abs(values) < 200), np.zeros_like(values)):
        payload, back = encode_integers(case, boxes), np.full_like(case, 7)
        assert payload == plain(case, boxes)
        decode_integers(payload, back, boxes)
        np.testing.assert_array_equal(back, case)


def test_boxes_are_read_one_after_the_other() -> None:
    values = np.arange(1, 31, dtype=np.int32).reshape(1, 5, 6)
    boxes = np.array([[0, 5, 0, 2], [0, 5, 2, 6]], np.int64)
    halves = [values[:, :, :2], values[:, :, 2:]]
    flat = np.concatenate([part[:, top : top + 4].transpose(0, 2, 1).ravel() for part in halves for top in (0, 4)])
    line = flat.reshape(1, 1, -1)
    payload = encode_integers(values, boxes)
    assert payload == encode_integers(line, whole(line))
    back = np.empty_like(values)
    decode_integers(payload, back, boxes)
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p[:4],
        lambda p: p[:-1],
        lambda p: p + b"\0",
        lambda p: b"\x40" + p[1:],
        lambda p: p[:1] + struct.pack("<I", 2**31) + p[5:],
        lambda p: p[:9] + bytes([p[9] ^ 0xE3]) + p[10:],
        lambda p: struct.pack("<BI", 3, 3) + b"abc",
    ],
)
def test_a_damaged_payload_is_refused(spoil: Any) -> None:
    values = np.arange(-40, 40, dtype=np.int32).reshape(1, 8, 10)
    payload = spoil(encode_integers(values, whole(values)))
    with pytest.raises(FormatError):
        decode_integers(payload, np.empty_like(values), whole(values))


def test_a_frame_larger_than_its_target_is_not_unpacked() -> None:
    bomb = bytes(compress(np.zeros(1 << 24, np.uint8), 1))
    with pytest.raises(FormatError, match="does not declare the 8 bytes"):
        unzip(bomb, np.zeros(8, np.uint8))


@settings(max_examples=30)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, max_side=9)))
def test_masks_survive(valid: NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(mask.unpack_mask(mask.pack_mask(valid), valid.shape), valid)


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32))
def test_holes_are_filled_from_within_the_range_of_what_is_known(h: int, w: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    block = rng.integers(100, 200, (2, h, w)).astype(np.int16)
    valid = rng.random((h, w)) < 0.4
    valid.flat[rng.integers(valid.size)] = True
    filled = mask.fill_holes(np.where(valid, block, -999).astype(np.int16), valid)
    np.testing.assert_array_equal(filled[:, valid], block[:, valid])
    for band in range(2):
        known = block[band][valid]
        assert known.min() <= filled[band].min() <= filled[band].max() <= known.max()


def test_a_hole_in_a_ramp_continues_the_ramp() -> None:
    ramp = np.tile(np.arange(64, dtype=np.float32), (1, 64, 1))
    valid = np.ones((64, 64), bool)
    valid[24:40, 24:40] = False
    filled = mask.fill_holes(np.where(valid, ramp, np.nan).astype(np.float32), valid)
    assert np.abs(filled - ramp).max() < 5


@pytest.mark.parametrize(
    ("valid", "kind", "shape"),
    [
        (None, mask.MaskKind.NONE, (4, 5)),
        (np.zeros((4, 5), bool), mask.MaskKind.EMPTY, (4, 5)),
        (np.eye(4, 5, dtype=bool), mask.MaskKind.PIXEL, (4, 5)),
        (np.stack([np.eye(4, 5, dtype=bool)] * 3), mask.MaskKind.PIXEL, (4, 5)),
        (np.stack([np.eye(4, 5, dtype=bool), *np.ones((2, 4, 5), bool)]), mask.MaskKind.ELEMENT, (3, 4, 5)),
    ],
)
def test_masks_are_kept_as_small_as_they_are(valid: Any, kind: mask.MaskKind, shape: tuple[int, ...]) -> None:
    found, real = mask.find_valid(np.ones((3, 4, 5), np.uint8), valid, None)
    assert (found, real.shape) == (kind, shape)
    expected = np.ones((4, 5), bool) if valid is None else valid
    np.testing.assert_array_equal(np.broadcast_to(real, (3, 4, 5)), np.broadcast_to(expected, (3, 4, 5)))
