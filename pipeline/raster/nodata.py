"""The nodata sentinel of files, and `valid` of arrays: one becomes the other on reading, and back on writing.

Invariant: valid_from(mark(nudge(block, valid, nodata), valid, nodata), nodata) == valid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Block = NDArray[Any]
Valid = NDArray[np.bool_]

# A sentinel written as text or as float32 differs from the pixels in the last digits. GDAL (ARE_REAL_EQUAL) takes
# everything within four float32 ulps for it, in float64 too, and so must who writes files that others read.
_FOUR_ULPS = 4 * 2.0**-23
EXACT = 2**53
"""Larger integers are no floats, as a sentinel is."""
_TOLERANCE = {2: 4 * 2.0**-10, 4: _FOUR_ULPS, 8: _FOUR_ULPS}


def representable(nodata: float, dtype: DTypeLike) -> bool:
    """True where a pixel of this dtype can hold the sentinel."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return not math.isfinite(nodata) or abs(nodata) <= float(np.finfo(kind).max) * (1 + _TOLERANCE[kind.itemsize])
    if not math.isfinite(nodata) or nodata != int(nodata):
        return False
    limits = np.iinfo(kind)
    return int(limits.min) <= int(nodata) <= int(limits.max)


def unfit(nodata: float, dtype: DTypeLike) -> str | None:
    """Why pixels of this dtype cannot hold the sentinel, and what to do, in words; None where they can."""
    if representable(nodata, dtype):
        return None
    wide = np.dtype(dtype).itemsize == 8 and abs(nodata) > EXACT
    remedy = "let the file declare it (gdal_edit -a_nodata)" if wide else "give one that the bands can hold"
    return f"nodata {nodata:g} is no value of {np.dtype(dtype)}; {remedy}"


def sentinel(nodata: float | None, dtype: DTypeLike) -> float | None:
    """The sentinel as a pixel holds it; None where none can."""
    if nodata is None or not representable(nodata, dtype):
        return None
    if np.dtype(dtype).kind != "f" or not math.isfinite(nodata):
        return float(nodata)
    limits = np.finfo(dtype)
    return min(max(float(nodata), float(limits.min)), float(limits.max))


def shared(own: Sequence[float | None], dtypes: Sequence[DTypeLike]) -> float | None:
    """The one sentinel that can stand for the bands' own, with no valid pixel of any band lost; None where none can.

    Of bands that differ it is one of theirs, if no valid pixel of the others can be it, else NaN if there are floats.

    Args:
        own: the sentinel of each band.
        dtypes: of each band, as its file has it; the scene has their common one.
    """
    if len(set(map(repr, own))) == 1:
        return own[0]
    if all(value is None or math.isnan(value) for value in own):  # nothing but NaN is missing, whoever declares it
        return None
    common: np.dtype[Any] = np.result_type(*[np.dtype(dtype) for dtype in dtypes])
    for value in own:
        if value is not None and all(
            repr(other) == repr(value) or not _can_be(value, dtype, common)
            for other, dtype in zip(own, dtypes, strict=True)
        ):
            return value
    return math.nan if common.kind == "f" else None


def unite(block: Block, read: Block, own: Sequence[float | None], nodata: float | None) -> Block:
    """Give the scene's sentinel to what each band's own says is missing, in place; returns block.

    Args:
        block: (band, y, x), of the scene's dtype.
        read: the same values, in the dtype they were read in; block itself where it is that.
        own: the sentinel of each band.
        nodata: the scene's (`shared`); without one the bands stay as they are.
    """
    if nodata is not None:
        for values, as_read, value in zip(block, read, own, strict=True):
            if value is not None and repr(value) != repr(nodata):
                values[is_nodata(as_read, value)] = sentinel(nodata, block.dtype)
    return block


def is_nodata(values: Block, nodata: float) -> Valid:
    """Where the values are the sentinel: exactly for integers, to a few ulps for floats, NaN for NaN."""
    if values.dtype.kind != "f":
        if not representable(nodata, values.dtype):
            return np.zeros(values.shape, bool)
        return np.asarray(values == values.dtype.type(int(nodata)))
    if math.isnan(nodata):
        return np.isnan(values)
    if math.isinf(nodata) or nodata == 0:
        return np.asarray(values == nodata)
    low, high = _around(nodata, values.dtype)
    return np.asarray((values >= low) & (values <= high))


def valid_from(block: Block, nodata: Sequence[float | None]) -> Valid:
    """valid (y, x): True where every band of block (band, y, x) is finite and none is its sentinel."""
    valid = np.ones(block.shape[1:], bool)
    for values, sentinel in zip(block, nodata, strict=True):
        if values.dtype.kind == "f":
            valid &= np.isfinite(values)
        if sentinel is not None and not math.isnan(sentinel):
            valid &= ~is_nodata(values, sentinel)
    return valid


