"""An adaptive binary range coder: bits and their probabilities to bytes, all of it in integers.

Sources: range coding with carry, Martin (1979), in the form of Pavlov's LZMA (2001); a probability that learns by 1/n,
n counted in the same word, Mahoney's lpaq (2007). Every function is made to be inlined: the state of the coder is
passed and returned as numbers, so that it stays in registers. Places are unsigned where memory is read: of a signed one
Numba asks each time whether it counts from the end.

A model is a word of 31 bits: probability of a 1 in the upper 21 bits, times it was used (at most LIMIT) in the lower
10. The coder's state is (low, width, position): the interval, and how many bytes are out, or in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
State = tuple[int, int, int]

LIMIT = 500
# Bytes that `flush` writes, and bytes a decoder reads ahead.
TAIL = 4
# 2¹⁶ / (n + 1.6), the share of the error that a model learns from its n-th bit on, as LIMIT + 1 integers.
LEARNING = np.array([(65536 * 10) // (10 * n + 16) for n in range(LIMIT + 1)], np.int64)
COUNT = 1023
ONE = 1 << 21
HALF = ONE // 2 << 10
# Probabilities of 16 bits stay off 0 and 1 by this: half a byte in a thousand bits at most.
CLEARANCE = 24
TOP = 1 << 32


@jit
def model(some: int, all_: int) -> int:
    """A fresh model that expects a 1 in `some` of `all_` cases."""
    return min(max((some * ONE) // all_, ONE // 512), ONE - ONE // 512) << 10


@jit
def learnt(word: int, bit: int) -> int:
    """The model once it has seen `bit`."""
    p, n = word >> 10, word & COUNT
    target = (ONE - 1) * bit
    p += int((target - p) * LEARNING[n]) >> 16
    return (p << 10) | (n + (1 if n < LIMIT else 0))


@jit
def share(word: int) -> int:
    """The probability of a 1, in 65536ths, never 0 or 1."""
    return min(max(word >> 15, CLEARANCE), 65536 - CLEARANCE)


@jit
def put(low: int, width: int, at: int, out: U8, word: int, bit: int) -> State:
    """Encode one bit under a model; `out` has room for 8 more bytes."""
    part = (width >> 16) * share(word)
    if bit:
        width = part
    else:
        low += part
        width -= part
    return _emit(low, width, at, out)


@jit
def put_learnt(low: int, width: int, at: int, out: U8, models: I32, o: int, bit: int) -> State:
    """Encode one bit under models[o], o >= 0, which learns it."""
    word = int(np.int64(models[np.uint64(o)]))
    models[np.uint64(o)] = learnt(word, bit)
    return put(low, width, at, out, word, bit)


@jit
def put_raw(low: int, width: int, at: int, out: U8, value: int, bits: int) -> State:
    """Encode the lowest `bits` bits of value, each as likely 0 as 1, the highest first."""
    for i in range(bits - 1, -1, -1):
        width >>= 1
        if (value >> i) & 1:
            low += width
        low, width, at = _emit(low, width, at, out)
    return low, width, at


@jit
def flush(low: int, at: int, out: U8) -> int:
    """Write what is left of the interval; the number of bytes in all."""
    if low >= TOP:
        _carry(at, out)
    for i in range(TAIL):
        out[at + i] = (low >> (24 - 8 * i)) & 255
    return at + TAIL


@jit
def start(data: U8) -> State:
    """The decoder's (code, width, position) at the front of data."""
    code = 0
    for i in range(TAIL):
        code = (code << 8) | _byte(data, i)
    return code, TOP - 1, TAIL


@jit
def get(code: int, width: int, at: int, data: U8, word: int) -> tuple[int, int, int, int]:
    """The next bit under a model, after the new state. Bytes past the end of data are 0."""
    part = (width >> 16) * share(word)
    bit = 1 if code < part else 0
    if bit:
        width = part
    else:
        code -= part
        width -= part
    while width < (1 << 24):
        code = (code << 8) | _byte(data, at)
        width <<= 8
        at += 1
    return code, width, at, bit


@jit
def get_learnt(code: int, width: int, at: int, data: U8, models: I32, o: int) -> tuple[int, int, int, int]:
    """The next bit under models[o], o >= 0, which learns it, after the new state."""
    word = int(np.int64(models[np.uint64(o)]))
    code, width, at, bit = get(code, width, at, data, word)
    models[np.uint64(o)] = learnt(word, bit)
    return code, width, at, bit


@jit
def get_raw(code: int, width: int, at: int, data: U8, bits: int) -> tuple[int, int, int, int]:
    """`bits` bits that `put_raw` wrote, after the new state."""
    value = 0
    for _ in range(bits):
        width >>= 1
        bit = 1 if code >= width else 0
        code -= width * bit
        value = (value << 1) | bit
        if width < (1 << 24):
            code = (code << 8) | _byte(data, at)
            width <<= 8
            at += 1
    return code, width, at, value


@jit
def _emit(low: int, width: int, at: int, out: U8) -> State:
    while width < (1 << 24):
        if low >= TOP:
            _carry(at, out)
            low -= TOP
        out[np.uint64(at)] = low >> 24
        at += 1
        low = (low & 0xFFFFFF) << 8
        width <<= 8
    return low, width, at


@jit
def _carry(at: int, out: U8) -> None:
    """Add one to the number that the bytes before `at` are."""
    i = at - 1
    while out[np.uint64(i)] == 255:
        out[np.uint64(i)] = 0
        i -= 1
    out[np.uint64(i)] += 1


@jit
def _byte(data: U8, at: int) -> int:
    return int(data[np.uint64(at)]) if at < data.shape[0] else 0
