"""Features from a store of ours without decoding it: which way pays, and a tile's pieces from the chunks' factors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import PREFIX, Factors, decode_factors, factored_rank, read_header
from pipeline.errors import ConfigError, FormatError
from pipeline.flow.networks import AnyBank
from pipeline.grid import Grid, Halo, Tile, Window
from pipeline.network import Bank, Mosaic, Piece
from pipeline.raster.chunks import chunk_path
from pipeline.raster.scene import Source
from pipeline.raster.store_bands import StoreBands
from pipeline.raster.store_source import StoreSource
from pipeline.storage import place

DOMAINS = ("auto", "factors", "pixels")
SAMPLED = 64  # chunks whose headers are read
# With more planes than this share of the bands pooling, which costs the same either way, hides what is won.
MOST_PLANES = 0.5
# What the convolution of a tile must save at least: nine regions with filters of their own cost some 20 ms.
LEAST_FLOPS = 2e9


class Domain(NamedTuple):
    """Where the convolution of a scene runs, and how many planes a tile has there on average."""

    name: str
    """factors or pixels"""
    planes: float
    bands: int

    def __str__(self) -> str:
        return (
            f"from factors (rank {self.planes:.1f} of {self.bands} bands)" if self.name == "factors" else "from pixels"
        )


def choose_domain(source: Source, bank: AnyBank, pool: int, stride: int, wanted: str = "auto") -> Domain:
    """Factors where the source is a store of ours and its rank makes them pay, unless another way is wanted.

    The same for the same store, bank and options: the ranks of chunks spread over the scene decide.

    Raises:
        ConfigError: factors are wanted of what has none.
    """
    bands = len(source.info.bands)
    stored = isinstance(source, StoreSource) and source.is_low_rank
    linear = isinstance(bank, Bank) and not len(bank.hidden)
    if wanted == "factors" and not stored:
        what = (
            "some bands of a store, read as pixels" if isinstance(source, StoreBands) else "no compressed store of ours"
        )
        raise ConfigError(f"{source.info.name} is {what}, and the domain factors wants one whole; leave out the domain")
    if wanted == "factors" and not linear:
        raise ConfigError(f"the first layer of {bank.name} is not linear in the bands; leave out the domain factors")
    if (
        wanted == "pixels"
        or not isinstance(source, StoreSource)
        or not isinstance(bank, Bank)
        or not (stored and linear)
    ):
        return Domain("pixels", bands, bands)
    planes = _mean_planes(source)
    seams = 1 + 8 * bank.halo(pool, stride) / source.tile  # along a seam the planes of two tiles stand side by side
    n, _, size, _ = bank.filters.shape
    # What is saved on: the bands, or their projection and its components.
    whole = bank.planes + bands * len(bank.projection) / (n * size**2)
    saved = 2.0 * n * size**2 * (whole - planes * seams) * source.tile**2
    pays = bank.groups == 1 and planes * seams <= MOST_PLANES * whole and saved >= LEAST_FLOPS
    return Domain("factors" if pays or wanted == "factors" else "pixels", planes, bands)


def mosaic_of(source: StoreSource, window: Window, halo: int) -> Mosaic:
    """The pieces that a window with its halo meets.

    Raises:
        SourceError: a chunk is missing or damaged.
    """
    info = source.info
    grid, outer = Grid(info.height, info.width, source.tile), window.expand(Halo.even(halo), info.height, info.width)
    numbers = (
        row * grid.columns + column
        for row in range(outer.y0 // grid.tile, -(-outer.y1 // grid.tile))
        for column in range(outer.x0 // grid.tile, -(-outer.x1 // grid.tile))
    )
    return Mosaic(grid, {number: piece_of(source, grid[number]) for number in numbers})


def piece_of(source: StoreSource, tile: Tile) -> Piece:
    """A chunk as factors; as its pixels where it has none, or where they do not tell what decodes to a real pixel.

    Raises:
        SourceError: the chunk is missing or damaged.
    """
    stored = source.valid_of(tile)
    shape = (len(source.info.bands), *tile.window.shape)

    def read(data: bytes) -> Piece:
        factors = decode_factors(data)
        found = None if factors is None or _shape(factors) != shape else _piece(source, factors, stored)
        return _pixels(source, tile) if found is None else found

    return source.interpret(tile, "factors", read)


def _piece(source: StoreSource, factors: Factors, stored: NDArray[np.bool_] | None) -> Piece | None:
    """The piece of these factors; None where a pixel counts as valid that is not real in every band."""
    real = np.asarray(factors.valid.reshape(-1, *factors.valid.shape[-2:]).all(axis=0), bool)
    valid = np.ones(real.shape, bool) if stored is None else stored
    if (valid & ~real).any():
        if np.dtype(source.info.dtype).kind != "f" or not (source.info.nodata is None or np.isnan(source.info.nodata)):
            return None
        valid = valid & real  # NaN in the pixels
    places = np.stack(np.unravel_index(factors.indices, _shape(factors)))
    return Piece(valid, None, factors.mean, factors.basis, factors.scores, places, factors.amounts)


def _pixels(source: StoreSource, tile: Tile) -> Piece:
    block, valid = source.read(tile.window)
    return Piece(valid & np.isfinite(block).all(axis=0), block)


def _shape(factors: Factors) -> tuple[int, int, int]:
    _, height, width = factors.scores.shape
    return len(factors.mean), height, width


def _mean_planes(source: StoreSource) -> float:
    """Mean rank of some chunks spread over the store; a chunk without factors counts its bands."""
    grid = Grid(source.info.height, source.info.width, source.tile)
    planes = []
    for tile in map(grid.__getitem__, grid.spread(SAMPLED)):
        try:
            with chunk_path(place(source.path), source.variable, 0, tile.row, tile.column).open("rb") as file:
                header = read_header(file.read(PREFIX))
        except (OSError, FormatError):
            continue  # who reads it in full will say so
        rank = factored_rank(header)
        planes.append(header.shape[0] if rank is None else rank)
    return float(np.mean(planes)) if planes else float(len(source.info.bands))