def real_elements(block: Block, valid: Valid, nodata: float | None, *, infinite: bool = False) -> Valid:
    """Which elements (band, y, x) of a block are real.

    Where a band holds the sentinel, NaN or (unless those are `infinite`, and real) an infinity, that band alone is
    missing and the pixel's other bands are kept. Where `valid` is False and no band says so (masks, alpha), all bands
    are missing; where both do, sources `hide` them.
    """
    missing = np.isnan(block) if block.dtype.kind == "f" else np.zeros(block.shape, bool)
    if nodata is not None and nodata == nodata:
        missing |= is_nodata(block, nodata)
    unreal = missing | np.isinf(block) if block.dtype.kind == "f" else missing
    explained = unreal.any(axis=0)
    return ~(missing if infinite else unreal) & (valid | explained)


def convert(block: Block, dtype: DTypeLike) -> Block:
    """block in another dtype, always a new array: integers are rounded to nearest even and clipped, NaN becomes 0."""
    target = np.dtype(dtype)
    if target.kind == "f" or block.dtype == target:
        return block.astype(target)
    limits = np.iinfo(target)
    if block.dtype.kind != "f":
        own = np.iinfo(block.dtype)
        return np.clip(block, max(limits.min, own.min), min(limits.max, own.max)).astype(target)
    wide = block.astype(np.float64) if target.itemsize > 2 else block
    low, high = float(limits.min), float(limits.max)
    if int(high) > limits.max:  # the largest 64-bit integers are no floats
        high = math.nextafter(high, 0)
    return np.asarray(np.nan_to_num(np.clip(np.rint(wide), low, high), copy=False), target)


def nudge(block: Block, valid: Valid, nodata: float | None) -> Block:
    """Move valid pixels that hit the sentinel to the nearest value that is not it, in place; returns block."""
    if nodata is None or not math.isfinite(nodata) or not representable(nodata, block.dtype):
        return block
    beside = _beside(nodata, block.dtype)
    for values in block:
        values[is_nodata(values, nodata) & valid] = beside
    return block


def mark(block: Block, valid: Valid, nodata: float) -> Block:
    """Give the sentinel to all bands of the invalid pixels in which no band has it yet, in place; returns block."""
    unmarked = ~valid & valid_from(block, (nodata,) * len(block))
    block[:, unmarked] = sentinel(nodata, block.dtype)
    return block


def hide(block: Block, told: Valid, shown: Valid, nodata: float | None) -> Block:
    """Take all bands from the pixels that a mask does not show and of which a band holds no number, in place.

    What is missing there would else be taken for what that band alone says (`real_elements`, `mark`), and the other
    bands for real. Returns block.

    Args:
        block: (band, y, x), as read.
        told: (y, x), the pixels that are valid by their values.
        shown: (y, x), and by mask and alpha.
        nodata: the sentinel all bands share; floats have NaN where there is none, integers stay as they are.
    """
    if nodata is None and block.dtype.kind == "f":
        nodata = math.nan
    if nodata is not None and not shown.all():
        block[:, ~(told | shown)] = sentinel(nodata, block.dtype)
    return block


def restore(block: Block, valid: Valid, original: Block, nodata: float | None) -> Block:
    """A computed block in its original's dtype: valid pixels off the sentinel, invalid pixels as they were.

    Args:
        block: (band, y, x), computed, any real dtype.
        valid: (y, x) bool.
        original: (band, y, x), as read.
        nodata: the sentinel, or None.
    """
    result = nudge(convert(block, original.dtype), valid, nodata)
    result[:, ~valid] = original[:, ~valid]
    return result


def _can_be(nodata: float, dtype: DTypeLike, common: DTypeLike) -> bool:
    """True where a valid pixel of a dtype may be taken for the sentinel in a block of the common dtype."""
    if np.dtype(dtype).kind == "f" or not math.isfinite(nodata):
        return np.dtype(dtype).kind == "f" and not math.isnan(nodata)  # NaN is missing, whoever has it
    limits = np.iinfo(dtype)
    nearest = min(max(round(nodata), int(limits.min)), int(limits.max))
    return bool(is_nodata(np.array([nearest], common), nodata)[0])


def _around(nodata: float, dtype: np.dtype[Any]) -> tuple[float, float]:
    """The closed interval of values that are taken for the sentinel; not 0, not infinite."""
    width = abs(nodata) * _TOLERANCE[dtype.itemsize]
    limits = np.finfo(dtype)
    return max(nodata - width, float(limits.min)), min(nodata + width, float(limits.max))


def _beside(nodata: float, dtype: np.dtype[Any]) -> float | int:
    """The value next to the sentinel that is not taken for it: above it, or below where there is none above."""
    if dtype.kind != "f":
        return int(nodata) + 1 if int(nodata) < np.iinfo(dtype).max else int(nodata) - 1
    if nodata == 0:
        return float(np.finfo(dtype).tiny)
    inner = nodata * (1 - 4 * _TOLERANCE[dtype.itemsize])
    return math.copysign(min(abs(inner), float(np.finfo(dtype).max)), nodata)
