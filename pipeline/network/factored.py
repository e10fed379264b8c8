"""Features straight from the factors of a scene: convolution is linear, so it may as well run on the scores.

k planes instead of C bands (`fold`). Along a seam the planes of all tiles that a receptive field meets stand side by
side, each 0 outside of its tile, with a plane of ones for each tile but the first: so every pixel comes with its own
basis. Single elements that are mended are a plane more for their band, in the few cells that see them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from pipeline.gemm import average_pool
from pipeline.gemm.partition import partition
from pipeline.grid import Window
from pipeline.network.bank import Bank
from pipeline.network.fold import Fold, Folder
from pipeline.network.halo import Stage
from pipeline.network.layers import pooled_responses
from pipeline.network.pieces import Mosaic, Part, Piece, Reach, boxes, regions, whole_cells

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
Paths = Sequence[Sequence[Stage]]
Mended = tuple[NDArray[np.int64], F64]
"""(3, n) band, row and column in a region, and (n,) what is to be added there."""

PATCH = 32  # pixels: side of the squares within which cells with mended elements are done again


@dataclass(frozen=True)
class Task:
    """What is the same for all regions."""

    mosaic: Mosaic
    bank: Bank
    pool: int
    stride: int

    @cached_property
    def folder(self) -> Folder:
        """What folds the bank into pieces."""
        return Folder(self.bank)

    @cached_property
    def paths(self) -> Paths:
        """From the scene to each kind of feature."""
        return self.bank.paths(self.pool, self.stride)


def features_mosaic(
    mosaic: Mosaic, bank: Bank, *, pool: int | None = None, stride: int = 1, window: Window
) -> tuple[F32, Bool]:
    """As `features_block`, from pieces: features (F, cells_y, cells_x) float32, NaN where not valid; valid.

    window: pixels of the scene, whole cells; the mosaic holds all pieces within bank.halo(pool, stride) of it. Equal
    to the features of the multiplied out pieces but for float32's rounding. Memory: features, planes of one region.
    """
    bank = bank.over_bands()
    task = Task(mosaic, bank, bank.pool if pool is None else pool, stride)
    grid = mosaic.grid
    (top, bottom), (left, right) = (
        (low // stride, -(-high // stride)) for low, high in ((window.y0, window.y1), (window.x0, window.x1))
    )
    features = np.empty((len(bank.features), bottom - top, right - left), np.float32)
    whole = np.empty(features.shape[1:], bool)
    columns = regions(task.paths, left, right, grid.width, grid.tile)
    for y in regions(task.paths, top, bottom, grid.height, grid.tile):
        for x in columns:
            here = slice(y.first - top, y.end - top), slice(x.first - left, x.end - left)
            whole[here] = whole_cells(mosaic.usable(y.pixels, x.pixels), task.paths, y, x, stride)
            if whole[here].any():
                _fill_region(task, y, x, features[:, *here])
    features[:, ~whole] = np.nan
    return features, whole


def pays(bank: Bank, planes: float) -> bool:
    """Whether convolving so many planes is less work than multiplying them out and convolving the bands."""
    n, bands, size, _ = bank.filters.shape
    if bank.groups > 1:
        return False
    taps = size * size
    out, there = partition(1, bands, max(1, round(planes))).flops, partition(1, n, bands * taps).flops
    return bool(planes * there / bands < out + there)


def _fill_region(task: Task, y: Reach, x: Reach, features: F32) -> None:
    """The cells of a region, then once more those that see mended elements, by planes of their own."""
    parts = list(task.mosaic.parts(y.pixels, x.pixels))
    fold, mended = _fold(task, parts), task.mosaic.mended(y.pixels, x.pixels)
    if fold is None:
        _convolve_bands(task, _mend_bands(task, _bands(task, parts, y, x), mended), y, x, features)
        return
    stack = _stack(fold, parts, y, x)
    patches = [_within(task, y, x, box) for box in boxes(_touched(task, mended, y, x), max(1, PATCH // task.stride))]
    share = sum(len(rows.pixels) * len(columns.pixels) for rows, columns in patches) / (len(y.pixels) * len(x.pixels))
    more = len(np.unique(mended[0][0])) / max(1, len(patches))
    if not pays(task.bank, len(stack) * (1 + share) + share * more):
        _convolve_bands(task, _mend_bands(task, fold.multiplied(stack), mended), y, x, features)
        return
    _convolve(task, fold, stack, y, x, features)
    for rows, columns in patches:
        _patch(task, fold, stack, mended, rows.less(y), columns.less(x), features)


def _within(task: Task, y: Reach, x: Reach, box: Window) -> tuple[Reach, Reach]:
    """Some cells of a region as a region."""
    grid = task.mosaic.grid
    rows = Reach.of(task.paths, y.first + box.y0, y.first + box.y1, grid.height)
    return rows, Reach.of(task.paths, x.first + box.x0, x.first + box.x1, grid.width)


def _touched(task: Task, mended: Mended, y: Reach, x: Reach) -> Bool:
    """The cells (y, x) of a region that see mended elements."""
    clean = np.ones((len(y.pixels), len(x.pixels)), bool)
    if not len(mended[1]):
        return np.zeros((y.end - y.first, x.end - x.first), bool)
    clean[mended[0][1], mended[0][2]] = False
    return ~whole_cells(clean, task.paths, y, x, task.stride)


def _patch(task: Task, fold: Fold, stack: F32, mended: Mended, y: Reach, x: Reach, features: F32) -> None:
    """Cells of a region that see mended elements: a plane more for each band that has some.

    y, x: cells and pixels counted within the region, of which stack, mended elements and features are.
    """
    (band, row, column), amounts = mended
    (top, bottom), (left, right) = ((int(axis.pixels[0]), int(axis.pixels[-1]) + 1) for axis in (y, x))
    near = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    named, which = np.unique(band[near], return_inverse=True)
    inner = stack[:, top:bottom, left:right]
    target = features[:, y.first : y.end, x.first : x.end]
    if not pays(task.bank, len(stack) + len(named)):
        here = np.stack([band[near], row[near] - top, column[near] - left]), amounts[near]
        _convolve_bands(task, _mend_bands(task, fold.multiplied(inner), here), y, x, target)
        return
    more = np.zeros((len(named), *inner.shape[1:]), np.float32)
    more[which, row[near] - top, column[near] - left] = amounts[near]
    _convolve(task, fold.with_bands(task.bank, named), np.concatenate([inner, more]), y, x, target)


def _convolve(task: Task, fold: Fold, stack: F32, y: Reach, x: Reach, features: F32) -> None:
    """Fill features (F, cells_y, cells_x) of a region from its planes."""
    count = _responses(task.bank)
    pooled_responses(stack[:, y.parts[0], x.parts[0]], fold.bank, task.pool, task.stride, features[:count])
    for first, rows, columns, path in _spectra(task, y, x):
        means = average_pool(stack[:, rows, columns], path[0].size, task.stride)
        features[first : first + len(task.bank.bands)] = fold.multiplied(means)


def _convolve_bands(task: Task, z: F32, y: Reach, x: Reach, features: F32) -> None:
    """Fill features (F, cells_y, cells_x) of a region from its z-scored bands."""
    count = _responses(task.bank)
    pooled_responses(z[:, y.parts[0], x.parts[0]], task.bank, task.pool, task.stride, features[:count])
    for first, rows, columns, path in _spectra(task, y, x):
        means = average_pool(z[:, rows, columns], path[0].size, task.stride)
        features[first : first + len(task.bank.bands)] = means


def _responses(bank: Bank) -> int:
    return (2 if bank.signs == "both" else 1) * len(bank.filters)


def _spectra(task: Task, y: Reach, x: Reach) -> Iterator[tuple[int, slice, slice, Sequence[Stage]]]:
    """The pooled bands: number of the first feature, rows and columns of a region that they need, stages."""
    for number, path in enumerate(task.paths[1:]):
        yield _responses(task.bank) + number * len(task.bank.bands), y.parts[1 + number], x.parts[1 + number], path


def _fold(task: Task, parts: list[Part]) -> Fold | None:
    """The bank on the planes of these pieces; None where one has no factors, or the bands themselves are less work."""
    pieces = _pieces(parts)
    count = max(1, sum(len(piece.scores) for piece in pieces.values()) + len(pieces) - 1)
    if any(piece.pixels is not None for piece in pieces.values()) or not pays(task.bank, count):
        return None
    return task.folder.fold(pieces)


def _pieces(parts: list[Part]) -> dict[int, Piece]:
    """Each piece once, in raster order."""
    return dict(sorted({part.number: part.piece for part in parts}.items(), key=itemgetter(0)))


def _stack(fold: Fold, parts: list[Part], y: Reach, x: Reach) -> F32:
    """The scores of all pieces, each 0 outside of its own, then a plane of ones for each piece but the first."""
    if len(parts) == 1 and len(parts[0].piece.scores):
        return parts[0].take(parts[0].piece.scores)
    pieces = _pieces(parts)
    starts = np.cumsum([0, *(len(piece.scores) for piece in pieces.values())])
    stack = np.zeros((fold.weights.shape[1], len(y.pixels), len(x.pixels)), np.float32)
    for part in parts:
        place = list(pieces).index(part.number)
        stack[starts[place] : starts[place + 1], *part.at] = part.take(part.piece.scores)
        if place:
            stack[starts[-1] + place - 1, *part.at] = 1.0
    return stack


def _bands(task: Task, parts: list[Part], y: Reach, x: Reach) -> F32:
    """The z-scored bands of a region, before single elements are mended; 0 where there are pixels that are not real."""
    bank = task.bank
    z = np.empty((len(bank.bands), len(y.pixels), len(x.pixels)), np.float32)
    mean, std = bank.mean[:, None, None], bank.std[:, None, None]
    for part in parts:
        piece = part.piece
        if piece.pixels is None:
            here = np.tensordot((piece.basis / bank.std[:, None]).astype(np.float32), part.take(piece.scores), 1)
            z[:, *part.at] = here + ((piece.mean - bank.mean) / bank.std).astype(np.float32)[:, None, None]
        else:
            real = piece.valid[np.ix_(*part.own)]
            z[:, *part.at] = (np.where(real, part.take(piece.pixels), mean) - mean) / std
    return z


def _mend_bands(task: Task, z: F32, mended: Mended) -> F32:
    """z-scored bands (band, y, x) of a region with its single elements mended, in place."""
    places, amounts = mended
    z[tuple(places)] += (amounts / task.bank.std[places[0]]).astype(np.float32)
    return z
