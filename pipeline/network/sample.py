"""What a bank learns of a scene in one pass over sample windows: moments of the bands, and patches.

Moments: Chan, Golub, LeVeque 1983 (pairwise merge), of products as of squares. Patches: every fully valid one draws a
uniform key, and those with the smallest keys stay; that is a uniform sample without replacement, however many windows
come.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.errors import BankError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

PATCHES = 20480
PATCH_BYTES = 160 << 20
FEWEST = 256
PIXELS = 8192


def usable(block: NDArray[Any], valid: Bool) -> Bool:
    """Pixels that are valid and finite in every band: (y, x)."""
    finite: Bool = np.isfinite(block).all(axis=0)
    return valid & finite


class Moments:
    """Count, mean and sum of squared deviations of each band, in float64; of each pair of bands where asked for.

    `largest` is the largest absolute value of each; where squares overflow, what is summed up is not finite.
    """

    def __init__(self, bands: int, pairs: bool = False) -> None:
        self.count = 0
        self.mean = np.zeros(bands)
        self.squares = np.zeros(bands)
        self.largest = np.zeros(bands)
        self.products = np.zeros((bands, bands)) if pairs else None
        self.whole = True

    def add(self, block: NDArray[Any], valid: Bool) -> None:
        """Merge the valid pixels of block (C, y, x) into the moments."""
        here = int(np.count_nonzero(valid))
        if not here:
            return
        self.whole &= block.dtype.kind in "biu"
        total = self.count + here
        share = self.count * here / total
        means = np.empty_like(self.mean)
        for c, band in enumerate(block):
            values = band[valid].astype(np.float64)
            means[c] = values.mean()
            self.largest[c] = max(self.largest[c], values.max(), -values.min())
            self.squares[c] += np.square(values - means[c]).sum() + (means[c] - self.mean[c]) ** 2 * share
        if self.products is not None:
            self.products += _products(block, valid, means) + np.outer(*[means - self.mean] * 2) * share
        self.mean += (means - self.mean) * here / total
        self.count = total

    def correlation(self) -> F64:
        """Correlation of the bands (C, C); 0 for a band that does not vary. Needs `pairs`."""
        assert self.products is not None
        std = self.std()
        return self.products / self.count / std / std[:, None]

    def rounding(self) -> F64 | None:
        """Variance of rounding to whole numbers in each z-scored band, 1/12 over its own; None where floats came."""
        return 1 / (12 * self.std() ** 2) if self.whole else None

    def std(self) -> F64:
        """Standard deviation of each band; 1 where it does not vary beyond the rounding of its own mean."""
        if not self.count:
            raise BankError("no valid pixel in any sample; a bank cannot be fitted to nodata, give another scene")
        std = np.sqrt(self.squares / self.count)
        return np.where(std > 1e-12 * np.abs(self.mean), std, 1.0)


def _products(block: NDArray[Any], valid: Bool, means: F64) -> F64:
    """Sums over valid pixels of the products of deviations from `means`: (C, C)."""
    ys, xs = np.nonzero(valid)
    sums = np.zeros((len(block),) * 2)
    for first in range(0, len(ys), PIXELS):
        part = slice(first, first + PIXELS)
        values = block[:, ys[part], xs[part]].astype(np.float64) - means[:, None]
        sums += values @ values.T
    return sums


def most_patches(bands: int, size: int) -> int:
    """How many patches are kept: PATCHES, fewer where they would outgrow PATCH_BYTES as float32."""
    return min(PATCHES, max(FEWEST, PATCH_BYTES // (4 * bands * size**2)))


class Patches:
    """At most `most` fully valid patches (C, size, size), a uniform sample in random order, in data units."""

    def __init__(self, size: int, most: int | None = None) -> None:
        self.size = size
        self.most = PATCHES if most is None else most
        self.keys = np.empty(0)
        self.values: NDArray[Any] | None = None

    def add(self, block: NDArray[Any], valid: Bool, rng: np.random.Generator) -> None:
        """Let each fully valid patch of block (C, y, x) draw its key from rng; keep the smallest of all so far."""
        if min(valid.shape) < self.size:
            return
        whole = sliding_window_view(valid, (self.size, self.size)).all(axis=(2, 3))
        ys, xs = np.nonzero(whole)
        keys = rng.random(len(ys))
        order = np.argsort(keys, kind="stable")[: self.most]
        if len(self.keys) == self.most:
            order = order[keys[order] < self.keys[-1]]
        views = sliding_window_view(block, (self.size, self.size), axis=(1, 2))
        drawn = views[:, ys[order], xs[order]].swapaxes(0, 1)
        values = drawn if self.values is None else np.concatenate([self.values, drawn])
        merged = np.concatenate([self.keys, keys[order]])
        kept = np.argsort(merged, kind="stable")[: self.most]
        self.keys, self.values = merged[kept], values[kept]

    def scored(self, mean: F64, std: F64, projection: F32 | None = None) -> F32:
        """The patches z-scored, as rows (m, C·size·size), or projected, (m, K·size·size); BankError without any."""
        if self.values is None or not len(self.values):
            raise BankError(
                f"no {self.size} x {self.size} patch of valid pixels in any sample; take smaller filters "
                f"(--size; features.size in a workflow), a scene with fewer holes, or the bank torchgeo-rcf or classic"
            )
        planes = self.values.shape[1] if projection is None else len(projection)
        rows = np.empty((len(self.values), planes * self.size**2), np.float32)
        for row, patch in zip(rows, self.values, strict=True):
            z = ((patch - mean[:, None, None]) / std[:, None, None]).astype(np.float32)
            row[:] = (z if projection is None else np.tensordot(projection, z, 1)).ravel()
        return rows
