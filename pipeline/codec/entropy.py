"""Integers to bytes: magnitudes as bit planes under Zstandard (RFC 8878), signs as they are.

Coefficients are read in strips of four rows, column by column, so one byte of a bit plane is a 4 x 2 patch; the
bit shuffle of Masui et al. (2015). Blosc does the same with its bytes in the order its threads happen to
finish, and its planes broken at block borders: larger, and different on every run.
"""

from __future__ import annotations

import struct

import numpy as np
from numcodecs.zstd import compress, decompress
from numpy.typing import NDArray

from pipeline.codec.container import Buffer
from pipeline.errors import FormatError
from pipeline.jit import jit

Integers = NDArray[np.int32] | NDArray[np.int64]
U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]

BIT_PLANES = 1  # the coder of this module, in the section table
STRIP = 4
LEVEL = 1  # higher levels look for matches, which bit planes of noise do not have: slower and no smaller
PREFIX = struct.Struct("<BI")


def encode_integers(values: Integers, boxes: I64) -> bytes:
    """Payload of `values` (plane, y, x) int32 or int64, read box by box (box: y0, y1, x0, x1) in each plane."""
    groups = -(-values.size // 8)
    magnitudes = np.zeros(8 * groups, values.dtype)
    signs = np.zeros(groups + 1, np.uint8)
    peak, count = _gather(values, boxes, magnitudes, signs)
    planes = int(peak).bit_length()
    bits = np.zeros((planes, groups), np.uint8)
    _split(magnitudes, bits)
    frame = compress(bits, LEVEL) if planes else b""
    return b"".join([PREFIX.pack(planes, len(frame)), frame, signs[: -(-int(count) // 8)].tobytes()])


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
    bits = np.zeros((planes, groups), np.uint8)
    if planes:
        unzip(payload[PREFIX.size : PREFIX.size + length], bits)
    stored = bytes(payload[PREFIX.size + length :])
    magnitudes = np.zeros(8 * groups, values.dtype)
    _join(bits, magnitudes)
    count = int(_scatter(magnitudes, np.frombuffer(stored + b"\0", np.uint8), boxes, values))
    if -(-count // 8) != len(stored):
        raise FormatError(f"integer section holds {len(stored)} bytes of signs for {count} values; it is damaged")


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


@jit
def _gather(values: Integers, boxes: I64, magnitudes: Integers, signs: U8) -> tuple[np.uint64, int]:
    """|values| in the order of the file; bit j%8 of signs[j//8] says that non-zero value j is negative.

    `signs` comes zeroed. Returns all magnitudes or'ed together, and the number of values that are not zero.
    """
    k, j, peak = 0, 0, np.uint64(0)
    for plane in range(values.shape[0]):
        for box in range(boxes.shape[0]):
            y0, y1, x0, x1 = boxes[box]
            for top in range(y0, y1, STRIP):
                for x in range(x0, x1):
                    for y in range(top, min(top + STRIP, y1)):
                        value = values[plane, y, x]
                        magnitude = abs(np.int64(value))
                        magnitudes[k] = magnitude
                        peak |= np.uint64(magnitude)
                        signs[j >> 3] |= np.uint8((value < 0) << (j & 7))
                        j += value != 0
                        k += 1
    return peak, j


@jit
def _scatter(magnitudes: Integers, signs: U8, boxes: I64, values: Integers) -> int:
    """Undo `_gather`; returns the number of values that are not zero. Signs that are missing read as plus."""
    k, j, last = 0, 0, signs.shape[0] - 1
    for plane in range(values.shape[0]):
        for box in range(boxes.shape[0]):
            y0, y1, x0, x1 = boxes[box]
            for top in range(y0, y1, STRIP):
                for x in range(x0, x1):
                    for y in range(top, min(top + STRIP, y1)):
                        magnitude = magnitudes[k]
                        negative = (signs[min(j >> 3, last)] >> (j & 7)) & 1
                        values[plane, y, x] = (magnitude ^ -negative) + negative
                        j += magnitude != 0
                        k += 1
    return j


@jit
def _transpose(x: np.uint64) -> np.uint64:
    """An 8 x 8 bit matrix transposed: bit i of byte b <-> bit b of byte i (Warren, Hacker's Delight, 7-3)."""
    t = (x ^ (x >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
    x = x ^ t ^ (t << np.uint64(7))
    t = (x ^ (x >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
    x = x ^ t ^ (t << np.uint64(14))
    t = (x ^ (x >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
    return x ^ t ^ (t << np.uint64(28))


@jit
def _split(magnitudes: Integers, bits: U8) -> None:
    """Bit i%8 of bits[0, i//8] is the top bit of magnitude i, and so on down; `bits` comes zeroed."""
    planes, groups = bits.shape
    for group in range(groups):
        peak = np.uint64(0)
        for i in range(8):
            peak |= np.uint64(magnitudes[8 * group + i])
        for low in range(0, planes, 8):
            if not peak >> np.uint64(low):
                break
            x = np.uint64(0)
            for i in range(8):
                byte = (magnitudes[8 * group + i] >> low) & 255
                x |= np.uint64(byte) << np.uint64(8 * i)
            x = _transpose(x)
            for b in range(min(8, planes - low)):
                bits[planes - 1 - low - b, group] = np.uint8((x >> np.uint64(8 * b)) & np.uint64(255))


@jit
def _join(bits: U8, magnitudes: Integers) -> None:
    """Undo `_split`; `magnitudes` comes zeroed."""
    planes, groups = bits.shape
    for low in range(0, planes, 8):
        for group in range(groups):
            x = np.uint64(0)
            for b in range(min(8, planes - low)):
                x |= np.uint64(bits[planes - 1 - low - b, group]) << np.uint64(8 * b)
            if x:
                x = _transpose(x)
                for i in range(8):
                    magnitudes[8 * group + i] |= np.int64((x >> np.uint64(8 * i)) & np.uint64(255)) << low
