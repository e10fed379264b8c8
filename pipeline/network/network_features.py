"""network_block: raw pixels of a window and what is around it in, the window's cells of a network's tensor out.

A cell of the output is stride x stride pixels. The tensor has its own stride s, so a cell takes stride/s places along
each axis, and is the mean of the places in the middle pool x pool pixels of it (all of them by default; those beyond
the tensor's ends are left out). The network sees zeros where pixels are not valid, which is the mean of their
band where these are normalised, and its own padding at the scene's ends, and nowhere else (`tiling.py`).

A cell is valid where every pixel under its pool is valid, finite, and in the scene, and the tensor has a place there.
What is not valid further away in the receptive field, hundreds of pixels wide in deep networks, does not blank it.

Anchored (`bank.exact`): the network runs on blocks that begin at multiples of `anchor` pixels of the scene, whatever
the tile, so every cell is computed by the very same operations on the same block: the same bits for every tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BankError, BlockError
from pipeline.grid import Window
from pipeline.network.network_bank import NetworkBank
from pipeline.network.site import SPACE
from pipeline.network.tiling import Axis, Field

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
Pixels = tuple[int, int]

ANCHOR = 512
"""Least side of an anchored block, halo left out, in pixels."""


def network_window(bank: NetworkBank, pool: int, stride: int, window: Window, scene_shape: tuple[int, int]) -> Window:
    """The pixels to read for the cells of `window`: what the network takes, within the scene."""
    outer = window
    for part in _parts(bank, stride, window):
        for number, (low, high) in enumerate(_sides(part)):
            cells = _Cells(bank.field, number, scene_shape[number], pool, stride, low, high)
            outer = _with(outer, number, (cells.pixels[0][0], cells.pixels[-1][1]), scene_shape[number])
            if cells.reached:
                outer = _with(outer, number, cells.span, scene_shape[number])
    return outer


def network_block(
    block: NDArray[Any],
    valid: Bool,
    bank: NetworkBank,
    *,
    pool: int,
    stride: int,
    window: Window,
    outer: Window,
    scene_shape: tuple[int, int],
) -> tuple[F32, Bool]:
    """Features (F, cells_y, cells_x) float32 of the cells of `window`, NaN where not valid; valid (cells_y, cells_x).

    block (C, y, x), any real dtype in data units, and valid (y, x) are the pixels of `outer`, at least those of
    `network_window`. Raises BlockError for windows that do not fit, BankError for another number of bands.
    """
    _check(block, valid, bank, stride, window, outer, scene_shape)
    z, usable = _normalised(block, valid, bank)
    height, width = (-(-(high - low) // stride) for low, high in _sides(window))
    features, whole = np.full((bank.field.channels, height, width), np.nan, np.float32), np.zeros((height, width), bool)
    for part in _parts(bank, stride, window):
        place = tuple(
            slice((low - first) // stride, -(-(high - first) // stride))
            for (low, high), (first, _) in zip(_sides(part), _sides(window), strict=True)
        )
        cells = [
            _Cells(bank.field, number, scene_shape[number], pool, stride, low, high)
            for number, (low, high) in enumerate(_sides(part))
        ]
        whole[place] = _valid(usable, cells, (outer.y0, outer.x0))
        if whole[place].any():
            features[:, *place] = _run(z, bank, cells, (outer.y0, outer.x0))
    features[:, ~whole] = np.nan
    return features, whole


class _Cells:
    """The cells of pixels [low, high) along one axis: their places of the tensor, and the pixels under their pools."""

    def __init__(self, field: Field, number: int, n: int, pool: int, stride: int, low: int, high: int) -> None:
        self.axis = axis_of(field, number, n)
        s, shift = field.stride[number], field.shifts[number]
        self.each, self.taken = int(stride / s), int(pool / s)
        cells = range(low // stride, -(-high // stride))
        starts = [cell * self.each + (self.each - self.taken) // 2 for cell in cells]
        self.firsts = np.array(starts) - shift
        """The first place of each cell's pool; some may be beyond the ends."""
        self.pixels = [(max(0, math.floor(start * s)), min(n, math.ceil((start + self.taken) * s))) for start in starts]
        """[low, high) of each pool, within the scene."""
        first, last = max(0, self.firsts[0]), min(self.axis.places, self.firsts[-1] + self.taken) - 1
        self.places = (int(first), int(last) + 1)

    @property
    def reached(self) -> bool:
        """Whether the tensor has a place for any of them."""
        return self.places[0] < self.places[1]

    @cached_property
    def span(self) -> Pixels:
        """The pixels [start, stop) that the network takes; some may be beyond the scene's end."""
        return self.axis.span(self.places[0], self.places[1] - 1)

    @property
    def there(self) -> Bool:
        """Which cells have a place at all."""
        return (self.firsts < self.axis.places) & (self.firsts + self.taken > 0)


@lru_cache(maxsize=16)
def axis_of(field: Field, number: int, n: int) -> Axis:
    """A field along an axis of a scene, kept for the other tiles."""
    return Axis(field, number, n)


