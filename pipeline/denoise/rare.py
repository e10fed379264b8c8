"""Small objects that stand in few bands: what was taken of a block must be white, and where it is not, it comes back.

Source: docs/algorithms.md, "Denoise". Rare vectors that the energy of all pixels does not show: Kuybeda, Malah,
Barzohar (2007); sums of what is beyond a threshold, to find few among many: Fan (1996); its height: Donoho, Johnstone
(1994); the mean and what the pixel has beside it, weighed by the variance within the box: Lee (1980).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc

from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Valid = NDArray[np.bool_]

# How often white noise may look like a rare object, for each pixel and side of a box; the largest box reaches so far.
CHANCE = 1e-6
FAR = 2
LANES = 32
# Steps of the grid on which the chance of a sum is counted, and how many: to far beyond any limit.
STEP, STEPS = 1 / 32, 1 << 13


# What is looked at about a pixel, rows and columns of the square that reaches as far: itself, squares of 3 and of 5
# pixels a side, and lines of 5 along the rows, the columns and both diagonals, for roads.
SIDE = 2 * FAR + 1
_Y, _X = np.mgrid[-FAR : FAR + 1, -FAR : FAR + 1]
_AWAY = np.maximum(abs(_Y), abs(_X))
SHAPES = np.stack([_AWAY == 0, _AWAY <= 1, _AWAY <= FAR, _Y == 0, _X == 0, _Y == _X, _Y == -_X])


def given_back(taken: F32, valid: Valid, clean: Valid) -> tuple[Index, Index, F32]:
    """What of `taken`, noise and what went with it, in units of the noise, is none: rows and columns (pixel,) and what
    comes back there (band, pixel).

    The sum over a shape of n valid pixels, squared and divided by n, is χ² of one degree in each band, if what was
    taken is white. Those above `height` are added up over the bands; what is more than chance does comes back, in those
    bands. taken: (band, FAR + y + FAR, FAR + x + FAR), 0 where not valid (y, x) and around. clean (band,): the others
    have impulses and are no witnesses, and where most of them have, so have those in which none were found.
    """
    bands = np.flatnonzero(clean)
    found = np.zeros((0, len(taken)), np.float32)
    rows = columns = np.zeros(0, np.intp)
    if bands.size and 2 * bands.size >= len(taken):
        least, limit, real = height(bands.size), limit_of(bands.size), with_rims((1, *valid.shape))[0]
        real[FAR:-FAR, FAR : FAR + valid.shape[1]] = valid
        chosen = suspicious(taken, real, bands, np.float32(least), np.float32(limit))
        rows, columns = np.nonzero(chosen[:, : valid.shape[1]] & valid)
        found = gifts(taken, real > 0, bands, rows, columns, least, limit)
    some = found.any(axis=1)
    return rows[some], columns[some], np.ascontiguousarray(found[some].T)


def height(bands: int) -> float:
    """What the square of a standard normal exceeds once or less among so many bands, by and large."""
    return float(2 * np.log(bands))


@cache
def limit_of(bands: int, chance: float = CHANCE) -> float:
    """What the sum of the squares above `height`, of so many standard normals, exceeds by chance; rounded up.

    By the Fourier transform of the chances of one of them on a grid, rounded up to it, to the power of the bands.
    """
    edges = STEP * np.arange(STEPS + 1)
    above = erfc(np.sqrt(edges / 2))
    one = np.concatenate([[0.0], above[:-1] - above[1:]])
    low = edges <= height(bands)
    one[0], one[low] = one[low].sum(), np.where(edges[low] > 0, 0.0, one[low].sum())
    total = np.fft.irfft(np.fft.rfft(one, 2 * len(one)) ** bands, 2 * len(one))[: len(one)]
    return float(edges[np.argmax(1 - np.cumsum(total) < chance)])


def with_rims(shape: tuple[int, ...]) -> F32:
    """Room for a block (band, y, x) and zeros around: to the right as many as make its rows LANES wide, so that kernels
    have nothing left of a row to do one by one."""
    bands, height, width = shape
    room = np.empty((bands, height + 2 * FAR, -(-width // LANES) * LANES + 2 * FAR), np.float32)
    room[:, :FAR], room[:, -FAR:], room[:, :, :FAR], room[:, :, FAR + width :] = 0, 0, 0, 0
    return room


@jit
def off_by(unit: NDArray[Any], bands: F32, valid: Valid, sigma: F64, taken: F32) -> None:
    """Set the rows of taken (band, y, FAR + x + FAR) to what bands (band, y, x) lack of unit, in units of sigma
    (band,); to 0 where not valid (y, x)."""
    for b in range(len(unit)):
        scale = np.float32(1 / sigma[b])
        for y in range(unit.shape[1]):
            row, other, real = unit[b, y], bands[b, y], valid[y]
            out = taken[b, y, FAR : FAR + len(row)]
            for x in range(len(row)):
                off = np.float32(row[x] - other[x]) * scale
                out[x] = off if real[x] else np.float32(0)


@jit
def suspicious(taken: F32, real: F32, bands: Index, least: np.float32, limit: np.float32) -> Valid:
    """(y, x) about which the squares above `least`, of some shape and bands of `taken`, add up to more than limit.

    real: 1 where valid, else 0; as wide as taken.
    """
    height, width = real.shape[0] - 2 * FAR, real.shape[1] - 2 * FAR
    found = np.zeros((height, width), np.bool_)
    sums, shares = np.empty((len(SHAPES), width), np.float32), np.empty((len(SHAPES), width), np.float32)
    kept, total, share = np.empty(sums.size, np.float32), sums.ravel(), shares.ravel()
    high, wide = np.empty(real.shape[1], np.float32), np.empty(real.shape[1], np.float32)
    for y in range(height):
        _sums(real, y, high, wide, shares)
        for i in range(len(share)):
            share[i], kept[i] = np.float32(1) / max(share[i], np.float32(1)), np.float32(0)
        for b in bands:
            _sums(taken[b], y, high, wide, sums)
            for i in range(len(kept)):
                square = total[i] * total[i] * share[i]
                kept[i] += square if square > least else np.float32(0)
        for n in range(len(SHAPES)):
            for x in range(width):
                found[y, x] |= kept[n * width + x] > limit
    return found


@jit
def _sums(plane: F32, y: int, high: F32, wide: F32, sums: F32) -> None:
    """Set sums (shape, x) to those of SHAPES about the pixels of row y of a plane without its rims; high and wide are
    room for a row of it with them."""
    for x in range(len(wide)):
        high[x] = plane[y + 1, x] + plane[y + 2, x] + plane[y + 3, x]
        wide[x] = high[x] + plane[y, x] + plane[y + 4, x]
    for x in range(sums.shape[1]):
        sums[0, x], sums[4, x] = plane[y + 2, x + 2], wide[x + 2]
        sums[1, x] = high[x + 1] + high[x + 2] + high[x + 3]
    for x in range(sums.shape[1]):
        sums[2, x] = wide[x] + wide[x + 1] + wide[x + 2] + wide[x + 3] + wide[x + 4]
        row = plane[y + 2, x] + plane[y + 2, x + 1] + plane[y + 2, x + 2] + plane[y + 2, x + 3] + plane[y + 2, x + 4]
        sums[3, x] = row
    for x in range(sums.shape[1]):
        fall = plane[y, x] + plane[y + 1, x + 1] + plane[y + 2, x + 2] + plane[y + 3, x + 3] + plane[y + 4, x + 4]
        rise = plane[y, x + 4] + plane[y + 1, x + 3] + plane[y + 2, x + 2] + plane[y + 3, x + 1] + plane[y + 4, x]
        sums[5, x], sums[6, x] = fall, rise


@jit
def gifts(taken: F32, real: Valid, bands: Index, rows: Index, columns: Index, least: float, limit: float) -> F32:
    """(pixel, band) what comes back at these pixels: what the shape about it says that says most."""
    found = np.zeros((len(rows), len(taken)), np.float32)
    box, here = np.empty((len(bands), SIDE, SIDE)), np.empty((SIDE, SIDE), np.bool_)
    means = np.zeros((len(SHAPES), len(bands)))
    for n in range(len(rows)):
        here[:] = real[rows[n] : rows[n] + SIDE, columns[n] : columns[n] + SIDE]
        for k in range(len(bands)):
            box[k] = taken[bands[k], rows[n] : rows[n] + SIDE, columns[n] : columns[n] + SIDE]
        best, chosen = limit, -1
        for shape in range(len(SHAPES)):
            kept = _stands(box, here, SHAPES[shape] & here, least, means[shape])
            if kept > best:
                best, chosen = kept, shape
        if chosen >= 0:
            size = _amplitude(box, SHAPES[chosen] & here, means[chosen])
            for k in range(len(bands)):
                found[n, bands[k]] = size * means[chosen, k]
    return found


@jit
def _stands(box: F64, here: Valid, shape: Valid, least: float, mean: F64) -> float:
    """The sum over the bands of box (band, y, x) that is held against chance, of the pixels of a shape; sets mean
    (band,) to the mean of these, 0 in bands that do not stand out.

    In units of what the other bands have all over the box, if that is more than noise: so would these have.
    """
    count, pixels = int(np.count_nonzero(shape)), int(np.count_nonzero(here))
    kept, energy, others = 0.0, 0.0, 0
    for k in range(len(box)):
        total, square = 0.0, 0.0
        for y in range(SIDE):
            for x in range(SIDE):
                total += box[k, y, x] if shape[y, x] else 0.0
                square += box[k, y, x] * box[k, y, x]
        mean[k] = total / count
        if total * mean[k] > least:
            kept += total * mean[k]
        else:
            mean[k] = 0.0
            energy += square
            others += pixels
    return kept if energy <= others else kept * others / energy


@jit
def _amplitude(box: F64, shape: Valid, mean: F64) -> float:
    """What the pixel amid box (band, y, x) has along mean (band,), that of its shape, as a share of it: the mean is 1;
    more of its own counts the more the pixels of the shape vary beyond noise, at the rim of an object."""
    square, spread, own = 0.0, 0.0, 1.0
    for k in range(len(mean)):
        square += mean[k] * mean[k]
    for y in range(SIDE):
        for x in range(SIDE):
            if shape[y, x]:
                along = 0.0
                for k in range(len(mean)):
                    along += box[k, y, x] * mean[k] / square
                spread += (along - 1) * (along - 1) * square
                own = along if y == FAR and x == FAR else own
    beyond = max(0.0, spread / max(1, int(np.count_nonzero(shape)) - 1) - 1)
    return float(1 + beyond / (beyond + 1) * (own - 1))
