"""The byte format, version 1: fixed header, section table, sections, CRC-32. docs/format.md is its description.

Everything is little-endian. What a section holds is the business of mask, low_rank, lossless and entropy.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from pipeline.codec.bound import MODES, Bound
from pipeline.errors import ConfigError, FormatError

Buffer = bytes | bytearray | memoryview

MAGIC = b"TSLR"
VERSION = 1
# A prefix of this many bytes holds the fixed header and the section table of any container.
PREFIX = 256
MAX_SECTIONS = 16
# No chunk has more elements, or more bytes when decoded: what a hostile header can make us allocate.
MAX_ELEMENTS = 1 << 28
MAX_BANDS = 1 << 16
# Coder of the figures: three float64.
DOUBLES = 1
# Kinds from here on may be skipped by a reader that does not know them.
ANCILLARY = 0x8000

DTYPES = tuple(np.dtype(name) for name in ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
FIXED = struct.Struct("<4sHHBBBBIIIIddd8sffHH")
ENTRY = struct.Struct("<HHI")
CRC = struct.Struct("<I")
FIGURES = struct.Struct("<ddd")
TAIL = FIGURES.size + CRC.size
HAS_NODATA = 1


class MaskKind(IntEnum):
    """Which elements are real."""

    NONE = 0  # all of them
    PIXEL = 1  # a (y, x) mask, the same in every band
    ELEMENT = 2  # a (band, y, x) mask
    EMPTY = 3  # none of them: nothing else is stored


class Kind(IntEnum):
    """What a section holds."""

    MASK = 1
    MEAN = 2
    BASIS = 3
    SCORES = 4
    RESIDUAL = 5
    DIRECT = 6
    ROTATIONS = 7
    OUTLIERS = 8
    PREDICTED = 9
    PARTS = 10
    FIGURES = 0x8001


class Figures(NamedTuple):
    """What the encoder measured, over the valid elements: how many, Σ x², Σ (x − decoded)²."""

    elements: float
    power: float
    error: float


class Section(NamedTuple):
    """One entry of the section table with its bytes."""

    coder: int
    payload: Buffer


@dataclass(frozen=True, slots=True)
class Header:
    """What the first `PREFIX` bytes of a container say."""

    shape: tuple[int, int, int]
    """(band, y, x)"""
    dtype: np.dtype[Any]
    bound: Bound
    mask: MaskKind = MaskKind.NONE
    nodata: float | int | None = None
    """Value of invalid elements, in the dtype's own type; None: NaN for floats, 0 for integers."""
    rank: int = 0
    """Components kept of the low-rank layer."""
    levels: int = 0
    """Wavelet levels on each score plane."""
    step: float = 0.0
    """Quantisation step of the wavelet coefficients, data units."""
    centroids: tuple[float, float] = (0.0, 0.0)
    """Offset of the reconstruction from |q| for |q| = 1 and for |q| > 1, in steps."""
    residual_step: float = 0.0
    """Step of the residual, data units; 0 where there is none."""
    sections: tuple[tuple[int, int, int], ...] = ()
    """(kind, coder, bytes) of each section, in file order."""

    @property
    def fill(self) -> Any:
        """What invalid elements are decoded to, as a scalar of the dtype."""
        if self.nodata is not None:
            return self.dtype.type(self.nodata)
        return self.dtype.type(math.nan if self.dtype.kind == "f" else 0)

    @property
    def nbytes(self) -> int:
        """Length of the whole container, bytes."""
        return _data_offset(self) + sum(length for _, _, length in self.sections) + CRC.size

    def section_bytes(self) -> dict[str, int]:
        """Bytes of each section by the name of its kind."""
        known = {int(kind): kind.name.lower() for kind in Kind}
        return {known.get(kind, f"kind {kind}"): length for kind, _, length in self.sections}


def pack(header: Header, sections: Mapping[Kind, Section]) -> bytes:
    """The container of `header` (its own `sections` are ignored) and these sections, in order of kind."""
    ordered = sorted(sections.items())
    nodata = b"" if header.nodata is None else np.array(header.nodata, _little(header.dtype)).tobytes()
    fixed = FIXED.pack(
        MAGIC,
        VERSION,
        0 if header.nodata is None else HAS_NODATA,
        DTYPES.index(header.dtype),
        MODES.index(header.bound.mode),
        header.mask,
        header.levels,
        *header.shape,
        header.rank,
        0.0 if header.bound.value is None else header.bound.value,
        header.step,
        header.residual_step,
        nodata,
        *header.centroids,
        len(ordered),
        0,
    )
    table = b"".join(ENTRY.pack(kind, part.coder, len(part.payload)) for kind, part in ordered)
    body = b"".join([fixed, table, *(part.payload for _, part in ordered)])
    return body + CRC.pack(zlib.crc32(body))


def _check_bytes(data: Any) -> None:
    if isinstance(data, str) or not hasattr(data, "__len__"):
        raise FormatError(f"a chunk is bytes, got {type(data).__name__}")


