"""Each sample foretold from those already decoded, by a weighted sum in integers: the same on every CPU.

Sources: linear prediction from bands before and neighbours, Mielikainen, Toivanen (2003), with coefficients for each
class of blocks, Aiazzi, Alparone, Baronti (2002); quantised in the loop, so that errors do not add up. The bands before
are whole when a band is decoded: all neighbours of theirs are known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.jit import jit

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]
Bool = NDArray[np.bool_]

# (dy, dx) of the samples of a band itself, and of the neighbours in a band before.
OWN = ((0, -1), (0, -2), (-1, 0), (-1, -1), (-1, 1), (-2, 0), (-2, 1), (-1, 2), (-1, -2), (-2, -1))
AROUND = (
    *((0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)),
    *((0, -2), (0, 2), (-2, 0), (2, 0), (-1, -2), (-1, 2), (1, -2), (1, 2)),
    *((-2, -1), (-2, 1), (2, -1), (2, 1), (-2, -2), (-2, 2), (2, -2), (2, 2)),
)
# Of these the first are known only one after the other.
ROW = 2
TOP, BOTTOM, SIDE = 2, 2, 2  # rows and columns that a plane is padded by
MOST_BEFORE = 64
BLOCK = 16  # side of the blocks that have a class, pixels
CONSTANT_BITS = 4  # constants are 16ths
MOST_REPEATED = 16
SHIFTS = (4, 20)


class Shape(NamedTuple):
    """Which samples foretell one."""

    own: int
    """so many of `OWN`"""
    before: int
    """so many bands before, at the same place"""
    near: int
    """in so many of them the neighbours too"""
    around: int
    """so many of `AROUND`"""

    @property
    def taps(self) -> int:
        return self.own + self.before + self.near * self.around

    @property
    def valid(self) -> bool:
        return self.own <= len(OWN) and self.near <= self.before <= MOST_BEFORE and self.around <= len(AROUND)


class Model(NamedTuple):
    """What foretells every band; all of it is in the file."""

    shape: Shape
    offsets: I64
    """(band,) what is taken off every sample"""
    shifts: I64
    """(band,) coefficients are in units of 2^−shift"""
    coefficients: I32
    """(band, class, tap + 1), the last a constant in 16ths"""
    classes: U8
    """(band, block row, block column)"""
    repeats: I64
    """(band, 3): side of the squares of pixels that hold one sample, 1 for most; how far the first ones are cut off"""


def positions(shape: Shape, band: int) -> list[tuple[int, int, int]]:
    """(bands back, dy, dx) of each tap of this band that there is; a tap of a band before the first has no place."""
    taps = [(0, dy, dx) for dy, dx in OWN[: shape.own]]
    for back in range(1, shape.before + 1):
        if back <= band:
            taps.append((back, 0, 0))
            taps += [(back, dy, dx) for dy, dx in AROUND[: shape.around if back <= shape.near else 0]]
    return taps


def counts_of(shape: Shape, bands: int) -> I64:
    """(band,) how many of the `positions` of the last bands each band has; they are the first ones."""
    before = np.minimum(np.arange(bands), shape.before)
    counts: I64 = shape.own + before + np.minimum(before, shape.near) * shape.around
    return counts


def padded(bands: int, height: int, width: int) -> I32:
    """Planes for `foretell`: zeros, with room around."""
    return np.zeros((bands, TOP + height + BOTTOM, width + 2 * SIDE), np.int32)


def inside(planes: I32) -> I32:
    """The samples themselves, a view."""
    return planes[:, TOP:-BOTTOM, SIDE:-SIDE]


def close(planes: I32) -> None:
    """Repeat the samples at the edges around the planes, as `predict_band` does."""
    planes[:, :, :SIDE] = planes[:, :, SIDE : SIDE + 1]
    planes[:, :, -SIDE:] = planes[:, :, -SIDE - 1 : -SIDE]
    planes[:, :TOP] = planes[:, TOP : TOP + 1]
    planes[:, -BOTTOM:] = planes[:, -BOTTOM - 1 : -BOTTOM]


def offsets_of(taps: list[tuple[int, int, int]], planes: I32) -> I64:
    """Where the taps are, in elements of flat `planes` from the sample."""
    _, height, width = planes.shape
    return np.array([(-back * height + dy) * width + dx for back, dy, dx in taps], np.int64)


@jit
def predict_bands(
    planes: I32,
    first: int,
    taps: I64,
    counts: I64,
    row_taps: int,
    coefficients: I32,
    shifts: I64,
    classes: U8,
    limits: I64,
    step: int,
    steps: I32,
    target: I32,
    real: Bool,
    repeats: I64,
) -> None:
    """`predict_band` for all bands from `first` on that steps (band, y, x) are of; what it takes for one is here for
    all bands. Without a target (1, 0, 1) it decodes. A call from Python takes as long as some hundred pixels."""
    for i in range(steps.shape[0]):
        band = first + i
        predict_band(
            planes, band, taps[: counts[band]], row_taps, coefficients[band], shifts[band], classes[band], limits[band],
            step, steps[i], target[band % target.shape[0]], real[band % real.shape[0]], repeats[band],
        )  # fmt: skip


@jit
def predict_band(
    planes: I32,
    band: int,
    taps: I64,
    row_taps: int,
    coefficients: I32,
    shift: int,
    classes: U8,
    limits: I64,
    step: int,
    steps: I32,
    target: I32,
    real: Bool,
    repeat: I64,
) -> None:
    """Foretell and restore one band of planes (`padded`), the bands before being there.

    taps: `offsets_of`, of which the first `row_taps` stand in the row itself; coefficients (class, tap + 1);
    limits: of the samples; step: of the residual. Without a target (0, 1) it decodes steps (y, x); else it writes
    them, so that what decodes is at most half a step off. Where not `real` (y, x) neither target nor step counts:
    there the left and the upper sample go on. repeat: of the model; steps have a place for each square.
    """
    _, rows, stride = planes.shape
    height, width = rows - TOP - BOTTOM, stride - 2 * SIDE
    flat = planes.reshape(-1)
    total = np.empty(width, np.int64)
    for y in range(height):
        start = ((band * rows) + TOP + y) * stride + SIDE
        row = (y + repeat[1]) // repeat[0]
        if y and (y + repeat[1]) % repeat[0]:
            flat[start - 2 : start + width + 2] = flat[start - stride - 2 : start - stride + width + 2]
            continue
        if y:
            flat[start - 2] = flat[start - 1] = flat[start - stride]
        goal = target[y] if target.shape[0] else target[:, 0]
        x = 0
        while x < width:
            c, end = classes[y // BLOCK, x // BLOCK], x
            while end < width and classes[y // BLOCK, end // BLOCK] == c:
                end = min((end // BLOCK + 1) * BLOCK, width)
            _add_taps(flat, start + x, taps, row_taps, coefficients[c], shift, total[x:end])
            _restore(
                flat, start, stride, x, end, total, coefficients[c], row_taps, shift, limits, step, steps[row], goal,
                real[y], repeat,
            )  # fmt: skip
            x = end
        flat[start - 2] = flat[start - 1] = flat[start]
        flat[start + width] = flat[start + width + 1] = flat[start + width - 1]
    _close_rows(planes[band], height)


@jit
def _restore(
    flat: I32,
    start: int,
    stride: int,
    x: int,
    end: int,
    total: I64,
    coefficients: I32,
    row_taps: int,
    shift: int,
    limits: I64,
    step: int,
    steps: I32,
    target: I32,
    real: Bool,
    repeat: I64,
) -> None:
    """Samples x to end of one row of `predict_band`, from the `total` of all taps but those in the row itself."""
    first = np.int64(coefficients[0]) if row_taps > 0 else 0
    second = np.int64(coefficients[1]) if row_taps > 1 else 0
    half = np.int64(1) << (shift - 1)
    side, cut = repeat[0], repeat[2]
    left, left2 = np.int64(flat[start + x - 1]), np.int64(flat[start + x - 2])
    for i in range(x, end):
        p = (total[i] + first * left + second * left2 + half) >> shift
        p = min(max(p, limits[0]), limits[1])
        left2 = left
        if side == 1 or i == 0 or (i + cut) % side == 0:
            if real[i]:
                column = (i + cut) // side if side > 1 else i
                if target.shape[0]:
                    steps[column] = _nearest(np.int64(target[i]) - p, step)
                left = min(max(p + np.int64(steps[column]) * step, limits[0]), limits[1])
            else:
                left = (left + np.int64(flat[start + i - stride])) >> 1
        flat[start + i] = np.int32(left)


@jit
def _add_taps(flat: I32, at: int, taps: I64, first: int, coefficients: I32, shift: int, total: I64) -> None:
    """total = Σ over the taps from `first` on, for the samples from `at` on, and the constant."""
    n, count = total.shape[0], taps.shape[0]
    total[:] = np.int64(coefficients[coefficients.shape[0] - 1]) << (shift - CONSTANT_BITS)
    t = first
    while t + 4 <= count:
        a, b, c, d = coefficients[t], coefficients[t + 1], coefficients[t + 2], coefficients[t + 3]
        p, q = flat[at + taps[t] :], flat[at + taps[t + 1] :]
        r, s = flat[at + taps[t + 2] :], flat[at + taps[t + 3] :]
        for i in range(n):
            total[i] += (
                np.int64(a) * np.int64(p[i])
                + np.int64(b) * np.int64(q[i])
                + np.int64(c) * np.int64(r[i])
                + np.int64(d) * np.int64(s[i])
            )
        t += 4
    while t < count:
        a, p = coefficients[t], flat[at + taps[t] :]
        for i in range(n):
            total[i] += np.int64(a) * np.int64(p[i])
        t += 1


@jit
def _nearest(e: int, step: int) -> int:
    """e in steps, rounded."""
    return e if step == 1 else (e + step // 2) // step


@jit
def _close_rows(plane: I32, height: int) -> None:
    """Repeat the first and the last row beyond the edge, for the bands that come after."""
    for y in range(TOP):
        plane[y] = plane[TOP]
    for y in range(BOTTOM):
        plane[TOP + height + y] = plane[TOP + height - 1]
