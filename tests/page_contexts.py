"""Decoders of integers under contexts and of predicted blocks, from docs/format.md alone: no kernel, no speed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]
USUAL = [
    [21, 22, 1, 0, 0, 0, 33, 0, 33, 0, 0, 0, 148],
    [35, 28, 16, 13, 19, 7, 27, 6, 7, 0, 0, 0, 35],
    [26, 30, 14, 11, 16, 5, 23, 6, 4, 9, 8, 0, 28],
    [29, 29, 16, 10, 11, 5, 24, 4, 21, 8, 7, 8, 19],
    [29, 27, 14, 9, 32, 11, 31, 4, 28, 0, 0, 0, 21],
    [25, 25, 11, 7, 26, 8, 27, 3, 24, 12, 9, 0, 12],
    [20, 17, 12, 7, 16, 7, 28, 2, 17, 21, 12, 24, 5],
    [22, 20, 9, 7, 38, 10, 36, 4, 27, 0, 0, 0, 38],
    [18, 16, 10, 7, 24, 6, 40, 2, 31, 15, 9, 0, 24],
    [19, 17, 12, 7, 16, 4, 27, 1, 22, 22, 13, 26, 13],
    [20, 18, 10, 7, 23, 0, 38, 4, 37, 0, 0, 0, 92],
    [18, 18, 9, 5, 7, 0, 37, 2, 32, 17, 11, 0, 63],
    [9, 7, 5, 1, 8, 0, 35, 3, 23, 31, 13, 34, 50],
]
NEXT = [(0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)]
OWN = [(0, -1), (0, -2), (-1, 0), (-1, -1), (-1, 1), (-2, 0), (-2, 1), (-1, 2), (-1, -2), (-2, -1)]
AROUND = [(0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1), (0, -2), (0, 2), (-2, 0), (2, 0)]
AROUND += [(-1, -2), (-1, 2), (1, -2), (1, 2), (-2, -1), (-2, 1), (2, -1), (2, 1), (-2, -2), (-2, 2), (2, -2), (2, 2)]
CROSS = AROUND[:4]


class Bits:
    """The range coder; a model is a list [p, n]."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.at = payload, 4
        self.code, self.width = int.from_bytes(payload[:4].ljust(4, b"\0"), "big"), 2**32 - 1

    def _more(self) -> None:
        while self.width < 2**24:
            byte = self.payload[self.at] if self.at < len(self.payload) else 0
            self.code, self.width, self.at = self.code * 256 + byte, self.width * 256, self.at + 1

    def bit(self, model: list[int]) -> int:
        p, n = model
        part = (self.width >> 16) * min(max(p >> 5, 24), 65512)
        bit = int(self.code < part)
        if bit:
            self.width = part
        else:
            self.code -= part
            self.width -= part
        self._more()
        model[0] += (((2**21 - 1) * bit - p) * (655360 // (10 * n + 16))) >> 16
        model[1] = min(n + 1, 500)
        return bit

    def plain(self, count: int = 1) -> int:
        value = 0
        for _ in range(count):
            self.width >>= 1
            bit = int(self.code >= self.width)
            self.code -= self.width * bit
            value = 2 * value + bit
            self._more()
        return value


def subband_boxes(h: int, w: int, levels: int) -> list[Box]:
    hs, ws = [h], [w]
    for _ in range(levels):
        hs, ws = [*hs, -(-hs[-1] // 2)], [*ws, -(-ws[-1] // 2)]
    boxes = [(0, hs[levels], 0, ws[levels])]
    for a in range(levels, 0, -1):
        boxes += [(0, hs[a], ws[a], ws[a - 1]), (hs[a], hs[a - 1], 0, ws[a]), (hs[a], hs[a - 1], ws[a], ws[a - 1])]
    return boxes


def read_means(bits: Bits, planes: int, subbands: int) -> list[list[int]]:
    rows = [[[2**20, 0] for _ in range(26)] for _ in range(3)]
    codes: list[list[int]] = []
    for c in range(planes):
        codes.append([])
        for k in range(subbands):
            row = rows[0 if c == 0 else (1 if codes[c - 1][k] == 0 else 2)]
            code = codes[c - 1][k] if c else (codes[0][k - 1] if k else 64)
            if bits.bit(row[0]):
                sign, d = (-1 if bits.bit(row[1]) else 1), 1
                while bits.bit(row[min(d, 24) + 1]) and d < 255:
                    d += 1
                code = min(max(code + sign * d, 0), 255)
            codes[c].append(code)
    return codes


def shift_of(code: int) -> int:
    return max(0, ((code - 64) >> 2) - 8)


def ratio(code: int, other: int) -> int:
    if other == 0:
        return 0
    q = (code - 4 * shift_of(code)) - (other - 4 * shift_of(other))
    v, o = (1024, 1218, 1448, 1722)[q % 4], q >> 2
    return min(v * 2**o, 2**24) if o >= 0 else v >> min(-o, 40)


def relatives(k: int) -> tuple[int, int, int, int]:
    """Orientation, and the numbers of parent, first and other subband, −1 for none."""
    if k == 0:
        return 0, -1, -1, -1
    o = (k - 1) % 3 + 1
    return o, (k - 3 if (k - 1) // 3 > 0 else -1), (k - o + 1 if o > 1 else -1), (k - 1 if o == 3 else -1)


def factors(weights: list[int], codes: list[list[int]], c: int, k: int) -> list[int]:
    _, parent, first, other = relatives(k)
    code = codes[c][k]
    of = lambda number: codes[c][number] if number >= 0 else 0  # noqa: E731
    before, two = (codes[c - i][k] if c >= i else 0 for i in (1, 2))
    refer = [None] * 4 + [of(parent)] * 2 + [before] * 2 + [two] + [of(first)] * 2 + [of(other), 64]
    W = [4 * w if m is None else (4 * w * ratio(code, m)) >> 10 for w, m in zip(weights, refer, strict=True)]
    return [min(w, 8191) for w in W[:12]] + [min(W[12], 2**22)]


def contexts(payload: bytes, shape: tuple[int, ...], levels: int = 0, dependent: bool = False) -> NDArray[np.int64]:
    """Integers under contexts; the payload must end with them. Dependent: what they stand for, in steps."""
    bits, boxes = Bits(payload), subband_boxes(shape[1], shape[2], levels)
    codes = read_means(bits, shape[0], len(boxes))
    weights = [[bits.plain(9) for _ in usual] if bits.plain() else usual for usual in USUAL]
    models = [[fresh(b) for b in range(64)] for _ in range(2)]
    signs = [[2**20, 0] for _ in range(36)]
    values, seen = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for c in range(shape[0]):
        for k, box in enumerate(boxes):
            if not codes[c][k]:
                continue
            o = relatives(k)[0]
            kind = 3 * min(levels - (k - 1) // 3 - 1, 3) + o if k else 0
            W, shift = factors(weights[kind], codes, c, k), shift_of(codes[c][k])
            at, state = looker(values[c], box), 0
            expected = sum_of(W, seen, boxes, c, k)
            for y in range(box[1] - box[0]):
                for x in range(box[3] - box[2]):
                    S = np.float32(expected(y, x) + 64)
                    bucket = min((int(S.view(np.int32)) >> 21) - 532, 63)
                    high = magnitude(bits, models[state % 2][bucket], max(0, (bucket - 18) >> 2))
                    size = high * 2**shift + bits.plain(shift)
                    if size:
                        trits = [(0, 1, 2)[int(np.sign(v))] for v in (at(y, x - 1), at(y - 1, x))]
                        sign = -1 if bits.bit(signs[9 * o + 3 * trits[0] + trits[1]]) else 1
                    else:
                        sign = 1
                    stands = sign * (2 * size - (state % 2 if size else 0))
                    values[c, box[0] + y, box[2] + x] = stands if dependent else sign * size
                    state = NEXT[state][size % 2] if dependent else 0
                    seen[c, box[0] + y, box[2] + x] = min(high, 4095)
    assert bits.at == len(payload)
    return values


def looker(plane: NDArray[np.int64], box: Box) -> Callable[[int, int], int]:
    """What stands at a place of a subband; 0 outside."""

    def at(y: int, x: int) -> int:
        inside = 0 <= y < box[1] - box[0] and 0 <= x < box[3] - box[2]
        return int(plane[box[0] + y, box[2] + x]) if inside else 0

    return at


def sum_of(W: list[int], seen: NDArray[np.int64], boxes: list[Box], c: int, k: int) -> Callable[[int, int], int]:
    _, parent, first, other = relatives(k)
    look = lambda plane, number: looker(seen[plane], boxes[number]) if min(plane, number) >= 0 else lambda y, x: 0  # noqa: E731
    A, B, C = (look(c - i, k) for i in range(3))
    P, F, O = look(c, parent), look(c, first), look(c, other)  # noqa: E741

    def cross(at: Callable[[int, int], int], number: int, y: int, x: int) -> int:
        inside = y < boxes[number][1] - boxes[number][0] and x < boxes[number][3] - boxes[number][2]
        return sum(at(y + dy, x + dx) for dy, dx in CROSS) if inside else 0

    def expected(y: int, x: int) -> int:
        counts = [
            A(y, x - 1),
            A(y - 1, x),
            A(y - 1, x - 1) + A(y - 1, x + 1),
            A(y, x - 2) + A(y - 2, x),
            P(y // 2, x // 2),
            cross(P, parent, y // 2, x // 2),
            B(y, x),
            cross(B, k, y, x),
            C(y, x),
            F(y, x),
            cross(F, first, y, x),
            O(y, x),
            1,
        ]
        return sum(w * count for w, count in zip(W, counts, strict=True))

    return expected


def fresh(b: int) -> list[list[int]]:
    k, C = max(0, (b - 18) >> 2), (9 + 2 * (b % 4)) << (b // 4)
    p = min(max(2**21 * (C - 8) // (C + 120), 4096), 2**21 - 4096)
    return [[p if i == 0 or (i <= 16 and k == 0) else 2**20, 4] for i in range(19)]


def magnitude(bits: Bits, models: list[list[int]], k: int) -> int:
    if not bits.bit(models[0]):
        return 0
    run = 0
    while run < 16 and bits.bit(models[1 + run]):
        run += 1
    if run == 16:
        ones = 0
        while ones < 32 and bits.plain():
            ones += 1
        run = 15 + 2**ones + bits.plain(ones)
    low = 0
    for i in range(k):
        low = 2 * low + (bits.bit(models[17 + i]) if i < 2 else bits.plain())
    return 1 + run * 2**k + low


def predicted(
    payload: bytes,
    valid: NDArray[np.bool_],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    step: int,
    residual_of: Callable[[bytes, tuple[int, ...]], Any],
) -> NDArray[Any]:
    n, h, w = shape
    own, before, near, around, classes, *lengths = struct.unpack("<5B3x3I", payload[:20])
    parts, at = [], 20
    for length in [*lengths, len(payload)]:
        parts.append(payload[at : at + length])
        at += length
    frame = contexts(parts[0], (1, n, 5))[0]
    taps = own + before + near * around
    a = contexts(parts[1], (n, classes, taps + 1))
    kind = contexts(parts[2], (n, -(-h // 16), -(-w // 16))) if classes > 1 else np.zeros((n, h, w), int)
    residual, rest = {}, parts[3]
    for side in sorted({int(q) for q in frame[:, 2]}):
        bands = [b for b in range(n) if frame[b, 2] == side]
        size = (len(bands), (h + side - 2) // side + 1, (w + side - 2) // side + 1)
        length = int.from_bytes(rest[:4], "little")
        residual.update(zip(bands, residual_of(rest[4 : 4 + length], size), strict=True))
        rest = rest[4 + length :]
    assert not rest
    info, z, offset = np.iinfo(dtype), np.zeros(shape, object), 0
    out = np.zeros(shape, dtype)
    for b in range(n):
        offset += int(frame[b, 0])
        if dtype.itemsize == 4:
            offset = (offset - int(info.min)) % 2**32 + int(info.min)
        S = int(frame[b, 1])
        low, high = max(int(info.min) - offset, 1 - 2**30), min(int(info.max) - offset, 2**30 - 1)
        places = [(0, dy, dx) for dy, dx in OWN[:own]]
        for back in range(1, min(before, b) + 1):
            places += [(back, dy, dx) for dy, dx in [(0, 0), *AROUND[: around if back <= near else 0]]]
        for y in range(h):
            for x in range(w):
                c = a[b, kind[b, y // 16, x // 16]]
                p = int(c[-1]) * 2 ** (S - 4) + 2 ** (S - 1)
                p += sum(int(k) * sample(z, b, y, x, *place) for k, place in zip(c, places, strict=False))
                p = min(max(p >> S, low), high)
                side, *cuts = (int(value) for value in frame[b, 2:])
                row, column = (y + cuts[0]) // side, (x + cuts[1]) // side
                z[b, y, x] = min(max(p + int(residual[b][row, column]) * step, low), high)
                if not np.broadcast_to(valid, shape)[b, y, x]:
                    z[b, y, x] = (sample(z, b, y, x, 0, 0, -1) + sample(z, b, y, x, 0, -1, 0)) >> 1
                corner = max(row * side - cuts[0], 0), max(column * side - cuts[1], 0)
                z[b, y, x] = z[b, *corner]
                out[b, y, x] = z[b, y, x] + offset
    return out


def sample(z: NDArray[Any], b: int, y: int, x: int, back: int, dy: int, dx: int) -> int:
    """z at a tap, and what stands for it beyond the edges."""
    _, h, w = z.shape
    v, u = y + dy, x + dx
    if back:
        return int(z[b - back, min(max(v, 0), h - 1), min(max(u, 0), w - 1)])
    if v < 0:
        return 0
    if dy == 0 and u < 0:
        return int(z[b, y - 1, 0]) if y else 0
    return int(z[b, v, min(max(u, 0), w - 1)])
