"""An endless made-up landscape, a function of seed and absolute pixel alone.

Sources: splitmix64's finaliser as a hash (Steele, Lea, Flood 2014); value noise (Perlin 1985, without the
gradients); fields as cellular noise (Worley 1996). Cells of CELL x CELL pixels are always made whole and with
elementwise IEEE arithmetic only, so a pixel has the same bytes whoever asks for it, in whatever window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Plane = NDArray[np.bool_]

CELL = 256
MATERIALS = ("crop", "bright soil", "dark soil", "forest", "water", "silt", "metal")
CROP, BRIGHT_SOIL, DARK_SOIL, FOREST, WATER, SILT, METAL = range(len(MATERIALS))

TARGET_LATTICE = 64  # pixels; divides CELL, so that no target lies across two cells
TARGET_CHANCE = 0.15
HOLE_LATTICE = 64
HOLE_RADIUS = (8, 32)  # pixels, in proportion to HOLE_LATTICE
MOST_HOLES = 0.34  # of the area, when every square of the lattice has its disc
PARCEL = (44.0, 72.0)  # pixels, across and along the fields
SLANT = (0.94, 0.34)  # cosine and sine, near enough, of the fields' direction
HEDGE = 1.5  # pixels between the nearest and the second site: half the width of a hedge


class Cell(NamedTuple):
    """One CELL x CELL square of the landscape: its place, and the key of its world."""

    seed: int
    row: int
    column: int

    @property
    def ys(self) -> I64:
        """Absolute rows, (CELL,) int64."""
        return np.arange(self.row * CELL, (self.row + 1) * CELL, dtype=np.int64)

    @property
    def xs(self) -> I64:
        """Absolute columns, (CELL,) int64."""
        return np.arange(self.column * CELL, (self.column + 1) * CELL, dtype=np.int64)


def uniform(seed: int, salt: int, ys: I64, xs: I64) -> F32:
    """Hash (seed, salt, y, x) to a float32 in [0, 1), 24 bits each; ys and xs broadcast."""
    key = (seed * 0xD1B54A32D192ED03 + (salt + 1) * 0x8CB92BA72F3D8DD7) & 0xFFFF_FFFF_FFFF_FFFF
    with np.errstate(over="ignore"):
        z = np.uint64(key) ^ (ys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        for term in (np.uint64(0), xs.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)):
            z = z + term
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def value_noise(cell: Cell, salt: int, spacing: int) -> F32:
    """Smoothstep interpolation of hashed values on a lattice of `spacing` pixels: (CELL, CELL) in [0, 1)."""
    (iy, wy), (ix, wx) = (_lattice(axis, spacing) for axis in (cell.ys, cell.xs))
    rows, columns = (np.arange(i[0], i[-1] + 2, dtype=np.int64) for i in (iy, ix))
    table = uniform(cell.seed, salt, rows[:, None], columns[None, :])
    left = ix - ix[0]
    table = table[:, left] * (1 - wx) + table[:, left + 1] * wx
    top = iy - iy[0]
    return np.asarray(table[top] * (1 - wy)[:, None] + table[top + 1] * wy[:, None], np.float32)


def _lattice(axis: I64, spacing: int) -> tuple[I64, F32]:
    index, rest = np.divmod(axis, spacing)
    t = rest.astype(np.float32) / np.float32(spacing)
    return index, t * t * (3 - 2 * t)


def fractal(cell: Cell, salt: int, spacing: int, octaves: int) -> F32:
    """Octaves of value noise, each half as wide and half as strong as the last: (CELL, CELL) in [0, 1)."""
    total = np.zeros((CELL, CELL), np.float32)
    for octave in range(octaves):
        total += np.float32(0.5**octave) * value_noise(cell, salt + octave, max(1, spacing >> octave))
    return total / np.float32(2 - 0.5 ** (octaves - 1))


def abundances(cell: Cell) -> F32:
    """How much of each of MATERIALS a pixel holds, shading included: (material, CELL, CELL) float32, >= 0."""
    mixed = np.zeros((len(MATERIALS), CELL, CELL), np.float32)
    green, pale, hedge = _parcels(cell)
    green = np.clip(green + 0.5 * (fractal(cell, 30, 64, 3) - 0.5), 0, 1)
    mixed[CROP] = green
    mixed[BRIGHT_SOIL] = (1 - green) * pale
    mixed[DARK_SOIL] = (1 - green) * (1 - pale)
    forest = hedge | (fractal(cell, 40, 192, 5) > 0.57)
    _cover(mixed, forest, FOREST, np.float32(1))
    relief, meander = fractal(cell, 50, 1024, 7), fractal(cell, 60, 768, 5)
    water = (relief < 0.40) | (np.abs(meander - np.float32(0.5)) < 0.006)
    mixed *= np.float32(0.75) + np.float32(0.5) * fractal(cell, 70, 16, 4)  # shading of the land
    depth = np.clip((np.float32(0.40) - relief) * 12, 0, 1)
    _cover(mixed, water, WATER, np.float32(0.8))
    mixed[SILT] = np.where(water, (1 - depth) * fractal(cell, 80, 128, 3), 0)
    _cover(mixed, _targets(cell), METAL, np.float32(1))
    return mixed


def _cover(mixed: F32, where: Plane, material: int, amount: np.float32) -> None:
    mixed *= ~where
    mixed[material] += amount * where


def _parcels(cell: Cell) -> tuple[F32, F32, Plane]:
    """Jittered Voronoi fields on a slanted lattice: greenness, paleness of the soil, hedges."""
    y, x = cell.ys[:, None].astype(np.float64), cell.xs[None, :].astype(np.float64)
    across, along = (SLANT[0] * x + SLANT[1] * y) / PARCEL[0], (SLANT[0] * y - SLANT[1] * x) / PARCEL[1]
    iu, iv = np.floor(across).astype(np.int64), np.floor(along).astype(np.int64)
    rows = np.arange(iv.min() - 1, iv.max() + 2)[:, None]
    columns = np.arange(iu.min() - 1, iu.max() + 2)[None, :]
    jitter = [uniform(cell.seed, salt, rows, columns) * np.float32(0.8) for salt in (20, 21)]
    u, v = (across - iu).astype(np.float32), (along - iv).astype(np.float32)
    centre = (iv - rows[0, 0]) * columns.size + (iu - columns[0, 0])
    nearest, second = (np.full((CELL, CELL), np.inf, np.float32) for _ in range(2))
    owner = np.zeros((CELL, CELL), np.int64)
    for dv in (-1, 0, 1):
        for du in (-1, 0, 1):
            site = centre + (dv * columns.size + du)
            to_u = (jitter[0].take(site) + np.float32(du + 0.1) - u) * np.float32(PARCEL[0])
            to_v = (jitter[1].take(site) + np.float32(dv + 0.1) - v) * np.float32(PARCEL[1])
            squared = to_u * to_u + to_v * to_v
            np.copyto(owner, site, where=squared < nearest)
            np.minimum(second, np.maximum(nearest, squared), out=second)
            np.minimum(nearest, squared, out=nearest)
    green, pale = (uniform(cell.seed, salt, rows, columns).take(owner) for salt in (22, 23))
    return green, pale, np.sqrt(second) - np.sqrt(nearest) < 2 * HEDGE


def _targets(cell: Cell) -> Plane:
    """A few bright 2 x 2 squares, each inside its own square of the lattice: (CELL, CELL) bool."""
    at_y, at_x, chance = (_per_square(cell, TARGET_LATTICE, salt) for salt in (90, 91, 92))
    room = np.float32(TARGET_LATTICE - 1)
    near_y = (cell.ys % TARGET_LATTICE)[:, None] - np.floor(at_y * room)
    near_x = (cell.xs % TARGET_LATTICE)[None, :] - np.floor(at_x * room)
    inside = (near_y >= 0) & (near_y < 2) & (near_x >= 0) & (near_x < 2)
    return np.asarray(inside & (chance < TARGET_CHANCE))


def holes(cell: Cell, fraction: float) -> Plane:
    """Discs over about `fraction` (at most MOST_HOLES) of the ground, True inside: (CELL, CELL) bool."""
    size, chance = (_per_square(cell, HOLE_LATTICE, salt) for salt in (100, 101))
    radius = HOLE_RADIUS[0] + size * np.float32(HOLE_RADIUS[1] - HOLE_RADIUS[0])
    middle = np.float32(HOLE_LATTICE - 1) / 2
    dy, dx = ((axis % HOLE_LATTICE).astype(np.float32) - middle for axis in (cell.ys, cell.xs))
    inside = (dy * dy)[:, None] + (dx * dx)[None, :] < radius * radius
    return np.asarray(inside & (chance < fraction / MOST_HOLES))


def _per_square(cell: Cell, spacing: int, salt: int) -> F32:
    """One hashed value per spacing x spacing square (spacing divides CELL), repeated to (CELL, CELL)."""
    rows, columns = (axis[::spacing] // spacing for axis in (cell.ys, cell.xs))
    values = uniform(cell.seed, salt, rows[:, None], columns[None, :])
    return values.repeat(spacing, axis=0).repeat(spacing, axis=1)
