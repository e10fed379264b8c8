"""Golden containers decode for ever; a second decoder, in NumPy from docs/format.md alone, agrees bit by bit."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs.zstd import decompress
from numpy.typing import NDArray

from pipeline.codec import Bound, check, decode, encode, read_header
from pipeline.codec.container import Kind
from tests.page_contexts import contexts, predicted, subband_boxes

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.tslr"))
DTYPES = ["<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8"]
F32 = np.float32


def strips(shape: tuple[int, ...], boxes: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int]]:
    """Every (plane, y, x) in the order of the file."""
    return [
        (plane, y, x)
        for plane in range(shape[0])
        for y0, y1, x0, x1 in boxes
        for top in range(y0, y1, 4)
        for x in range(x0, x1)
        for y in range(top, min(top + 4, y1))
    ]


def integers(payload: bytes, shape: tuple[int, ...], boxes: Any = None, dtype: Any = np.int64) -> NDArray[Any]:
    planes, length = struct.unpack("<BI", payload[:5])
    order = strips(shape, boxes or [(0, shape[1], 0, shape[2])])
    values = [0] * len(order)
    bits = np.frombuffer(decompress(payload[5 : 5 + length]) if length else b"", np.uint8)
    for plane in bits.reshape(planes, -1) if planes else ():
        row = np.unpackbits(plane, bitorder="little")[: len(order)]
        values = [2 * value + int(bit) for value, bit in zip(values, row, strict=True)]
    signs = iter(np.unpackbits(np.frombuffer(payload[5 + length :], np.uint8), bitorder="little"))
    values = [-value if value and next(signs) else value for value in values]
    out = np.zeros(shape, dtype)
    for index, value in zip(order, values, strict=True):
        out[index] = value
    return out


def unlift(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """One level of the inverse wavelet along the first axis."""
    n = len(x)
    if n == 1:
        return x
    s, d = x[: (n + 1) // 2] * F32(0.869864464), x[(n + 1) // 2 :] * F32(1.14960444)
    at = lambda part, i: part[np.clip(i, 0, len(part) - 1)]  # noqa: E731
    i, j = np.arange(len(s)), np.arange(len(d))
    s = s - F32(0.443506867) * (at(d, i - 1) + at(d, i))
    d = d - F32(0.882911086) * (at(s, j) + at(s, j + 1))
    s = s + F32(0.0529801175) * (at(d, i - 1) + at(d, i))
    d = d + F32(1.58613431) * (at(s, j) + at(s, j + 1))
    out = np.empty_like(x)
    out[::2], out[1::2] = s, d
    return out


def slow_decode(data: bytes) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A decoder written from docs/format.md: no kernel, no check, no speed."""
    assert zlib.crc32(data[:-4]) == struct.unpack("<I", data[-4:])[0]
    fields = struct.unpack("<4sHHBBBBIIIIddd8sffHH", data[:72])
    _, _, flags, code, _, mask, levels, n, h, w, k, _, step, residual, sentinel, c1, c2, count, _ = fields
    dtype = np.dtype(DTYPES[code])
    fill = np.frombuffer(sentinel, dtype, 1)[0] if flags & 1 else dtype.type(np.nan if code > 7 else 0)
    offset, parts, coders = 72 + 8 * count, {}, {}
    for kind, coder, length in struct.iter_unpack("<HHI", data[72:offset]):
        coders[kind] = coder
        parts[kind] = data[offset : offset + length]
        offset += length
    valid = np.full((h, w), mask == 0)
    if mask in (1, 2):
        shape = (h, w) if mask == 1 else (n, h, w)
        bits = np.unpackbits(np.frombuffer(decompress(parts[1]), np.uint8))
        valid = bits[: np.prod(shape)].reshape(shape).astype(bool)
    if mask == 3:
        return np.full((n, h, w), fill), valid
    if 6 in parts:
        block = direct(parts[6], (n, h, w), dtype)
    elif 10 in parts:
        block = together(parts[10], (n, h, w), data[:72])
    elif 9 in parts:
        read = contexts if coders[9] == 2 else integers
        block = predicted(parts[9], valid, (n, h, w), dtype, int(residual), read)
    else:
        block = layer(parts, coders, (n, h, w), dtype, (k, levels, step, c1, c2))
        if 5 in parts:
            sum_ = block.astype(np.float64) + residual * integers(parts[5], (n, h, w))
            block = to_dtype(sum_, dtype)
        if 8 in parts:
            count = struct.unpack("<I", parts[8][:4])[0]
            gaps, steps = contexts(parts[8][4:], (2, 1, count))[:, 0]
            flat, places = block.reshape(-1), np.cumsum(gaps) - 1
            flat[places] = to_dtype(flat[places].astype(np.float64) + residual * steps, dtype)
    if flags & 1:
        block = off_nodata(block, data[:72])
    return np.where(valid, block, fill), valid


