"""The low-rank layer: mean, KLT of the bands, 9/7 wavelet of the scores, one step for every coefficient.

Sources: KLT + 9/7 wavelet, Penna, Tillo, Magli, Olmo (2007); rank by reverse water-filling, Cover and Thomas, 10.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import kernels, wavelet
from pipeline.codec.basis import columns_of, dual_of, quantise_columns
from pipeline.codec.context import boxes_of
from pipeline.codec.rotation import Rotation, fit_rotations, invert, rotate
from pipeline.codec.sample import sample_of
from pipeline.svd.gram import eigh_descending, gram

Block = NDArray[Any]
Bool = NDArray[np.bool_]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

THRESHOLD = np.float32(0.36)  # below ½: small coefficients round to zero, which costs less than it hurts
PEAK = 2.0**30  # no larger |q| is written
FINEST_STEP = 1e-37  # in units of the data; its inverse still fits a float32
SPREAD = (1e-150, 1e150)  # of values about their mean: what can be scaled without leaving float64
SNAPSHOT = 1e-10  # of the largest eigenvalue: what a Gram in float64 shows of the others
ROUNDED = 1e-6  # of the largest eigenvalue: what a Gram in float32 does not show
SIDES = (96, 48)  # of windows: the first of which ASIDE are no longer than a side of the block; two are 2 to 22 % of it
ASIDE = 3
ROWS = 7000  # pixels, about, of every third or fifth row: what is tried on them differs by hundredths of a percent
TRIED = 8  # steps, to find one by its estimate


@dataclass(frozen=True, slots=True)
class Layer:
    """The low-rank layer as it is stored; everything the decoder needs."""

    mean: F64
    """(band,) data units, as rounded in the file"""
    exponents: NDArray[np.int8]
    """(rank,) power of two of the step of each basis column"""
    entries: I32
    """(rank, band) basis columns in these steps"""
    scores: I32
    """(rank, y, x) quantised wavelet coefficients"""
    levels: int
    step: float
    """of the scores, data units"""
    centroids: tuple[float, float] = (0.0, 0.0)
    rotations: list[Rotation] = field(default_factory=list)
    """of subbands"""
    dependent: bytes | None = None
    """the scores, coded, where they were quantised dependently"""

    @property
    def weights(self) -> F32:
        """The basis, (band, rank) float32."""
        return columns_of(self.exponents, self.entries)


class Window(NamedTuple):
    """A square or some rows of a block, on which is tried what would cost too much on all."""

    place: tuple[slice, slice, slice]
    """all bands, y, x"""
    scores: F32
    """(rank, y, x), before the wavelet"""


@dataclass(frozen=True, slots=True)
class Analysis:
    """A block in the coefficient domain, before quantisation. Lengths are in `unit`s of the data, a power of two."""

    layer: Layer
    """everything but the scores and their step"""
    coefficients: F32
    """(rank, y, x)"""
    unit: float
    step: float
    """the step to try first"""
    lost: float
    """mean squared error of what the basis leaves out"""
    sample: F32
    """a flat sample of the coefficients, on which errors are foretold"""
    norms: F32
    """what the square of each sampled error counts for"""
    room: F32
    """as many elements as the coefficients, in memory that is there already, for `predict`"""
    windows: list[Window]
    """of what the coefficients are of: squares, none where the block is small; rows where rotations are looked for"""
    tried: dict[float, tuple[float, tuple[float, float]]] = field(default_factory=dict)
    """mean squared error and centroids of the sample, by steps; `replace` what is not the sample, and they stay true"""


def analyse(block: Block, mse: float, *, rotated: bool = False, valid: float = 1.0) -> Analysis | None:
    """Mean, basis for a mean squared error of `mse` (data units squared) and wavelet coefficients of `block`.

    block: (band, y, x), all of it finite, a share `valid` of it real. rotated: look for rotations of subbands. None
    where the spread of the block leaves the range of float64.
    """
    bands, height, width = block.shape
    x = block.reshape(bands, -1)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = kernels.means(x).astype(mean_dtype(block.dtype)).astype(np.float64)
        spread = max(np.abs(x.max(axis=1) - mean).max(), np.abs(x.min(axis=1) - mean).max())
    if not (spread == 0 or SPREAD[0] < spread < SPREAD[1]):
        return None
    unit = 2.0 ** np.ceil(np.log2(spread)) if spread > 0 else 1.0
    centred = np.empty(x.shape, np.float32)
    kernels.centre(x, mean, 1.0 / unit, centred)
    with np.errstate(over="ignore"):
        distortion = max(mse / unit**2, 1e-30)
    w, V = _principal(centred, distortion)
    variances = np.maximum(w, 0.0) / x.shape[1]
    level = water_level(variances, bands * distortion)
    rank = min(int(np.count_nonzero(variances > level / 2)), x.shape[1])
    exponents, entries = quantise_columns(V[:, :rank], variances[:rank], distortion, x.shape[1])
    levels = wavelet.levels_for(height, width)
    layer = Layer(mean, exponents, entries, np.empty((rank, height, width), np.int32), levels, 0.0)
    scores = np.empty((rank, x.shape[1]), np.float32)
    np.matmul(dual_of(layer.weights), centred, out=scores)
    coefficients = scores.reshape(rank, height, width)
    lost = float(variances[rank:].sum()) / bands
    windows = _rows(coefficients, valid) if rotated else _windows(coefficients)
    wavelet.forward(coefficients, levels)
    if rotated:
        boxes = boxes_of(height, width, levels)
        layer = replace(layer, rotations=fit_rotations(coefficients, boxes, level))
        rotate(coefficients, boxes, layer.rotations, back=False)
    step = float(np.sqrt(12 * level)) if rank else 1.0
    room = centred.reshape(-1)[: coefficients.size].reshape(coefficients.shape)
    return Analysis(layer, coefficients, unit, step, lost, *sample_of(coefficients, levels), room, windows)


def _principal(centred: F32, distortion: float) -> tuple[F64, F64]:
    """Eigenvalues (k,), largest first, and eigenvectors (band, k) of X Xᵀ, X (band, pixel), k = band where pixels are
    as many; else of the smaller Gram, by the method of snapshots (Sirovich 1987), k no more than the pixels.

    Where a mean squared error of `distortion` lies in what a float32 Gram rounds away, it is one of float64.
    """
    bands, pixels = centred.shape
    if bands <= pixels:
        w, V = eigh_descending(gram(centred.T))
        fine = bands > 1 and distortion * pixels < ROUNDED * w[0]
        return eigh_descending(gram(centred.T, np.float64)) if fine else (w, V)
    w, U = eigh_descending(gram(centred, np.float64))
    told = w > SNAPSHOT * max(w[0], 0.0)
    return w[told], centred.astype(np.float64) @ (U[:, told] / np.sqrt(w[told]))


def _windows(scores: F32) -> list[Window]:
    """Two squares of scores (rank, y, x), on the diagonal, where that is little of them."""
    height, width = scores.shape[1:]
    side = next((side for side in SIDES if min(height, width) >= ASIDE * side), 0)
    corners = [(part * height // 4 - side // 2, part * width // 4 - side // 2) for part in (1, 3)] if side else []
    places = [(slice(None), slice(y, y + side), slice(x, x + side)) for y, x in corners]
    return [Window(place, scores[place].copy()) for place in places]


def _rows(scores: F32, valid: float) -> list[Window]:
    """Every fifth row of scores (rank, y, x), every third, or all, so that there are ROWS valid pixels, and a row.

    Never every second: errors of a wavelet differ between even and odd rows.
    """
    pixels = valid * scores[0].size if len(scores) else 0
    every = next((n for n in (5, 3) if pixels >= n * ROWS and scores.shape[1] > n // 2), 1)
    place = slice(None), slice(every // 2, None, every), slice(None)
    return [Window(place, scores[place].copy())]


def fits(analysis: Analysis, step: float) -> bool:
    """Whether every coefficient fits its integer at this step (in the analysis's units)."""
    return step >= FINEST_STEP and bool(kernels.peak_of(analysis.coefficients.reshape(-1)) < PEAK * step)


def quantise(analysis: Analysis, step: float) -> Layer | None:
    """The layer at this step (in the analysis's units); None where a coefficient would not fit its integer."""
    if not fits(analysis, step):
        return None
    coefficients = analysis.coefficients.reshape(-1)
    inverse = np.float32(1.0 / step)
    scores = np.empty(analysis.coefficients.shape, np.int32)
    kernels.quantise(coefficients, inverse, THRESHOLD, scores.reshape(-1))
    _, centroids = _sampled_error(analysis, step)
    return replace(analysis.layer, scores=scores, step=step * analysis.unit, centroids=centroids)


def score_planes(layer: Layer, room: F32 | None = None) -> F32:
    """The scores (rank, y, x) of a layer, in steps: dequantised, turned back, inverted. Same bits on every CPU.

    room: (rank, y, x) float32 to work in, instead of memory fresh from the system, which costs as much as the work. It
    may be that of the scores, which are then gone.
    """
    planes = np.empty(layer.scores.shape, np.float32) if room is None else room
    first, second = (np.float32(offset) for offset in layer.centroids)
    if layer.rotations:
        kernels.dequantise(layer.scores.reshape(-1), first, second, planes.reshape(-1))
        invert(planes, layer.levels, layer.rotations)
    else:
        wavelet.inverse_of(layer.scores, first, second, layer.levels, planes)
    return planes


def predict(layer: Layer, dtype: np.dtype[Any], room: F32 | None = None) -> Block:
    """The block (band, y, x) that a layer stands for, rounded and clipped to `dtype`. Same bits on every CPU.

    room: as for `score_planes`.
    """
    return predict_from(score_planes(layer, room), layer, dtype)


def predict_from(planes: F32, layer: Layer, dtype: np.dtype[Any]) -> Block:
    """The block (band, y, x) that planes (rank, y, x) of scores, in steps, stand for in a layer: `predict`'s end."""
    rank, height, width = planes.shape
    flat = planes.reshape(rank, height * width)
    out = np.empty((len(layer.mean), height * width), dtype)
    kernels.reconstruct(layer.weights, flat, layer.mean, layer.step, limits_of(dtype), dtype.kind != "f", out)
    return out.reshape(-1, height, width)


def limits_of(dtype: np.dtype[Any]) -> F64:
    """Lowest and highest finite value of `dtype`."""
    info: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([info.min, info.max], np.float64)


def water_level(variances: F64, total: float) -> float:
    """θ with Σ min(λ, θ) = total, for λ descending; infinite where Σ λ <= total."""
    if variances.sum() <= total:
        return float("inf")
    tails = np.append(np.cumsum(variances[::-1])[::-1][1:], 0.0)
    levels = (total - tails) / np.arange(1, len(variances) + 1)
    return float(levels[np.argmax(levels >= np.append(variances[1:], 0.0))])


def solve_step(analysis: Analysis, step: float, mse: float) -> float:
    """The step whose error, by its estimate in the coefficient domain, is `mse` (units squared)."""
    budget = max(mse - analysis.lost, 0.05 * mse)
    fine, coarse = 0.0, np.inf
    for _ in range(TRIED):
        error, _ = _sampled_error(analysis, step)
        if error <= 0 or abs(error - budget) < 1e-3 * budget:
            break
        fine, coarse = (step, coarse) if error < budget else (fine, step)
        guess = step * float(np.clip((budget / error) ** (1 / _power(analysis)), 0.25, 4.0))
        step = between(guess, step, fine, coarse)
    return step


def between(guess: float, number: float, below: float, above: float) -> float:
    """The guess where it lies between what is too low and what is too high, or something that does."""
    if max(below, 0.0) < guess < above:
        return guess
    if below > 0 and np.isfinite(above):
        return float(np.sqrt(below * above))
    return number * 2 if below > 0 else number / 2


def _power(analysis: Analysis) -> float:
    """By which power of the step the error grows, from the two steps new last: 2, less where it is of zeros."""
    (one, (error, _)), (other, (before, _)) = (*reversed(analysis.tried.items()), (1.0, (0.0, (0.0, 0.0))))[:2]
    if error <= 0 or before <= 0:
        return 2.0
    return float(np.clip(np.log(error / before) / np.log(one / other), 0.5, 2.0))


def estimate(analysis: Analysis, step: float) -> float:
    """Mean squared error of the layer at this step, in units squared, before rounding to the dtype."""
    return _sampled_error(analysis, step)[0] + analysis.lost


def mean_dtype(dtype: np.dtype[Any]) -> str:
    """Float32 holds any mean of a dtype it holds exactly."""
    return "<f4" if dtype.itemsize <= 2 or dtype == np.float32 else "<f8"


def _sampled_error(analysis: Analysis, step: float) -> tuple[float, tuple[float, float]]:
    """Mean squared quantisation error per element (units squared) and the centroids, on the sample."""
    if not analysis.sample.size:
        return 0.0, (0.0, 0.0)
    if step in analysis.tried:
        return analysis.tried[step]
    moments = np.empty(5)
    kernels.quantisation_moments(analysis.sample, analysis.norms, np.float32(1.0 / step), THRESHOLD, moments)
    error, centroids = moments[0], []
    for count, total in (moments[1:3], moments[3:5]):
        centroid = float(np.float32(np.clip(total / count, -0.5, 0.75))) if count else 0.0
        error -= centroid * (2 * total - centroid * count)
        centroids.append(centroid)
    bands, pixels = len(analysis.layer.mean), analysis.layer.scores[0].size
    analysis.tried[step] = float(error) * step**2 / (bands * pixels), (centroids[0], centroids[1])
    return analysis.tried[step]
