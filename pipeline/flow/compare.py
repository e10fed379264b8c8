"""Two scenes side by side: rmse, snr, psnr, ssim, sam and max error, in sums over tiles.

SSIM is Wang, Bovik, Sheikh, Simoncelli (2004), equation 13, with 7 x 7 windows of equal weight and sample
covariances; sam is the spectral angle of Kruse et al. (1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from pipeline.errors import BlockError
from pipeline.grid import Grid, Halo, Window
from pipeline.raster.nodata import real_elements
from pipeline.raster.scene import Source

F64 = NDArray[np.float64]
Halves = tuple[F64, F64 | None]
Place = tuple[slice, slice]

_SIDE = 7
_REACH = _SIDE // 2
_TILE = 512
_ELEMENTS = 10 * _TILE**2


@dataclass(frozen=True)
class Scores:
    """How far B is from A where both have a value. Data units; snr and psnr in dB, sam in degrees.

    snr = mean(A²) / mean((A-B)²); psnr takes A's range over these pixels (max - min, or 1) as its peak, overall the
    largest of the bands' with the mean error over all of them; equal scenes
    have infinite both. sam is over the pixels that have all bands; all is nan where there is nothing to compare.
    """

    rmse: float
    snr: float
    psnr: float
    ssim: float
    max_error: float
    sam: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """The scores as JSON numbers; what is infinite or undefined becomes null."""
        return {name: _finite(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Comparison:
    """Scores per band, overall, and the number of pixels compared."""

    bands: dict[str, Scores]
    overall: Scores
    pixels: int
    """Those that are compared in some band."""
    alone: tuple[int, int] = (0, 0)
    """Pixels with values in A alone and in B alone, which are compared in no band."""
    partial: int = 0
    """Pixels that are compared in some bands and not in all."""
    infinite: tuple[int, int] = (0, 0)
    """Values that are the same infinity in both and left out, and values of which one alone, or its sign, is infinite:
    their error is infinite; ssim, sam and the signal of snr are without them."""


class _Sums:
    """What adds up over tiles, per band."""

    def __init__(self, bands: int) -> None:
        self.pixels = 0
        self.count = np.zeros(bands, np.int64)
        self.alone = np.zeros(2, np.int64)
        self.partial = 0
        self.infinite = np.zeros(2, np.int64)
        self.power = np.zeros(bands)
        self.error = np.zeros(bands)
        self.largest = np.zeros(bands)
        self.ssim = np.zeros(bands)
        self.windows = np.zeros(bands, np.int64)
        self.angle = 0.0
        self.angles = 0


def compare(a: Source, b: Source) -> Comparison:
    """Compare scene B with the reference A, tile by tile. What overflows is inf or nan.

    Raises:
        BlockError: shapes differ, or no pixel has a value in both.
    """
    if (a.info.height, a.info.width, len(a.info.bands)) != (b.info.height, b.info.width, len(b.info.bands)):
        one, other = (a.info.name, b.info.name) if a.info.name != b.info.name else ("A", "B")
        raise BlockError(
            f"{one} is {_shape(a)}, {other} is {_shape(b)} (band x y x x); compare scenes of one shape, or the bands "
            "that both have (-b, --bands)"
        )
    with np.errstate(all="ignore"):
        return _compared(a, b)


def _compared(a: Source, b: Source) -> Comparison:
    low, high = _range(a, b)
    middle, peak = low.astype(np.float64) / 2 + high.astype(np.float64) / 2, _minus(_halves(high), _halves(low))
    sums = _Sums(len(a.info.bands))
    for tile in Grid(a.info.height, a.info.width, _side(a)):
        outer = tile.window.expand(Halo.even(_REACH), a.info.height, a.info.width)
        block_a, real_a = _real(a, outer)
        block_b, real_b = _real(b, outer)
        both = real_a & real_b
        inner = tile.window.within(outer)
        none = ~both.any(axis=0)
        sums.alone += [_pixels((one & none)[:, *inner]) for one in (real_a, real_b)]
        sums.partial += _pixels(both[:, *inner]) - int(np.count_nonzero(both[:, *inner].all(axis=0)))
        both &= _told_apart(sums, block_a, block_b, both, inner)
        _add_tile(sums, _halves(block_a), _halves(block_b), both, inner, middle, peak)
    if sums.pixels == 0:
        raise BlockError(f"{a.info.name} and {b.info.name} have no valid pixel in common; nothing to compare")
    return _scores(sums, a.info.bands, peak)


def _real(source: Source, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A window and which of its elements (band, y, x) are real."""
    block, valid = source.read(window)
    return block, real_elements(block, valid, source.info.nodata, infinite=True)


