"""Hostile bytes: decode gives a FormatError or a block, in bounded memory, and nothing else."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.codec import decode, decode_factors, read_header
from pipeline.codec.container import FIXED
from pipeline.codec.context_coder import encode_integers
from pipeline.errors import FormatError

SEEDS = [path.read_bytes() for path in sorted((Path(__file__).parent / "golden").glob("*.tslr"))]
ELEMENTS = 1 << 14


def sealed(body: bytes | bytearray) -> bytes:
    return bytes(body) + struct.pack("<I", zlib.crc32(body))


def try_decode(data: bytes) -> None:
    """Decode, unless the shape asked for is honestly large; only FormatError may come of it."""
    try:
        header = read_header(data)
        if int(np.prod(header.shape, dtype=np.int64)) > ELEMENTS:
            return
        block, valid = decode(data)
        factors = decode_factors(data)
    except FormatError:
        return
    assert factors is None or factors.block().shape == header.shape
    assert block.shape == header.shape
    assert block.dtype == header.dtype
    assert valid.shape in (header.shape, header.shape[1:])


@settings(max_examples=150)
@given(st.sampled_from(SEEDS), st.data())
def test_flipped_bits_under_a_true_checksum(seed: bytes, data: st.DataObject) -> None:
    body = bytearray(seed[:-4])
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of the hits go to the header and the table, where they hurt.
        reach = 120 if data.draw(st.booleans()) else len(body)
        body[data.draw(st.integers(0, min(reach, len(body)) - 1))] ^= data.draw(st.integers(1, 255))
    try_decode(sealed(body))


@settings(max_examples=60)
@given(st.sampled_from(SEEDS), st.integers(0, 2**16), st.binary(max_size=20))
def test_cut_short_or_lengthened(seed: bytes, cut: int, tail: bytes) -> None:
    try_decode(sealed(seed[: cut % len(seed)] + tail))
    try_decode(seed[: cut % len(seed)] + tail)


@settings(max_examples=150)
@given(
    codes=st.tuples(*[st.integers(0, 10)] * 4),
    shape=st.tuples(*[st.integers(0, 40)] * 3),
    rank=st.integers(0, 5),
    numbers=st.tuples(*[st.floats()] * 3),
    nodata=st.binary(min_size=8, max_size=8),
    centroids=st.tuples(*[st.floats(width=32)] * 2),
    sections=st.lists(st.tuples(st.integers(1, 10), st.integers(1, 3), st.binary(max_size=60)), max_size=6),
)
def test_headers_made_up(codes, shape, rank, numbers, nodata, centroids, sections) -> None:  # type: ignore[no-untyped-def]
    fixed = FIXED.pack(b"TSLR", 1, codes[0] % 2, *codes, *shape, rank, *numbers, nodata, *centroids, len(sections), 0)
    table = b"".join(struct.pack("<HHI", kind, coder, len(payload)) for kind, coder, payload in sections)
    try_decode(sealed(fixed + table + b"".join(payload for *_, payload in sections)))


@settings(max_examples=60)
@given(st.binary(max_size=300))
def test_noise(data: bytes) -> None:
    try_decode(data)
    try_decode(sealed(b"TSLR\1\0" + data))


def test_a_small_file_cannot_ask_for_a_large_basis() -> None:
    bands = 4096
    means, entries = bytes(4 * bands), bytes(bands) + encode_integers(np.zeros((bands, 1, 8), np.int32), 0)
    table = [(2, 1, means), (3, 2, entries), (4, 3, bytes(40))]
    fixed = FIXED.pack(b"TSLR", 1, 0, 2, 1, 0, 0, bands, 1, 1, bands, 30.0, 1.0, 0.0, bytes(8), 0.0, 0.0, len(table), 0)
    body = fixed + b"".join(struct.pack("<HHI", kind, coder, len(part)) for kind, coder, part in table)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="rank 4096"):
            decode(sealed(body + b"".join(part for *_, part in table)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_small_file_cannot_ask_for_much_memory() -> None:
    seed = next(seed for seed in SEEDS if len(read_header(seed).sections) >= 3)
    body = bytearray(seed[:-4])
    struct.pack_into("<III", body, 12, read_header(seed).shape[0], 4096, 4096)
    tracemalloc.start()
    try:
        decode(sealed(body))
        refused = False
    except FormatError:
        refused = True
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused
    assert peak < 30 * read_header(seed).shape[0] * 4096 * 4096
