"""One level of an orthogonal wavelet transform of every band: where noise is read.

Source: the wavelet with four taps of Daubechies (1988), which lets less texture through than Haar's. The choice of
flat cells is our own: the three details of a cell are orthogonal, so choosing cells by two does not bias white noise in
the third.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.denoise.whiten import native
from pipeline.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

# Taps past the second of Haar's are 0: one kernel serves both.
HAAR = (np.array([1.0, 1.0, 0.0, 0.0]) / np.sqrt(2.0)).astype(np.float32)
DAUBECHIES = (np.array([1 + 3**0.5, 3 + 3**0.5, 3 - 3**0.5, 1 - 3**0.5]) / 32**0.5).astype(np.float32)
MIN_CELLS = 16
# Fewer cells of 4 x 4 valid pixels than this, and cells of 2 x 2 are read: slivers.
ENOUGH_CELLS = 256
FLAT_WINDOW = 5
# Least share of the cells that must be free of the plateaus of single bands for those to be left out.
FREE_SHARE = 0.1
# What float32 leaves of a constant, as a share of the largest pixel about the mean.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Details:
    """One level of an orthogonal wavelet transform of a block; a cell is one place of its coarse grid."""

    diagonal: F32
    """(band, y, x): white noise of σ keeps its σ here."""
    edges: F32
    """(2, band, y, x): vertical and horizontal details."""
    mean: F32
    """(band, y, x) local mean, data units."""
    whole: Valid
    """(y, x): every pixel under the wavelet is valid."""
    contrast: F64
    """(band,) standard deviation of the valid pixels, data units."""

    @cached_property
    def readable(self) -> tuple[Valid, Valid]:
        """Cells (y, x) that show noise, and bands (band,) that vary: no holes, and no plateaus.

        A plateau is a square of 3 x 3 cells without any detail: a lone one is chance, and to drop it would raise σ, for
        two integers are often equal. Plateaus of single bands (saturation) count while enough cells are free of all.
        """
        live = np.zeros(len(self.diagonal), np.bool_)
        some, every = np.zeros_like(self.whole), np.ones_like(self.whole)
        plateaus(self.diagonal, self.edges, self.whole, live, some, every)
        free = self.whole & ~some
        enough = np.count_nonzero(free) >= max(MIN_CELLS, FREE_SHARE * np.count_nonzero(self.whole))
        return (free if enough else self.whole & ~every), live

    @cached_property
    def flatness(self) -> F64:
        """(y, x) energy of the edges around each readable cell, bands weighing alike; least where flat."""
        lively, _ = self.readable
        energy = np.zeros(lively.shape)
        add_energies(self.edges.reshape(-1, *lively.shape), lively, energy)
        weight = ndimage.uniform_filter(lively.astype(np.float64), FLAT_WINDOW, mode="constant")
        energy = ndimage.uniform_filter(energy, FLAT_WINDOW, mode="constant")
        return np.asarray(energy / np.maximum(weight, 1e-9))

    def flattest(self, share: float) -> Valid:
        """The `share` of readable cells (y, x) with the least energy of edges around them."""
        lively, _ = self.readable
        return np.asarray(lively & (self.flatness <= lowest(self.flatness[lively], share)))

    def of(self, bands: NDArray[np.intp]) -> Details:
        """The same for some of the bands."""
        return Details(self.diagonal[bands], self.edges[:, bands], self.mean[bands], self.whole, self.contrast[bands])


def cells(plane: NDArray[Any], chosen: Valid) -> NDArray[Any]:
    """(band, cell) those cells (y, x) of plane (band, y, x); a view where all are chosen."""
    rows = plane.reshape(len(plane), -1)
    return rows if chosen.all() else rows.take(np.flatnonzero(chosen), axis=1)


def lowest(values: F64, share: float) -> float:
    """The value (value,) up to which that share of them lies."""
    rank = int(share * (values.size - 1))
    return float(np.partition(values, rank)[rank])


def wavelet_details(block: NDArray[Any], valid: Valid) -> Details:
    """Details of block (band, y, x) by the four-tap wavelet, or by Haar's where few 4 x 4 squares are valid."""
    taps, size = DAUBECHIES, 4
    if min(valid.shape) < 4 or np.count_nonzero(_whole(valid, 4)) < ENOUGH_CELLS:
        taps, size = HAAR, 2
    whole = _whole(valid, size)
    shape = (block.shape[0], *whole.shape)
    diagonal, mean, edges = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros((2, *shape), np.float32)
    contrast, count = np.zeros(len(block)), int(np.count_nonzero(valid))
    pixels = np.empty(valid.shape, np.float32)
    for b, band in enumerate(block.astype(native(block.dtype), copy=False) if count else ()):
        with np.errstate(over="ignore"):
            centre, energy, peak = centred(band, valid, count, pixels)
        contrast[b] = np.sqrt(energy / count)
        # A constant leaves rounding, not zero, under irrational taps.
        transform(pixels, taps, mirror(taps, size), whole, ROUNDING * peak, diagonal[b], edges[:, b], mean[b])
        mean[b] += np.float32(centre)
    return Details(diagonal, edges, mean, whole, contrast)