def _told_apart(
    sums: _Sums, a: NDArray[Any], b: NDArray[Any], both: NDArray[np.bool_], inner: Place
) -> NDArray[np.bool_]:
    """Where blocks (band, y, x) do not hold the same infinity; those, and infinities against others, are counted."""
    infinite = (np.isinf(a) | np.isinf(b)) & both
    same = infinite & (a == b)
    sums.infinite += [np.count_nonzero(found[:, *inner]) for found in (same, infinite & ~same)]
    return np.asarray(~same)


def _pixels(elements: NDArray[np.bool_]) -> int:
    """Pixels of (band, y, x) in which some band is set."""
    return int(np.count_nonzero(elements.any(axis=0)))


def _side(source: Source) -> int:
    """Side of the tiles to compare by: memory must not grow with the number of bands."""
    return max(1, min(_TILE, int(np.sqrt(_ELEMENTS / len(source.info.bands)))))


def _range(a: Source, b: Source) -> tuple[NDArray[Any], NDArray[Any]]:
    """Least and most (band,), in A's dtype, where both have a value and A's is finite; 0 where they nowhere do.

    What B holds for missing, A may hold as a number.
    """
    dtype = np.dtype(a.info.dtype)
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    first, last = (-np.inf, np.inf) if dtype.kind == "f" else (limits.min, limits.max)
    low, high = (np.full(len(a.info.bands), value, dtype) for value in (last, first))
    for tile in Grid(a.info.height, a.info.width, _side(a)):
        block, real = _real(a, tile.window)
        real = real & _real(b, tile.window)[1] if b.info.masked else real
        real = real & np.isfinite(block)
        low = np.minimum(low, block.min(axis=(1, 2), where=real, initial=last))
        high = np.maximum(high, block.max(axis=(1, 2), where=real, initial=first))
    empty = low > high
    low[empty] = high[empty] = 0
    return low, high


def _halves(block: NDArray[Any]) -> Halves:
    """Two addends that float64 holds: 64-bit integers may be none, and two of them would be one."""
    if block.dtype.kind == "f" or block.dtype.itemsize < 8:
        return block.astype(np.float64), None
    low = block & block.dtype.type(0xFFFFFFFF)
    return (block - low).astype(np.float64), low.astype(np.float64)


def _minus(a: Halves, b: Halves) -> F64:
    """A - B, of 64-bit integers rounded but once."""
    difference = a[0] - b[0]
    if a[1] is not None:
        difference += a[1] if b[1] is None else a[1] - b[1]
    elif b[1] is not None:
        difference -= b[1]
    return difference


