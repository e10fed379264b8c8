"""Single elements that a layer misses by far, listed and mended: a ship, a plume, a flare, whatever the mean error.

Where they stand is written as gaps in C order, how far they are off in odd steps of about two root mean square errors.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codec.container import Buffer, Header, Section
from pipeline.codec.context_coder import encode_integers
from pipeline.codec.context_decoder import decode_integers
from pipeline.codec.low_rank import limits_of
from pipeline.codec.mask import off_nodata
from pipeline.errors import FormatError
from pipeline.jit import jit

Block = NDArray[Any]
Bool = NDArray[np.bool_]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]

LISTED = 1  # the coder of this module, in the section table
COUNT = struct.Struct("<I")
# Errors above this many root mean square errors are mended.
LIMIT = 7.9
PEAK = 2**31 - 1  # of steps
SCANNED = 512  # elements at once
ROOM = 4096  # outliers that one scan lists


class Outliers(NamedTuple):
    """Elements by their flat index, ascending, and what is to be added to them, in steps."""

    indices: I64
    steps: I32
    step: float
    """data units"""


def step_for(dtype: np.dtype[Any], mse: float) -> float:
    """The step of what is listed: two root mean square errors, for integers an odd number."""
    rmse = float(np.sqrt(mse))
    return 2.0 * rmse if dtype.kind == "f" else 2.0 * min(np.floor(rmse), 2.0**30 - 1) + 1.0


def find_outliers(
    block: Block, decoded: Block, real: Bool, mse: float, nodata: float | int | None = None
) -> tuple[Outliers | None, float]:
    """Where `decoded` misses valid elements of block (band, y, x) by more than LIMIT·√mse, and by how much; and what
    it misses of all others, Σ (x − decoded)².

    What equals nodata will step aside, away from the block perhaps: it is judged as it will be, mended as it is.
    """
    limit, step = LIMIT * float(np.sqrt(mse)), step_for(block.dtype, mse)
    pixels = block.shape[1] * block.shape[2]
    hit = nodata is not None and bool((decoded == decoded.dtype.type(nodata)).any())
    aside = off_nodata(decoded.copy(), nodata) if hit else decoded
    x, y, wide = (a.reshape(-1, pixels) for a in (block, aside, real))
    room = ROOM
    while True:
        indices, steps = np.empty(room, np.int64), np.empty(room, np.int32)
        count, near = _far(x, y, wide, limit, step, indices, steps)
        if not count:
            return None, near
        if count <= room:
            indices = indices[:count].copy()
            missed = block.reshape(-1)[indices].astype(np.float64) - decoded.reshape(-1)[indices]
            return Outliers(indices, np.clip(np.rint(missed / step), -PEAK, PEAK).astype(np.int32), step), near
        room = count


def mend(block: Block, outliers: Outliers) -> None:
    """Add to the listed elements of block (band, y, x) what they miss, clipped to its dtype, in place."""
    low, high = limits_of(block.dtype)
    flat = block.reshape(-1)
    with np.errstate(over="ignore"):
        mended = flat[outliers.indices].astype(np.float64) + outliers.step * outliers.steps
    flat[outliers.indices] = np.clip(mended, low, high).astype(block.dtype)


def add_outliers(block: Block, header: Header, section: Section) -> None:
    """Mend block (band, y, x) by this section, in place; FormatError where it cannot be read."""
    mend(block, read_outliers(header, section))


def read_outliers(header: Header, section: Section) -> Outliers:
    """The outliers of this section; FormatError where it cannot be read."""
    step = header.residual_step
    odd = step % 2 == 1 and step < 2**31
    if section.coder != LISTED or not (odd if header.dtype.kind != "f" else step > 0):
        raise FormatError(f"chunk lists outliers by coder {section.coder} in steps of {step!r}; damaged or newer")
    return unpack_outliers(section.payload, int(np.prod(header.shape)), step)


def pack_outliers(outliers: Outliers) -> bytes:
    """uint32 count; gaps and steps as two planes of one row under contexts."""
    gaps = np.diff(outliers.indices, prepend=-1)
    planes = np.stack([gaps, outliers.steps]).astype(np.int32)[:, None]
    return COUNT.pack(len(gaps)) + encode_integers(planes, 0)


def unpack_outliers(payload: Buffer, elements: int, step: float) -> Outliers:
    """Undo `pack_outliers`; FormatError where they do not lie within so many elements."""
    count = COUNT.unpack(payload[: COUNT.size])[0] if len(payload) >= COUNT.size else elements + 1
    if not 0 < count <= elements:
        raise FormatError(f"chunk of {elements} elements lists {count} outliers in {len(payload)} bytes; it is damaged")
    planes = np.empty((2, 1, count), np.int32)
    decode_integers(payload[COUNT.size :], planes, 0)
    indices = np.cumsum(planes[0, 0], dtype=np.int64) - 1
    if planes[0].min() < 1 or indices[-1] >= elements:
        raise FormatError(f"chunk lists outliers outside of its {elements} elements; it is damaged")
    return Outliers(indices, planes[1, 0], step)


@jit
def _far(x: Block, y: Block, real: Bool, limit: float, step: float, indices: I64, steps: I32) -> tuple[int, float]:
    """How many valid elements of (band, pixel) arrays differ by more than `limit`, their places, if there is room, and
    Σ (x − y)² of the other valid ones, in lanes."""
    n, lanes = 0, np.zeros(SCANNED)
    for b in range(x.shape[0]):
        for start in range(0, x.shape[1], SCANNED):
            one, other = x[b, start : start + SCANNED], y[b, start : start + SCANNED]
            valid = real[b % real.shape[0], start : start + SCANNED]
            far = 0
            for i in range(one.shape[0]):  # they are few: look for them in a loop that vectorises
                e = np.float64(one[i]) - np.float64(other[i])
                off = np.abs(e) > limit
                far += off & valid[i]
                lanes[i] += e * e if valid[i] and not off else 0.0
            for i in range(one.shape[0] if far else 0):
                e = np.float64(one[i]) - np.float64(other[i])
                if np.abs(e) > limit and valid[i]:
                    if n < indices.shape[0]:
                        indices[n] = b * x.shape[1] + start + i
                        steps[n] = np.int32(min(max(np.rint(e / step), -2147483647.0), 2147483647.0))
                    n += 1
    return n, lanes.sum()
