"""features_block: raw pixels of a window and its halo in, features of the window's cells out.

Cell (i, j) at stride S covers the scene's pixels [i·S, (i+1)·S) x [j·S, (j+1)·S); a scene has ceil(H/S) x ceil(W/S).
A pool of P sits in the middle of its cell, from i·S + (S − P) // 2 on; a k x k filter takes (k − 1) // 2 pixels before
its own and k // 2 after. Beyond the scene's edge, pixels and validity continue by symmetric reflection (NumPy's
"symmetric"); at a tile's edge they are read from the halo. So the tiles are the whole, at every edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BankError, BlockError
from pipeline.gemm import average_pool
from pipeline.grid import Halo, Window
from pipeline.network.bank import Bank
from pipeline.network.front import planes
from pipeline.network.halo import mirrored, needed
from pipeline.network.layers import pooled_responses

F32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


def features_block(
    block: NDArray[Any],
    valid: Bool,
    bank: Bank,
    *,
    pool: int | None = None,
    stride: int = 1,
    window: Window,
    outer: Window,
    scene_shape: tuple[int, int],
) -> tuple[F32, Bool]:
    """Features (F, cells_y, cells_x) float32 of the cells of `window`, NaN where not valid; valid (cells_y, cells_x).

    block (C, y, x), any real dtype in data units, and valid (y, x) are the pixels of `outer`: `window` expanded by
    bank.halo(pool, stride) and clipped at the edge of the scene of `scene_shape`. The window begins at multiples of
    `stride`, and ends at one or at the scene's edge. F in the order of bank.features. A cell is valid where every
    pixel in the receptive field of any of its features is valid and finite. Memory: features + three blocks in
    float32 + the bank's components and twice its hidden maps + 3 MiB. Raises BlockError for windows
    that do not fit, BankError for another band count.
    """
    pool = bank.pool if pool is None else pool
    _check(block, valid, bank, pool, stride, window, outer, scene_shape)
    cells = tuple((low // stride, -(-high // stride)) for low, high in _sides(window))
    paths = bank.paths(pool, stride)
    spans = [[needed(path, first, end - 1) for first, end in cells] for path in paths]
    lows = [min(span[axis][0] for span in spans) for axis in (0, 1)]
    places = [
        mirrored(lows[axis], max(span[axis][1] for span in spans), scene_shape[axis]) - _sides(outer)[axis][0]
        for axis in (0, 1)
    ]
    z, usable = _normalised(block, valid, bank, np.ix_(*places))
    parts = [
        tuple(slice(span[axis][0] - lows[axis], span[axis][1] - lows[axis] + 1) for axis in (0, 1)) for span in spans
    ]
    whole = np.ones([end - first for first, end in cells], bool)
    for path, part in zip(paths, parts, strict=True):
        low, high = needed(path, 0, 0)
        whole &= average_pool((~usable[part])[None].astype(np.float32), high - low + 1, stride)[0] == 0
    features = np.empty((len(bank.features), *whole.shape), np.float32)
    if whole.any():
        _fill(z, bank, pool, stride, parts, features)
    features[:, ~whole] = np.nan
    return features, whole


def _fill(z: F32, bank: Bank, pool: int, stride: int, parts: list[tuple[slice, ...]], features: F32) -> None:
    """Responses first, then the spectra's means over their pool and over the cell."""
    count = len(features) - (len(parts) - 1) * len(bank.bands)
    pooled_responses(planes(z[:, *parts[0]], bank), bank, pool, stride, features[:count])
    for number, (part, path) in enumerate(zip(parts[1:], bank.paths(pool, stride)[1:], strict=True)):
        first = count + number * len(bank.bands)
        features[first : first + len(bank.bands)] = average_pool(z[:, *part], path[0].size, stride)


def _normalised(block: NDArray[Any], valid: Bool, bank: Bank, places: tuple[Any, ...]) -> tuple[F32, Bool]:
    """The bands at `places`, z-scored; pixels that are not valid or not finite are 0 and not usable."""
    usable = valid[places]
    z = np.empty((len(block), *usable.shape), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for band, mean, std, plane in zip(block, bank.mean, bank.std, z, strict=True):
            plane[...] = (np.where(usable, band[places], mean) - mean) / std
            usable &= np.isfinite(plane)
    z[:, ~usable] = 0.0
    return z, usable


def _sides(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    return (window.y0, window.y1), (window.x0, window.x1)


def _check(
    block: NDArray[Any],
    valid: Bool,
    bank: Bank,
    pool: int,
    stride: int,
    window: Window,
    outer: Window,
    scene_shape: tuple[int, int],
) -> None:
    if pool < 1 or stride < 1:
        raise BlockError(f"pool and stride must be at least 1 pixel, got {pool} and {stride}")
    if block.ndim != 3 or block.shape[1:] != outer.shape or valid.shape != outer.shape or valid.dtype != bool:
        raise BlockError(
            f"block {block.shape} and valid {valid.shape} {valid.dtype} must be (band, y, x) and (y, x) bool of the "
            f"window {outer}"
        )
    if len(block) != len(bank.bands):
        raise BankError(
            f"bank {bank.name} was fitted to {len(bank.bands)} bands, the block has {len(block)}; choose bands with -b"
        )
    for (low, high), length in zip(_sides(window), scene_shape, strict=True):
        if not 0 <= low < high <= length or low % stride or (high % stride and high != length):
            raise BlockError(
                f"window {window} is not made of whole cells of {stride} pixels of the {scene_shape} scene; "
                f"take tiles that are a multiple of --stride"
            )
    wanted = window.expand(Halo.even(bank.halo(pool, stride)), *scene_shape)
    for (low, high), (first, last), length in zip(_sides(wanted), _sides(outer), scene_shape, strict=True):
        if first > low or last < high or first < 0 or last > length:
            raise BlockError(
                f"the block covers {outer}, {window} needs {wanted}; read with halo bank.halo(pool, stride)"
            )
