"""The byte format: what is written is read, what is not whole is refused."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.codec import (
    PREFIX,
    TAIL,
    Bound,
    Header,
    MaskKind,
    check,
    container,
    decode,
    encode,
    read_figures,
    read_header,
)
from pipeline.codec.bound import MODES
from pipeline.codec.container import Kind, Section
from pipeline.errors import ConfigError, FormatError

HEADER = Header(shape=(3, 20, 30), dtype=np.dtype(np.uint16), bound=Bound("snr", 40.0))


@settings(max_examples=50)
@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 900), st.integers(1, 900)),
    dtype=st.sampled_from(container.DTYPES),
    mode=st.sampled_from(MODES),
    value=st.floats(0, 1e9),
    mask=st.sampled_from(MaskKind),
    nodata=st.none() | st.integers(0, 127),
    step=st.floats(0, 1e30),
    payloads=st.dictionaries(st.sampled_from(Kind), st.binary(max_size=40)),
)
def test_a_header_comes_back_from_the_prefix(shape, dtype, mode, value, mask, nodata, step, payloads) -> None:  # type: ignore[no-untyped-def]
    bound = Bound(mode, None if mode == "lossless" else value)
    header = Header(shape, dtype, bound, mask, nodata, 1, 2, step, (0.25, -0.5), 3.0)
    data = container.pack(header, {kind: Section(1, payload) for kind, payload in payloads.items()})
    check(data)
    table = tuple((int(kind), 1, len(payloads[kind])) for kind in sorted(payloads))
    assert read_header(data[:PREFIX]) == replace(header, sections=table)
    assert {kind: bytes(part.payload) for kind, part in container.unpack(data)[1].items()} == payloads
    assert read_header(data).nbytes == len(data)
    assert read_header(data).section_bytes() == {kind.name.lower(): len(payloads[kind]) for kind in payloads}


def test_nodata_keeps_every_bit() -> None:
    for dtype, nodata in (("u8", 2**64 - 1), ("i8", -(2**63)), ("f4", float(np.float32(-9999.1))), ("f8", -1.7e308)):
        header = replace(HEADER, dtype=np.dtype(dtype), bound=Bound("lossless"), nodata=nodata)
        assert read_header(container.pack(header, {})).nodata == nodata
    header = replace(HEADER, dtype=np.dtype("f4"), nodata=math.nan)
    assert np.isnan(read_header(container.pack(header, {})).fill)


def reseal(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


def patched(offset: int, layout: str, *values: float) -> bytes:
    y, x = np.mgrid[:20, :30]
    block = np.stack([x * 90 + y, y * 70 - x + 500]).astype(np.uint16)
    body = bytearray(encode(block, None, Bound("rmse", 9.0))[:-4])
    struct.pack_into(layout, body, offset, *values)
    return reseal(bytes(body))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a terrasketch chunk"),
        (b"PK\3\4" + bytes(100), "not a terrasketch chunk"),
        (patched(4, "<H", 2), "format version 2"),
        (patched(6, "<H", 2), "codes that version 1 does not know"),
        (patched(8, "<B", 10), "codes that version 1 does not know"),
        (patched(9, "<B", 4), "codes that version 1 does not know"),
        (patched(10, "<B", 4), "codes that version 1 does not know"),
        (patched(10, "<B", 1), "lacks a mask section"),
        (patched(11, "<B", 6), "6 levels"),
        (patched(12, "<3I", 65536, 65536, 65536), "at most"),
        (patched(12, "<3I", 2, 1 << 14, (1 << 13) + 1), "at most"),
        (patched(12, "<3I", 0, 3, 4), "at most"),
        (patched(24, "<I", 3), "rank 3 of 2 bands"),
        (patched(24, "<I", 0), "rank 0 does not hold"),
        (patched(28, "<d", math.nan), "no bound"),
        (patched(36, "<d", math.inf), "steps"),
        (patched(44, "<d", -1.0), "steps"),
        (patched(60, "<f", math.nan), "centroids"),
        (patched(68, "<H", 17), "17 sections"),
        (patched(72, "<H", 99), "newer"),
        (patched(72, "<H", 3), "two sections of kind basis"),
        (patched(74, "<H", 9), "no mean that this reader knows"),
        (patched(76, "<I", 4000), "where its header promises"),
        (patched(118, "<B", 255), "FormatError"),
    ],
)
def test_what_is_not_a_whole_container_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode(data)
    assert message in f"FormatError {caught.value}"
    assert "\n" not in str(caught.value)


def test_every_cut_and_every_flipped_byte_is_found() -> None:
    data = encode(np.arange(600, dtype=np.int16).reshape(2, 12, 25), None, Bound("rmse", 2.0))
    check(data)
    for cut in range(len(data)):
        with pytest.raises(FormatError):
            check(data[:cut])
    for at in range(len(data)):
        with pytest.raises(FormatError):
            check(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
    with pytest.raises(FormatError):
        check(data + b"\0")


def test_ancillary_sections_are_skipped() -> None:
    block = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    data = encode(block, None, Bound("lossless"))
    start = 72 + 8 * struct.unpack_from("<H", data, 68)[0]
    body = bytearray(data[:start] + struct.pack("<HHI", 0x8002, 7, 3) + data[start:-4] + b"abc")
    body[68] += 1
    np.testing.assert_array_equal(decode(reseal(bytes(body)))[0], block)


@pytest.mark.parametrize(
    ("mode", "value"),
    [
        ("snr", None),
        ("rmse", -1.0),
        ("max_error", math.nan),
        ("snr", math.inf),
        ("lossless", 1.0),
        ("psnr", 3.0),
        ("rmse", True),
    ],
)
def test_a_bound_that_means_nothing_is_refused(mode, value) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError):
        Bound(mode, value)


@pytest.mark.parametrize("bound", [Bound("rmse", 9.0), Bound("max_error", 3.0), Bound("lossless")])
def test_the_figures_are_those_of_what_is_decoded(bound: Bound) -> None:
    rng = np.random.default_rng(3)
    block = (rng.normal(400, 60, (3, 40, 50)).cumsum(axis=2) / 9).astype(np.int32)
    valid = rng.random((40, 50)) < 0.8
    data = encode(block, valid, bound)
    error = (decode(data)[0] - block)[:, valid].astype(float)
    figures = read_figures(read_header(data[:256]), data[-TAIL:])
    assert figures is not None
    assert figures.elements == 3 * valid.sum()
    assert figures.power == pytest.approx((block[:, valid].astype(float) ** 2).sum())
    assert figures.error == pytest.approx((error**2).sum())


def test_a_container_without_figures_has_none() -> None:
    data = container.pack(HEADER, {})
    assert read_figures(read_header(data), data) is None


def test_best_effort_is_smaller_and_leaves_no_more_than_a_hundredth_of_the_bound() -> None:
    rng = np.random.default_rng(8)
    block = (rng.normal(0, 30, (4, 90, 80)).cumsum(axis=1).cumsum(axis=2) + 9000).astype(np.int32)
    shares, sizes = [], []
    for effort in ("fast", "best"):
        data = encode(block, None, Bound("rmse", 12.0), effort=effort)
        error = decode(data)[0] - block
        shares.append(np.sqrt((error.astype(float) ** 2).mean()) / 12)
        sizes.append(len(data))
    assert all(0.99 <= share <= 1 for share in shares)
    assert sizes[1] <= 0.85 * sizes[0]