def _whole(valid: Valid, size: int) -> Valid:
    """(y, x) every second square of size² that is valid throughout; none in an array too small for one."""
    shape = tuple(max(0, (length - size) // 2 + 1) for length in valid.shape)
    if min(valid.shape) < size:
        return np.zeros(shape, np.bool_)
    if valid.all():
        return np.ones(shape, np.bool_)
    squares = np.lib.stride_tricks.sliding_window_view(valid, (size, size))[::2, ::2]
    return np.asarray(squares.all(axis=(2, 3)))


def mirror(taps: F32, size: int) -> F32:
    """The high-pass filter that is orthogonal to the low-pass `taps`, of which `size` count."""
    found = np.zeros_like(taps)
    found[:size] = taps[:size][::-1] * np.where(np.arange(size) % 2, np.float32(-1), np.float32(1))
    return found


@jit
def centred(band: NDArray[Any], valid: Valid, count: int, pixels: F32) -> tuple[float, float, float]:
    """Band (y, x) about the mean of its valid pixels, of which there are `count`, into pixels, 0 elsewhere.

    That mean, the sum of squares about it, and the largest of pixels by size.
    """
    total, top = np.zeros(band.shape[1]), np.zeros(band.shape[1])
    for y in range(len(band)):
        row, real = band[y], valid[y]
        for x in range(len(row)):
            total[x] += np.float64(row[x]) if real[x] else 0.0
    centre = total.sum() / count
    total[:] = 0
    for y in range(len(band)):
        row, real, out = band[y], valid[y], pixels[y]
        for x in range(len(row)):
            about = np.float64(row[x]) - centre if real[x] else 0.0
            square = about * about
            total[x] += square
            top[x] = square if square > top[x] else top[x]
            out[x] = np.float32(about)
    return centre, total.sum(), np.sqrt(top.max())


@jit
def transform(
    pixels: F32, low: F32, high: F32, whole: Valid, tiny: float, diagonal: F32, edges: F32, mean: F32
) -> None:
    """Every second value of pixels (y, x) filtered by low and high (4,) both ways, into arrays (y, x) of whole's shape.

    Details that are no more than tiny, or not whole, are 0. No value reaches over the edge but by a tap of 0.
    """
    last, width = len(pixels) - 1, pixels.shape[1]
    smooth, sharp = np.zeros(width + 2, np.float32), np.zeros(width + 2, np.float32)
    a0, a1, a2, a3 = low
    b0, b1, b2, b3 = high
    least = np.float32(tiny)
    zero, half = np.float32(0), np.float32(0.5)
    for y in range(len(whole)):
        p0, p1, p2, p3 = pixels[2 * y], pixels[2 * y + 1], pixels[min(2 * y + 2, last)], pixels[min(2 * y + 3, last)]
        for x in range(width):
            smooth[x] = a0 * p0[x] + a1 * p1[x] + a2 * p2[x] + a3 * p3[x]
            sharp[x] = b0 * p0[x] + b1 * p1[x] + b2 * p2[x] + b3 * p3[x]
        for x in range(whole.shape[1]):
            k = np.uintp(2 * x)
            s0, s1, s2, s3 = smooth[k], smooth[k + 1], smooth[k + 2], smooth[k + 3]
            h0, h1, h2, h3 = sharp[k], sharp[k + 1], sharp[k + 2], sharp[k + 3]
            d = b0 * h0 + b1 * h1 + b2 * h2 + b3 * h3
            v = b0 * s0 + b1 * s1 + b2 * s2 + b3 * s3
            h = a0 * h0 + a1 * h1 + a2 * h2 + a3 * h3
            seen = whole[y, x]
            diagonal[y, x] = d if seen and abs(d) > least else zero
            edges[0, y, x] = v if seen and abs(v) > least else zero
            edges[1, y, x] = h if seen and abs(h) > least else zero
            mean[y, x] = half * (a0 * s0 + a1 * s1 + a2 * s2 + a3 * s3)


@jit
def plateaus(diagonal: F32, edges: F32, whole: Valid, live: Valid, some: Valid, every: Valid) -> None:
    """Which bands have any detail, live (band,); which cells (y, x) are on a plateau of some band, of every live one.

    A plateau is the opening of the whole cells without any detail by a square of 3 x 3. In place.
    """
    bands, height, width = diagonal.shape
    still, here = np.empty((height, width), np.bool_), np.empty((height, width), np.bool_)
    for b in range(bands):
        moving = 0
        for y in range(height):
            for x in range(width):
                flat = diagonal[b, y, x] == 0 and edges[0, b, y, x] == 0 and edges[1, b, y, x] == 0
                moving += int(not flat)
                still[y, x] = flat and whole[y, x]
        live[b] = moving > 0
        if moving == 0:
            continue
        here[:] = False
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if still[y, x] and still[y - 1 : y + 2, x - 1 : x + 2].all():
                    here[y - 1 : y + 2, x - 1 : x + 2] = True
        for y in range(height):
            for x in range(width):
                some[y, x] |= here[y, x]
                every[y, x] &= here[y, x]


@jit
def add_energies(edges: F32, lively: Valid, energy: F64) -> None:
    """Add to energy (y, x) the squares of edges (detail, y, x) at lively (y, x), each detail of mean square 1 there."""
    for detail in edges:
        total, count = 0.0, 0
        for y in range(len(lively)):
            for x in range(lively.shape[1]):
                if lively[y, x]:
                    total += np.float64(detail[y, x]) ** 2
                    count += 1
        if total > 0:
            scale = count / total
            for y in range(len(lively)):
                for x in range(lively.shape[1]):
                    if lively[y, x]:
                        energy[y, x] += scale * np.float64(detail[y, x]) ** 2
