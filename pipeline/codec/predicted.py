"""A block of integers as what a predictor leaves of it: without loss, or every element within a bound.

The section holds the predictor (its shape, offsets, coefficients, classes) and the residual in steps of 2m + 1, all of
them integers under contexts. docs/format.md has the bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import entropy, predictor
from pipeline.codec.container import Buffer, Header, Section
from pipeline.codec.context_coder import encode_integers
from pipeline.codec.context_decoder import decode_integers
from pipeline.codec.context_models import CONTEXTS
from pipeline.codec.entropy import BIT_PLANES
from pipeline.codec.predictor import BLOCK, MOST_REPEATED, SHIFTS, Model, Shape
from pipeline.codec.predictor_fit import Plan, fit
from pipeline.errors import FormatError

Block = NDArray[Any]
Bool = NDArray[np.bool_]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]

# How the residual is coded, in the section table: as bit planes, or under contexts. The predictor is under contexts.
CODERS = (BIT_PLANES, CONTEXTS)
# Own samples, bands before, near ones, neighbours, classes; then three lengths.
PREFIX = struct.Struct("<BBBBBxxxIII")
LENGTH = struct.Struct("<I")
MOST_CLASSES = 16
MOST_COEFFICIENTS = 1 << 16  # or one for each element
# No sample is further from its band's offset.
REACH = (1 << 30) - 1
# Of so many bands of so few pixels the coefficients alone take more than what they save.
MANY_BANDS, FEW_PIXELS = 256, 16
TOGETHER = 1 << 14  # elements at once, at least

# For each effort, from so many pixels on: more coefficients and classes must earn their bytes.
PLANS = {
    "fast": (
        (1 << 15, Plan(Shape(own=6, before=8, near=2, around=8), classes=1, samples=8192, rounds=0)),
        (1 << 12, Plan(Shape(own=6, before=8, near=2, around=8), classes=1, samples=4096, rounds=0)),
        (1 << 9, Plan(Shape(own=4, before=4, near=1, around=4), classes=1, samples=4096, rounds=0)),
        (0, Plan(Shape(own=3, before=1, near=0, around=0), classes=1, samples=512, rounds=0)),
    ),
    "best": (
        (1 << 17, Plan(Shape(own=10, before=9, near=6, around=12), classes=3, samples=24576, rounds=2)),
        (1 << 15, Plan(Shape(own=10, before=9, near=6, around=12), classes=1, samples=16384, rounds=0)),
        (1 << 12, Plan(Shape(own=6, before=16, near=4, around=4), classes=1, samples=8192, rounds=0)),
        (1 << 9, Plan(Shape(own=4, before=4, near=1, around=4), classes=1, samples=4096, rounds=0)),
        (0, Plan(Shape(own=3, before=1, near=0, around=0), classes=1, samples=512, rounds=0)),
    ),
}


def plan_for(pixels: int, effort: str) -> Plan:
    """The predictor to look for in a block of so many pixels."""
    return next(plan for least, plan in PLANS[effort] if pixels >= least)


def serves(dtype: np.dtype[Any]) -> bool:
    """Whether samples of this dtype can be foretold."""
    return dtype.kind != "f" and dtype.itemsize <= 4


def encode_predicted(block: Block, real: Bool, step: int, effort: str) -> tuple[Section, Block] | None:
    """Section of block (band, y, x), integers without holes, and what it decodes to; None where values spread too far
    or each band is next to nothing.

    real: (1 or band, y, x) bool. There, what decodes is at most (step − 1) / 2 off; elsewhere it is anything.
    """
    bands, height, width = block.shape
    plan = plan_for(height * width, effort)
    coefficients = bands * plan.classes * (plan.shape.taps + 1)
    if (bands >= MANY_BANDS and height * width <= FEW_PIXELS) or coefficients > _most_coefficients(block.shape):
        return None
    offsets = np.rint(block.mean(axis=(1, 2), dtype=np.float64)).astype(np.int64)
    low, high = block.min(axis=(1, 2)).astype(np.int64), block.max(axis=(1, 2)).astype(np.int64)
    if (high - offsets > REACH).any() or (offsets - low > REACH).any():
        return None
    reference = predictor.padded(bands, height, width)
    for some in _slabs(block.shape):
        predictor.inside(reference)[some] = block[some].astype(np.int64) - offsets[some, None, None]
    predictor.close(reference)
    model = fit(reference, real, offsets, plan, step)
    steps = _planes_by_side(model.repeats, block.shape)
    planes = predictor.padded(bands, height, width)
    _run(planes, model, block.dtype, step, steps, predictor.inside(reference), real)
    coder = CONTEXTS if effort == "best" else BIT_PLANES
    return Section(coder, _pack(model) + _write_steps(steps, coder)), _shifted(planes, model, block.dtype)


def _most_coefficients(shape: tuple[int, ...]) -> int:
    """How many of them a reader takes for a block of this shape."""
    return max(MOST_COEFFICIENTS, math.prod(shape))


def decode_predicted(header: Header, section: Section, real: Bool) -> Block:
    """Undo `encode_predicted`, for the same `real`; FormatError where the section does not fit the header."""
    step = header.residual_step
    if section.coder not in CODERS or not serves(header.dtype) or not (step % 2 == 1 and step < 2**31):
        raise FormatError(
            f"chunk holds predicted {header.dtype} of coder {section.coder} in steps of {step!r}; damaged"
        )
    model, payload = _unpack(section.payload, header)
    steps = _planes_by_side(model.repeats, header.shape)
    _read_steps(payload, section.coder, steps)
    planes = predictor.padded(*header.shape)
    _run(planes, model, header.dtype, int(step), steps, np.empty((1, 0, 1), np.int32), real)
    return _shifted(planes, model, header.dtype)


def _shifted(planes: I32, model: Model, dtype: np.dtype[Any]) -> Block:
    """The block that planes are, in its own dtype."""
    samples = predictor.inside(planes)
    out = np.empty(samples.shape, dtype)
    for some in _slabs(out.shape):
        out[some] = samples[some] + model.offsets[some, None, None]
    return out


def _slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Bands, some at once where they are small, so that what is made of them on the way stays so."""
    step = -(-TOGETHER // (shape[1] * shape[2]))
    return (slice(start, start + step) for start in range(0, shape[0], step))


def _planes_by_side(repeats: I64, shape: tuple[int, ...]) -> dict[int, I32]:
    """Zeros for each side of squares, the smallest first: a plane for each band of such squares."""
    sides, counts = np.unique(repeats[:, 0], return_counts=True)
    return {
        int(side): np.zeros((count, *(int(n + side - 2) // int(side) + 1 for n in shape[1:])), np.int32)
        for side, count in zip(sides, counts, strict=True)
    }


def _write_steps(steps: dict[int, I32], coder: int) -> bytes:
    """Each side's planes after their length."""
    parts = []
    for values in steps.values():
        under_contexts = coder == CONTEXTS
        part = encode_integers(values, 0) if under_contexts else entropy.encode_integers(values, _whole(values.shape))
        parts += [LENGTH.pack(len(part)), part]
    return b"".join(parts)


def _read_steps(payload: Buffer, coder: int, steps: dict[int, I32]) -> None:
    """Undo `_write_steps` into `steps`."""
    at = 0
    for values in steps.values():
        length = LENGTH.unpack(payload[at : at + LENGTH.size])[0] if len(payload) >= at + LENGTH.size else -1
        at += LENGTH.size
        if not 0 <= length <= len(payload) - at:
            raise FormatError(f"predicted section is cut short in its residual of {len(payload)} bytes")
        part = payload[at : at + length]
        if coder == CONTEXTS:
            decode_integers(part, values, 0)
        else:
            entropy.decode_integers(part, values, _whole(values.shape))
        at += length
    if at != len(payload):
        raise FormatError(f"predicted section has {len(payload) - at} bytes left over; it is damaged")


def _whole(shape: tuple[int, ...]) -> I64:
    return np.array([[0, shape[1], 0, shape[2]]], np.int64)


def _run(
    planes: I32, model: Model, dtype: np.dtype[Any], step: int, steps: dict[int, I32], target: I32, real: Bool
) -> None:
    """`predictor.predict_bands` of a model, for each run of bands of squares of one side."""
    bands, info = len(planes), np.iinfo(dtype)
    taps = predictor.offsets_of(predictor.positions(model.shape, bands), planes)
    limits = np.clip(np.stack([info.min - model.offsets, info.max - model.offsets], axis=1), -REACH, REACH)
    done, sides = dict.fromkeys(steps, 0), model.repeats[:, 0]
    ends = np.append(np.flatnonzero(np.diff(sides)) + 1, bands)
    for first, end in zip(np.append(0, ends), ends, strict=False):
        side, count = int(sides[first]), int(end - first)
        here = steps[side][done[side] : done[side] + count]
        done[side] += count
        predictor.predict_bands(
            planes,
            int(first),
            taps,
            predictor.counts_of(model.shape, bands),
            min(model.shape.own, predictor.ROW),
            model.coefficients,
            model.shifts,
            model.classes,
            limits,
            step,
            here,
            target,
            real,
            model.repeats,
        )


def _pack(model: Model) -> bytes:
    frame = np.empty((1, len(model.offsets), 5), np.int32)
    frame[0, :, 0] = np.diff(model.offsets, prepend=0).astype(np.int32)  # modulo 2³²
    frame[0, :, 1] = model.shifts
    frame[0, :, 2:] = model.repeats
    classes = model.coefficients.shape[1]
    parts = [encode_integers(frame, 0), encode_integers(model.coefficients, 0)]
    parts.append(encode_integers(model.classes.astype(np.int32), 0) if classes > 1 else b"")
    return b"".join([PREFIX.pack(*model.shape, classes, *(len(part) for part in parts)), *parts])


def _unpack(payload: Buffer, header: Header) -> tuple[Model, Buffer]:
    """The model, and the residual's own payload."""
    if len(payload) < PREFIX.size:
        raise FormatError(f"predicted section of {len(payload)} bytes is cut short")
    own, before, near, around, classes, *lengths = PREFIX.unpack(payload[: PREFIX.size])
    shape = Shape(own, before, near, around)
    bands, height, width = header.shape
    count = bands * classes * (shape.taps + 1)
    if not (shape.valid and 1 <= classes <= MOST_CLASSES and count <= _most_coefficients(header.shape)):
        raise FormatError(f"predicted section declares {shape} in {classes} classes; it is damaged")
    ends = np.cumsum([PREFIX.size, *lengths]).tolist()
    if ends[-1] > len(payload):
        raise FormatError(f"predicted section of {len(payload)} bytes is cut short")
    frame = np.empty((1, bands, 5), np.int32)
    decode_integers(payload[ends[0] : ends[1]], frame, 0)
    coefficients = np.empty((bands, classes, shape.taps + 1), np.int32)
    decode_integers(payload[ends[1] : ends[2]], coefficients, 0)
    numbers = np.zeros((bands, -(-height // BLOCK), -(-width // BLOCK)), np.int32)
    if classes > 1:
        decode_integers(payload[ends[2] : ends[3]], numbers, 0)
    elif lengths[2]:
        raise FormatError("predicted section of one class holds a map of classes; it is damaged")
    wrapped = np.int32 if header.dtype.kind == "i" else np.uint32
    offsets = np.cumsum(frame[0, :, 0], dtype=np.int64).astype(wrapped).astype(np.int64)
    shifts = frame[0, :, 1].astype(np.int64)
    info = np.iinfo(header.dtype)
    if offsets.min() < info.min or offsets.max() > info.max or shifts.min() < SHIFTS[0] or shifts.max() > SHIFTS[1]:
        raise FormatError("predicted section holds offsets or shifts out of range; it is damaged")
    repeats = frame[0, :, 2:].astype(np.int64)
    sides, cuts = repeats[:, :1], repeats[:, 1:]
    if sides.min() < 1 or sides.max() > MOST_REPEATED or cuts.min() < 0 or (cuts >= sides).any():
        raise FormatError("predicted section holds squares of pixels that cannot be; it is damaged")
    if numbers.min() < 0 or numbers.max() >= classes:
        raise FormatError("predicted section holds a class that is not there; it is damaged")
    return Model(shape, offsets, shifts, coefficients, numbers.astype(np.uint8), repeats), payload[ends[3] :]
