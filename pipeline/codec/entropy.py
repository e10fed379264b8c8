"""Integers to bytes: magnitudes as bit planes under Zstandard (RFC 8878), signs as they are.

Coefficients are read in strips of four rows, column by column, so one byte of a bit plane is a 4 x 2 patch; the
bit shuffle of Masui et al. (2015). Blosc does the same with its bytes in the order its threads happen to
finish, and its planes broken at block borders: larger, and different on every run.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import numpy as np
from numcodecs.zstd import compress, decompress
from numpy.typing import NDArray

from pipeline.codec import bit_planes
from pipeline.codec.container import Buffer
from pipeline.errors import FormatError

Integers = NDArray[np.int32] | NDArray[np.int64]
U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]

BIT_PLANES = 1  # the coder of this module, in the section table
LEVEL = 1  # higher levels look for matches, which bit planes of noise do not have: slower and no smaller
PREFIX = struct.Struct("<BI")
TOGETHER = 1 << 12  # values at once, at least: of small planes calls would cost more than the work


def encode_integers(values: Integers, boxes: I64) -> bytes:
    """Payload of `values` (plane, y, x) int32 or int64, read box by box (box: y0, y1, x0, x1) in each plane."""
    groups = -(-values.size // 8)
    planes = (int(bit_planes.union(values.reshape(-1))) & (2**64 - 1)).bit_length()
    bits, signs = np.zeros((planes, groups), np.uint8), np.zeros(groups + 2, np.uint8)
    table, count = bit_planes.packed_signs()[0], 0
    for first, part, flat in _parts(values):
        bit_planes.gather(part, boxes, flat)
        count = int(bit_planes.split(flat, first, table, bits, signs, count))
    frame = compress(bits, LEVEL) if planes else b""
    return b"".join([PREFIX.pack(planes, len(frame)), frame, signs[: -(-count // 8)].tobytes()])


def decode_integers(payload: Buffer, values: Integers, boxes: I64) -> None:
    """Undo `encode_integers` into `values`, all of which are written. Allocates no more than 16 times its elements.

    Raises FormatError for a payload that does not hold exactly these values.
    """
    if len(payload) < PREFIX.size:
        raise FormatError(f"integer section of {len(payload)} bytes is cut short")
    planes, length = PREFIX.unpack(payload[: PREFIX.size])
    if planes > 8 * values.itemsize or length > len(payload) - PREFIX.size:
        raise FormatError(f"integer section declares {planes} bit planes in {length} bytes; it is damaged")
    groups = -(-values.size // 8)
    bits = np.empty((planes, groups), np.uint8)
    if planes:
        unzip(payload[PREFIX.size : PREFIX.size + length], bits)
    stored = bytes(payload[PREFIX.size + length :])
    signs = np.frombuffer(stored + b"\0\0", np.uint8)
    table, count = bit_planes.packed_signs()[1], 0
    for first, part, flat in _parts(values):
        count = int(bit_planes.join(bits, first, table, signs, count, part.size, flat))
        bit_planes.scatter(flat, boxes, part)
    if -(-count // 8) != len(stored):
        raise FormatError(f"integer section holds {len(stored)} bytes of signs for {count} values; it is damaged")


def _parts(values: Integers) -> Iterator[tuple[int, Integers, Integers]]:
    """The byte of a bit plane where it starts, some planes that fill whole bytes, and room to have them in order."""
    pixels = values[0].size
    step = 8 // math.gcd(pixels, 8)
    step *= -(-TOGETHER // (step * pixels))
    flat = np.empty(-(-min(step, len(values)) * pixels // 8) * 8, values.dtype)
    for plane in range(0, len(values), step):
        part = values[plane : plane + step]
        yield plane * pixels // 8, part, flat[: -(-part.size // 8) * 8]


def unzip(frame: Buffer, target: U8) -> None:
    """Decompress one Zstandard frame that fills `target` exactly; FormatError otherwise."""
    if _content_size(frame) != target.nbytes:
        raise FormatError(f"compressed section does not declare the {target.nbytes} bytes it must hold; it is damaged")
    try:
        decompress(frame, target)
    except (RuntimeError, ValueError) as error:
        raise FormatError(f"compressed section of {len(frame)} bytes cannot be read: {error}") from error


def _content_size(frame: Buffer) -> int:
    """Frame_Content_Size of a Zstandard frame (RFC 8878, 3.1.1.1), -1 where it has none."""
    if len(frame) < 6 or bytes(frame[:4]) != b"\x28\xb5\x2f\xfd":
        return -1
    descriptor = frame[4]
    single = bool(descriptor & 0x20)
    width = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    start = 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
    if not width or len(frame) < start + width:
        return -1
    return int.from_bytes(frame[start : start + width], "little") + (256 if width == 2 else 0)
