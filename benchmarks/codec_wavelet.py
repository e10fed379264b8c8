"""JPEG 2000 on planes, of bands or of principal components: one codestream of many components, one slope for all.

Its 9/7 wavelet, no colour transform, cut where the true error after rounding is just within the bound.
PCA + JPEG 2000: Du, Fowler, "Hyperspectral image compression using JPEG2000 and principal component analysis" (2007).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.codec_search import CLOSE, F64, ROUGH, Block, Coded, allowed_error, coarsest, rounded
from pipeline.codec import Bound

# Planes are rounded to integers this much finer than the error allowed: 0.01 % of it, and finer saves nothing.
FINER = 32.0


class Basis(NamedTuple):
    """The bands' own directions, strongest first."""

    mean: F64
    """(band,)"""
    variance: F64
    """(band,), falling."""
    V: F64
    """(band, band), a column each; of float32, as they are stored."""


def basis_of(block: Block) -> Basis:
    """Principal components over all pixels."""
    x = block.reshape(len(block), -1).astype(np.float64)
    mean = x.mean(axis=1).astype(np.float32).astype(np.float64)
    x -= mean[:, None]
    variance, V = np.linalg.eigh(x @ x.T / x.shape[1])
    return Basis(mean, np.maximum(variance[::-1], 0.0), V[:, ::-1].astype(np.float32).astype(np.float64))


def encode_components(
    ic: Any, planes: Block, *, reversible: bool, level: float = 0.0, bits: int | None = None
) -> bytes:
    """One codestream of planes (component, y, x); level: its PSNR in dB against 2^bits - 1, 0 for all there is."""
    last = np.ascontiguousarray(planes.transpose(1, 2, 0))
    return ic.jpeg2k_encode(
        last[..., 0] if len(planes) == 1 else last,
        level=level,
        reversible=reversible,
        codecformat="J2K",
        mct=False,
        bitspersample=bits,
        numthreads=1,
    )


def plain_wavelet(ic: Any, block: Block, bound: Bound) -> Coded | None:
    """Every band by itself, less its mean."""
    mean = block.reshape(len(block), -1).mean(axis=1).astype(np.float32).astype(np.float64)
    basis = Basis(mean, np.zeros(len(block)), np.eye(len(block)))
    return _coded(ic, block, allowed_error(block, bound), lambda: basis, len(block), 4 * len(block))


def klt_wavelet(ic: Any, block: Block, bound: Bound) -> Coded | None:
    """The best count of principal components; basis and means are charged as float32."""
    if bound.mode != "snr":
        return None
    basis, allowed, bands = basis_of(block), allowed_error(block, bound), len(block)
    # left out past k, mean squared error of an element
    lost = np.append(np.cumsum(basis.variance[::-1])[::-1], 0.0) / bands
    tried: dict[int, Coded | None] = {}

    def code(k: int, near: Coded | None, close: float) -> Coded | None:
        side = 4 * bands * (k + 1)
        return _coded(ic, block, allowed, lambda: basis_of(block), k, side, float(lost[k]), near, close)

    def nbytes(k: int) -> float:
        if not 1 <= k <= bands or lost[k] >= allowed:
            return math.inf
        if k not in tried:
            tried[k] = code(k, next(filter(None, reversed(tried.values())), None), ROUGH)
        coded = tried[k]
        return math.inf if coded is None else coded.nbytes

    best = _lowest(nbytes, max(int(np.argmax(lost < 0.5 * allowed)), 1), bands)
    return None if tried.get(best) is None else code(best, tried[best], CLOSE)


def _lowest(cost: Callable[[int], float], start: int, most: int) -> int:
    """The argument of least cost, downhill from `start` by steps that halve, up to a thirty-second of it."""
    best, step = start, max(start // 4, 1)
    while True:
        around = [best, *(k for k in (best - step, best + step) if 1 <= k <= most)]
        found = min(around, key=cost)
        if found != best:
            best = found
        elif step <= max(best // 32, 1):
            return best
        else:
            step = max(step // 2, 1)


def _coded(
    ic: Any,
    block: Block,
    allowed: float,
    prepare: Callable[[], Basis],
    k: int,
    side: int,
    lost: float = 0.0,
    near: Coded | None = None,
    close: float = CLOSE,
) -> Coded | None:
    """The first k planes of a basis at the lowest quality that serves; `side` bytes are charged besides.

    prepare: gives the basis, again at each timed encoding. lost: the error that the planes past k leave.
    near: what was found for nearly as many planes, to start from.
    """
    shape, start = block.shape, math.sqrt((allowed - lost) * len(block) / k)
    scale = 2.0 ** math.ceil(math.log2(FINER / start))

    def planes_of(basis: Basis) -> NDArray[np.int32]:
        x = block.reshape(shape[0], -1) - basis.mean[:, None]
        return np.rint(basis.V[:, :k].T @ x * scale).astype(np.int32).reshape(k, *shape[1:])

    found = prepare()
    planes = planes_of(found)
    # With a sign; bits that no plane has would be charged in every packet. imagecodecs loses 32-bit integers said to
    # have 16 or fewer.
    bits = max(int(np.abs(planes).max()).bit_length() + 1, 17)

    def attempt(step: float) -> Coded:
        level = 20 * math.log10((2**bits - 1) / (2.0**step * scale))
        data = encode_components(ic, planes, reversible=False, level=level, bits=bits)

        def decode() -> Block:
            back = ic.jpeg2k_decode(data, numthreads=1).reshape(-1, k).T.astype(np.float64)
            return rounded(found.V[:, :k] @ (back / scale) + found.mean[:, None], block).reshape(shape)

        def encode() -> bytes:
            return encode_components(ic, planes_of(prepare()), reversible=False, level=level, bits=bits)

        return Coded(len(data) + side, decode(), f"9/7, {k} planes", encode, decode, step)

    return coarsest(attempt, block, allowed, near.step if near else math.log2(start), close=close)
