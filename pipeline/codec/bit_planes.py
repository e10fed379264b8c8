"""Bit planes of integers, eight values to a word: the bit shuffle of Masui et al. (2015), transposed in registers.

Values are first put in the order of the file. What follows runs along flat arrays that fit in L1, so it vectorises: a
byte of each of eight values is one word, and its bits, transposed (Warren, Hacker's Delight, 7-3), are one byte of each
of eight planes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

Integers = NDArray[np.int32] | NDArray[np.int64]
U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

STRIP = 4
GROUPS = 512  # of eight values, at once


@cache
def packed_signs() -> tuple[U8, U8]:
    """What the signs of eight values become for each set of those that are not zero: packed, and spread out again.

    packed[256·set + signs] has the signs of the set alone, from bit 0 up; spread[256·set + packed] undoes that.
    """
    packed, spread = np.zeros(65536, np.uint8), np.zeros(65536, np.uint8)
    _tabulate(packed, spread)
    return packed, spread


@jit
def _tabulate(packed: U8, spread: U8) -> None:
    for entry in range(65536):
        count, few, wide = 0, 0, 0
        for bit in range(8):
            if (entry >> (8 + bit)) & 1:
                few |= ((entry >> bit) & 1) << count
                wide |= ((entry >> count) & 1) << bit
                count += 1
        packed[entry], spread[entry] = few, wide


@jit
def union(flat: Integers) -> np.int64:
    """All |v| or'ed together, as int64."""
    total = np.int64(0)
    for i in range(flat.shape[0]):
        total |= abs(np.int64(flat[i]))
    return total


@jit
def gather(values: Integers, boxes: I64, flat: Integers) -> None:
    """values (plane, y, x) in the order of the file: strips of four rows, column by column; zeros behind them."""
    k = 0
    for plane in range(values.shape[0]):
        for box in range(boxes.shape[0]):
            y0, y1, x0, x1 = boxes[box]
            for top in range(y0, y1, STRIP):
                rows, width = min(STRIP, y1 - top), x1 - x0
                out = flat[k : k + rows * width]
                k += rows * width
                if rows == STRIP:
                    a, b = values[plane, top, x0:x1], values[plane, top + 1, x0:x1]
                    c, d = values[plane, top + 2, x0:x1], values[plane, top + 3, x0:x1]
                    for x in range(width):
                        out[4 * x], out[4 * x + 1], out[4 * x + 2], out[4 * x + 3] = a[x], b[x], c[x], d[x]
                    continue
                for r in range(rows):
                    row = values[plane, top + r, x0:x1]
                    for x in range(width):
                        out[x * rows + r] = row[x]
    flat[k:] = 0


@jit
def scatter(flat: Integers, boxes: I64, values: Integers) -> None:
    """Undo `gather`."""
    k = 0
    for plane in range(values.shape[0]):
        for box in range(boxes.shape[0]):
            y0, y1, x0, x1 = boxes[box]
            for top in range(y0, y1, STRIP):
                rows, width = min(STRIP, y1 - top), x1 - x0
                source = flat[k : k + rows * width]
                k += rows * width
                for r in range(rows):
                    row = values[plane, top + r, x0:x1]
                    if rows == STRIP:
                        for x in range(width):
                            row[x] = source[4 * x + r]
                    else:
                        for x in range(width):
                            row[x] = source[rows * x + r]


