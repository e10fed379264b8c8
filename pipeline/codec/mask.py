"""Which elements are real: found, packed, and the holes filled so smoothly that they cost next to nothing.

The fill is the pull-push of Gortler et al. (1996), section 3.4: averages of what is known go up a pyramid, and what is
unknown is interpolated from the level above.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numcodecs.zstd import compress
from numpy.typing import NDArray

from pipeline.codec.container import Buffer, MaskKind
from pipeline.codec.entropy import unzip
from pipeline.errors import BlockError, FormatError

Bool = NDArray[np.bool_]
Block = NDArray[Any]

PACKED_BITS = 1  # the coder of this module, in the section table
LEVEL = 9


def find_valid(block: Block, valid: Bool | None, nodata: float | int | None) -> tuple[MaskKind, Bool]:
    """The elements of block (band, y, x) that are real: allowed by `valid`, not NaN, not `nodata`.

    valid: (y, x) or (band, y, x) bool, or None for all. Returns the kind, and the mask at that kind's own shape:
    (y, x) where all bands agree, else (band, y, x). BlockError where `valid` has another shape or dtype.
    """
    real = np.ones((1, *block.shape[1:]), bool)
    if valid is not None:
        if valid.dtype != np.bool_ or valid.shape not in (block.shape, block.shape[1:]):
            raise BlockError(
                f"valid must be bool and {block.shape[1:]} or {block.shape}, got {valid.dtype} {valid.shape}"
            )
        real = valid.reshape(-1, *block.shape[1:])
    if block.dtype.kind == "f":
        missing = np.isnan(block)
        if missing.any():
            real = real & ~missing
    if nodata is not None and nodata == nodata:
        missing = block == block.dtype.type(nodata)
        if missing.any():
            real = real & ~missing
    if real.all():
        return MaskKind.NONE, np.ones(block.shape[1:], bool)
    if not real.any():
        return MaskKind.EMPTY, np.zeros(block.shape[1:], bool)
    if (real == real[:1]).all():
        return MaskKind.PIXEL, np.ascontiguousarray(real[0])
    return MaskKind.ELEMENT, np.ascontiguousarray(real)


def pack_mask(valid: Bool) -> bytes:
    """Payload of a mask of any shape: one bit per element in C order, first element in the top bit, Zstandard."""
    return bytes(compress(np.packbits(valid), LEVEL))


def unpack_mask(payload: Buffer, shape: tuple[int, ...]) -> Bool:
    """Undo `pack_mask`; FormatError where the payload does not hold one bit for each element of `shape`."""
    count = int(np.prod(shape, dtype=np.int64))
    bits = np.zeros(-(-count // 8), np.uint8)
    unzip(payload, bits)
    return np.unpackbits(bits, count=count).astype(bool).reshape(shape)


def mask_shape(kind: MaskKind, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Shape of the mask of a block of this shape."""
    return shape if kind is MaskKind.ELEMENT else shape[1:]


def mask_of(kind: MaskKind, payload: Buffer | None, shape: tuple[int, int, int]) -> Bool:
    """The mask of a block of this shape, from its kind and its section (None where the container has none)."""
    if (payload is None) is (kind in (MaskKind.PIXEL, MaskKind.ELEMENT)):
        raise FormatError(
            f"chunk with a {kind.name.lower()} mask {'lacks' if payload is None else 'has'} a mask section"
        )
    if payload is None:
        return np.full(shape[1:], kind is MaskKind.NONE)
    return unpack_mask(payload, mask_shape(kind, shape))


def fill_holes(block: Block, valid: Bool) -> Block:
    """A copy of block (band, y, x) whose elements outside `valid` continue their surroundings, in the block's dtype.

    valid: (y, x) or (band, y, x) bool with something True in it. A band with nothing valid becomes 0.
    """
    known = valid.reshape(-1, *block.shape[1:])
    with np.errstate(over="ignore", invalid="ignore"):  # infinities fill with what they like: they are stored exactly
        values = np.where(known, block, 0).astype(np.float64)
        smooth = _pull_push(values, np.broadcast_to(known, known.shape))
        if block.dtype.kind != "f":
            smooth = np.rint(smooth)
        return np.where(known, block, smooth.astype(block.dtype))


def off_nodata(block: Block, nodata: float | int | None) -> Block:
    """`block`, in place: what equals `nodata` moved by one step of the dtype, up, or down at the top."""
    if nodata is None or nodata != nodata:
        return block
    hit = block == block.dtype.type(nodata)
    if hit.any():
        if block.dtype.kind == "f":
            top = np.finfo(block.dtype).max
            block[hit] = np.nextafter(block.dtype.type(nodata), block.dtype.type(top if nodata < top else -top))
        else:
            top = np.iinfo(block.dtype).max
            block[hit] = nodata + 1 if nodata < top else nodata - 1
    return block


def _pull_push(values: NDArray[np.float64], known: Bool) -> NDArray[np.float64]:
    """values (band, y, x), 0 where not `known` (band or 1, y, x), with the unknown interpolated."""
    height, width = values.shape[1:]
    if known.all() or height * width == 1:
        return values
    pad = ((0, 0), (0, height % 2), (0, width % 2))
    weight = _sum_blocks(np.pad(known.astype(np.float64), pad))
    coarse = _sum_blocks(np.pad(values, pad)) / np.maximum(weight, 1.0)
    above = _pull_push(coarse, weight > 0)
    return np.where(known, values, _upsample(_upsample(above, 1), 2)[:, :height, :width])


def _sum_blocks(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    return planes[:, ::2, ::2] + planes[:, 1::2, ::2] + planes[:, ::2, 1::2] + planes[:, 1::2, 1::2]


def _upsample(planes: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Twice as long along `axis`, by linear interpolation between pixel centres, ends repeated."""
    planes = np.moveaxis(planes, axis, 0)
    fine = np.empty((2 * planes.shape[0], *planes.shape[1:]))
    fine[::2] = 0.75 * planes + 0.25 * np.concatenate([planes[:1], planes[:-1]])
    fine[1::2] = 0.75 * planes + 0.25 * np.concatenate([planes[1:], planes[-1:]])
    return np.moveaxis(fine, 0, axis)
