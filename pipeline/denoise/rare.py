"""Small objects that stand in few bands: what was taken of a block must be white, and where it is not, it comes back.

Source: docs/algorithms.md, "Denoise". Rare vectors that the energy of all pixels does not show: Kuybeda, Malah, Barzohar
(2007); sums of what is beyond a threshold, to find few among many: Fan (1996); its height: Donoho, Johnstone (1994);
the mean and what the pixel has beside it, weighed by the variance within the box: Lee (1980).
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
# Steps of the grid on which the chance of a sum is counted, and how many: to far beyond any limit.
STEP, STEPS = 1 / 32, 1 << 13


def given_back(taken: F32, valid: Valid, clean: Valid) -> tuple[Index, Index, F32]:
    """What of `taken` (band, y, x), noise and what went with it, in units of the noise, is none: rows and columns
    (pixel,) and what comes back there (band, pixel).

    The sum over a box of 1, 3 or 5 pixels a side of n valid ones, squared and divided by n, is χ² of one degree in each
    band, if what was taken is white. Those above `height` are added up over the bands; what is more than chance does
    comes back, in those bands. taken: 0 where not valid. clean (band,): the others are no witnesses.
    """
    nothing = np.zeros(0, np.intp)
    bands = np.flatnonzero(clean)
    if not bands.size:
        return nothing, nothing, np.zeros((len(taken), 0), np.float32)
    least, limit = np.float32(height(bands.size)), np.float32(limit_of(bands.size))
    rows, columns = np.nonzero(suspicious(taken, valid.astype(np.float32), bands, least, limit))
    if not rows.size:
        return nothing, nothing, np.zeros((len(taken), 0), np.float32)
    gifts = np.zeros((rows.size, len(taken)), np.float32)
    _gifts(taken, valid, bands, rows, columns, float(least), float(limit), gifts)
    some = gifts.any(axis=1)
    return rows[some], columns[some], np.ascontiguousarray(gifts[some].T)


def height(bands: int) -> float:
    """What the square of a standard normal exceeds once or less among so many bands, by and large."""
    return float(2 * np.log(bands))


@cache
def limit_of(bands: int) -> float:
    """What the sum of the squares above `height`, of so many standard normals, exceeds by CHANCE; rounded up.

    By the Fourier transform of the chances of one of them on a grid, rounded up to it, to the power of the bands.
    """
    edges = STEP * np.arange(STEPS + 1)
    above = erfc(np.sqrt(edges / 2))
    one = np.concatenate([[0.0], above[:-1] - above[1:]])
    low = edges <= height(bands)
    one[0], one[low] = one[low].sum(), np.where(edges[low] > 0, 0.0, one[low].sum())
    total = np.fft.irfft(np.fft.rfft(one, 2 * len(one)) ** bands, 2 * len(one))[: len(one)]
    return float(edges[np.argmax(1 - np.cumsum(total) < CHANCE)])


@jit
def off_by(unit: NDArray[Any], bands: F32, valid: Valid, sigma: F64, taken: F32) -> None:
    """Set taken (band, y, x) to what bands lack of unit, in units of sigma (band,); 0 where not valid (y, x)."""
    for b in range(len(unit)):
        scale = np.float32(1 / sigma[b])
        for y in range(unit.shape[1]):
            row, other, out = unit[b, y], bands[b, y], taken[b, y]
            for x in range(len(row)):
                off = np.float32(np.float64(row[x]) - np.float64(other[x])) * scale
                out[x] = off if valid[y, x] else np.float32(0)


@jit
def suspicious(taken: F32, real: F32, bands: Index, least: np.float32, limit: np.float32) -> Valid:
    """(y, x) real pixels around which, of `taken` (band, y, x), the squares above `least` add up to more than limit.

    real (y, x): 1 where valid, else 0.
    """
    height, width = real.shape
    found = np.zeros((height, width), np.bool_)
    high, wide = np.zeros(width + 2, np.float32), np.zeros(width + 4, np.float32)
    share3, share5 = np.empty(width, np.float32), np.empty(width, np.float32)
    sum1, sum3, sum5 = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    one, nothing = np.float32(1), np.float32(0)
    for y in range(height):
        _columns(real, y, high, wide)
        for x in range(width):
            share3[x] = one / max(high[x] + high[x + 1] + high[x + 2], one)
            share5[x] = one / max(wide[x] + wide[x + 1] + wide[x + 2] + wide[x + 3] + wide[x + 4], one)
            sum1[x], sum3[x], sum5[x] = nothing, nothing, nothing
        for b in bands:
            row = taken[b, y]
            _columns(taken[b], y, high, wide)
            for x in range(width):
                a = high[x] + high[x + 1] + high[x + 2]
                c = wide[x] + wide[x + 1] + wide[x + 2] + wide[x + 3] + wide[x + 4]
                e1, e3, e5 = row[x] * row[x], a * a * share3[x], c * c * share5[x]
                sum1[x] += e1 if e1 > least else nothing
                sum3[x] += e3 if e3 > least else nothing
                sum5[x] += e5 if e5 > least else nothing
        for x in range(width):
            found[y, x] = real[y, x] > nothing and max(sum1[x], max(sum3[x], sum5[x])) > limit
    return found


@jit
def _columns(plane: F32, y: int, high: F32, wide: F32) -> None:
    """Sums of three and of five rows of plane (y, x) about row y, from the second and third place of high and wide."""
    height, width = plane.shape
    middle = plane[y]
    if 2 <= y < height - 2:
        far, near, after, last = plane[y - 2], plane[y - 1], plane[y + 1], plane[y + 2]
        for x in range(width):
            three = near[x] + middle[x] + after[x]
            high[x + 1] = three
            wide[x + 2] = three + far[x] + last[x]
        return
    for x in range(width):
        high[x + 1], wide[x + 2] = np.float32(0), np.float32(0)
    for row in range(max(y - 2, 0), min(y + 3, height)):
        for x in range(width):
            wide[x + 2] += plane[row, x]
            if abs(row - y) < 2:
                high[x + 1] += plane[row, x]


@jit
def _gifts(
    taken: F32, valid: Valid, bands: Index, rows: Index, columns: Index, least: float, limit: float, gifts: F32
) -> None:
    """Set gifts (pixel, band) to what comes back at these pixels: what the box says that says most."""
    box, reach = np.empty((len(bands), (2 * FAR + 1) ** 2)), np.empty((2 * FAR + 1) ** 2, np.intp)
    means = np.zeros((FAR + 1, len(bands)))
    for n in range(len(rows)):
        count = _gather(taken, valid, bands, rows[n], columns[n], box, reach)
        best, far = limit, -1
        for side in range(FAR + 1):
            kept = _stands(box[:, :count], reach[:count], side, least, means[side])
            if kept > best:
                best, far = kept, side
        if far >= 0:
            size = _amplitude(box[:, :count], reach[:count], far, means[far])
            for k in range(len(bands)):
                gifts[n, bands[k]] = size * means[far, k]


@jit
def _gather(taken: F32, valid: Valid, bands: Index, y: int, x: int, box: F64, reach: Index) -> int:
    """Set box (band, pixel) to what was taken of the valid pixels about one, itself the first, reach (pixel,) to how
    far they are from it; how many they are."""
    height, width = valid.shape
    count = 1
    for row in range(max(y - FAR, 0), min(y + FAR + 1, height)):
        for column in range(max(x - FAR, 0), min(x + FAR + 1, width)):
            if valid[row, column]:
                own = row == y and column == x
                place = 0 if own else count
                count += 0 if own else 1
                reach[place] = max(abs(row - y), abs(column - x))
                for k in range(len(bands)):
                    box[k, place] = taken[bands[k], row, column]
    return count


@jit
def _stands(box: F64, reach: Index, side: int, least: float, mean: F64) -> float:
    """The sum over the bands that is held against chance, of the pixels of box (band, pixel) that are within a reach;
    sets mean (band,) to the mean of these, 0 in bands that do not stand out.

    In units of what the other bands have here, if that is more than noise: so would these have.
    """
    count, kept, energy, others = 0, 0.0, 0.0, 0
    for q in range(len(reach)):
        count += 1 if reach[q] <= side else 0
    for k in range(len(box)):
        total, square = 0.0, 0.0
        for q in range(len(reach)):
            total += box[k, q] if reach[q] <= side else 0.0
            square += box[k, q] * box[k, q]
        mean[k] = total / count
        if total * mean[k] > least:
            kept += total * mean[k]
        else:
            mean[k] = 0.0
            energy += square / len(reach)
            others += 1
    return kept / max(1.0, energy / max(1, others))


@jit
def _amplitude(box: F64, reach: Index, side: int, mean: F64) -> float:
    """What the first pixel of box (band, pixel) has along mean (band,), as a share of it: that of the pixels within a
    reach is 1, and more of its own counts the more these vary beyond noise, at the rim of an object."""
    square, own, spread, count = 0.0, 0.0, 0.0, 0
    for k in range(len(mean)):
        square += mean[k] * mean[k]
    for q in range(len(reach)):
        if reach[q] <= side:
            along = 0.0
            for k in range(len(mean)):
                along += box[k, q] * mean[k]
            along /= square
            own = along if q == 0 else own
            spread += (along - 1) * (along - 1) * square
            count += 1
    if count == 1:
        return 1.0
    beyond = max(0.0, spread / (count - 1) - 1)
    return float(1 + beyond / (beyond + 1) * (own - 1))
