"""From bands to planes of unit noise, and back: Z = (X − μ)/σ, E = Vᵀ Z with V the eigenvectors of Z Zᵀ.

Source: noise-whitened principal components (Green et al. 1988; Lee et al. 1990), few of them as in FastHyDe
(Zhuang, Bioucas-Dias 2018); how many follows from the edge of the noise (Baik, Ben Arous, Péché 2005).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise.moments import Moments
from pipeline.jit import jit
from pipeline.svd.gram import eigh_descending
from pipeline.svd.shrinkage import noise_edge

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Valid = NDArray[np.bool_]

# Up to this many bands every plane is kept: the patch SVD shrinks better than a cut between planes.
KEEP_ALL = 16
EDGE_MARGIN = 1.04
# Slabs that stay in the cache, in float64 too; rows that tell about the mean and the spread of a band.
ROWS_BYTES = 1 << 19
SAMPLE_ROWS = 32


@dataclass(frozen=True)
class Whitening:
    """The way from bands to planes."""

    mean: F64
    """(band,) data units."""
    sigma: F64
    """(band,) noise, data units, > 0."""
    V: F64
    """(band, plane) orthonormal columns."""
    rank: int
    """How many planes stand above the noise."""

    def planes(self, block: NDArray[Any], valid: Valid) -> F32:
        """E (plane, y, x) of block (band, y, x); 0 where not valid."""
        E = np.empty((self.V.shape[1], *valid.shape), np.float32)
        Vt = np.ascontiguousarray(self.V.T, np.float32)
        for rows in slabs(block.shape):
            Z = standardised(block[:, rows], valid[rows], self.mean, self.sigma)
            E[:, rows] = (Vt @ Z.reshape(len(Z), -1)).reshape(len(E), *Z.shape[1:])
        return E

    def bands(self, E: F32, rows: slice) -> F32:
        """The bands (band, rows, x), data units, float32, of some rows of planes E (plane, y, x)."""
        some = E[:, rows]
        back = (self.sigma[:, None] * self.V).astype(np.float32) @ some.reshape(len(E), -1)
        back += self.mean.astype(np.float32)[:, None]
        return back.reshape(len(back), *some.shape[1:])


def slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Row ranges of a (band, y, x) block, each half a megabyte of float32."""
    bands, height, width = shape
    step = max(1, ROWS_BYTES // (4 * bands * width))
    return (slice(y, min(y + step, height)) for y in range(0, height, step))


def standardised(block: NDArray[Any], valid: Valid, mean: F64, sigma: F64) -> F32:
    """(X − μ)/σ in float32, 0 where not valid. The difference is exact: it is taken in float64."""
    Z = np.empty(block.shape, np.float32)
    _standardise(block.astype(native(block.dtype), copy=False), mean, sigma, Z)
    if not valid.all():
        Z[:, ~valid] = 0
    return Z


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that kernels are compiled for: of this machine's byte order, floats of 4 or 8 bytes."""
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    return dtype.newbyteorder("=")


@jit
def _standardise(block: NDArray[Any], mean: F64, sigma: F64, Z: F32) -> None:
    for b in range(len(block)):
        m, s = mean[b], sigma[b]
        for y in range(block.shape[1]):
            row, out = block[b, y], Z[b, y]
            for x in range(len(row)):
                out[x] = np.float32((np.float64(row[x]) - m) / s)


def fit_whitening(block: NDArray[Any], valid: Valid, sigma: F64) -> Whitening:
    """Mean and eigenvectors of the valid pixels of block (band, y, x), σ (band,) > 0; some pixel is valid."""
    return whitening_of(band_moments(block, valid), sigma)


def band_moments(block: NDArray[Any], valid: Valid) -> Moments:
    """Moments, data units, of the valid pixels of block (band, y, x); some pixel is valid.

    Every band is first brought near to mean 0 and spread 1, as a sample of it tells them: the product is taken in
    float32, whatever the units.
    """
    bands, count = block.shape[0], int(np.count_nonzero(valid))
    guess, spread = _rough(block, valid)
    total, scatter = np.zeros(bands), np.zeros((bands, bands))
    for rows in slabs(block.shape):
        Z = standardised(block[:, rows], valid[rows], guess, spread).reshape(bands, -1)
        total += Z.sum(axis=1, dtype=np.float64)
        scatter += Z @ Z.T
    scatter -= np.outer(total, total) / count
    return Moments(count, guess + spread * total / count, scatter * np.outer(spread, spread))


def _rough(block: NDArray[Any], valid: Valid) -> tuple[F64, F64]:
    """About the mean and the spread (band,) of the valid pixels of block (band, y, x): those of some of its rows."""
    rows = np.flatnonzero(valid.any(axis=1))
    rows = rows[:: max(1, len(rows) // SAMPLE_ROWS)]
    sample = block.take(rows, axis=1)
    sample = sample.reshape(len(block), -1) if valid.all() else sample[:, valid[rows]]
    sample = sample.astype(np.float64)
    spread = sample.std(axis=1)
    return sample.mean(axis=1), np.where(spread > 0, spread, 1.0)


def whitening_of(moments: Moments, sigma: F64) -> Whitening:
    """The whitening of bands with these moments and noise σ (band,) > 0, data units."""
    bands = len(sigma)
    w, V = eigh_descending(moments.covariance() / np.outer(sigma, sigma))
    rank = int(np.count_nonzero(w > EDGE_MARGIN * noise_edge(bands / moments.count)))
    kept = bands if bands <= KEEP_ALL else max(1, rank)
    return Whitening(moments.mean, sigma, V[:, :kept], rank)