def together(payload: bytes, shape: tuple[int, ...], header: bytes) -> NDArray[Any]:
    """The parts of a block: every pixel has the value of the cell that it stands in."""
    dtype, nodata = np.dtype(DTYPES[header[8]]), header[6] & 1
    block, offset, known = np.empty(shape, dtype), 2, list[tuple[int, int, int]]()
    for _ in range(struct.unpack("<H", payload[:2])[0]):
        down, across, top, left, count, finer, length = struct.unpack("<HHHHIII", payload[offset : offset + 20])
        bands = np.frombuffer(payload[offset + 20 :], "<u2", count)
        weights = np.frombuffer(payload[offset + 20 + 2 * count :], "<f4", count * (finer + 1) if finer else 0)
        offset += 20 + 2 * count + 4 * weights.size + length
        cells, _ = slow_decode(payload[offset - length : offset])
        y, x = (
            -(-first // side) + (np.arange(length_of) - first) // side
            for first, side, length_of in ((top, down, shape[1]), (left, across, shape[2]))
        )
        if finer:
            within = [b for a, c, b in known if a <= down and c <= across and a * c < down * across]
            told = foretold_cells(block[within], weights.reshape(count, -1), y, x)
            told = told if dtype.kind == "f" else np.rint(told)
            cells = off_nodata(to_dtype(told + cells, dtype), header) if nodata else to_dtype(told + cells, dtype)
        block[bands] = cells[:, y[:, None], x[None, :]]
        known += [(down, across, b) for b in bands]
    return block


def foretold_cells(finer: NDArray[Any], weights: NDArray[np.float32], y: Any, x: Any) -> NDArray[np.float64]:
    """The constant and, band by band, the weighted means of the pixels of each cell, added up row by row."""
    told = np.empty((len(weights), y[-1] + 1, x[-1] + 1))
    for i, j in np.ndindex(told.shape[1:]):
        inside = finer[:, y == i][:, :, x == j].reshape(len(finer), -1).astype(np.float64)
        means = [sum(band.tolist()) / len(band) for band in inside]
        for own, row in zip(told[:, i, j : j + 1], weights.astype(np.float64), strict=True):
            own[:] = row[-1]
            for weight, mean in zip(row, means, strict=False):
                own += weight * mean
    return told


def off_nodata(block: NDArray[Any], header: bytes) -> NDArray[Any]:
    """What equals the nodata value moved on by one."""
    dtype = np.dtype(DTYPES[header[8]])
    fill = np.frombuffer(header[52:60], dtype, 1)[0]
    if fill != fill:
        return block
    top = np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max
    if dtype.kind == "f":
        other = np.nextafter(fill, dtype.type(top if fill < top else -top))
    else:
        other = dtype.type(int(fill) + (1 if fill < top else -1))
    return np.where(block == fill, other, block)


def direct(payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    axes, first = struct.unpack("<Bq", payload[:9])
    wide = np.int64 if dtype.itemsize == 8 else np.int32
    d = integers(payload[9:], shape, dtype=wide)
    for axis in range(3):
        if axes >> axis & 1:
            d = np.cumsum(d, axis=axis, dtype=wide)
    u = d + np.array([first], wide)
    if dtype.kind == "f":
        return np.where(u < 0, u ^ np.iinfo(wide).max, u).view(dtype)
    return u.astype(dtype)


def layer(
    parts: dict[int, bytes], coders: dict[int, int], shape: Any, dtype: np.dtype[Any], numbers: Any
) -> NDArray[Any]:
    n, h, w = shape
    k, levels, step, c1, c2 = numbers
    mean = np.frombuffer(parts[2], "<f4" if len(parts[2]) == 4 * n else "<f8").astype(np.float64)
    total = np.zeros(shape, F32)
    if k:
        exponents = np.frombuffer(parts[3][:k], np.int8)
        entries = (contexts if coders[3] == 2 else integers)(parts[3][k:], (k, 1, n))[:, 0]
        V = entries.astype(F32) * F32(2.0) ** exponents[:, None].astype(F32)
        hs, ws = [h], [w]
        for _ in range(levels):
            hs, ws = [*hs, -(-hs[-1] // 2)], [*ws, -(-ws[-1] // 2)]
        boxes = subband_boxes(h, w, levels)
        dependent = coders[4] == 3
        q = contexts(parts[4], (k, h, w), levels, True) if dependent else integers(parts[4], (k, h, w), boxes)
        size = np.abs(q).astype(F32)
        z = np.sign(q).astype(F32) * np.where(size == 1, size + F32(c1), np.where(size > 1, size + F32(c2), 0)).astype(
            F32
        )
        if 7 in parts:
            turn(z, parts[7], boxes)
        for a in range(levels, 0, -1):
            for plane in z:
                plane[: hs[a - 1], : ws[a - 1]] = unlift(unlift(plane[: hs[a - 1], : ws[a - 1]]).T).T
        for j in range(k):
            total += V[j][:, None, None] * z[j]
    return to_dtype(mean[:, None, None] + step * total.astype(np.float64), dtype)


def turn(z: NDArray[np.float32], payload: bytes, boxes: list[tuple[int, int, int, int]]) -> None:
    """Undo the rotations of subbands of z (plane, y, x), in place."""
    sizes = np.frombuffer(payload[: 2 * len(boxes)], "<u2").astype(int)
    payload = payload[2 * len(boxes) :]
    exponents = np.frombuffer(payload[: sizes.sum()], np.int8)
    entries = contexts(payload[sizes.sum() :], (int(sizes.sum()), 1, int(sizes.max())))[:, 0]
    first = 0
    for m, (y0, y1, x0, x1) in zip(sizes.tolist(), boxes, strict=True):
        steps = F32(2.0) ** exponents[first : first + m, None].astype(F32)
        columns = entries[first : first + m, :m].astype(F32) * steps
        r = z[:m, y0:y1, x0:x1].copy()
        for i in range(m):
            c = np.zeros(r.shape[1:], F32)
            for j in range(m):
                c += columns[j, i] * r[j]
            z[i, y0:y1, x0:x1] = c
        first += m


def to_dtype(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return np.clip(values, -float(np.finfo(dtype).max), float(np.finfo(dtype).max)).astype(dtype)
    return np.clip(np.rint(values), np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def test_there_is_a_golden_file_of_every_mode() -> None:
    assert {path.stem.split("_")[1] for path in GOLDEN} >= {"snr", "rmse", "max", "lossless", "constant", "empty"}


def test_golden_files_hold_every_kind_of_section() -> None:
    kinds = {kind for path in GOLDEN for kind, _, _ in read_header(path.read_bytes()).sections}
    assert kinds == set(Kind)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    data = path.read_bytes()
    check(data)
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as expected:
        for block, valid in (decode(data), slow_decode(data)):
            assert block.dtype == expected["block"].dtype
            np.testing.assert_array_equal(block, expected["block"])
            np.testing.assert_array_equal(valid, expected["valid"])


@pytest.mark.parametrize(
    ("dtype", "bound", "effort"),
    [
        ("i1", Bound("rmse", 0.7), "fast"),
        ("u2", Bound("snr", 25.0), "fast"),
        ("i4", Bound("max_error", 2.0), "fast"),
        ("u4", Bound("lossless"), "fast"),
        ("u8", Bound("lossless"), "fast"),
        ("f4", Bound("snr", 60.0), "fast"),
        ("f8", Bound("max_error", 1e-3), "fast"),
        ("i2", Bound("rmse", 0.6), "best"),
        ("f4", Bound("snr", 50.0), "best"),
        ("i1", Bound("lossless"), "best"),
        ("u2", Bound("max_error", 1.0), "best"),
        ("u4", Bound("lossless"), "best"),
        ("i4", Bound("max_error", 3.0), "best"),
    ],
)
def test_the_page_is_enough_to_decode_what_is_written_now(dtype: str, bound: Bound, effort: str) -> None:
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:19, :35]
    smooth = np.stack([np.sin(x / 5), np.cos(y / 4), np.sin((x + y) / 6)]) * 40 + rng.normal(0, 1, (3, 19, 35)) + 60
    block, nodata = smooth.astype(dtype), 61
    data = encode(block, rng.random((19, 35)) < 0.9, bound, nodata=nodata, effort=effort)
    for fast, slow in zip(decode(data), slow_decode(data), strict=True):
        np.testing.assert_array_equal(fast, slow)
