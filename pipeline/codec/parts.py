"""Bands whose pixels were repeated onto a finer grid, stored on their own: one layer for each grid, each a part.

A wavelet pays for the edges of cells that are no edges. What a pixel of a coarse band is off by counts once for every
pixel of its cell, so it is kept the finer for it (reverse water-filling: Cover, Thomas (2006), section 10.3.3).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import container, cross_grid, kernels, mask
from pipeline.codec.container import Header, Kind, MaskKind, Section
from pipeline.errors import FormatError
from pipeline.repeated import LONGEST, PLAIN, Cells, Grid, grids

Block = NDArray[Any]
Bool = NDArray[np.bool_]
Index = NDArray[np.intp]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

NESTED = 1  # the coder of this module, in the section table
COUNT = struct.Struct("<H")
HEAD = struct.Struct("<HHHHIII")  # down, across, top, left, bands, finer bands that tell, bytes
# What a part is made of; none is a part of parts.
LAYER = {Kind.MEAN, Kind.BASIS, Kind.SCORES, Kind.ROTATIONS, Kind.OUTLIERS, Kind.FIGURES}
# The mean squared error of a cell's pixel falls with its size by this power: 1 would be right where every coefficient
# is coded; from .5 to 1 bytes are the same to 2 %, 1 being better of much and .5 of little that is kept.
FINER = 0.75
# Parts of a container, at most: scenes have two to four grids.
MOST = 16
# Bits of an element below which a layer of all bands is tried, too: of so few heads and bases are a part.
FAINT = 0.15
DAMAGED = FormatError("chunk holds parts that do not make up its bands; it is damaged")
# From so many elements on a head and a basis for each part are next to nothing.
LEAST = 1 << 12
# Where cells are cut or have holes, their errors weigh otherwise than was thought: how often, and by how much more than
# it was over, the last part is made finer.
TRIALS, SAFELY = 3, 0.99


class Part(NamedTuple):
    """Bands of one grid and their container."""

    grid: Grid
    bands: Index
    container: bytes
    """of the cells, or of what is left of them"""
    weights: F32
    """(band, finer band + 1) of what foretells them; (band, 0) where nothing does"""


class Piece(NamedTuple):
    """Bands of one grid, as they are coded."""

    grid: Grid
    bands: Index
    cells: Cells
    block: Block
    """(band, cell, cell) in the dtype of the whole, without holes"""
    real: Bool
    """(1 or band, cell, cell) those with a valid pixel"""


Coder = Callable[[Block, Bool, float, float | int | None], bytes | None]
"""(block, real, mean squared error, nodata) to a container of it, a layer without a mask."""
Decoder = Callable[[Header, dict[Kind, Section]], Block]
"""Header and sections of such a container to its block."""


def pieces(block: Block, real: Bool) -> list[Piece]:
    """The bands of block (band, y, x), without holes, real (1 or band, y, x), by their grids, the finest first; none
    where all are of the grid of the block, or it is small."""
    if block.size < LEAST:
        return []
    shown = np.broadcast_to(real, block.shape) if len(real) > 1 else real
    found = grids(block, shown)
    if list(found) == [PLAIN] or len(found) > MOST:
        return []
    return [_piece(block, real, grid, bands) for grid, bands in found.items()]


def _piece(block: Block, real: Bool, grid: Grid, bands: Index) -> Piece:
    own, shown, cells = block[bands], real if len(real) == 1 else real[bands], Cells(grid, block.shape[1:])
    if grid == PLAIN:
        return Piece(grid, bands, cells, own, shown)
    there = np.stack([cells.some(plane) for plane in shown])
    values = np.stack([cells.values(band, shown[b % len(shown)]) for b, band in enumerate(own)])
    return Piece(grid, bands, cells, values if there.all() else mask.fill_holes(values, there), there)


def encode_parts(
    block: Block, real: Bool, mse: float, nodata: float | int | None, found: list[Piece], code: Coder, decode: Decoder
) -> tuple[Section, float, int] | None:
    """Block (band, y, x), finite, in these pieces, its mean squared error over real (1 or band, y, x) no more than mse.

    The section, Σ (x − decoded)² over the valid elements, and the rank of all parts together. None where a piece cannot
    be coded so. The last piece gets what the others have left.
    """
    shown = np.broadcast_to(real, block.shape)
    elements = [int(np.count_nonzero(shown[piece.bands])) for piece in found]
    if not all(elements):
        return None
    weights = [float(piece.grid.pixels) ** -FINER for piece in found]
    most, spent, made, known = mse * sum(elements), 0.0, list[Part](), Known(block.shape)
    unit = most / sum(weight * count for weight, count in zip(weights, elements, strict=True))
    for piece, weight, count in zip(found, weights, elements, strict=True):
        last, means = piece is found[-1], known.means(piece.grid)
        room, share = most - spent, (most - spent) / count if last else unit * weight
        for _ in range(TRIALS):
            coded = _coded(piece, means, nodata, share, code, decode) if 0 < share < np.inf else None
            if coded is None:
                return None
            part, cells = coded
            planes = [piece.cells.pixels(band) for band in cells]
            error = _error(block, shown, piece.bands, planes)
            if not last or error <= room:
                made.append(part)
                known.add(piece.grid, planes)
                break
            share *= SAFELY * room / error
        spent += error
    rank = sum(container.read_header(part.container).rank for part in made)
    return (Section(NESTED, _pack(made)), spent, rank) if len(made) == len(found) and rank else None


class Known:
    """What is decoded of a block (band, y, x) so far."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape, self._parts = shape[1:], list[tuple[Grid, list[Block]]]()

    def add(self, grid: Grid, planes: list[Block]) -> None:
        """Bands (y, x) of a grid are known from now on."""
        self._parts.append((grid, planes))

    def means(self, grid: Grid) -> F64:
        """(finer band, cell, cell) means over the cells of a grid of those whose cells lie within them, in the order
        of the parts."""
        finer = [plane for other, planes in self._parts if other.within(grid) for plane in planes]
        return cross_grid.means_of(finer, Cells(grid, self._shape))