def _add_tile(
    sums: _Sums, one: Halves, other: Halves, real: NDArray[np.bool_], place: Place, middle: F64, peak: F64
) -> None:
    a, b = (half if low is None else half + low for half, low in (one, other))
    kept = real[:, *place]
    x, y, difference = (np.where(kept, block[:, *place], 0.0) for block in (a, b, _minus(one, other)))
    sums.pixels += _pixels(kept)
    sums.count += kept.sum(axis=(1, 2))
    finite = real & np.isfinite(a) & np.isfinite(b)
    here = finite[:, *place]
    sums.power += (x**2).sum(axis=(1, 2), where=here)
    sums.error += (difference**2).sum(axis=(1, 2))
    sums.largest = np.maximum(sums.largest, np.abs(difference).max(axis=(1, 2)))
    lengths = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    long = (lengths > 0) & here.all(axis=0)
    cosine = np.clip((x * y).sum(axis=0)[long] / lengths[long], -1, 1)
    sums.angle += float(np.degrees(np.arccos(cosine)).sum())
    sums.angles += int(long.sum())
    # Squares of what lies far from 0 have no digits left for its contrast.
    shift = middle[:, None, None], None
    a, b = (np.where(finite, _minus(halves, shift), 0.0) for halves in (one, other))
    for band in range(a.shape[0]):
        local, counted = _ssim(a[band], b[band], finite[band], middle[band], peak[band] or np.float64(1))
        sums.ssim[band] += local[place][counted[place]].sum()
        sums.windows[band] += int(counted[place].sum())


def _ssim(
    a: F64, b: F64, valid: NDArray[np.bool_], middle: np.float64, peak: np.float64
) -> tuple[F64, NDArray[np.bool_]]:
    """SSIM of the window around each pixel, and where that window lies in the scene with all its pixels valid.

    a, b: a band (y, x) less `middle`, 0 where it is not valid.
    """
    counted = np.zeros(valid.shape, bool)
    if min(valid.shape) >= _SIDE:
        inside = uniform_filter(valid.astype(np.float64), _SIDE) > 1 - 0.5 / _SIDE**2
        inner = slice(_REACH, -_REACH)
        counted[inner, inner] = inside[inner, inner]
    sample = _SIDE**2 / (_SIDE**2 - 1)
    mean_a, mean_b = uniform_filter(a, _SIDE), uniform_filter(b, _SIDE)
    var_a = np.maximum(sample * (uniform_filter(a * a, _SIDE) - mean_a**2), 0)
    var_b = np.maximum(sample * (uniform_filter(b * b, _SIDE) - mean_b**2), 0)
    covariance = sample * (uniform_filter(a * b, _SIDE) - mean_a * mean_b)
    mean_a, mean_b = mean_a + middle, mean_b + middle
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    ssim = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    ssim /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return ssim, counted


def _scores(sums: _Sums, bands: tuple[str, ...], peak: F64) -> Comparison:
    power, error, ssim = sums.power / sums.count, sums.error / sums.count, sums.ssim / sums.windows
    each = {
        name: Scores(
            rmse=float(np.sqrt(error[band])),
            snr=_decibel(power[band], error[band]),
            psnr=_decibel((peak[band] or 1.0) ** 2, error[band]),
            ssim=float(ssim[band]),
            max_error=float(sums.largest[band] if sums.count[band] else np.nan),
        )
        for band, name in enumerate(bands)
    }
    every = sums.count.sum()
    similar = ssim[sums.windows > 0]
    infinite = int(sums.infinite[0]), int(sums.infinite[1])
    overall = Scores(
        rmse=float(np.sqrt(sums.error.sum() / every)),
        snr=_decibel(sums.power.sum() / every, sums.error.sum() / every),
        psnr=_decibel((peak.max() or 1.0) ** 2, sums.error.sum() / every),
        ssim=float(similar.mean()) if similar.size else float("nan"),
        max_error=float(sums.largest.max()),
        sam=sums.angle / sums.angles if sums.angles and len(bands) > 1 else None,
    )
    return Comparison(each, overall, sums.pixels, (int(sums.alone[0]), int(sums.alone[1])), sums.partial, infinite)


def _decibel(signal: Any, error: Any) -> float:
    if error == 0:
        return float("inf")
    if not np.isfinite(signal):
        return float("nan")
    return float(10 * np.log10(signal / error)) if signal > 0 else float("-inf")


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _shape(source: Source) -> str:
    return f"{len(source.info.bands)} x {source.info.height} x {source.info.width}"