def anchored(tile: int, bank: NetworkBank, stride: int) -> int:
    """The side of tiles that are made of whole anchored blocks: at least `tile`."""
    side = _anchor(bank, stride)
    return -(-tile // side) * side


def _anchor(bank: NetworkBank, stride: int) -> int:
    side = math.lcm(stride, *bank.field.units)
    return -(-ANCHOR // side) * side


def _parts(bank: NetworkBank, stride: int, window: Window) -> Iterator[Window]:
    """The window in blocks that the network runs on one at a time."""
    if not bank.exact:
        yield window
        return
    side = _anchor(bank, stride)
    for y0 in range(window.y0 // side * side, window.y1, side):
        for x0 in range(window.x0 // side * side, window.x1, side):
            low, left = max(y0, window.y0), max(x0, window.x0)
            yield Window(low, min(y0 + side, window.y1), left, min(x0 + side, window.x1))


def _run(z: NDArray[Any], bank: NetworkBank, cells: list[_Cells], origin: Pixels) -> F32:
    """The network on the block of the cells, and the means of their places: (F, cells, cells)."""
    spans = [one.span for one in cells]
    seen = np.zeros((len(z), *(stop - start for start, stop in spans)), z.dtype)
    sides = tuple(
        slice(start - first, min(stop, one.axis.n) - first)
        for (start, stop), one, first in zip(spans, cells, origin, strict=True)
    )
    known = z[:, *sides]
    seen[:, : known.shape[1], : known.shape[2]] = known
    planes = _planes(bank, seen)
    parts = []
    for number, one in enumerate(cells):
        begin = one.axis.place(spans[number][0])
        parts.append(slice(one.places[0] - begin, one.places[1] - begin))
    places = planes[:, *parts]
    expected = (bank.field.channels, *(one.places[1] - one.places[0] for one in cells))
    if places.shape != expected:
        raise BankError(f"{bank.name} gave {planes.shape}, in which {expected} of a tile were to be found")
    for number, one in enumerate(cells):
        places = _means(places, 1 + number, one.firsts - one.places[0], one.taken)
    return places.astype(np.float32, copy=False)


def _planes(bank: NetworkBank, seen: NDArray[Any]) -> F32:
    """The tensor of (C, y, x) as (F, y, x), wherever the network has its channels."""
    last = bank.field.source_dims[-1] not in SPACE
    (made,) = bank.network(np.ascontiguousarray(seen.transpose(1, 2, 0) if last else seen)[None])
    planes = np.moveaxis(made, [bank.field.dims.index(side) for side in SPACE], (-2, -1))
    return planes.reshape(-1, *planes.shape[-2:]).astype(np.float32, copy=False)


def _means(values: NDArray[Any], axis: int, firsts: NDArray[Any], count: int) -> NDArray[Any]:
    """Means of `count` places from each of `firsts` on, of those that are there; NaN where none is."""
    length = values.shape[axis]
    if count == 1 and len(firsts) == length and firsts[0] == 0:
        return values
    shape = list(values.shape)
    shape[axis] = len(firsts)
    total, known = np.zeros(shape), np.zeros(len(firsts))
    for step in range(count):
        here = np.flatnonzero((firsts + step >= 0) & (firsts + step < length))
        index = [slice(None)] * values.ndim
        index[axis] = here  # type: ignore[call-overload]
        total[tuple(index)] += values.take(firsts[here] + step, axis)
        known[here] += 1
    with np.errstate(invalid="ignore"):
        return total / known.reshape([-1 if i == axis else 1 for i in range(values.ndim)])


def _valid(usable: Bool, cells: list[_Cells], origin: Pixels) -> Bool:
    """Which cells have all the pixels under their pool, and a place."""
    bad = ~usable
    for axis, one in enumerate(cells):
        taken = [bad.take(range(low - origin[axis], high - origin[axis]), axis).any(axis) for low, high in one.pixels]
        bad = np.stack(taken, axis)
    return ~bad & cells[0].there[:, None] & cells[1].there


def _normalised(block: NDArray[Any], valid: Bool, bank: NetworkBank) -> tuple[NDArray[Any], Bool]:
    """The bands less mean, over std, or as they are for a network of integers; pixels that are not valid or not finite
    are 0 and not usable."""
    usable = valid.copy()
    if bank.whole:
        return np.where(usable, block, block.dtype.type(0)).astype(bank.dtype), usable
    z = np.empty((len(block), *usable.shape), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for band, mean, std, plane in zip(block, bank.mean, bank.std, z, strict=True):
            plane[...] = (np.where(valid, band, mean) - mean) / std
            usable &= np.isfinite(plane)
    z[:, ~usable] = 0.0
    return z, usable


def _sides(window: Window) -> tuple[Pixels, Pixels]:
    return (window.y0, window.y1), (window.x0, window.x1)


def _with(outer: Window, number: int, span: Pixels, n: int) -> Window:
    """The window grown to hold [start, stop) of one axis, within the scene."""
    start, stop = max(0, span[0]), min(n, span[1])
    if number == 0:
        return Window(min(outer.y0, start), max(outer.y1, stop), outer.x0, outer.x1)
    return Window(outer.y0, outer.y1, min(outer.x0, start), max(outer.x1, stop))


def _check(
    block: NDArray[Any],
    valid: Bool,
    bank: NetworkBank,
    stride: int,
    window: Window,
    outer: Window,
    scene_shape: tuple[int, int],
) -> None:
    if block.ndim != 3 or block.shape[1:] != outer.shape or valid.shape != outer.shape or valid.dtype != bool:
        raise BlockError(
            f"block {block.shape} and valid {valid.shape} {valid.dtype} must be (band, y, x) and (y, x) bool of the "
            f"window {outer}"
        )
    if len(block) != len(bank.bands):
        raise BankError(f"{bank.name} takes {len(bank.bands)} bands, the block has {len(block)}; choose bands with -b")
    bank.check_dtype(block.dtype, "the block")
    for (low, high), length in zip(_sides(window), scene_shape, strict=True):
        if not 0 <= low < high <= length or low % stride or (high % stride and high != length):
            raise BlockError(
                f"window {window} is not made of whole cells of {stride} pixels of the {scene_shape} scene; "
                f"take tiles that are a multiple of --stride"
            )