def read_header(data: Buffer) -> Header:
    """The header of a container, from the whole of it or from its first `PREFIX` bytes.

    Raises FormatError where these are not the first bytes of a version 1 container. The checksum is not read.
    """
    _check_bytes(data)
    if len(data) < FIXED.size or bytes(data[:4]) != MAGIC:
        start = "cut short" if bytes(data[:4]) == MAGIC else f"starts with {bytes(data[:4])!r}, not {MAGIC!r}"
        raise FormatError(f"not a terrasketch chunk: {len(data)} bytes, {start}")
    (_, version, flags, dtype, mode, mask, levels, *numbers) = FIXED.unpack(data[: FIXED.size])
    bands, height, width, rank, value, step, residual_step, nodata, first, second, count, reserved = numbers
    if version != VERSION:
        raise FormatError(f"chunk of format version {version}, this is a reader of {VERSION}; upgrade terrasketch")
    if dtype >= len(DTYPES) or mode >= len(MODES) or mask >= len(MaskKind) or flags & ~HAS_NODATA or reserved:
        raise FormatError("chunk header holds codes that version 1 does not know; it is damaged")
    element = DTYPES[dtype]
    _check_shape((bands, height, width), rank, levels, element)
    if not all(math.isfinite(x) and x >= 0 for x in (step, residual_step)):
        raise FormatError(f"chunk header holds steps {step!r} and {residual_step!r}; it is damaged")
    if not (abs(first) <= 1 and abs(second) <= 1):
        raise FormatError(f"chunk header holds centroids {first!r} and {second!r}; it is damaged")
    if count > MAX_SECTIONS or len(data) < FIXED.size + count * ENTRY.size:
        raise FormatError(f"chunk header promises {count} sections and is cut short at {len(data)} bytes")
    try:
        bound = Bound(MODES[mode], None if MODES[mode] == "lossless" else value)
    except ConfigError as error:
        raise FormatError(f"chunk header holds no bound: {error}") from error
    scalar = np.frombuffer(nodata, _little(element), count=1)[0].item() if flags & HAS_NODATA else None
    entries = tuple(ENTRY.iter_unpack(data[FIXED.size : FIXED.size + count * ENTRY.size]))
    return Header(
        shape=(bands, height, width),
        dtype=element,
        bound=bound,
        mask=MaskKind(mask),
        nodata=scalar,
        rank=rank,
        levels=levels,
        step=step,
        centroids=(first, second),
        residual_step=residual_step,
        sections=entries,
    )


def read_figures(header: Header, data: Buffer) -> Figures | None:
    """What the encoder measured, from the whole container or from its last `TAIL` bytes; None where it does not say.

    Kinds are in ascending order, so these figures end the container but for its checksum, which is not read.
    """
    if not header.sections or header.sections[-1][::2] != (Kind.FIGURES, FIGURES.size) or len(data) < TAIL:
        return None
    figures = Figures(*FIGURES.unpack(data[-TAIL : -CRC.size]))
    return figures if all(math.isfinite(value) and value >= 0 for value in figures) else None


def check(data: Buffer) -> None:
    """Raise FormatError unless `data` is one whole container: magic, version, lengths and CRC-32."""
    unpack(data)


def unpack(data: Buffer) -> tuple[Header, dict[Kind, Section]]:
    """Header and sections of one whole container.

    Raises FormatError for anything less or more, or for a section this version must know and does not.
    """
    header = read_header(data)
    if len(data) != header.nbytes:
        raise FormatError(
            f"chunk of {len(data)} bytes where its header promises {header.nbytes}; it is cut short or damaged"
        )
    view = memoryview(data)
    if CRC.unpack(view[-CRC.size :])[0] != zlib.crc32(view[: -CRC.size]):
        raise FormatError(f"chunk of {len(data)} bytes fails its CRC-32; it is damaged, write it again")
    sections: dict[Kind, Section] = {}
    offset = _data_offset(header)
    for number, coder, length in header.sections:
        if number in {int(kind) for kind in Kind}:
            kind = Kind(number)
            if kind in sections:
                raise FormatError(f"chunk holds two sections of kind {kind.name.lower()}; it is damaged")
            sections[kind] = Section(coder, view[offset : offset + length])
        elif number < ANCILLARY:
            raise FormatError(f"chunk holds a section of kind {number}, written by a newer terrasketch; upgrade")
        offset += length
    return header, sections


def _check_shape(shape: tuple[int, int, int], rank: int, levels: int, dtype: np.dtype[Any]) -> None:
    elements = math.prod(shape)
    if min(shape) < 1 or shape[0] > MAX_BANDS or elements > MAX_ELEMENTS:
        raise FormatError(f"chunk header declares a block of {shape} {dtype}, at most {MAX_ELEMENTS} elements are read")
    if rank > min(shape[0], shape[1] * shape[2]) or levels > 5:
        pixels = shape[1] * shape[2]
        raise FormatError(
            f"chunk header declares rank {rank} of {shape[0]} bands, {pixels} pixels and {levels} levels; it is damaged"
        )


def _data_offset(header: Header) -> int:
    return FIXED.size + ENTRY.size * len(header.sections)


def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<")
