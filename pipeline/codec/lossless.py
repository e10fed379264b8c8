"""Promises on every element: an integer residual on top of the low-rank layer, or the samples themselves, predicted.

Residual: e = x − prediction in steps of 2m+1 (integers, max error m) or 2m (floats). The prediction is bit-identical
on every CPU, so step 1 is lossless. Direct: the samples as integers (floats by their bits, in order of value),
differenced along some axes as the Lorenzo predictor does (Ibarria et al. 2003); exact for any dtype and content.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import kernels, layer_sections, low_rank
from pipeline.codec.container import Header, Kind, Section
from pipeline.codec.entropy import BIT_PLANES, decode_integers, encode_integers
from pipeline.codec.low_rank import Block, Layer
from pipeline.errors import FormatError

Integers = NDArray[np.int32] | NDArray[np.int64]
Sections = dict[Kind, Section]

LORENZO = 2  # the coder of direct samples
AXES = ((), (2,), (1, 2), (0, 1, 2))
PREFIX = struct.Struct("<Bq")  # axes as a bit set, then the first sample
CROP = (32, 64, 256)
GLIMPSE = (4, 32, 128)  # of a block, where no more than a hint is needed
# Errors of the layer below a residual, in residual steps, that are tried.
BOUNDED_SHARES = (0.4, 1.0, 2.0)
WIDEST = 1e150
"""Of residual steps of floats: its square is a number, too."""


def residual_step(dtype: np.dtype[Any], max_error: float) -> float:
    """The widest residual step that keeps |e| <= max_error; for floats a hair narrower, for their rounding."""
    if dtype.kind == "f":
        return min(2 * max_error * (1 - 1e-6), WIDEST)
    return 2.0 * min(math.floor(max_error), 2**30 - 1) + 1.0


def encode_residual(block: Block, step: float, share: float) -> tuple[Layer, Sections] | None:
    """A layer of rmse share·step and the residual on it, as sections; None where integers of 32 bits do not do.

    block: (band, y, x), finite; holes filled.
    """
    rmse = share * step
    analysis = low_rank.analyse(block, rmse**2)
    layer = None if analysis is None else low_rank.quantise(analysis, np.sqrt(12) * rmse / analysis.unit)
    if layer is None:
        return None
    predicted = low_rank.predict(layer, block.dtype)
    steps = np.empty(block.shape, np.int32)
    largest = kernels.residual(block.reshape(-1), predicted.reshape(-1), step, steps.reshape(-1))
    if not largest / step < 2**31 - 1:
        return None
    sections = layer_sections.sections(layer, block.dtype)
    if steps.any():
        payload = encode_integers(steps, _whole(block.shape))
        sections[Kind.RESIDUAL] = Section(BIT_PLANES, payload)
    return layer, sections


def add_residual(predicted: Block, header: Header, section: Section | None) -> Block:
    """`predicted` (band, y, x) plus the residual of this section, clipped to the dtype."""
    step = header.residual_step
    if section is None:
        return predicted
    if section.coder != BIT_PLANES or (header.dtype.kind != "f" and not (step % 2 == 1 and step < 2**31)):
        raise FormatError(f"chunk holds a residual of coder {section.coder} in steps of {step!r}; damaged or newer")
    steps = np.empty(header.shape, np.int32)
    decode_integers(section.payload, steps, _whole(header.shape))
    out = np.empty(header.shape, header.dtype)
    limits = low_rank.limits_of(header.dtype)
    kernels.add_residual(predicted.reshape(-1), steps.reshape(-1), step, limits, out.reshape(-1))
    return out


def encode_direct(block: Block) -> Sections:
    """The samples of block (band, y, x), of any supported dtype, exactly."""
    integers = _to_integers(block)
    first = integers[:1, :1, :1].copy()
    integers -= first
    axes = min(AXES, key=lambda axes: (_cost(integers, axes, block.itemsize), len(axes)))
    payload = encode_integers(_difference(integers, axes, block.itemsize), _whole(block.shape))
    prefix = PREFIX.pack(sum(1 << axis for axis in axes), int(first[0, 0, 0]))
    return {Kind.DIRECT: Section(LORENZO, prefix + payload)}


def direct_cost(block: Block, size: tuple[int, int, int] = CROP) -> float:
    """What `encode_direct` would take, in bytes, guessed from the middle of the block, of this size."""
    crop = np.ascontiguousarray(block[_middle(block.shape, size)])
    return min(_cost(_to_integers(crop), axes, block.itemsize) for axes in AXES) / 8 * block.size / crop.size


def decode_direct(header: Header, section: Section) -> Block:
    """Undo `encode_direct`."""
    payload = section.payload
    if section.coder != LORENZO or len(payload) < PREFIX.size:
        raise FormatError(f"chunk holds samples of coder {section.coder} in {len(payload)} bytes; damaged or newer")
    bits, first = PREFIX.unpack(payload[: PREFIX.size])
    axes = tuple(axis for axis in range(3) if bits >> axis & 1)
    integers: Any = np.empty(header.shape, _integer_dtype(header.dtype))
    limits = np.iinfo(integers.dtype)
    if bits > 7 or not limits.min <= first <= limits.max:
        raise FormatError(f"chunk holds samples differenced along axes {bits:#x} from {first}; it is damaged")
    decode_integers(payload[PREFIX.size :], integers, _whole(header.shape))
    for axis in axes:
        np.cumsum(integers, axis=axis, dtype=integers.dtype, out=integers)
    integers += np.array([first], integers.dtype)
    return _from_integers(integers, header.dtype)


def _integer_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.int64 if dtype.itemsize == 8 else np.int32)


def _to_integers(block: Block) -> Any:
    """A copy of the samples as int32 or int64 that differences, modulo 2³² or 2⁶⁴, can bring near zero."""
    target = _integer_dtype(block.dtype)
    if block.dtype.kind == "f":
        bits = block.view(target)
        return np.where(bits < 0, bits ^ np.iinfo(target).max, bits)
    return block.astype(target)  # uint32 and uint64 wrap, which differences undo


def _from_integers(integers: Any, dtype: np.dtype[Any]) -> Block:
    if dtype.kind == "f":
        integers = np.where(integers < 0, integers ^ np.iinfo(integers.dtype).max, integers)
    block: Block = integers.view(dtype) if dtype.kind == "f" else integers.astype(dtype)
    return block


def _difference(integers: Any, axes: tuple[int, ...], width: int) -> Any:
    """Differences along `axes`, modulo 2^(8·width), of least magnitude."""
    for axis in axes:
        moved = np.moveaxis(integers, axis, 0)
        fresh = moved.copy()
        fresh[1:] -= moved[:-1]
        integers = np.moveaxis(fresh, 0, axis)
    return np.ascontiguousarray(integers.astype(f"i{width}"), integers.dtype)


def _cost(integers: Any, axes: tuple[int, ...], width: int) -> float:
    """Bits of the differences in the middle of the block: log2 of each, and a sign."""
    magnitudes = np.abs(_difference(integers[_middle(integers.shape)], axes, width).astype(np.float64))
    return float((np.log2(magnitudes + 1) + 1.5 * (magnitudes > 0)).sum())


def _middle(shape: tuple[int, ...], crop: tuple[int, int, int] = CROP) -> tuple[slice, ...]:
    starts = [max(0, (n - size) // 2) for n, size in zip(shape, crop, strict=True)]
    return tuple(slice(start, start + size) for start, size in zip(starts, crop, strict=True))


def _whole(shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.array([[0, shape[1], 0, shape[2]]], np.int64)