def _coded(
    piece: Piece, means: F64, nodata: float | int | None, share: float, code: Coder, decode: Decoder
) -> tuple[Part, Block] | None:
    """A piece with this mean squared error, told by the means of finer bands where that takes less, and its cells
    (band, cell, cell) as they are decoded."""
    told = cross_grid.foretell(piece.block, piece.real, means, share) if len(means) else None
    if told is None:
        data, weights = code(piece.block, piece.real, share, nodata), np.empty((len(piece.bands), 0), np.float32)
    else:
        rest, weights = told.rest(piece.block), told.weights
        data = code(rest if piece.real.all() else mask.fill_holes(rest, piece.real), piece.real, share, None)
    if data is None:
        return None
    cells = decode(*container.unpack(data))
    if told is not None:
        cells = cross_grid.together(cells, told.told, piece.block.dtype, nodata)
    return Part(piece.grid, piece.bands, data, weights), cells


def _error(block: Block, real: Bool, bands: Index, planes: list[Block]) -> float:
    """Σ (x − decoded)² where real (band, y, x), of some bands of block (band, y, x), decoded in planes (y, x)."""
    total = 0.0
    for b, plane in zip(bands, planes, strict=True):
        total += float(kernels.squared_error(*(one.reshape(1, -1) for one in (block[b], plane, real[b]))))
    return total


def _pack(found: list[Part]) -> bytes:
    parts = [COUNT.pack(len(found))]
    for grid, bands, data, weights in found:
        head = HEAD.pack(*grid, len(bands), max(0, weights.shape[1] - 1), len(data))
        parts += [head, bands.astype("<u2").tobytes(), weights.astype("<f4").tobytes(), data]
    return b"".join(parts)


def read_parts(header: Header, section: Section) -> Iterator[Part]:
    """The parts of a container; FormatError where they do not make up its block."""
    if section.coder != NESTED:
        raise FormatError(f"chunk holds parts of coder {section.coder}; it is damaged or newer")
    data, offset, missing = memoryview(section.payload), COUNT.size, np.ones(header.shape[0], np.bool_)
    before = list[tuple[Grid, int]]()
    count = COUNT.unpack(data[:offset])[0] if len(data) >= offset else 0
    for _ in range(count):
        if len(data) < offset + HEAD.size or count > MOST:
            raise DAMAGED
        *numbers, bands, finer, length = HEAD.unpack(data[offset : offset + HEAD.size])
        first, columns = offset + HEAD.size, finer + 1 if finer else 0
        middle = first + 2 * bands
        start, offset = middle + 4 * bands * columns, middle + 4 * bands * columns + length
        if len(data) < offset:
            raise DAMAGED
        grid, chosen = Grid(*numbers), np.frombuffer(data[first:middle], "<u2").astype(np.intp)
        weights = np.frombuffer(data[middle:start], "<f4").astype(np.float32).reshape(bands, columns)
        known = finer in (0, sum(count for other, count in before if other.within(grid)))
        if not _makes_sense(grid, chosen, missing) or not known or not np.isfinite(weights).all():
            raise DAMAGED
        missing[chosen] = False
        before.append((grid, bands))
        yield Part(grid, chosen, bytes(data[start:offset]), weights)
    if missing.any() or offset != len(data):
        raise DAMAGED


def _makes_sense(grid: Grid, bands: Index, missing: Bool) -> bool:
    """Whether this is a grid, and bands in order that no part had before."""
    sides = grid.top < grid.down <= LONGEST and grid.left < grid.across <= LONGEST
    known = bands.size and bands[-1] < len(missing) and (np.diff(bands) > 0).all()
    return bool(sides and known and missing[bands].all())


def together(header: Header, section: Section, decode: Decoder) -> Block:
    """The block of the parts of a container, none of its elements nodata. FormatError where they make none."""
    block, known = np.empty(header.shape, header.dtype), Known(header.shape)
    for part in read_parts(header, section):
        cells, grid = decode(*_layer_of(header, part)), Cells(part.grid, header.shape[1:])
        if part.weights.shape[1]:
            told = cross_grid.foretold(part.weights, known.means(part.grid), header.dtype)
            cells = cross_grid.together(cells, told, header.dtype, header.nodata)
        planes = [grid.pixels(band) for band in cells]
        known.add(part.grid, planes)
        for b, plane in zip(part.bands, planes, strict=True):
            block[b] = plane
    return block


def _same(one: float | int | None, other: float | int | None) -> bool:
    """Whether two nodata values are one; NaN is NaN."""
    return one == other or (one is not None and other is not None and one != one and other != other)


def _layer_of(header: Header, part: Part) -> tuple[Header, dict[Kind, Section]]:
    """What the container of a part holds: a layer of its bands, or of what is left of them; else FormatError."""
    inner, sections = container.unpack(part.container)
    shape, told = (len(part.bands), *Cells(part.grid, header.shape[1:]).shape), part.weights.shape[1] > 0
    dtype, nodata = (cross_grid.rest_dtype(header.dtype), None) if told else (header.dtype, header.nodata)
    fitting = inner.shape == shape and inner.dtype == dtype and _same(inner.nodata, nodata)
    if not fitting or inner.mask is not MaskKind.NONE or sections.keys() - LAYER:
        raise FormatError("chunk holds a part that is no layer of its bands; it is damaged")
    return inner, sections
