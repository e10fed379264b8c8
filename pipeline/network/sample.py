"""What a bank learns of a scene in one pass over sample windows: moments of the bands, and patches.

Moments: Chan, Golub, LeVeque 1983 (pairwise merge). Patches: every fully valid one draws a uniform key, and those
with the smallest keys stay; that is a uniform sample without replacement, however many windows come.
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


def usable(block: NDArray[Any], valid: Bool) -> Bool:
    """Pixels that are valid and finite in every band: (y, x)."""
    finite: Bool = np.isfinite(block).all(axis=0)
    return valid & finite


class Moments:
    """Count, mean and sum of squared deviations of each band, in float64."""

    def __init__(self, bands: int) -> None:
        self.count = 0
        self.mean = np.zeros(bands)
        self.squares = np.zeros(bands)

    def add(self, block: NDArray[Any], valid: Bool) -> None:
        """Merge the valid pixels of block (C, y, x) into the moments."""
        here = int(np.count_nonzero(valid))
        if not here:
            return
        total = self.count + here
        for c, band in enumerate(block):
            values = band[valid].astype(np.float64)
            mean = values.mean()
            shift = mean - self.mean[c]
            self.squares[c] += np.square(values - mean).sum() + shift**2 * self.count * here / total
            self.mean[c] += shift * here / total
        self.count = total

    def std(self) -> F64:
        """Standard deviation of each band; 1 where it does not vary beyond the rounding of its own mean."""
        if not self.count:
            raise BankError("no valid pixel in any sample; a bank cannot be fitted to nodata, give another scene")
        std = np.sqrt(self.squares / self.count)
        return np.where(std > 1e-12 * np.abs(self.mean), std, 1.0)


class Patches:
    """At most PATCHES fully valid patches (C, size, size), a uniform sample in random order, in data units."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.keys = np.empty(0)
        self.values: NDArray[Any] | None = None

    def add(self, block: NDArray[Any], valid: Bool, rng: np.random.Generator) -> None:
        """Let each fully valid patch of block (C, y, x) draw its key from rng; keep the smallest of all so far."""
        if min(valid.shape) < self.size:
            return
        whole = sliding_window_view(valid, (self.size, self.size)).all(axis=(2, 3))
        ys, xs = np.nonzero(whole)
        keys = rng.random(len(ys))
        order = np.argsort(keys, kind="stable")[:PATCHES]
        if len(self.keys) == PATCHES:
            order = order[keys[order] < self.keys[-1]]
        views = sliding_window_view(block, (self.size, self.size), axis=(1, 2))
        drawn = views[:, ys[order], xs[order]].swapaxes(0, 1)
        values = drawn if self.values is None else np.concatenate([self.values, drawn])
        merged = np.concatenate([self.keys, keys[order]])
        kept = np.argsort(merged, kind="stable")[:PATCHES]
        self.keys, self.values = merged[kept], values[kept]

    def scored(self, mean: F64, std: F64) -> F32:
        """The patches z-scored, as rows (m, C·size·size). Raises BankError where there are none."""
        if self.values is None or not len(self.values):
            raise BankError(
                f"no {self.size} x {self.size} patch of valid pixels in any sample; take a smaller --size, "
                f"a scene with fewer holes, or the bank torchgeo-rcf or classic"
            )
        rows = np.empty((len(self.values), self.values[0].size), np.float32)
        for row, patch in zip(rows, self.values, strict=True):
            row[:] = ((patch - mean[:, None, None]) / std[:, None, None]).ravel()
        return rows
