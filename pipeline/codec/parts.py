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

from pipeline.codec import container, kernels, mask
from pipeline.codec.container import Header, Kind, MaskKind, Section
from pipeline.errors import FormatError
from pipeline.repeated import PLAIN, Cells, Grid, grids

Block = NDArray[Any]
Bool = NDArray[np.bool_]
Index = NDArray[np.intp]

NESTED = 1  # the coder of this module, in the section table
COUNT = struct.Struct("<H")
HEAD = struct.Struct("<HHHHHI")  # down, across, top, left, bands, bytes of the container
# What a part is made of; none is a part of parts.
LAYER = {Kind.MEAN, Kind.BASIS, Kind.SCORES, Kind.ROTATIONS, Kind.OUTLIERS, Kind.FIGURES}
# The mean squared error of a cell's pixel falls with its size by this power: 1 would be right where every coefficient
# is coded; of scenes at 30 to 50 dB .75 takes least (half a percent less).
FINER = 0.75
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


class Piece(NamedTuple):
    """Bands of one grid, as they are coded."""

    grid: Grid
    bands: Index
    cells: Cells
    block: Block
    """(band, cell, cell) in the dtype of the whole, without holes"""
    real: Bool
    """(1 or band, cell, cell) those with a valid pixel"""


Coder = Callable[[Block, Bool, float], bytes | None]
"""(block, real, mean squared error) to a container of it, a layer without a mask."""


def pieces(block: Block, real: Bool) -> list[Piece]:
    """The bands of block (band, y, x), without holes, real (1 or band, y, x), by their grids, the coarsest first; none
    where all are of the grid of the block, or it is small."""
    if block.size < LEAST:
        return []
    shown = np.broadcast_to(real, block.shape) if len(real) > 1 else real
    found = grids(block, shown)
    if list(found) == [PLAIN]:
        return []
    return [_piece(block, real, grid, bands) for grid, bands in reversed(found.items())]


def _piece(block: Block, real: Bool, grid: Grid, bands: Index) -> Piece:
    own, shown, cells = block[bands], real if len(real) == 1 else real[bands], Cells(grid, block.shape[1:])
    if grid == PLAIN:
        return Piece(grid, bands, cells, own, shown)
    there = np.stack([cells.some(plane) for plane in shown])
    values = np.stack([cells.values(band, shown[b % len(shown)]) for b, band in enumerate(own)])
    return Piece(grid, bands, cells, values if there.all() else mask.fill_holes(values, there), there)


def encode_parts(
    block: Block, real: Bool, mse: float, found: list[Piece], code: Coder, decode: Callable[[bytes], Block]
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
    most = mse * sum(elements)
    unit = most / sum(weight * count for weight, count in zip(weights, elements, strict=True))
    made, spent = list[Part](), 0.0
    for piece, weight, count in zip(found, weights, elements, strict=True):
        last = piece is found[-1]
        room, share = most - spent, (most - spent) / count if last else unit * weight
        for _ in range(TRIALS):
            data = code(piece.block, piece.real, share) if 0 < share < np.inf else None
            if data is None:
                return None
            error = _error(block, shown, piece, decode(data))
            if not last or error <= room:
                made.append(Part(piece.grid, piece.bands, data))
                break
            share *= SAFELY * room / error
        spent += error
    rank = sum(container.read_header(part.container).rank for part in made)
    return (Section(NESTED, _pack(made)), spent, rank) if len(made) == len(found) and rank else None


def _error(block: Block, real: Bool, piece: Piece, decoded: Block) -> float:
    """Σ (x − decoded)² where real (band, y, x), of a piece of block (band, y, x), decoded (band, cell, cell)."""
    total = 0.0
    for b, band in zip(piece.bands, decoded, strict=True):
        flat = (one.reshape(1, -1) for one in (block[b], piece.cells.pixels(band), real[b]))
        total += float(kernels.squared_error(*flat))
    return total


def _pack(found: list[Part]) -> bytes:
    parts = [COUNT.pack(len(found))]
    for grid, bands, data in found:
        parts += [HEAD.pack(*grid, len(bands), len(data)), bands.astype("<u2").tobytes(), data]
    return b"".join(parts)


def read_parts(header: Header, section: Section) -> Iterator[Part]:
    """The parts of a container; FormatError where they do not make up its block."""
    if section.coder != NESTED:
        raise FormatError(f"chunk holds parts of coder {section.coder}; it is damaged or newer")
    data, offset, missing = memoryview(section.payload), COUNT.size, np.ones(header.shape[0], np.bool_)
    damaged = FormatError("chunk holds parts that do not make up its bands; it is damaged")
    for _ in range(COUNT.unpack(data[:offset])[0] if len(data) >= offset else 0):
        if len(data) < offset + HEAD.size:
            raise damaged
        *numbers, bands, length = HEAD.unpack(data[offset : offset + HEAD.size])
        first = offset + HEAD.size
        start, offset = first + 2 * bands, first + 2 * bands + length
        if len(data) < offset:
            raise damaged
        grid, chosen = Grid(*numbers), np.frombuffer(data[first:start], "<u2").astype(np.intp)
        if not _makes_sense(grid, chosen, missing):
            raise damaged
        missing[chosen] = False
        yield Part(grid, chosen, bytes(data[start:offset]))
    if missing.any() or offset != len(data):
        raise damaged


def _makes_sense(grid: Grid, bands: Index, missing: Bool) -> bool:
    """Whether this is a grid, and bands in order that no part had before."""
    sides = 0 <= grid.top < grid.down and 0 <= grid.left < grid.across
    known = bands.size and bands[-1] < len(missing) and (np.diff(bands) > 0).all()
    return bool(sides and known and missing[bands].all())


def cells_of(header: Header, part: Part) -> Cells:
    """The cells of a part of the container of this header. FormatError where the part is no layer of its bands."""
    inner, sections = container.unpack(part.container)
    cells = Cells(part.grid, header.shape[1:])
    fitting = inner.shape == (len(part.bands), *cells.shape) and inner.dtype == header.dtype
    if not fitting or inner.mask is not MaskKind.NONE or inner.nodata != header.nodata or sections.keys() - LAYER:
        raise FormatError("chunk holds a part that is no layer of its bands; it is damaged")
    return cells