@jit
def split(flat: Integers, first: int, table: U8, bits: U8, signs: U8, j: int) -> int:
    """Bit planes of |flat|, highest first: bit i%8 of bits[0, first + i//8] is the top bit of value i.

    flat: a multiple of 8 long. bits: (planes, bytes). signs: two bytes longer than a plane. Both come zeroed: bit j%8
    of signs[j//8] says that non-zero value j is negative, j counting from the one given. table: the first of
    `packed_signs`. Returns the j after.
    """
    planes, octets = bits.shape[0], np.empty(8 * GROUPS, np.uint8)
    words = octets.view(np.uint64)
    for start in range(0, flat.shape[0] // 8, GROUPS):
        part = flat[8 * start : 8 * (start + GROUPS)]
        n, at, total = part.shape[0] // 8, first + start, union(part)
        if not total:
            continue
        for low in range(0, planes, 8):
            if not (total >> low) & 255:
                continue
            for i in range(part.shape[0]):
                octets[i] = np.uint8((abs(np.int64(part[i])) >> low) & 255)
            _transpose(words[:n])
            for b in range(min(8, planes - low)):
                plane, shift = bits[planes - 1 - low - b, at : at + n], np.uint64(8 * b)
                for i in range(n):
                    plane[i] = np.uint8((words[i] >> shift) & np.uint64(255))
        for i in range(part.shape[0]):
            octets[i] = np.uint8(part[i] != 0) | np.uint8(part[i] < 0) << np.uint8(1)
        _transpose(words[:n])
        j = _put_signs(words[:n], table, signs, j)
    return j


@jit
def join(bits: U8, first: int, table: U8, signs: U8, j: int, count: int, flat: Integers) -> int:
    """Undo `split` into the first `count` of flat, whose rest may be anything. table: the second of `packed_signs`."""
    planes, octets, used = bits.shape[0], np.empty(8 * GROUPS, np.uint8), np.empty(GROUPS, np.uint8)
    words = octets.view(np.uint64)
    for start in range(0, flat.shape[0] // 8, GROUPS):
        part = flat[8 * start : 8 * (start + GROUPS)]
        n, at = part.shape[0] // 8, first + start
        part[:] = 0
        used[:] = 0
        for low in range(0, planes, 8):
            words[:n] = np.uint64(0)
            some = np.uint64(0)
            for b in range(min(8, planes - low)):
                plane, shift = bits[planes - 1 - low - b, at : at + n], np.uint64(8 * b)
                for i in range(n):
                    words[i] |= np.uint64(plane[i]) << shift
                    used[i] |= plane[i]
                    some |= words[i]
            if some:
                _transpose(words[:n])
                for i in range(part.shape[0]):
                    part[i] |= np.int64(octets[i]) << low
        for i in range(count // 8 - start, n):  # what lies past the last value is not one
            used[i] &= np.uint8((1 << max(count - 8 * (start + i), 0)) - 1)
        if used[:n].any():
            j = _take_signs(used[:n], table, signs, j, words[:n])
            _transpose(words[:n])
            for i in range(part.shape[0]):
                sign = np.int64(octets[i])
                part[i] = (part[i] ^ -sign) + sign
    return j


@jit
def _transpose(words: U64) -> None:
    """Each word as an 8 x 8 bit matrix, transposed: bit i of byte b <-> bit b of byte i."""
    for i in range(words.shape[0]):
        x = words[i]
        t = (x ^ (x >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
        x = x ^ t ^ (t << np.uint64(7))
        t = (x ^ (x >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
        x = x ^ t ^ (t << np.uint64(14))
        t = (x ^ (x >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
        words[i] = x ^ t ^ (t << np.uint64(28))


@jit
def _put_signs(words: U64, table: U8, signs: U8, j: int) -> int:
    """Append to `signs`, from bit j on, the second byte of each word where its first has ones; the bit after."""
    for i in range(words.shape[0]):
        used = int(words[i] & np.uint64(255))
        if used:
            few = np.int64(table[256 * used + int((words[i] >> np.uint64(8)) & np.uint64(255))]) << (j & 7)
            signs[j >> 3] |= np.uint8(few & 255)
            signs[(j >> 3) + 1] |= np.uint8(few >> 8)
            j += _ones(used)
    return j


@jit
def _take_signs(used: U8, table: U8, signs: U8, j: int, words: U64) -> int:
    """Undo `_put_signs`: the signs of each eight values are one word. Past the last two of `signs` there is nothing."""
    last = signs.shape[0] - 2
    for i in range(used.shape[0]):
        at, here = min(j >> 3, last), int(used[i])
        pair = np.int64(signs[at]) | np.int64(signs[at + 1]) << 8
        words[i] = np.uint64(table[256 * here + ((pair >> (j & 7)) & 255)])
        j += _ones(here)
    return j


@jit
def _ones(byte: int) -> int:
    """How many bits of a byte are set."""
    n = byte - ((byte >> 1) & 0x55)
    n = (n & 0x33) + ((n >> 2) & 0x33)
    return (n + (n >> 4)) & 15
